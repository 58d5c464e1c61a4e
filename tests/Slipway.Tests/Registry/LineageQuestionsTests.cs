using System.Text.Json;
using Slipway.Contracts.Registry;
using Slipway.FeatureStore;
using Slipway.Registry;
using Slipway.Registry.Provenance;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Definitions;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

/// <summary>
/// Questions over HTTP on a graph whose answers are written by hand:
/// <code>
/// flights@1 ─ airport_late@1 ──────── flight-delay@1 (service) ─ flight-delay 1.0.0, archived, served until d-1 ended
/// flights@2 ─ airport_late@2 ─┐
///                             ├────── flight-delay@2 (service) ─ flight-delay 2.0.0, in production, serves as d-2
/// weather@1 ─ wind@1 ─────────┴─┐                                    │ gate-display uses it, eta depends on it
///                               └──── eta@1 (service) ────────── eta 1.0.0, in staging
/// </code>
/// </summary>
public sealed class LineageQuestionsTests : IAsyncLifetime
{
    private const string View =
        """
        kind: feature_view
        name: airport_late
        entity: airport
        keys: [airport]
        source: flights
        sql: SELECT airport, at AS event_timestamp, late_rate_7d, FEATURE FROM source
        features:
          - { name: late_rate_7d, type: float64 }
          - { name: FEATURE, type: float64 }
        """;

    private RegistryHost _host = null!;
    private ModelVersionRecord _old = null!;
    private ModelVersionRecord _current = null!;
    private ModelVersionRecord _eta = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await RegistryHost.StartAsync();
        var database = _host.Area.Service<Database>();
        await database.WriteAsync(transaction =>
        {
            // The view's definition changed once: late_flights became late_share.
            DefinitionStore.Put(transaction, Ada, FeatureViewDefinition.Kind, "airport_late", View.Replace("FEATURE", "late_flights", StringComparison.Ordinal));
            DefinitionStore.Put(transaction, Ada, FeatureViewDefinition.Kind, "airport_late", View.Replace("FEATURE", "late_share", StringComparison.Ordinal));
            transaction.Link(Dataset("flights@1"), "built_from", FeatureView("airport_late@1"));
            transaction.Link(Dataset("flights@2"), "built_from", FeatureView("airport_late@2"));
            transaction.Link(Dataset("weather@1"), "built_from", FeatureView("wind@1"));
            foreach (var (service, set) in new[] { ("flight-delay@1", Set1), ("flight-delay@2", Set2), ("eta@1", Set3) })
            {
                transaction.Link(new NodeRef(NodeKinds.FeatureService, service), "selected_by", new NodeRef(NodeKinds.TrainingSet, set));
            }
        }, default);
        _old = await RegisterAsync(Model, Set1, 1, ["flights@1"], ["airport_late@1"], ["airport:late_rate_7d", "airport:late_flights"]);
        await DeployAsync(_old, "d-1");
        _current = await RegisterAsync(Model, Set2, 2, ["flights@2"], ["airport_late@2", "wind@1"], ["airport:late_rate_7d", "airport:late_share", "wind:speed"]);
        await DeployAsync(_current, "d-2");
        _eta = await RegisterAsync("eta", Set3, 1, ["flights@2"], ["wind@1"], ["wind:speed"]);
        foreach (var (version, to) in new[] { (_old, Stage.Staging), (_old, Stage.Production), (_current, Stage.Staging), (_current, Stage.Production), (_eta, Stage.Staging) })
        {
            await MoveAsync(version, to);
        }

        await database.WriteAsync(transaction =>
        {
            transaction.Link(new NodeRef(NodeKinds.Model, Model), "watched_by", new NodeRef(NodeKinds.Monitor, "delay-watch"));
            transaction.Link(_current.Node, "evidence_of", new NodeRef(NodeKinds.Document, "card@1.0"));
        }, default);
        await DeclareAsync("consumed_by", "application:gate-display", 204);
        await DeclareAsync("depends_on", "model_version:eta@1.0.0", 204);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [Trait("capability", "LIN-03")]
    [InlineData("feature_view:airport_late", "flight-delay 2.0.0 Production, flight-delay 1.0.0 Archived, eta 1.0.0 Staging")]
    [InlineData("feature_view:airport_late@1", "flight-delay 1.0.0 Archived")]
    [InlineData("feature_view:wind@1", "flight-delay 2.0.0 Production, eta 1.0.0 Staging")]
    [InlineData("feature:airport:late_rate_7d", "flight-delay 2.0.0 Production, flight-delay 1.0.0 Archived")]
    [InlineData("feature:airport:late_flights", "flight-delay 1.0.0 Archived")]
    [InlineData("feature:airport:late_share", "flight-delay 2.0.0 Production")]
    [InlineData("feature_service:flight-delay@2", "flight-delay 2.0.0 Production, eta 1.0.0 Staging")]
    [InlineData("dataset_version:flights@1", "flight-delay 1.0.0 Archived")]
    [InlineData("dataset_version:weather", "flight-delay 2.0.0 Production, eta 1.0.0 Staging")]
    [InlineData("training_set:" + Set3, "eta 1.0.0 Staging")]
    [InlineData("commit:3f2a", "flight-delay 2.0.0 Production, flight-delay 1.0.0 Archived, eta 1.0.0 Staging")]
    public async Task The_impact_of_a_change_names_every_version_that_it_reaches_and_no_other(string node, string expected)
    {
        var impact = await AskAsync($"impact?node={Uri.EscapeDataString(node)}");

        Assert.Equal(expected.Split(", ").Order(StringComparer.Ordinal), Versions(impact).Order(StringComparer.Ordinal));
        Assert.Equal(expected.Split(", ").Length, impact.GetProperty("versions_total").GetInt32());
        Assert.False(impact.GetProperty("truncated").GetBoolean());
        // What is live comes first.
        var stages = Versions(impact).Select(version => version.Split(' ')[2]).ToList();
        Assert.Equal(stages.OrderBy(stage => stage switch { "Production" => 0, "Staging" => 1, _ => 2 }), stages);
    }

    [Fact]
    [Trait("capability", "LIN-03")]
    public async Task The_impact_names_deployments_that_serve_monitors_documents_applications_and_whom_to_tell()
    {
        var impact = await AskAsync("impact?node=feature_view:airport_late");

        var current = impact.GetProperty("versions").EnumerateArray().Single(version => version.GetProperty("version").GetString() == "2.0.0");
        Assert.Equal(["d-2"], Ids(current, "deployments"));
        Assert.Equal(["delay-watch"], Ids(current, "monitors"));
        Assert.Equal(["card@1.0"], Ids(current, "documents"));
        Assert.Equal(["gate-display"], Ids(current, "applications"));
        Assert.Equal(["ada"], impact.GetProperty("owners").EnumerateArray().Select(owner => owner.GetString()));
        Assert.Equal(
            ["airport_late@1", "airport_late@2"], impact.GetProperty("subjects").EnumerateArray().Select(subject => subject.GetProperty("id").GetString()));
    }

    [Fact]
    [Trait("capability", "LIN-03")]
    public async Task An_impact_larger_than_its_limit_names_what_is_in_production_and_counts_the_rest()
    {
        var impact = await AskAsync("impact?node=feature_view:airport_late&limit=1");

        Assert.Equal(["flight-delay 2.0.0 Production"], Versions(impact));
        Assert.Equal(3, impact.GetProperty("versions_total").GetInt32());
        Assert.True(impact.GetProperty("truncated").GetBoolean());
    }

    [Fact]
    [Trait("capability", "LIN-03")]
    [Trait("capability", "REG-21")]
    public async Task The_dependencies_of_a_version_are_its_own_data_features_experiments_and_consumers()
    {
        var found = await AskAsync("dependencies?model=flight-delay&version=2.0.0");

        Assert.Equal(["flights@2", "weather@1"], Ids(found, "datasets"));
        Assert.Equal(["airport_late@2", "wind@1"], Ids(found, "feature_views"));
        Assert.Equal(["airport:late_rate_7d", "airport:late_share", "wind:speed"], found.GetProperty("features").EnumerateArray().Select(feature => feature.GetString()));
        Assert.Equal([Set2], Ids(found, "training_sets"));
        Assert.Equal([_current.RunId!], Ids(found, "runs"));
        Assert.Equal(["3f2a"], Ids(found, "commits"));
        Assert.Equal([_current.EvaluationReportSha256!], Ids(found, "evaluation_reports"));
        Assert.Empty(Ids(found, "models"));
        Assert.Equal("1.0.0", found.GetProperty("parent").GetString());
        Assert.Equal(["card@1.0", "d-2", "delay-watch", "eta@1.0.0", "gate-display"], Ids(found, "consumers"));

        var eta = await AskAsync("dependencies?model=eta&version=1.0.0");
        Assert.Equal(["flight-delay@2.0.0"], Ids(eta, "models"));
        Assert.False(eta.TryGetProperty("parent", out _));
    }

    [Fact]
    [Trait("capability", "LIN-03")]
    public async Task Upstream_and_downstream_are_answered_by_direction_depth_and_kind()
    {
        var models = await AskAsync("?node=feature_service:flight-delay@1&direction=downstream&kinds=model_version");
        Assert.Equal(["flight-delay@1", "flight-delay@1.0.0", "flight-delay@2.0.0"], Ids(models, "nodes")); // The second descends from the first.
        Assert.Equal(["flight-delay@2.0.0"], models.GetProperty("nodes").EnumerateArray().Where(node => !node.GetProperty("followed").GetBoolean()).Select(node => node.GetProperty("id").GetString()));

        var near = await AskAsync("?node=model_version:flight-delay@production&direction=upstream&depth=1");
        Assert.Equal(
            new HashSet<string?> { "model_version", "run", "evaluation_report" },
            near.GetProperty("nodes").EnumerateArray().Select(node => node.GetProperty("kind").GetString()).ToHashSet());
        Assert.Equal("flight-delay@2.0.0", near.GetProperty("starts")[0].GetProperty("id").GetString());

        var data = await AskAsync("?node=model_version:flight-delay@2.0.0&direction=upstream&kinds=dataset_version");
        Assert.Equal(["flight-delay@1.0.0", "flight-delay@2.0.0", "flights@2", "weather@1"], Ids(await AskAsync("?node=model_version:flight-delay@2.0.0&direction=upstream&kinds=dataset_version,model_version"), "nodes"));
        Assert.Equal(["flight-delay@2.0.0", "flights@2", "weather@1"], Ids(data, "nodes"));

        var history = await AskAsync("?node=model_version:flight-delay@2.0.0&direction=upstream&kinds=dataset_version&history=true");
        Assert.Equal(["flight-delay@2.0.0", "flights@1", "flights@2", "weather@1"], Ids(history, "nodes"));

        var state = near.GetProperty("nodes")[0].GetProperty("facts");
        Assert.Equal(("production", "ada"), (state.GetProperty("state").GetString(), state.GetProperty("owner").GetString()));
    }

    [Fact]
    [Trait("capability", "LIN-02")]
    public async Task A_path_leads_from_data_over_features_and_experiment_to_the_deployment_whichever_end_is_named_first()
    {
        var there = await AskAsync("path?from=dataset_version:weather@1&to=deployment:d-2");
        var back = await AskAsync("path?from=deployment:d-2&to=dataset_version:weather@1");
        var none = await AskAsync("path?from=dataset_version:flights@1&to=training_set:" + Set3);

        Assert.Equal(
            ["dataset_version:weather@1", "feature_view:wind@1", "training_set:" + Set2, $"run:{_current.RunId}", "model_version:flight-delay@2.0.0", "deployment:d-2"],
            there.GetProperty("nodes").EnumerateArray().Select(node => $"{node.GetProperty("kind").GetString()}:{node.GetProperty("id").GetString()}"));
        Assert.Equal(there.GetProperty("edges").ToString(), back.GetProperty("edges").ToString());
        Assert.False(none.GetProperty("found").GetBoolean());
        Assert.False(none.GetProperty("truncated").GetBoolean());
    }

    [Fact]
    [Trait("capability", "LIN-04")]
    public async Task Requirements_name_their_models_and_how_far_they_are_met_and_those_without_a_model_are_listed()
    {
        var kind = _host.Area.Service<IEnumerable<IDefinitionKind>>().Single(kind => kind.Kind == "requirement");
        foreach (var (id, models) in new[] { ("REQ-1", "[flight-delay]"), ("REQ-2", "[flight-delay, eta]"), ("REQ-3", "[crew-rest]"), ("REQ-4", "[]") })
        {
            await kind.ApplyAsync($"kind: requirement\nname: {id}\ntext: What {id} asks for.\nsource: Operations manual 3.2\nmodels: {models}\n", Ada, default);
        }

        var map = await AskAsync("requirements");

        Assert.Equal(
            [("REQ-1", "in_production"), ("REQ-2", "in_progress"), ("REQ-3", "planned"), ("REQ-4", "unmapped")],
            map.GetProperty("requirements").EnumerateArray().Select(requirement => (requirement.GetProperty("id").GetString()!, requirement.GetProperty("status").GetString()!)));
        Assert.Equal(["REQ-4"], map.GetProperty("unmapped").EnumerateArray().Select(id => id.GetString()));
        Assert.Equal("2.0.0", map.GetProperty("requirements")[1].GetProperty("models")[0].GetProperty("production_version").GetString());
        Assert.False(map.GetProperty("requirements")[1].GetProperty("models")[1].TryGetProperty("production_version", out _));
        Assert.Equal(["definition"], (await AskAsync("?node=model:crew-rest&direction=upstream&depth=1")).GetProperty("nodes").EnumerateArray().Skip(1).Select(node => node.GetProperty("kind").GetString()));
    }

    [Theory]
    [Trait("capability", "LIN-04")]
    [InlineData("kind: requirement\nname: REQ-1\n", "'text' is missing")]
    [InlineData("kind: requirement\nname: REQ 1\ntext: x\n", "'name'")]
    [InlineData("kind: requirement\nname: REQ-1\ntext: x\nmodels: [a/b]\n", "'models'")]
    public void A_requirement_that_cannot_be_read_says_which_field(string yaml, string expected)
    {
        var error = Assert.Throws<Slipway.Contracts.SlipwayException>(() => RequirementKind.Read(DefinitionYaml.Parse(yaml)));
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "REG-21")]
    public async Task A_declared_use_is_audited_and_a_wrong_one_writes_nothing()
    {
        var before = _host.Count("lineage_edges");
        foreach (var (relation, to, field) in new[]
        {
            ("used", "application:gate-display", "'relation'"), ("consumed_by", "run:r", "'to'"), ("consumed_by", "application", "'to'"), ("depends_on", "dataset_version:flights@1", "'to'"),
            ("depends_on", "model_version:flight-delay@2.0.0", "'to'"),
        })
        {
            var (status, body) = await PostAsync(relation, to, "for a test");
            Assert.Equal(400, status);
            Assert.Contains(field, body.GetProperty("message").GetString(), StringComparison.Ordinal);
        }

        Assert.Equal(404, (await PostAsync("depends_on", "model_version:eta@9.9.9", "for a test")).Status);
        Assert.Equal(400, (await PostAsync("depends_on", "model_version:eta@1.0.0", "")).Status);
        Assert.Equal(before, _host.Count("lineage_edges"));
        var declared = _host.Area.Service<AuditTrail>().List(_current.Node).Where(row => row.Action == "lineage.declared").ToList();
        Assert.Equal(["shows it at the gates", "shows it at the gates"], declared.Select(row => row.Reason));
        Assert.Contains("application:gate-display", declared[0].AfterJson + declared[1].AfterJson, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", 400, "'node' is missing")]
    [InlineData("?node=flights", 400, "'node' must be KIND:ID")]
    [InlineData("?node=:x", 400, "'node' must be KIND:ID")]
    [InlineData("?node=dataset_version:nothing", 404, "has no 'dataset_version:nothing'")]
    [InlineData("?node=commit:3f2a&direction=sideways", 400, "'direction' must be")]
    [InlineData("?node=commit:3f2a&depth=0", 400, "'depth' must be 1 to 1000")]
    [InlineData("?node=commit:3f2a&limit=100001", 400, "'limit' must be 1 to 100000")]
    [InlineData("/path?from=commit:3f2a", 400, "'to' is missing")]
    [InlineData("/path?from=commit:3f2a&to=feature_view:airport_late", 400, "'to' names 2 versions")]
    [InlineData("/impact?node=feature:airport:nothing", 404, "No feature view defines 'airport:nothing'")]
    [InlineData("/impact?node=commit:3f2a&limit=0", 400, "'limit' must be 1 to 10000")]
    [InlineData("/dependencies?model=flight-delay", 400, "'version' is missing")]
    [InlineData("/dependencies?model=nothing&version=1.0.0", 404, "nothing")]
    [InlineData("/deployments?model=nothing", 404, "nothing")]
    [InlineData("/export?node=commit:3f2a&format=xml", 400, "'format' must be json or openlineage")]
    public async Task A_question_that_cannot_be_answered_says_what_to_change(string question, int expected, string message)
    {
        var (status, body) = await _host.Area.GetAsync($"/api/slipway/v1/lineage{question}");

        Assert.Equal(expected, status);
        Assert.Contains(message, body.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    private const string Set1 = "01612dbcd1cea66cc448f37ce20866f5aea74cbce49bfae5acfe8121ad72efd4";

    private const string Set2 = "3afb31157ad9aedc46544b82a66d375632165b39bfcb1003dee6b574c8562e62";

    private const string Set3 = "d63673cc5eee2ce91363b65a7bcbae02c09d4f9940dc4498d8d8a05688c0d81e";

    private static NodeRef Dataset(string id) => new(NodeKinds.DatasetVersion, id);

    private static NodeRef FeatureView(string id) => new(NodeKinds.FeatureView, id);

    private async Task<ModelVersionRecord> RegisterAsync(string model, string trainingSet, int service, string[] datasets, string[] views, string[] features)
    {
        var request = await _host.RequestAsync(report: Report() with { Model = model });
        return await _host.Registry.RegisterAsync(
            request with
            {
                Model = model,
                TrainingSetSha256 = trainingSet,
                PipelineRunId = null,
                FeatureSchema = new FeatureSchema(model, service, [.. features.Select(feature => new FeatureField(feature, "DOUBLE"))], views),
                Datasets = [.. datasets.Select(id => new DatasetRef(id.Split('@')[0], int.Parse(id.Split('@')[1], System.Globalization.CultureInfo.InvariantCulture), new string('d', 64)))],
            },
            Ada, default);
    }

    private Task DeployAsync(ModelVersionRecord version, string id) =>
        _host.Area.Service<Database>().WriteAsync(transaction => transaction.Link(version.Node, "deployed_as", new NodeRef(NodeKinds.Deployment, id)), default);

    private async Task MoveAsync(ModelVersionRecord version, Stage to)
    {
        var promotion = await _host.Registry.RequestPromotionAsync(version.Model, version.Version, to, "better than before", Ada, default);
        await _host.Registry.ApproveAsync(promotion.Id, "read the report", Grace, default);
        await _host.Registry.ExecutePromotionAsync(promotion.Id, Ada, default);
    }

    private async Task DeclareAsync(string relation, string to, int expected)
    {
        var (status, body) = await PostAsync(relation, to, "shows it at the gates");
        Assert.True(status == expected, body.ToString());
    }

    private Task<(int Status, JsonElement Body)> PostAsync(string relation, string to, string reason) =>
        _host.Area.PostAsync("/api/slipway/v1/lineage/links", new { from = "model_version:flight-delay@2.0.0", relation, to, reason });

    private async Task<JsonElement> AskAsync(string question)
    {
        var (status, body) = await _host.Area.GetAsync($"/api/slipway/v1/lineage{(question.StartsWith('?') ? "" : "/")}{question}");
        Assert.True(status == 200, body.ToString());
        return body;
    }

    private static IReadOnlyList<string> Ids(JsonElement answer, string property) =>
        [.. answer.GetProperty(property).EnumerateArray().Select(thing => thing.GetProperty("id").GetString()!).Order(StringComparer.Ordinal)];

    private static IReadOnlyList<string> Versions(JsonElement impact) => [.. impact.GetProperty("versions").EnumerateArray().Select(version =>
        $"{version.GetProperty("model").GetString()} {version.GetProperty("version").GetString()} {Stages(version.GetProperty("stage").GetString()!)}")];

    private static string Stages(string stage) => char.ToUpperInvariant(stage[0]) + stage[1..];
}
