using Slipway.Contracts.Serving;
using Slipway.Storage;

namespace Slipway.Serving.Rollouts;

/// <summary>What people tell a running rollout; each word is refused in one sentence when it does not fit where the rollout stands.</summary>
public sealed class RolloutControls
{
    private readonly RolloutController _controller;
    private readonly RolloutReports _reports;

    internal RolloutControls(RolloutController controller, RolloutReports reports) => (_controller, _reports) = (controller, reports);

    /// <summary>Sends all traffic back to the stable version.</summary>
    public async Task<RolloutResponse> AbortAsync(string id, string reason, Caller by, CancellationToken cancellationToken) =>
        _reports.Of(await _controller.AbortAsync(id, reason, by, cancellationToken), decisions: true);

    /// <summary>Keeps it in its step; breaches still take it back.</summary>
    public async Task<RolloutResponse> PauseAsync(string id, string reason, Caller by, CancellationToken cancellationToken) =>
        _reports.Of(await _controller.PauseAsync(id, reason, by, cancellationToken), decisions: true);

    /// <summary>Lets it go on.</summary>
    public async Task<RolloutResponse> ResumeAsync(string id, string reason, Caller by, CancellationToken cancellationToken) =>
        _reports.Of(await _controller.ResumeAsync(id, reason, by, cancellationToken), decisions: true);

    /// <summary>Begins the next step or, with <paramref name="toFull"/>, finishes.</summary>
    public async Task<RolloutResponse> PromoteAsync(string id, string reason, bool toFull, int? fromStep, Caller by, CancellationToken cancellationToken) =>
        _reports.Of(await _controller.PromoteAsync(id, reason, toFull, fromStep, by, cancellationToken), decisions: true);
}
