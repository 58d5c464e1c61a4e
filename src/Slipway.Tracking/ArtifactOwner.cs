using System.Data.Common;
using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>Whose a file is: a run's or a logged model's. Both keep their files in tables of the same shape.</summary>
/// <param name="Table">Where its files are named.</param>
/// <param name="Column">The column of that table that holds <paramref name="Number"/>.</param>
/// <param name="Number">The owner's row.</param>
/// <param name="Node">The owner in the audit trail.</param>
internal readonly record struct ArtifactOwner(string Table, string Column, long Number, NodeRef Node)
{
    /// <summary>The owner of this id: <c>m-</c> and 32 hexadecimal digits is a logged model, all else a run.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public static ArtifactOwner Find(DbConnection connection, string id) => Find(connection, id, demandActive: false);

    /// <summary>The owner of this id when it still takes files.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: it is deleted.</exception>
    public static ArtifactOwner FindActive(DbConnection connection, string id) => Find(connection, id, demandActive: true);

    /// <summary>A run whose row is known.</summary>
    public static ArtifactOwner OfRun(long run, string runId) => new("run_artifacts", "run", run, RunStore.Node(runId));

    private static ArtifactOwner Find(DbConnection connection, string id, bool demandActive)
    {
        return LoggedModelStore.IsModelId(id)
            ? new ArtifactOwner(
                "logged_model_artifacts", "model", LoggedModelStore.Number(connection, id, includeDeleted: !demandActive), new NodeRef(LoggedModelStore.NodeKind, id))
            : OfRun(demandActive ? RunStore.DemandActive(connection, id) : RunStore.Number(connection, id), id);
    }
}
