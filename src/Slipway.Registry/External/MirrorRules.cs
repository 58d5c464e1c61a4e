using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;

namespace Slipway.Registry.External;

/// <summary>A version that stands elsewhere than the external server says.</summary>
internal sealed record MirrorMove(MirrorRow Row, Stage To, string Reason);

/// <summary>Decides where mirrored versions stand. Pure.</summary>
internal static class MirrorRules
{
    /// <summary>The moves that make the mirror agree; those out of production come first, since two versions may never be in it.</summary>
    /// <param name="versions">All versions of one model.</param>
    public static IReadOnlyList<MirrorMove> Moves(IReadOnlyList<MirrorRow> versions)
    {
        var production = StageRules.Name(Stage.Production);
        // MLflow lets several versions be in Production; models:/name/Production then means the newest of them.
        var top = versions.Where(version => version.ExternalStage == production).Select(version => version.Number).DefaultIfEmpty().Max();
        return [.. versions
            .Select(version => version.ExternalStage switch
            {
                MirrorRow.Deleted => new MirrorMove(version, Stage.Archived, "deleted on the MLflow server"),
                var stage when stage == production && version.Number != top =>
                    new MirrorMove(version, Stage.Archived, $"in Production on the MLflow server beside version {top}, which is the one that models:/{version.Model}/Production means"),
                var stage => new MirrorMove(version, StageRules.Parse(stage), $"moved to {ExternalVersion.StageName(StageRules.Parse(stage))} on the MLflow server"),
            })
            .Where(move => StageRules.Name(move.To) != move.Row.LocalStage)
            .OrderBy(move => move.Row.LocalStage == production ? 0 : 1).ThenBy(move => move.Row.Number)];
    }
}
