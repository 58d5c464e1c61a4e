using System.CommandLine;
using System.Text.RegularExpressions;
using Slipway.Cli;
using Slipway.Cli.Commands;
using Slipway.Contracts;
using Slipway.Contracts.Governance;
using Slipway.Governance.Documents;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Tests.Governance;

public sealed class DocumentTests
{
    private const string Card = "ARC-TIPS-MCARD";

    [Fact, Trait("capability", "GOV-05"), Trait("capability", "GOV-11")]
    public async Task A_model_card_holds_the_figures_of_the_records_each_with_evidence_that_can_be_asked_again()
    {
        await using var server = await GovernedServer.StartWithModelAsync();

        var card = await GenerateAsync(server, DocumentType.ModelCard, GovernedServer.Model);
        var text = await ReadAsync(server, card.Document.Id);

        Assert.True(card.Created);
        Assert.Equal(("ARC-TIPS-MCARD-v1.0", "1.0.0", "DRAFT"), (card.Document.Id, card.Document.ModelVersion, card.Document.Status));
        Assert.Equal(text, await File.ReadAllTextAsync(Path.Combine(server.Data, "documents", "ARC-TIPS-MCARD-v1.0.md")));
        foreach (var (query, value) in new[]
        {
            ("version.metric tips 1.0.0 auc", "0.6612"), ("version.slice_metric tips 1.0.0 driver=3 auc", "0.641"), ("version.baseline_metric tips 1.0.0 majority_class auc", "0.5"),
            ("dataset.rows rides 1", "600"), ("version.commit tips 1.0.0", "3f2a9c"), ("version.seed tips 1.0.0", "7"), ("version.parameters tips 1.0.0", "l2=0.1, learner=logistic"),
        })
        {
            var mark = Regex.Match(text, $@"^\| (E\d+) \| {Regex.Escape(query)} \|", RegexOptions.Multiline).Groups[1].Value;
            Assert.Contains($"{value} [{mark}]", text, StringComparison.Ordinal);
            var again = await server.Client.GetAsync<EvidenceItem>($"evidence?query={Uri.EscapeDataString(query)}", GovernedServer.Cancel);
            Assert.Equal(value, again.Value);
            Assert.NotEmpty(again.Ids);
        }

        Assert.Contains("not recorded: set a threshold in the evaluation", text, StringComparison.Ordinal);
        Assert.Contains("*To be supplied: known limits of the model.", text, StringComparison.Ordinal);
        Assert.Contains("grace approved production", text, StringComparison.Ordinal);
        Assert.All(QualityChecks.ControlFields, field => Assert.Matches($@"(?m)^\| {field} \| [^|]+ \| [^|]+ \|$", text));
        Assert.Matches(@"(?m)^\| 1\.0 \| \d{4}-\d\d-\d\d \| local \| First version \|", text);
    }

    [Fact, Trait("capability", "GOV-05")]
    public async Task Generating_again_writes_nothing_until_a_fact_or_a_supplied_text_changes()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        var first = await GenerateAsync(server, DocumentType.ModelCard, GovernedServer.Model);

        var same = await GenerateAsync(server, DocumentType.ModelCard, GovernedServer.Model);
        var told = await GenerateAsync(server, DocumentType.ModelCard, GovernedServer.Model, ("risk_tier", "Low | for [trial] use <1"));
        var kept = await GenerateAsync(server, DocumentType.ModelCard, GovernedServer.Model);

        Assert.Equal((false, first.Document.Id), (same.Created, same.Document.Id));
        Assert.Equal((true, "1.1"), (told.Created, told.Document.Version));
        Assert.Equal((false, told.Document.Id), (kept.Created, kept.Document.Id));
        Assert.Contains(@"| Risk tier | Low \| for \[trial\] use &lt;1 (supplied text) |", await ReadAsync(server, Card), StringComparison.Ordinal);
        Assert.Equal(2, Directory.GetFiles(Path.Combine(server.Data, "documents"), "*.md").Length);
    }

    [Fact, Trait("capability", "GOV-05")]
    public async Task A_card_is_stale_once_the_facts_of_its_version_have_changed()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await GenerateAsync(server, DocumentType.ModelCard, GovernedServer.Model);
        Assert.False((await ListAsync(server)).Single().Stale);

        var second = await server.RegisterAsync(auc: 0.7);
        Assert.False((await ListAsync(server)).Single().Stale);
        await server.DeployAsync(second);

        var stale = (await ListAsync(server)).Single();
        Assert.True(stale.Stale);
        Assert.Contains(second.Version, stale.StaleReason, StringComparison.Ordinal);
        var renewed = await GenerateAsync(server, DocumentType.ModelCard, GovernedServer.Model);
        Assert.Equal(("1.1", second.Version), (renewed.Document.Version, renewed.Document.ModelVersion));
        Assert.Equal([("1.1", false), ("1.0", true)], (await ListAsync(server)).Select(document => (document.Version, document.Stale)));

        await server.Registry.RollbackAsync(GovernedServer.Model, null, "worse on weekends", GovernedServer.Ada, GovernedServer.Cancel);
        Assert.True((await ListAsync(server))[0].Stale);
    }

    [Fact, Trait("capability", "GOV-09"), Trait("capability", "GOV-13"), Trait("capability", "GOV-14")]
    public async Task A_strategy_has_fifteen_sections_and_names_what_is_missing()
    {
        await using var server = await GovernedServer.StartWithModelAsync();

        var bare = await GenerateAsync(server, DocumentType.Strategy, null);
        var text = await ReadAsync(server, bare.Document.Id);
        var told = await GenerateAsync(server, DocumentType.Strategy, null, ("requirements", "- The model tips must predict within 50 ms\n- The page is blue\n"), ("bias", "by driver"), ("oversight", "advisory"));

        Assert.Equal("ARC-PLATFORM-MLOPS-v1.0", bare.Document.Id);
        Assert.Equal(Enumerable.Range(1, 15).Select(number => $"{number}"), Regex.Matches(text, @"(?m)^## (\d+) ").Select(match => match.Groups[1].Value));
        Assert.Contains(bare.Warnings, warning => warning.StartsWith("NO ML REQUIREMENT FOUND", StringComparison.Ordinal));
        Assert.DoesNotContain(bare.Warnings, warning => warning.StartsWith("NO DATA MODEL FOUND", StringComparison.Ordinal));
        Assert.Contains("> Warning: NO ML REQUIREMENT FOUND", text, StringComparison.Ordinal);
        Assert.False(bare.Validation.Single(point => point.Name.StartsWith("every ML requirement", StringComparison.Ordinal)).Passed);
        Assert.False(bare.Validation.Single(point => point.Name.StartsWith("monitoring covers", StringComparison.Ordinal)).Passed);

        Assert.DoesNotContain(told.Warnings, warning => warning.StartsWith("NO ML REQUIREMENT FOUND", StringComparison.Ordinal));
        Assert.True(told.Validation.Single(point => point.Name.StartsWith("every ML requirement", StringComparison.Ordinal)).Passed);
        Assert.True(told.Validation.Single(point => point.Name.StartsWith("responsible AI", StringComparison.Ordinal)).Passed);
        var renewed = await ReadAsync(server, told.Document.Id);
        Assert.Contains("| R1 | The model tips must predict within 50 ms | tips | covered by a registered model |", renewed, StringComparison.Ordinal);
        Assert.DoesNotContain("The page is blue", renewed, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "GOV-14")]
    public async Task A_strategy_of_an_empty_server_is_written_and_warns_that_there_is_no_data_model()
    {
        await using var server = await GovernedServer.StartAsync();

        var strategy = await GenerateAsync(server, DocumentType.Strategy, null);

        Assert.Contains(strategy.Warnings, warning => warning.StartsWith("NO DATA MODEL FOUND", StringComparison.Ordinal));
        Assert.All(strategy.Checks, check => Assert.True(check.Passed));
    }

    [Fact, Trait("capability", "GOV-12")]
    public async Task A_document_that_fails_a_quality_check_is_not_published()
    {
        await using var server = await GovernedServer.StartWithModelAsync();

        var error = await Assert.ThrowsAsync<SlipwayException>(
            () => GenerateAsync(server, DocumentType.ModelCard, GovernedServer.Model, ("limitations", "TBC ask {{owner}}"), ("classification", "TOP HUSH")));

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains("no placeholders left: 'TBC' is still there; '{{owner}}' is still there", error.Message, StringComparison.Ordinal);
        Assert.Contains("classification valid: 'TOP HUSH' is none of", error.Message, StringComparison.Ordinal);
        Assert.Empty(await ListAsync(server));
        Assert.False(Directory.Exists(Path.Combine(server.Data, "documents")));
    }

    [Theory, Trait("capability", "GOV-12")]
    [InlineData("control fields complete", "| Owner | ", "| Owner |  | x |\n| Was | ")]
    [InlineData("id pattern", "ARC-TIPS-MCARD-v1.0", "ARC-tips-v1")]
    [InlineData("no placeholders left", "## 2 Model parameters", "## 2 Model parameters\n\n[PROJECT_NAME]")]
    [InlineData("no placeholders left", "## 2 Model parameters", "## 2 Model parameters\n\nTO" + "DO of it")]
    [InlineData("no placeholders left", "## 2 Model parameters", "## 2 Model parameters\n\nTB" + "D of it")]
    [InlineData("no placeholders left", "## 2 Model parameters", "## 2 Model parameters\n\nFIX" + "ME of it")]
    [InlineData("no placeholders left", "## 2 Model parameters", "## 2 Model parameters\n\nXX" + "X of it")]
    [InlineData("no placeholders left", "## 2 Model parameters", "## 2 Model parameters\n\nLorem ipsum of it")]
    [InlineData("classification valid", "| INTERNAL |", "| HUSH |")]
    [InlineData("status valid", "| Status | DRAFT |", "| Status | MAYBE |")]
    [InlineData("revision history", "| 1.0 | 20", "| 9.9 | 20")]
    [InlineData("footer", "**Tool version**: ", "Tool version ")]
    [InlineData("clean Markdown", "## 4 Considerations", "## 4 Considerations\n\nAUC >0.6")]
    [InlineData("consistent tables", "| Name | tips |", "| Name | tips | more |")]
    [InlineData("heading order", "## 2 Model parameters", "#### 2 Model parameters")]
    [InlineData("evidence complete", "| E1 | ", "| E999 | ")]
    [InlineData("model card sections", "## 4 Considerations", "## 4 Thoughts")]
    public async Task Each_quality_check_finds_its_fault(string check, string sound, string faulty)
    {
        var text = await SoundCard.Value;
        Assert.All(QualityChecks.Run(DocumentType.ModelCard, "ARC-TIPS-MCARD-v1.0", text), sound => Assert.True(sound.Passed, $"{sound.Name}: {sound.Detail}"));
        Assert.Contains(sound, text, StringComparison.Ordinal);

        var found = QualityChecks.Run(DocumentType.ModelCard, "ARC-TIPS-MCARD-v1.0", text.Replace(sound, faulty, StringComparison.Ordinal));

        Assert.False(found.Single(result => result.Name == check).Passed);
    }

    [Fact, Trait("capability", "GOV-01")]
    public async Task A_document_is_audited_linked_to_its_evidence_and_verified()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await GenerateAsync(server, DocumentType.ModelCard, GovernedServer.Model);
        var node = new NodeRef(NodeKinds.Document, $"{Card}@1.0");

        Assert.Equal("document.published", Assert.Single(server.Get<AuditTrail>().List(node)).Action);
        var upstream = server.Get<Lineage>().Upstream(node).Where(edge => edge.To == node).Select(edge => edge.From.ToString()).ToHashSet();
        Assert.Superset(new HashSet<string> { "model_version:tips@1.0.0", "dataset_version:rides@1" }, upstream);
        server.Damage((await ListAsync(server)).Single().Sha256);
        var report = await server.Client.GetAsync<VerificationReport>("verify", GovernedServer.Cancel);
        Assert.Equal($"document:{Card}@1.0", Assert.Single(report.Checks, check => !check.Passed).Subject);
        var error = await Assert.ThrowsAsync<SlipwayException>(() => ReadAsync(server, Card));
        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
    }

    [Fact]
    public async Task A_bad_request_is_refused_in_one_sentence()
    {
        await using var server = await GovernedServer.StartAsync();
        using var http = new HttpClient { BaseAddress = server.Address };
        foreach (var (body, status, expected) in new[]
        {
            ("""{"type": "model_card"}""", 400, "'model' must name"),
            ("""{}""", 400, "'type' must be"),
            ("""{"type": "novel"}""", 400, "type"),
            ("""{"type": "model_card", "model": "nothing"}""", 404, "There is no model 'nothing'"),
            ("""{"type": "strategy", "model": "nothing"}""", 404, "There is no model 'nothing'"),
            ("""{"type": "strategy", "supplied": {"Risk Tier": "x"}}""", 400, "'supplied' keys"),
            ("""{"type": "strategy", "supplied": {"risk_tier": null}}""", 400, "'supplied.risk_tier'"),
        })
        {
            using var content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");
            using var answer = await http.PostAsync(new Uri("/api/slipway/v1/documents", UriKind.Relative), content, GovernedServer.Cancel);

            Assert.Equal((body, status), (body, (int)answer.StatusCode));
            Assert.Contains(expected, await answer.Content.ReadAsStringAsync(GovernedServer.Cancel), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_question_that_cannot_be_asked_is_refused()
    {
        await using var server = await GovernedServer.StartAsync();
        foreach (var (query, code) in new[]
        {
            ("nothing", ErrorCode.InvalidArgument), ("version.metric tips", ErrorCode.InvalidArgument), ("version.stage tips 9.9.9", ErrorCode.NotFound), ("dataset.rows rides one", ErrorCode.InvalidArgument),
        })
        {
            var error = await Assert.ThrowsAsync<SlipwayException>(() => server.Client.GetAsync<EvidenceItem>($"evidence?query={Uri.EscapeDataString(query)}", GovernedServer.Cancel));

            Assert.Equal((query, code), (query, error.Code));
        }
    }

    [Fact]
    public async Task The_command_generates_lists_and_shows()
    {
        await using var server = await GovernedServer.StartWithModelAsync();

        var (code, said) = await CommandAsync(server, "generate", "model-card", "--model", "tips", "--text", "risk_tier=Low");
        var (_, shown) = await CommandAsync(server, "show", Card);

        Assert.Equal(ExitCode.Ok, code);
        Assert.Contains("ARC-TIPS-MCARD-v1.0 written to documents/ARC-TIPS-MCARD-v1.0.md", said, StringComparison.Ordinal);
        Assert.StartsWith("# Model card: tips 1.0.0", shown, StringComparison.Ordinal);
        Assert.Contains("| Risk tier | Low (supplied text) |", shown, StringComparison.Ordinal);
        Assert.Equal(ExitCode.Ok, (await CommandAsync(server, "list", "--json")).Code);
    }

    private static readonly Lazy<Task<string>> SoundCard = new(async () =>
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        return await ReadAsync(server, (await GenerateAsync(server, DocumentType.ModelCard, GovernedServer.Model)).Document.Id);
    });

    private static Task<GeneratedDocument> GenerateAsync(GovernedServer server, DocumentType type, string? model, params (string Key, string Text)[] supplied) =>
        server.Client.PostAsync<GeneratedDocument>("documents", new GenerateDocument(type, model, supplied.ToDictionary(pair => pair.Key, pair => pair.Text)), GovernedServer.Cancel);

    private static async Task<IReadOnlyList<DocumentInfo>> ListAsync(GovernedServer server) => (await server.Client.GetAsync<DocumentList>("documents", GovernedServer.Cancel)).Documents;

    private static Task<string> ReadAsync(GovernedServer server, string id) => server.Get<DocumentStore>().ReadAsync(id, GovernedServer.Cancel);

    private static async Task<(int Code, string Output)> CommandAsync(GovernedServer server, params string[] arguments)
    {
        var root = new RootCommand();
        var connection = new ConnectionOptions();
        connection.AddTo(root);
        root.Add(DocumentCommand.Create(connection));
        using var output = new StringWriter();
        var code = await root.Parse(["document", .. arguments, "--server", server.Address.ToString()])
            .InvokeAsync(new InvocationConfiguration { Output = output, EnableDefaultExceptionHandler = false }, GovernedServer.Cancel);
        return (code, output.ToString());
    }
}
