using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using Slipway.Cli;
using Slipway.Cli.Commands;
using Slipway.Contracts.Lineage;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tests.Governance;
using Slipway.Tracking;

namespace Slipway.Tests.Registry;

/// <summary>Lineage of a model that went the whole way on a whole server: what the areas write, seen through client, command line and export.</summary>
public sealed partial class LineageServerTests(LineageServerTests.Fixture fixture) : IClassFixture<LineageServerTests.Fixture>
{
    private const string Version = "model_version:tips@1.0.0";

    /// <summary>One server, whose model has two versions: the first served, the second serves.</summary>
    public sealed class Fixture : IAsyncLifetime
    {
        private GovernedServer _server = null!;

        internal GovernedServer Server => _server;

        public async ValueTask InitializeAsync()
        {
            _server = await GovernedServer.StartWithModelAsync();
            await _server.DeployAsync(await _server.RegisterAsync(intercept: 0.1));
            await _server.ApplyAsync("kind: requirement\nname: REQ-1\ntext: Tips are foreseen.\nmodels: [tips]\n", "kind: requirement\nname: REQ-2\ntext: Nobody knows how.\n");
        }

        public ValueTask DisposeAsync() => _server.DisposeAsync();
    }

    private GovernedServer Server => fixture.Server;

    [Fact]
    [Trait("capability", "LIN-02")]
    public async Task Every_version_has_a_path_from_its_data_over_features_and_run_to_its_deployment()
    {
        foreach (var version in Server.Registry.ListVersions("tips"))
        {
            var deployment = Server.Get<Lineage>().EdgesFrom(new NodeRef(NodeKinds.ModelVersion, $"tips@{version.Version}")).First(edge => edge.Relation == "deployed_as").To;

            var path = await Server.Client.GetLineagePathAsync("feature_view:driver_fares@1", deployment.ToString(), cancellationToken: GovernedServer.Cancel);
            var fromData = await Server.Client.GetLineagePathAsync("dataset_version:rides@1", "feature_view:driver_fares@1", cancellationToken: GovernedServer.Cancel);

            Assert.Equal(["feature_view", "training_set", "run", "model_version", "deployment"], path.Nodes.Select(node => node.Kind));
            Assert.Equal($"tips@{version.Version}", path.Nodes[3].Id);
            Assert.Equal(["built_from"], fromData.Edges.Select(edge => edge.Relation));
            Assert.Equal(version.Stage.ToString().ToLowerInvariant(), path.Nodes[3].Facts!.State);
            Assert.Equal("ada", path.Nodes[3].Facts!.Owner);
        }
    }

    [Fact]
    [Trait("capability", "LIN-05")]
    public async Task Each_version_names_where_it_serves_and_where_it_served()
    {
        var found = await Server.Client.GetDeploymentsOfAsync("tips", cancellationToken: GovernedServer.Cancel);
        var one = await Server.Client.GetDeploymentsOfAsync("tips", "1.0.0", GovernedServer.Cancel);

        Assert.Equal(2, found.Versions.Count);
        var (current, old) = (found.Versions[0], found.Versions[1]);
        Assert.Equal((Stage.Production, 1, 0), (current.Stage, current.Current.Count, current.Past.Count));
        Assert.Equal((Stage.Archived, 0, 1), (old.Stage, old.Current.Count, old.Past.Count));
        Assert.Equal("/v2/models/tips/infer", current.Current[0].Facts!.Details["endpoint"]);
        Assert.Equal("serving", current.Current[0].Facts!.State);
        Assert.NotNull(old.Past[0].Facts!.EndedAt);
        Assert.Equal("1.0.0", Assert.Single(one.Versions).Version);
    }

    [Fact]
    [Trait("capability", "REG-21")]
    public async Task The_client_is_told_what_a_version_depends_on_and_what_a_change_would_reach()
    {
        var dependencies = await Server.Client.GetDependenciesAsync("tips", "production", GovernedServer.Cancel);
        var impact = await Server.Client.GetLineageImpactAsync("feature:driver:last_fare", cancellationToken: GovernedServer.Cancel);
        var requirements = await Server.Client.GetRequirementsAsync(GovernedServer.Cancel);

        Assert.Equal(["rides@1"], dependencies.Datasets.Select(thing => thing.Id));
        Assert.Equal("transport team", dependencies.Datasets[0].Facts!.Owner);
        Assert.Equal(["driver:last_fare", "driver:double_fare"], dependencies.Features);
        Assert.Equal("logistic", Assert.Single(dependencies.Runs).Facts!.Title);
        Assert.Contains(dependencies.Consumers, consumer => consumer is { Kind: "deployment", Facts.State: "serving" });
        Assert.Equal(("production", 2), (impact.Versions[0].Stage.ToString()!.ToLowerInvariant(), impact.VersionsTotal));
        Assert.Equal(["ada"], impact.Owners);
        Assert.Equal(["REQ-2"], requirements.Unmapped);
        Assert.Equal(RequirementStatus.InProduction, requirements.Requirements[0].Status);
    }

    [Fact]
    [Trait("capability", "LIN-01")]
    public async Task What_a_run_says_it_read_is_linked_to_it_also_when_it_is_no_dataset_of_ours()
    {
        var runs = Server.Get<RunStore>();
        var run = (await runs.CreateRunAsync(await runs.GetOrCreateExperimentAsync("loose", GovernedServer.Ada, GovernedServer.Cancel), "by hand", null, GovernedServer.Ada, GovernedServer.Cancel)).RunId;
        var set = Server.Registry.Get("tips", "1.0.0").TrainingSetSha256!;
        await runs.LogInputAsync(run, new RunInput("rides/train", set, "slipway://rides", "training"), GovernedServer.Ada, GovernedServer.Cancel);
        await runs.LogInputAsync(run, new RunInput("weather", "5f1c2ab3", "s3://weather", "test"), GovernedServer.Ada, GovernedServer.Cancel);

        var view = await Server.Client.GetLineageAsync($"run:{run}", LineageSide.Upstream, depth: 1, cancellationToken: GovernedServer.Cancel);

        Assert.Equal(
            [$"training_set:{set} trained_on", "logged_dataset:weather@5f1c2ab3 used"], view.Edges.OrderBy(edge => edge.Relation, StringComparer.Ordinal).Select(edge => $"{edge.From.Kind}:{edge.From.Id} {edge.Relation}"));
    }

    [Fact]
    [Trait("capability", "LIN-07")]
    public async Task The_export_as_json_is_the_graph()
    {
        var (code, output, _) = await CommandAsync("lineage", "export", Version);
        var view = JsonSerializer.Deserialize<LineageView>(output, Slipway.Contracts.JsonDefaults.Options)!;
        var asked = await Server.Client.GetLineageAsync(Version, cancellationToken: GovernedServer.Cancel);

        Assert.Equal(ExitCode.Ok, code);
        Assert.Equal(asked.Nodes.Select(node => (node.Kind, node.Id)).Order(), view.Nodes.Select(node => (node.Kind, node.Id)).Order());
        Assert.Equal(asked.Edges.ToHashSet(), view.Edges.ToHashSet());
        Assert.All(view.Edges, edge => Assert.Contains(view.Nodes, node => node.Kind == edge.From.Kind && node.Id == edge.From.Id));
    }

    [Fact]
    [Trait("capability", "LIN-07")]
    public async Task The_export_as_openlineage_holds_to_the_published_schemas_and_says_what_was_read_and_written()
    {
        var lines = new List<string>();
        await foreach (var line in Server.Client.ExportOpenLineageAsync(Version, cancellationToken: GovernedServer.Cancel))
        {
            lines.Add(line);
        }

        var (code, report) = await ValidateAsync(lines);
        Assert.True(code == 0, report);
        foreach (var schema in new[] { "RunEvent", "SchemaDatasetFacet", "DatasourceDatasetFacet", "DatasetVersionDatasetFacet", "OwnershipDatasetFacet", "DocumentationDatasetFacet", "OutputStatisticsOutputDatasetFacet", "JobTypeJobFacet" })
        {
            Assert.Contains(schema, report, StringComparison.Ordinal); // Each was there to be checked.
        }

        var events = lines.ConvertAll(line => JsonDocument.Parse(line).RootElement);
        var run = events.Where(each => Job(each) == "tips.logistic").ToList();
        Assert.Equal(["START", "COMPLETE"], run.Select(each => each.GetProperty("eventType").GetString()));
        Assert.Equal(Guid.ParseExact(Server.Registry.Get("tips", "1.0.0").RunId!, "N").ToString(), run[0].GetProperty("run").GetProperty("runId").GetString());
        Assert.Contains(Names(run[0], "inputs"), name => name.StartsWith("training_set/", StringComparison.Ordinal));
        Assert.Equal(["model_version/tips"], Names(run[0], "outputs"));
        var build = events.First(each => Job(each) == "feature_view.driver_fares");
        Assert.Equal(["dataset_version/rides"], Names(build, "inputs"));
        Assert.Equal(["feature_view/driver_fares"], Names(build, "outputs"));
        Assert.Equal(
            ["driver:last_fare", "driver:double_fare"],
            build.GetProperty("outputs")[0].GetProperty("facets").GetProperty("schema").GetProperty("fields").EnumerateArray().Select(field => field.GetProperty("name").GetString()));
        Assert.Equal("SERVICE", events.First(each => Job(each) == "tips.stable").GetProperty("job").GetProperty("facets").GetProperty("jobType").GetProperty("processingType").GetString());
        var times = events.ConvertAll(each => each.GetProperty("eventTime").GetDateTimeOffset());
        Assert.Equal(times.Order(), times);
    }

    [Fact]
    [Trait("capability", "LIN-07")]
    public async Task The_checker_of_openlineage_events_finds_what_is_wrong()
    {
        const string Good = """{"eventType":"START","eventTime":"2026-01-01T00:00:00Z","run":{"runId":"3f2a0000-0000-4000-8000-000000000000"},"job":{"namespace":"a","name":"b"},"producer":"urn:a:b","schemaURL":"https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"}""";
        Assert.Equal(0, (await ValidateAsync([Good])).Code);
        foreach (var wrong in new[]
        {
            Good.Replace("START", "BEGIN", StringComparison.Ordinal), Good.Replace("3f2a0000-", "", StringComparison.Ordinal), Good.Replace("\"name\"", "\"title\"", StringComparison.Ordinal),
            Good.Replace("2026-01-01T", "yesterday", StringComparison.Ordinal), Good.Replace("/2-0-2/", "/9-9-9/", StringComparison.Ordinal),
            Good.Replace("\"namespace\":\"a\"", "\"facets\":{\"jobType\":{\"_producer\":\"urn:a:b\",\"_schemaURL\":\"https://openlineage.io/spec/facets/2-0-2/JobTypeJobFacet.json#/$defs/JobTypeJobFacet\"}},\"namespace\":\"a\"", StringComparison.Ordinal),
        })
        {
            Assert.Equal(1, (await ValidateAsync([wrong])).Code);
        }
    }

    [Fact]
    public async Task The_commands_of_the_how_to_run_as_they_stand_there()
    {
        var text = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "how-to", "answer-lineage-questions.md"), GovernedServer.Cancel);
        var commands = Blocks().Matches(text).SelectMany(block => block.Groups[1].Value.Split('\n', StringSplitOptions.RemoveEmptyEntries)).Where(line => line.StartsWith("slipway ", StringComparison.Ordinal)).ToList();
        Assert.True(commands.Count >= 12, $"Only {commands.Count} commands.");
        var verbs = new HashSet<string>();
        foreach (var command in commands)
        {
            // The page speaks of the demo's model; this server has a smaller one.
            var arguments = Words().Matches(command["slipway ".Length..]).Select(word => word.Value.Trim('"'))
                .Select(word => word.Replace("flight-delay", "tips", StringComparison.Ordinal).Replace("flights@", "rides@", StringComparison.Ordinal)
                    .Replace("airport_delays", "driver_fares", StringComparison.Ordinal).Replace("airport:late_rate_7d", "driver:last_fare", StringComparison.Ordinal)
                    .Replace("events.ndjson", Path.Combine(Server.Data, "events.ndjson"), StringComparison.Ordinal)).ToArray();
            verbs.Add(arguments[1]);
            var (code, _, _) = await CommandAsync(arguments);
            Assert.True(code == ExitCode.Ok, $"{command} ended with {code}.");
            var (_, json, _) = await CommandAsync([.. arguments, "--json"]);
            if (arguments[1] is not "export")
            {
                JsonDocument.Parse(json); // One document, and nothing beside it.
            }
        }

        Assert.Equal(["dependencies", "deployments", "export", "impact", "link", "path", "requirements", "show"], verbs.Order(StringComparer.Ordinal));
        Assert.NotEmpty(await File.ReadAllLinesAsync(Path.Combine(Server.Data, "events.ndjson"), GovernedServer.Cancel));
    }

    [Fact]
    public async Task A_path_that_is_not_there_ends_with_1()
    {
        var (code, output, _) = await CommandAsync("lineage", "path", "commit:3f2a9c", "dataset_version:rides@1", "--json");

        Assert.Equal(ExitCode.FailedCheck, code);
        Assert.False(JsonDocument.Parse(output).RootElement.GetProperty("found").GetBoolean());
    }

    [GeneratedRegex("```sh\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Blocks();

    [GeneratedRegex("\"[^\"]*\"|\\S+")]
    private static partial Regex Words();

    private static string? Job(JsonElement each) => each.GetProperty("job").GetProperty("name").GetString();

    private static List<string> Names(JsonElement each, string side) => [.. each.GetProperty(side).EnumerateArray().Select(dataset => dataset.GetProperty("name").GetString()!)];

    private static async Task<(int Code, string Report)> ValidateAsync(IEnumerable<string> lines)
    {
        var clients = Path.Combine(Repository.Root, "tests", "clients");
        Assert.SkipUnless(Directory.Exists(Path.Combine(clients, "node_modules", "ajv")), "The JSON Schema validator is not fetched: run npm ci --ignore-scripts in tests/clients.");
        using var node = Process.Start(new ProcessStartInfo("node", [Path.Combine(clients, "openlineage-validate.cjs"), Path.Combine(Repository.Root, "tests", "Slipway.Tests", "Registry", "openlineage")])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var (output, error) = (node.StandardOutput.ReadToEndAsync(), node.StandardError.ReadToEndAsync());
        await node.StandardInput.WriteAsync(string.Join('\n', lines));
        node.StandardInput.Close();
        await node.WaitForExitAsync(GovernedServer.Cancel);
        return (node.ExitCode, await output + await error);
    }

    private async Task<(int Code, string Output, string Error)> CommandAsync(params string[] arguments)
    {
        var root = new RootCommand();
        var connection = new ConnectionOptions();
        connection.AddTo(root);
        root.Add(LineageCommand.Create(connection));
        using var output = new StringWriter();
        using var error = new StringWriter();
        var code = await root.Parse([.. arguments, "--server", Server.Address.ToString()])
            .InvokeAsync(new InvocationConfiguration { Output = output, Error = error, EnableDefaultExceptionHandler = false }, GovernedServer.Cancel);
        return (code, output.ToString(), error.ToString());
    }
}
