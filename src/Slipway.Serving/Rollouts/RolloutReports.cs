using Slipway.Contracts.Serving;

namespace Slipway.Serving.Rollouts;

/// <summary>Rollouts as people and programs see them: the stored rows, with the newest look at those that run.</summary>
public sealed class RolloutReports
{
    private readonly RolloutController _controller;
    private readonly RolloutStore _store;

    internal RolloutReports(RolloutController controller, RolloutStore store) => (_controller, _store) = (controller, store);

    /// <summary>Newest first, without their decision logs; of all models when <paramref name="model"/> is null.</summary>
    public IReadOnlyList<RolloutResponse> List(string? model = null) => [.. _store.List(model).Select(row => Of(row, decisions: false))];

    /// <summary>One rollout with its decision log.</summary>
    /// <exception cref="Contracts.SlipwayException">NotFound.</exception>
    public RolloutResponse Get(string id) => Of(_store.Get(id), decisions: true);

    internal RolloutResponse Of(RolloutRow row, bool decisions)
    {
        var spec = _controller.SpecOf(row);
        var steps = _store.Steps(row.Id);
        var endReason = row.EndReason;
        if (row.Status == RolloutStatus.Running && _controller.Latest(row.Id) is { } latest && latest.Step == row.Step)
        {
            // The stored counts are those of the last stored decision; the newest look is fresher.
            steps =
            [
                .. steps.Select(step => step.Number != row.Step + 1 ? step : step with
                {
                    Requests = latest.Evidence.Candidate.Requests, Errors = latest.Evidence.Candidate.Errors,
                    StableRequests = latest.Evidence.Stable.Requests, StableErrors = latest.Evidence.Stable.Errors, Gates = latest.Decision.Gates,
                }),
            ];
            endReason = latest.Decision.Reason;
        }

        return new RolloutResponse(
            row.Id, row.Model, row.Version, row.StableVersion, row.Status, row.Step + 1, $"{row.SpecName}@{row.SpecVersion}", spec.Alpha, spec.AlphaPerCheck,
            row.RequestedBy, row.StartReason, row.StartedAt, row.EndedAt, endReason, row.RestoreMs, steps, decisions ? _store.Decisions(row.Id) : [], row.Pause);
    }
}
