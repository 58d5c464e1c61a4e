using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Storage;
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
        var run = new LineageNode("run", version.RunId);
        var trainingSet = new LineageNode("training_set", version.TrainingSetSha256!);
        Assert.Equal(
            new HashSet<LineageLink>
            {
                new(new LineageNode("dataset_version", "flights@1"), "built_from", trainingSet),
                new(new LineageNode("feature_view", "airport_late@1"), "defined_by", trainingSet),
                new(trainingSet, "trained_on", run),
                new(new LineageNode("commit", "3f2a"), "ran_code_of", run),
                new(new LineageNode("pipeline_run", "pipeline-run-1"), "started_by", run),
                new(run, "produced_by", graph.Root),
                new(new LineageNode("evaluation_report", version.EvaluationReportSha256!), "evaluated_by", graph.Root),
            },
            graph.Edges.ToHashSet());
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
            "feature_view" => request with { FeatureSchema = request.FeatureSchema with { ViewVersions = [] } },
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

        var graph = _host.Registry.LineageOf(version);

        var reached = new List<LineageNode> { new("dataset_version", "flights@1") };
        for (var i = 0; i < reached.Count; i++)
        {
            reached.AddRange(graph.Edges.Where(edge => edge.From == reached[i]).Select(edge => edge.To).Where(node => !reached.Contains(node)));
        }

        Assert.Equal(["dataset_version", "training_set", "run", "model_version", "deployment"], reached.Select(node => node.Kind));
        Assert.Superset(reached.ToHashSet(), graph.Nodes.ToHashSet());
    }
}
