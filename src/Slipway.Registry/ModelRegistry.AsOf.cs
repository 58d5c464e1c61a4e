using System.Data.Common;
using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    /// <summary>What stood at a place at an instant, what trained it, and who let it in.</summary>
    /// <param name="model">Model.</param>
    /// <param name="place">A stage, an environment, or <c>@alias</c>.</param>
    /// <param name="at">The instant.</param>
    public AsOfReport AsOf(string model, string place, DateTimeOffset at)
    {
        var atMs = at.ToUnixTimeMilliseconds();
        return database.Read(connection => new AsOfReport(model, place, at, place is ['@', .. var alias]
            ? Placed(connection, PlaceTable.AsOf(connection, model, "alias", alias, atMs))
            : StageRules.TryParse(place, out var stage)
                ? [.. StageTable.InStageAsOf(connection, model, stage, atMs).Select(change => Describe(
                    connection, change.Model, change.Version, change.At, change.Cause, change.By, change.Reason, change.PromotionId))]
                : Placed(connection, PlaceTable.AsOf(connection, model, "environment", place, atMs))));
    }

    /// <summary>Changes of environments and aliases, oldest first, of one version or of the whole model.</summary>
    public IReadOnlyList<PlaceChange> PlaceHistory(string model, string? version = null) => database.Read(connection => PlaceTable.History(connection, model, version));

    private static IReadOnlyList<AsOfVersion> Placed(DbConnection connection, PlaceChange? change) => change is { Version: { } version }
        ? [Describe(connection, change.Model, version, change.At, change.Kind is "alias" ? "alias" : "promotion", change.By, change.Reason, change.PromotionId)]
        : [];

    private static AsOfVersion Describe(
        DbConnection connection, string model, string version, DateTimeOffset since, string cause, string by, string reason, string? promotionId)
    {
        var record = VersionTable.Find(connection, model, version)!;

        // A rollback needs no approval of its own: the version had it when it first went in.
        var approvedIn = promotionId ?? StageTable.History(connection, model, version).LastOrDefault(change => change.PromotionId is not null && change.At <= since)?.PromotionId;
        var approvals = approvedIn is null ? [] : PromotionTable.Find(connection, approvedIn)!.Decisions.Where(decision => decision.Approved).ToList();
        return new AsOfVersion(version, since, cause, by, reason, promotionId, approvals, record.RunId, record.Commit, record.TrainingSetSha256, record.Datasets);
    }
}
