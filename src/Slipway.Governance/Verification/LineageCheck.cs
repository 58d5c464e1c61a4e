using Slipway.Contracts.Governance;
using Slipway.Contracts.Registry;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Storage;
using Slipway.Tracking;

namespace Slipway.Governance.Verification;

/// <summary>Walks data → features → run → version → deployment for a production version, and asks each record's owner whether it is there.</summary>
public sealed class LineageCheck(Lineage lineage, DatasetStore datasets, FeatureRegistry features, RunStore runs, DeploymentStore deployments)
{
    /// <summary>What its checks are called.</summary>
    public const string Name = "lineage";

    /// <summary>Checks one version; the detail names each hop, or the first that is broken.</summary>
    public VerificationCheck Run(ModelVersionRecord version)
    {
        if (version.RunId is not { } runId)
        {
            return new VerificationCheck(Name, version.Node.ToString(), false, "Broken at run: the version names no run.");
        }

        var run = new NodeRef(NodeKinds.Run, runId);

        // Without a training set the data and the views lead to the run itself.
        var trainedOn = version.TrainingSetSha256 is { } sha256 ? new NodeRef(NodeKinds.TrainingSet, sha256) : run;

        // From each stop, so that a hop missing further down does not hide the hops above it.
        IReadOnlyList<LineageEdge> edges = [.. lineage.EdgesTo(trainedOn), .. lineage.EdgesTo(run), .. lineage.EdgesTo(version.Node)];
        var open = deployments.ListOpen().FirstOrDefault(row => row.Model == version.Model && row.Version == version.Version && row.Arm == "stable");
        var fault = DataFault(version, edges, trainedOn)
            ?? FeatureFault(version, edges, trainedOn)
            ?? RunFault(version, edges, trainedOn, run)
            ?? DeploymentFault(version, open?.Id);
        if (fault is not null)
        {
            return new VerificationCheck(Name, version.Node.ToString(), false, fault);
        }

        var path = new[]
        {
            $"data {string.Join(" + ", version.Datasets.Select(dataset => $"{dataset.Name}@{dataset.Version}"))}",
            $"features {string.Join(" + ", version.FeatureSchema.ViewVersions)}",
            $"run {runId}", $"version {version.Node.Id}", $"deployment {open!.Id}",
        };
        return new VerificationCheck(Name, version.Node.ToString(), true, $"{string.Join(" -> ", path)}.");
    }

    private string? DataFault(ModelVersionRecord version, IReadOnlyList<LineageEdge> edges, NodeRef trainedOn)
    {
        if (version.Datasets.Count == 0)
        {
            return "Broken at data: the version names no dataset version.";
        }

        foreach (var dataset in version.Datasets)
        {
            var node = new NodeRef(NodeKinds.DatasetVersion, $"{dataset.Name}@{dataset.Version}");
            var stored = datasets.Find(dataset.Name, dataset.Version);
            if (stored is null || stored.Sha256 != dataset.Sha256)
            {
                return stored is null
                    ? $"Broken at data: {node} is not on record."
                    : $"Broken at data: {node} has SHA-256 {stored.Sha256}, the version was trained on {dataset.Sha256}.";
            }

            if (!Linked(edges, node, trainedOn))
            {
                return $"Broken at data -> features: no edge leads from {node} to {trainedOn}.";
            }
        }

        return null;
    }

    private string? FeatureFault(ModelVersionRecord version, IReadOnlyList<LineageEdge> edges, NodeRef trainedOn)
    {
        if (version.FeatureSchema.ViewVersions.Count == 0)
        {
            return "Broken at features: the version names no feature view.";
        }

        foreach (var view in version.FeatureSchema.ViewVersions)
        {
            var node = new NodeRef(NodeKinds.FeatureView, view);
            if (features.FindView(view) is null)
            {
                return $"Broken at features: {node} is not on record.";
            }

            if (!Linked(edges, node, trainedOn))
            {
                return $"Broken at features -> run: no edge leads from {node} to {trainedOn}.";
            }
        }

        return null;
    }

    private string? RunFault(ModelVersionRecord version, IReadOnlyList<LineageEdge> edges, NodeRef trainedOn, NodeRef run) =>
        runs.Find(run.Id) is null ? $"Broken at run: {run} is not on record."
        : trainedOn != run && !Linked(edges, trainedOn, run) ? $"Broken at features -> run: no edge leads from {trainedOn} to {run}."
        : !Linked(edges, run, version.Node) ? $"Broken at run -> version: no edge leads from {run} to {version.Node}."
        : null;

    private string? DeploymentFault(ModelVersionRecord version, string? deployment) =>
        deployment is null ? $"Broken at version -> deployment: {version.Node} is in production, but no deployment of it runs."
        : !Linked(lineage.EdgesFrom(version.Node), version.Node, new NodeRef(NodeKinds.Deployment, deployment)) ? $"Broken at version -> deployment: no edge leads from {version.Node} to deployment {deployment}."
        : null;

    private static bool Linked(IReadOnlyList<LineageEdge> edges, NodeRef from, NodeRef to) => edges.Any(edge => edge.From == from && edge.To == to);
}
