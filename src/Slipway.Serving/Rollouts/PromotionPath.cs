using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Serving.Rollouts;

/// <summary>What a rollout needs from the registry.</summary>
/// <param name="StageOf">The version's stage (model, version); null when there is no such version.</param>
/// <param name="Approved">Whether the version (model, version) has an approved promotion to production.</param>
/// <param name="DemandAlive">Refuses a version (model, version) whose life has ended.</param>
/// <param name="ExecuteAsync">Carries that promotion out.</param>
/// <param name="WithdrawAsync">Closes an open promotion to production, with a reason, so that a failed version cannot be promoted on an old approval.</param>
internal sealed record PromotionPath(
    Func<string, string, Stage?> StageOf,
    Func<string, string, bool> Approved,
    Action<string, string> DemandAlive,
    Func<string, string, Caller, CancellationToken, Task> ExecuteAsync,
    Func<string, string, string, Caller, CancellationToken, Task> WithdrawAsync);
