using Slipway.Contracts.Serving;
using Slipway.Storage;

namespace Slipway.Serving.Rollouts;

/// <summary>A rollout as stored. The id is also the salt of its assignment, so that a restart sends each key to the same version as before; the step is an index from 0.</summary>
internal sealed record RolloutRow(
    string Id, string Model, string Version, string StableVersion, string SpecName, long SpecVersion, RolloutStatus Status, int Step, DateTimeOffset StepStartedAt,
    string RequestedBy, string StartReason, DateTimeOffset StartedAt, DateTimeOffset? EndedAt, string? EndReason, double? RestoreMs, RolloutPause? Pause = null)
{
    public NodeRef Node => new(NodeKinds.Rollout, Id);

    public NodeRef VersionNode => new(NodeKinds.ModelVersion, $"{Model}@{Version}");
}
