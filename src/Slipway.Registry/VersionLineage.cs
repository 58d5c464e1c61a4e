using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Registry;

/// <summary>Asks the lineage graph about one version.</summary>
internal static class VersionLineage
{
    private static readonly string[] Required = [NodeKinds.DatasetVersion, NodeKinds.Commit, NodeKinds.FeatureView, NodeKinds.EvaluationReport];

    public static void Link(WriteTransaction transaction, ModelVersionRecord version)
    {
        var run = new NodeRef(NodeKinds.Run, version.RunId);
        transaction.Link(run, "produced_by", version.Node);

        // Without a training set the datasets and views lead to the run itself.
        var trainedOn = version.TrainingSetSha256 is { } trainingSet ? new NodeRef(NodeKinds.TrainingSet, trainingSet) : run;
        if (trainedOn != run)
        {
            transaction.Link(trainedOn, "trained_on", run);
        }

        foreach (var dataset in version.Datasets)
        {
            transaction.Link(new NodeRef(NodeKinds.DatasetVersion, $"{dataset.Name}@{dataset.Version}"), "built_from", trainedOn);
        }

        foreach (var view in version.FeatureSchema.ViewVersions)
        {
            transaction.Link(new NodeRef(NodeKinds.FeatureView, view), "defined_by", trainedOn);
        }

        if (version.Commit is { } commit)
        {
            transaction.Link(new NodeRef(NodeKinds.Commit, commit), "ran_code_of", run);
        }

        if (version.PipelineRunId is { } pipelineRun)
        {
            transaction.Link(new NodeRef(NodeKinds.PipelineRun, pipelineRun), "started_by", run);
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

    /// <summary>The required kinds that no path of the version's own reaches.</summary>
    public static IReadOnlyList<string> Missing(Lineage lineage, NodeRef version)
    {
        var incoming = lineage.Upstream(version).ToLookup(edge => edge.To, edge => edge.From);
        var reached = new HashSet<NodeRef> { version };
        var waiting = new Queue<NodeRef>(reached);
        while (waiting.TryDequeue(out var node))
        {
            foreach (var from in incoming[node])
            {
                // A parent's dataset or commit says nothing about this version's.
                if (from.Kind != NodeKinds.ModelVersion && reached.Add(from))
                {
                    waiting.Enqueue(from);
                }
            }
        }

        var kinds = reached.Select(node => node.Kind).ToHashSet(StringComparer.Ordinal);
        return [.. Required.Where(kind => !kinds.Contains(kind))];
    }

    public static LineageGraph Graph(Lineage lineage, NodeRef version)
    {
        var edges = lineage.Upstream(version).Concat(lineage.Downstream(version)).Distinct().ToList();
        var nodes = edges.SelectMany(edge => new[] { edge.From, edge.To }).Append(version).Distinct()
            .OrderBy(node => node.Kind, StringComparer.Ordinal).ThenBy(node => node.Id, StringComparer.Ordinal);
        var missing = Missing(lineage, version);
        return new LineageGraph(
            Wire(version), [.. nodes.Select(Wire)], [.. edges.Select(edge => new LineageLink(Wire(edge.From), edge.Relation, Wire(edge.To)))],
            missing.Count == 0, missing);
    }

    private static LineageNode Wire(NodeRef node) => new(node.Kind, node.Id);
}
