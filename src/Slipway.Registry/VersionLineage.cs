using Slipway.Contracts.Registry;
using Slipway.Storage;
using Slipway.Tracking;

namespace Slipway.Registry;

/// <summary>Writes a version's edges, and asks the lineage graph about it.</summary>
internal static class VersionLineage
{
    private static readonly string[] Required = [NodeKinds.DatasetVersion, NodeKinds.Commit, NodeKinds.FeatureView, NodeKinds.EvaluationReport];

    public static void Link(WriteTransaction transaction, ModelVersionRecord version)
    {
        // Without a run its ingredients lead to the version itself.
        var producer = version.Node;
        if (version.RunId is { } runId)
        {
            producer = new NodeRef(NodeKinds.Run, runId);
            transaction.Link(producer, "produced_by", version.Node);
            LinkLoggedModels(transaction, version, producer);
        }

        transaction.Link(version.Node, "version_of", new NodeRef(NodeKinds.Model, version.Model));
        LinkIngredients(transaction, version, producer);
        if (version.Commit is { } commit)
        {
            transaction.Link(new NodeRef(NodeKinds.Commit, commit), "ran_code_of", producer);
        }

        if (version.PipelineRunId is { } pipelineRun)
        {
            transaction.Link(new NodeRef(NodeKinds.PipelineRun, pipelineRun), "started_by", producer);
        }

        if (version.EvaluationReportSha256 is { } report)
        {
            transaction.Link(new NodeRef(NodeKinds.EvaluationReport, report), "evaluated_by", version.Node);
        }

        if (version.ParentVersion is { } parent)
        {
            transaction.Link(ModelVersionNode.Of(version.Model, parent), "descends_from", version.Node);
        }
    }

    /// <summary>The required kinds that none of the version's own edges, or of its run's, leads to.</summary>
    public static IReadOnlyList<string> Missing(Lineage lineage, NodeRef version)
    {
        var edges = lineage.EdgesTo(version);
        var kinds = edges.Where(edge => edge.Relation is Lineage.Feeds or "evaluated_by").Select(edge => edge.From.Kind).ToHashSet(StringComparer.Ordinal);
        foreach (var run in edges.Where(edge => edge.Relation == "produced_by"))
        {
            kinds.UnionWith(lineage.EdgesTo(run.From).Where(edge => edge.Relation == "ran_code_of").Select(edge => edge.From.Kind));
        }

        return [.. Required.Where(kind => !kinds.Contains(kind))];
    }

    public static LineageGraph Graph(Lineage lineage, NodeRef version)
    {
        var (upstream, downstream) = (lineage.Walk([version], LineageDirection.Upstream), lineage.Walk([version], LineageDirection.Downstream));
        var edges = upstream.Edges.Concat(downstream.Edges).Distinct();
        var nodes = upstream.Nodes.Concat(downstream.Nodes).Select(reached => reached.Node).Append(version).Distinct()
            .OrderBy(node => node.Kind, StringComparer.Ordinal).ThenBy(node => node.Id, StringComparer.Ordinal);
        var missing = Missing(lineage, version);
        return new LineageGraph(
            Wire(version), [.. nodes.Select(Wire)], [.. edges.Select(edge => new LineageLink(Wire(edge.From), edge.Relation, Wire(edge.To)))],
            missing.Count == 0, missing);
    }

    // Step by step through the training set and the run, and straight to the version.
    private static void LinkIngredients(WriteTransaction transaction, ModelVersionRecord version, NodeRef producer)
    {
        var trainingSet = version.TrainingSetSha256 is { } sha256 ? new NodeRef(NodeKinds.TrainingSet, sha256) : (NodeRef?)null;
        if (trainingSet is { } rows)
        {
            transaction.Link(rows, "trained_on", producer);
        }

        foreach (var dataset in version.Datasets)
        {
            var node = new NodeRef(NodeKinds.DatasetVersion, $"{dataset.Name}@{dataset.Version}");
            transaction.Link(node, trainingSet is null ? "trained_on" : "drawn_from", trainingSet ?? producer);
            transaction.Link(node, Lineage.Feeds, version.Node);
        }

        foreach (var view in version.FeatureSchema.ViewVersions)
        {
            var node = new NodeRef(NodeKinds.FeatureView, view);
            transaction.Link(node, "defined_by", trainingSet ?? producer);
            transaction.Link(node, Lineage.Feeds, version.Node);
        }

        if (version.FeatureSchema.Service.Length > 0)
        {
            transaction.Link(new NodeRef(NodeKinds.FeatureService, $"{version.FeatureSchema.Service}@{version.FeatureSchema.ServiceVersion}"), Lineage.Feeds, version.Node);
        }
    }

    private static void LinkLoggedModels(WriteTransaction transaction, ModelVersionRecord version, NodeRef run)
    {
        // A run may log many models: the one that holds the version's file, byte for byte, is the one that was registered.
        foreach (var logged in transaction.EdgesFrom(run).Where(edge => edge.To.Kind == NodeKinds.LoggedModel && version.ServedSha256 is { } sha256 && LoggedModelStore.Holds(transaction.Connection, edge.To.Id, sha256)))
        {
            transaction.Link(logged.To, "registered_from", version.Node);
        }

        // What the run was given came from versions of other models, where it was registered.
        foreach (var used in transaction.EdgesTo(run).Where(edge => edge.From.Kind == NodeKinds.LoggedModel))
        {
            foreach (var other in transaction.EdgesFrom(used.From).Where(edge => edge.Relation == "registered_from" && edge.To != version.Node))
            {
                transaction.Link(other.To, Lineage.Feeds, version.Node);
            }
        }
    }

    private static LineageNode Wire(NodeRef node) => new(node.Kind, node.Id);
}
