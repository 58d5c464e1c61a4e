using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Tracking;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class LineageTests : IAsyncLifetime
{
    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await RegistryHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "LIN-01")]
    public async Task A_version_links_to_dataset_commit_feature_definitions_and_evaluation_report()
    {
        var version = await _host.RegisterAsync();

        var graph = _host.Registry.LineageOf(version);

        Assert.True(graph.Complete);
        Assert.Empty(version.MissingLineage);
        var run = new LineageNode("run", version.RunId!);
        var trainingSet = new LineageNode("training_set", version.TrainingSetSha256!);
        Assert.Equal(
            new HashSet<LineageLink>
            {
                new(new LineageNode("dataset_version", "flights@1"), "drawn_from", trainingSet),
                new(new LineageNode("feature_view", "airport_late@1"), "defined_by", trainingSet),
                new(trainingSet, "trained_on", run),
                new(new LineageNode("commit", "3f2a"), "ran_code_of", run),
                new(new LineageNode("pipeline_run", "pipeline-run-1"), "started_by", run),
                new(run, "produced_by", graph.Root),
                new(new LineageNode("evaluation_report", version.EvaluationReportSha256!), "evaluated_by", graph.Root),
                new(graph.Root, "version_of", new LineageNode("model", Model)),
            },
            graph.Edges.ToHashSet());

        // Straight to the version too, so that nobody must know how long the way between is.
        var direct = _host.Area.Service<Lineage>().EdgesTo(version.Node).Select(edge => $"{edge.From} {edge.Relation}").Order(StringComparer.Ordinal);
        Assert.Equal(
            [
                "dataset_version:flights@1 feeds", $"evaluation_report:{version.EvaluationReportSha256} evaluated_by", "feature_service:flight-delay@1 feeds",
                "feature_view:airport_late@1 feeds", $"run:{version.RunId} produced_by",
            ],
            direct);
    }

    [Theory]
    [Trait("capability", "LIN-01")]
    [InlineData("commit")]
    [InlineData("dataset_version")]
    [InlineData("feature_view")]
    [InlineData("evaluation_report")]
    public async Task A_version_without_one_of_the_four_links_is_marked_incomplete_even_when_its_parent_has_it(string kind)
    {
        await _host.RegisterAsync();
        var request = await _host.RequestAsync() with { TrainingSetSha256 = null };
        request = kind switch
        {
            "commit" => request with { Commit = null },
            "dataset_version" => request with { Datasets = [] },
            "feature_view" => request with { FeatureSchema = request.FeatureSchema! with { ViewVersions = [] } },
            _ => request with { EvaluationReportSha256 = null },
        };

        var version = await _host.Registry.RegisterAsync(request, Ada, default);

        Assert.Equal([kind], version.MissingLineage);
        var graph = _host.Registry.LineageOf(version);
        Assert.Equal((false, kind), (graph.Complete, Assert.Single(graph.Missing)));
    }

    [Fact]
    [Trait("capability", "LIN-02")]
    public async Task The_graph_leads_from_the_dataset_to_the_deployment()
    {
        var version = await _host.RegisterAsync();
        await _host.Area.Service<Database>().WriteAsync(
            transaction => transaction.Link(version.Node, "deployed_as", new NodeRef(NodeKinds.Deployment, "d-1")), default);

        var (status, path) = await _host.Area.GetAsync("/api/slipway/v1/lineage/path?from=dataset_version:flights@1&to=deployment:d-1");

        Assert.Equal(200, status);
        Assert.Equal(
            ["dataset_version", "training_set", "run", "model_version", "deployment"],
            path.GetProperty("nodes").EnumerateArray().Select(node => node.GetProperty("kind").GetString()));
        Assert.Equal(
            ["drawn_from", "trained_on", "produced_by", "deployed_as"], path.GetProperty("edges").EnumerateArray().Select(edge => edge.GetProperty("relation").GetString()));
    }

    [Fact]
    [Trait("capability", "LIN-01")]
    public async Task A_version_is_linked_to_the_logged_model_that_holds_its_file_and_to_the_version_whose_model_its_run_used()
    {
        await using var host = await RegistryHost.StartAsync(services => services.AddSlipwayTracking());
        var (runs, models, artifacts) = (host.Area.Service<RunStore>(), host.Area.Service<LoggedModelStore>(), host.Area.Service<ArtifactStore>());
        var experiment = await runs.GetOrCreateExperimentAsync("etas", Ada, default);
        var teacher = (await runs.CreateRunAsync(experiment, "teacher", null, Ada, default)).RunId;
        var student = (await runs.CreateRunAsync(experiment, "student", null, Ada, default)).RunId;
        var request = await host.RequestAsync();
        var (kept, checkpoint) = (await models.CreateAsync(experiment, "kept", null, teacher, [], [], Ada, default), await models.CreateAsync(experiment, "checkpoint", null, teacher, [], [], Ada, default));
        await artifacts.LinkAsync(kept.ModelId, "model.onnx", request.Files[0].Sha256, request.Files[0].SizeBytes, default);
        var first = await host.Registry.RegisterAsync(request with { RunId = teacher }, Ada, default);
        await runs.LogInputsAsync(student, [], default, [kept.ModelId]);
        var second = await host.Registry.RegisterAsync(
            await host.RequestAsync(report: Report() with { Model = "eta" }) with { Model = "eta", RunId = student }, Ada, default);

        var lineage = host.Area.Service<Lineage>();
        Assert.Equal([$"logged_model:{kept.ModelId}"], lineage.EdgesTo(first.Node).Where(edge => edge.Relation == "registered_from").Select(edge => edge.From.ToString()));
        Assert.Equal([first.Node], lineage.EdgesTo(second.Node).Where(edge => edge.Relation == Lineage.Feeds && edge.From.Kind == NodeKinds.ModelVersion).Select(edge => edge.From));
        Assert.DoesNotContain(lineage.EdgesTo(first.Node), edge => edge.From.Id == checkpoint.ModelId);
        var (_, dependencies) = await host.Area.GetAsync("/api/slipway/v1/lineage/dependencies?model=eta&version=1.0.0");
        Assert.Equal(
            new HashSet<string?> { $"logged_model {kept.ModelId}", "model_version flight-delay@1.0.0" },
            dependencies.GetProperty("models").EnumerateArray().Select(thing => $"{thing.GetProperty("kind").GetString()} {thing.GetProperty("id").GetString()}").ToHashSet<string?>());
    }
}
