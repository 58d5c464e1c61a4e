using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Rollouts;

/// <summary>Starts rollouts, looks at their evidence a few times a second, and moves the routes.</summary>
/// <remarks>
/// On a breach the routes change first and the row is written afterwards: traffic is back on the stable version even when the
/// database is slow, gone or its disk full. A stop between the two finds the rollout running again, in the same step, with what was
/// counted until a few seconds before; the breach is then found again.
/// </remarks>
internal sealed class RolloutController(
    RolloutStore store, ModelRouter router, DefinitionStore definitions, PromotionPath promotions, LabelledPairs labels, Leases leases,
    RolloutOptions options, TimeProvider clock, ILogger<RolloutController> logger) : BackgroundService
{
    private const string LeaseName = "rollouts";

    // Holds that change a verdict are stored, but not more often than this, nor than a two-hundredth of the rollout's age: one that
    // flickers for a month leaves two thousand rows and not millions.
    private static readonly TimeSpan HoldsApart = TimeSpan.FromSeconds(1);
    private const int HoldsAgeParts = 200;
    private static readonly TimeSpan LeaseTime = TimeSpan.FromSeconds(5);

    // What a look or a person waits for the database where it must not hold up what follows.
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(100);

    private readonly ConcurrentDictionary<string, LiveRollout> _live = new(StringComparer.Ordinal);
    private IReadOnlyList<RolloutRow> _running = [];
    private Lease? _lease;
    private Task<Lease?>? _renewal;
    private DateTimeOffset _leaseRenewAt;
    private volatile bool _isRouted;

    /// <summary>Whether the rollouts that were running when the server started have their traffic again.</summary>
    public bool IsRouted => _isRouted;

    /// <summary>Checks everything that can be checked, sends the first copies or requests to the candidate, and stores the rollout.</summary>
    /// <exception cref="SlipwayException">The sentence says which precondition is not met; nothing was started.</exception>
    public async Task<RolloutRow> StartAsync(StartRolloutRequest request, Caller by, CancellationToken cancellationToken)
    {
        Demand(request.Model, "model");
        Demand(request.Version, "version");
        Demand(request.Reason, "reason");
        var (definition, spec) = FindSpec(request);
        store.RefuseSecond(request.Model);
        if (promotions.StageOf(request.Model, request.Version) is { } stage and (Stage.Development or Stage.Archived))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"Version {request.Version} of '{request.Model}' is in {stage.ToString().ToLowerInvariant()}; only a version in staging, which has passed that gate, may take live traffic.");
        }

        promotions.DemandAlive(request.Model, request.Version);
        var stable = router.Find(request.Model)?.Stable ?? throw new SlipwayException(ErrorCode.FailedPrecondition,
            $"'{request.Model}' has no loaded production version to go back to; promote its first version directly, and see the server's log if one should be loaded.");

        await DemandLeaseAsync(cancellationToken);
        var id = Guid.CreateVersion7(clock.GetUtcNow()).ToString("N");
        var live = new LiveRollout(spec);
        await live.Turn.WaitAsync(cancellationToken);
        try
        {
            Route(id, spec, 0, request.Version);
            try
            {
                var candidate = router.Loaded(request.Model, request.Version)!;
                CheckSkewFeatures(spec, candidate);
                live.CountFrom(0, router.Find(request.Model)!, candidate);
                _live[id] = live;
                return await store.CreateAsync(id, spec, definition.Version, request.Version, stable.Version, request.Reason, by, cancellationToken);
            }
            catch
            {
                _live.TryRemove(id, out _);
                router.ClearCandidate(request.Model, "stopped", "the rollout could not be started");
                throw;
            }
        }
        finally
        {
            live.Turn.Release();
        }
    }

    /// <summary>Sends all traffic back to the stable version on a person's word.</summary>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: it has ended already.</exception>
    public async Task<RolloutRow> AbortAsync(string id, string reason, Caller by, CancellationToken cancellationToken)
    {
        Demand(reason, "reason");
        var running = store.Get(id);
        DemandRunning(running, "abort");
        var live = LiveOf(running);
        if (!await live.Turn.WaitAsync(Patience, cancellationToken))
        {
            // A look waits for the database. The traffic need not: the look ends the rollout when this does not come to it.
            var stuck = Stopwatch.GetTimestamp();
            live.Pending = new Restored(Stop($"Aborted by {by.Name}: {reason}"), RolloutEvidence.None, null, 0);
            router.ClearCandidate(running.Model, "rolled_back", reason);
            live.Pending = live.Pending with { RestoreMs = Stopwatch.GetElapsedTime(stuck).TotalMilliseconds };
            await live.Turn.WaitAsync(cancellationToken);
        }

        try
        {
            var row = store.Get(id);
            DemandRunning(row, "abort");
            var began = Stopwatch.GetTimestamp();
            router.ClearCandidate(row.Model, "rolled_back", reason);
            // Should the row not be written, the next look must end the rollout too, and not bring the candidate back.
            var restored = new Restored(Stop($"Aborted by {by.Name}: {reason}"), RolloutEvidence.None, null, Stopwatch.GetElapsedTime(began).TotalMilliseconds);
            live.Pending = restored;
            var ended = await store.AbortAsync(row, reason, restored.RestoreMs, by, cancellationToken);
            await WithdrawPromotionAsync(row, reason, by, cancellationToken);
            _live.TryRemove(id, out _);
            return ended;
        }
        finally
        {
            live.Turn.Release();
        }
    }

    /// <summary>Keeps a rollout in its step, with its traffic as it is, until it is resumed. Breaches still take it back.</summary>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: it has ended, or is paused already.</exception>
    public Task<RolloutRow> PauseAsync(string id, string reason, Caller by, CancellationToken cancellationToken) => InTurnAsync(id, reason, "pause", (row, _) =>
        row.Pause is { } pause
            ? throw new SlipwayException(ErrorCode.FailedPrecondition, $"Rollout {id} is paused already, by {pause.By}: {pause.Reason}.")
            : store.PauseAsync(row, pause: true, reason, by, cancellationToken), cancellationToken);

    /// <summary>Lets a paused rollout go on.</summary>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: it has ended, or is not paused.</exception>
    public Task<RolloutRow> ResumeAsync(string id, string reason, Caller by, CancellationToken cancellationToken) => InTurnAsync(id, reason, "resume", (row, _) =>
        row.Pause is null
            ? throw new SlipwayException(ErrorCode.FailedPrecondition, $"Rollout {id} is not paused; there is nothing to resume.")
            : store.PauseAsync(row, pause: false, reason, by, cancellationToken), cancellationToken);

    /// <summary>Begins the next step, or finishes, without waiting for the step's conditions. A paused rollout stays paused in the next step.</summary>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: it has ended, is not in step <paramref name="fromStep"/> (from 1), or what follows needs an approved promotion and there is none.</exception>
    public Task<RolloutRow> PromoteAsync(string id, string reason, bool toFull, int? fromStep, Caller by, CancellationToken cancellationToken) => InTurnAsync(id, reason, "promote", async (row, live) =>
    {
        if (fromStep is { } expected && expected != row.Step + 1)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"Rollout {id} is in step {row.Step + 1}, not in step {expected} as 'from_step' says; look at it again before you move it.");
        }

        if (router.Find(row.Model)?.Stable?.Version != row.StableVersion || !TryRoute(row, live, out _))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"Rollout {id} has no traffic to move yet: versions {row.StableVersion} and {row.Version} of '{row.Model}' must both be loaded; try again, and see the server's log.");
        }

        var full = toFull || row.Step == live.Spec.Steps.Count - 1;
        var approved = promotions.Approved(row.Model, row.Version);
        if (!approved && (full || RolloutRules.NeedsApproval(live.Spec, row.Step)))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"Version {row.Version} of '{row.Model}' has no approved promotion to production, which all traffic needs; ask another user to approve one.");
        }

        // What was passed over is kept with the decision.
        var evidence = live.Collect(router.Find(row.Model)!, approved);
        var found = RolloutRules.Decide(live.Spec, RolloutState.Of(row), evidence, clock.GetUtcNow());
        if (found.Action == RolloutAction.RollBack)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"Rollout {id} is about to go back: {found.Reason}");
        }

        if (full)
        {
            await promotions.ExecuteAsync(row.Model, row.Version, by, cancellationToken);
            // The routes stay until serving has made the version the stable one.
            var completed = await store.PromoteAsync(row, found with { Action = RolloutAction.Complete, Reason = $"Promoted to all traffic by {by.Name}: {reason}" }, evidence, reason, by, cancellationToken);
            _live.TryRemove(id, out _);
            return completed;
        }

        var next = await store.PromoteAsync(row, found with { Action = RolloutAction.Advance, Reason = $"Promoted to the next step by {by.Name}: {reason}" }, evidence, reason, by, cancellationToken);
        TryRoute(next, live, out _);
        return next;
    }, cancellationToken);

    private async Task<RolloutRow> InTurnAsync(string id, string reason, string verb, Func<RolloutRow, LiveRollout, Task<RolloutRow>> act, CancellationToken cancellationToken)
    {
        Demand(reason, "reason");
        var row = store.Get(id);
        DemandRunning(row, verb);
        var live = LiveOf(row);
        await live.Turn.WaitAsync(cancellationToken);
        try
        {
            row = store.Get(id);
            DemandRunning(row, verb);
            return live.Pending is null ? await act(row, live)
                : throw new SlipwayException(ErrorCode.FailedPrecondition, $"Rollout {id} is going back ({live.Pending.Decision.Reason}); there is nothing to {verb}.");
        }
        finally
        {
            live.Turn.Release();
        }
    }

    private static void DemandRunning(RolloutRow row, string verb)
    {
        if (row.Status != RolloutStatus.Running)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"Rollout {row.Id} has ended already ({row.EndReason}); there is nothing to {verb}.");
        }
    }

    /// <summary>The newest look at a running rollout; null before the first one in this process.</summary>
    public LookedAt? Latest(string id) => _live.GetValueOrDefault(id)?.Latest;

    /// <summary>The definition that a rollout follows, as it was when the rollout began.</summary>
    public RolloutSpec SpecOf(RolloutRow row) =>
        RolloutSpec.Parse(DefinitionYaml.Parse(definitions.Find(RolloutSpec.Kind, row.SpecName, row.SpecVersion)!.Yaml));

    /// <summary>Begins to look. A server with no rollout to put back is ready for its part at once.</summary>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        _isRouted = store.Running().Count == 0;
        return base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.Interval, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                await LookAtAllAsync(stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                logger.LogError(e, "The rollouts could not be looked at; next attempt in {Interval}", options.Interval);
            }
        }
    }

    /// <summary>One look at every running rollout.</summary>
    internal async Task LookAtAllAsync(CancellationToken cancellationToken)
    {
        var running = Running(cancellationToken);
        try
        {
            RouteAll(running);
        }
        catch (Exception e) when (e is not SlipwayException && !cancellationToken.IsCancellationRequested)
        {
            logger.LogError(e, "What the database says of the rollouts could not be read");
        }

        if (running.Count == 0 || await HoldLeaseAsync(cancellationToken) is not { } lease)
        {
            return;
        }

        foreach (var row in running)
        {
            try
            {
                await LookAtAsync(row, lease, cancellationToken);
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested)
            {
                // One model's trouble must not keep another's rollout from going back.
                logger.LogError(e, "Rollout {Rollout} of {Model} could not be looked at", row.Id, row.Model);
            }
        }
    }

    // Those last known, when the database cannot be asked: their traffic is watched all the same.
    private IReadOnlyList<RolloutRow> Running(CancellationToken cancellationToken)
    {
        try
        {
            _running = store.Running();
        }
        catch (Exception e) when (_running.Count > 0 && !cancellationToken.IsCancellationRequested)
        {
            logger.LogError(e, "The rollouts could not be read; looking at the {Count} that were running", _running.Count);
        }

        return _running;
    }

    // Traffic needs no lease: a restarted server sends the candidate its share before it says that it is ready, whoever judges the rollout.
    private void RouteAll(IReadOnlyList<RolloutRow> running)
    {
        var waits = false;
        foreach (var row in running.Where(_ => !_isRouted))
        {
            var table = router.Find(row.Model);
            if (table?.Stable?.Version == row.StableVersion && table.Salt != row.Id)
            {
                try
                {
                    Route(row.Id, SpecOf(row), row.Step, row.Version);
                }
                catch (SlipwayException)
                {
                    // It cannot be loaded: the look takes the rollout back and says why.
                }
            }
            else if (table?.Stable?.Version != row.StableVersion)
            {
                waits |= promotions.StageOf(row.Model, row.StableVersion) == Stage.Production;
            }
        }

        _isRouted |= !waits;

        // Another server on the database may have ended one: its candidate must not go on here.
        foreach (var table in router.Tables.Where(table => table.Salt.Length > 0 && running.All(row => row.Id != table.Salt)))
        {
            if (store.Find(table.Salt) is { Status: RolloutStatus.RolledBack or RolloutStatus.Aborted } ended)
            {
                _live.TryRemove(ended.Id, out _);
                router.ClearCandidate(table.Model, "rolled_back", ended.EndReason ?? "the rollout has ended");
            }
        }
    }

    private RolloutRow Current(RolloutRow known)
    {
        try
        {
            return store.Get(known.Id);
        }
        catch (Exception e) when (e is not SlipwayException)
        {
            return known; // The database is away. What is written by it is fenced, and refused when the rollout has ended.
        }
    }

    private async Task LookAtAsync(RolloutRow known, Lease lease, CancellationToken cancellationToken)
    {
        var id = known.Id;
        var live = LiveOf(known);
        await live.Turn.WaitAsync(cancellationToken);
        try
        {
            // Read again: it may have been aborted while this look waited its turn.
            var row = Current(known);
            if (row.Status != RolloutStatus.Running)
            {
                _live.TryRemove(id, out _);
                return;
            }

            if (live.Pending is { } restored)
            {
                await RecordRollbackAsync(row, live, restored, lease, cancellationToken);
                return;
            }

            if (Withdrawn(row) is { } withdrawn)
            {
                await RollBackAsync(row, live, Stop(withdrawn), RolloutEvidence.None, null, lease, cancellationToken);
                return;
            }

            // While the server starts, the production version may still be loading.
            if (router.Find(row.Model) is not { Stable: { } stable })
            {
                return;
            }

            if (stable.Version == row.Version)
            {
                await RecordAsync(row, live, new RolloutDecision(RolloutAction.Complete, $"Version {row.Version} is in production.", []), RolloutEvidence.None, null, lease, cancellationToken);
                return;
            }

            if (stable.Version != row.StableVersion)
            {
                await RollBackAsync(row, live, Stop($"The production version changed from {row.StableVersion} to {stable.Version} during the rollout; its evidence is against a version that is gone."),
                    RolloutEvidence.None, null, lease, cancellationToken);
                return;
            }

            if (!TryRoute(row, live, out var fault))
            {
                await RollBackAsync(row, live, Stop($"Version {row.Version} can no longer be loaded: {fault}"), RolloutEvidence.None, null, lease, cancellationToken);
                return;
            }

            await JudgeAsync(row, live, lease, cancellationToken);
        }
        finally
        {
            live.Turn.Release();
        }
    }

    // A version that somebody has archived or deleted may answer nobody any more, whatever its figures are.
    private string? Withdrawn(RolloutRow row)
    {
        try
        {
            return promotions.StageOf(row.Model, row.Version) switch
            {
                null => $"Version {row.Version} was deleted during the rollout.",
                Stage.Archived or Stage.Development => $"Version {row.Version} was taken out of staging during the rollout.",
                _ => promotions.StageOf(row.Model, row.StableVersion) is not Stage.Production && router.Find(row.Model)?.Stable is null
                    ? $"Version {row.StableVersion}, which the rollout goes back to, was taken out of production during the rollout." : null,
            };
        }
        catch (Exception e) when (e is not SlipwayException)
        {
            return null; // The database is away, and cannot say.
        }
    }

    private bool IsApproved(RolloutRow row)
    {
        try
        {
            return promotions.Approved(row.Model, row.Version);
        }
        catch (Exception e) when (e is not SlipwayException)
        {
            return false; // The database is away: nothing goes on before it is back, and a breach goes back without it.
        }
    }

    private async Task JudgeAsync(RolloutRow row, LiveRollout live, Lease lease, CancellationToken cancellationToken)
    {
        await ReadLabelsAsync(row, live, cancellationToken);
        var evidence = live.Collect(router.Find(row.Model)!, IsApproved(row));
        var now = clock.GetUtcNow();
        var decision = RolloutRules.Decide(live.Spec, RolloutState.Of(row), evidence, now);
        live.Latest = new LookedAt(row.Step, decision, evidence);
        switch (decision.Action)
        {
            case RolloutAction.RollBack:
                await RollBackAsync(row, live, decision, evidence, now, lease, cancellationToken);
                break;
            case RolloutAction.Complete:
                await CompleteAsync(row, live, decision, evidence, now, lease, cancellationToken);
                break;
            case RolloutAction.Advance:
                var next = await RecordAsync(row, live, decision, evidence, now, lease, cancellationToken);
                TryRoute(next, live, out _);
                break;
            default:
                if (live.Keeping.IsCompleted && now - live.KeptAt >= options.CountsInterval)
                {
                    live.KeptAt = now;
                    live.Keeping = KeepAsync(row.Id, live, lease, cancellationToken);
                }

                await StoreHoldAsync(row, live, decision, evidence, now, lease, cancellationToken);
                break;
        }
    }

    private async Task KeepAsync(string id, LiveRollout live, Lease lease, CancellationToken cancellationToken)
    {
        try
        {
            if (live.Counted is { } counted)
            {
                await store.KeepCountsAsync(id, counted, lease, cancellationToken);
            }
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            logger.LogWarning(e, "What rollout {Rollout} has counted could not be kept", id);
        }
    }

    private async Task RollBackAsync(RolloutRow row, LiveRollout live, RolloutDecision decision, RolloutEvidence evidence, DateTimeOffset? at, Lease lease, CancellationToken cancellationToken)
    {
        var detected = Stopwatch.GetTimestamp();
        router.ClearCandidate(row.Model, "rolled_back", decision.Reason);
        live.Pending = new Restored(decision, evidence, at, Stopwatch.GetElapsedTime(detected).TotalMilliseconds);
        logger.LogWarning("Rollout {Rollout} of {Model} {Version} went back to {Stable}: {Reason}", row.Id, row.Model, row.Version, row.StableVersion, decision.Reason);
        await RecordRollbackAsync(row, live, live.Pending, lease, cancellationToken);
    }

    // Tried again with each look until it is written: the routes are back, and the record must follow.
    private async Task RecordRollbackAsync(RolloutRow row, LiveRollout live, Restored restored, Lease lease, CancellationToken cancellationToken)
    {
        await store.RecordAsync(row, restored.Decision, restored.Evidence, restored.At, lease, restored.RestoreMs, cancellationToken);
        _live.TryRemove(row.Id, out _);
        await WithdrawPromotionAsync(row, restored.Decision.Reason, Caller.System("rollouts"), cancellationToken);
    }

    private async Task CompleteAsync(RolloutRow row, LiveRollout live, RolloutDecision decision, RolloutEvidence evidence, DateTimeOffset at, Lease lease, CancellationToken cancellationToken)
    {
        try
        {
            await promotions.ExecuteAsync(row.Model, row.Version, Caller.System("rollouts"), cancellationToken);
        }
        catch (SlipwayException refusal)
        {
            var text = $"The registry refuses the promotion: {refusal.Message}";
            var gate = new RolloutGateReading("approval", "limit", GateVerdict.Waiting, null, null, null, null, text);
            var hold = new RolloutDecision(RolloutAction.Hold, text, [.. decision.Gates, gate]);
            live.Latest = new LookedAt(row.Step, hold, evidence);
            await StoreHoldAsync(row, live, hold, evidence, null, lease, cancellationToken);
            return;
        }

        // The routes stay: the candidate answers everything until serving has made it the stable version.
        await RecordAsync(row, live, decision, evidence, at, lease, cancellationToken);
        _live.TryRemove(row.Id, out _);
    }

    private async Task StoreHoldAsync(RolloutRow row, LiveRollout live, RolloutDecision decision, RolloutEvidence evidence, DateTimeOffset? at, Lease lease, CancellationToken cancellationToken)
    {
        var signature = $"{row.Step}:{string.Join(",", decision.Gates.Select(gate => $"{gate.Gate}/{gate.Check}/{gate.Verdict}"))}";
        var now = clock.GetUtcNow();
        if (signature == live.StoredSignature || now - live.StoredAt < TimeSpan.FromTicks(Math.Max(HoldsApart.Ticks, (now - row.StartedAt).Ticks / HoldsAgeParts)))
        {
            return;
        }

        await RecordAsync(row, live, decision, evidence, at, lease, cancellationToken);
        (live.StoredSignature, live.StoredAt) = (signature, now);
    }

    private async Task<RolloutRow> RecordAsync(
        RolloutRow row, LiveRollout live, RolloutDecision decision, RolloutEvidence evidence, DateTimeOffset? at, Lease lease, CancellationToken cancellationToken)
    {
        var stored = await store.RecordAsync(row, decision, evidence, at, lease, null, cancellationToken);
        if (decision.Action == RolloutAction.Complete)
        {
            _live.TryRemove(row.Id, out _);
            logger.LogInformation("Rollout {Rollout}: {Model} {Version} is in production", row.Id, row.Model, row.Version);
        }

        return stored;
    }

    // Beside the looks: a join takes seconds where there is much, and may fail, while errors and latency are judged.
    private async Task ReadLabelsAsync(RolloutRow row, LiveRollout live, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        var apart = TimeSpan.FromTicks(Math.Max(options.QualityInterval.Ticks, (now - row.StartedAt).Ticks / 20));
        if (live.Reading is null && now - live.QualityReadAt >= apart)
        {
            live.Reading = (row.Step, labels.ReadAsync(row, live.Spec.Quality.Metric, cancellationToken));
        }

        if (live.Reading is { } reading)
        {
            await Task.WhenAny(reading.Join, Task.Delay(options.QualityWait, clock, cancellationToken));
            if (reading.Join.IsCompleted)
            {
                // From the end of the read: a slow one must not be followed by the next at once.
                (live.Reading, live.QualityReadAt) = (null, clock.GetUtcNow());
                if (reading.Join.IsCompletedSuccessfully)
                {
                    (live.Quality, live.QualityStep) = (await reading.Join, reading.Step);
                }
                else
                {
                    logger.LogError(reading.Join.Exception, "The labels of rollout {Rollout} of {Model} could not be read; it is judged by those known before", row.Id, row.Model);
                }
            }
        }

        if (live.QualityStep != row.Step)
        {
            live.Quality = live.Quality with { Split = null }; // Of the step before.
        }
    }

    private async Task WithdrawPromotionAsync(RolloutRow row, string reason, Caller by, CancellationToken cancellationToken)
    {
        try
        {
            await promotions.WithdrawAsync(row.Model, row.Version, $"Rollout {row.Id} stopped: {reason}", by, cancellationToken);
        }
        catch (SlipwayException e)
        {
            // Closed by somebody else in the meantime.
            logger.LogWarning(e, "The promotion of {Model} {Version} was not withdrawn", row.Model, row.Version);
        }
    }

    private bool TryRoute(RolloutRow row, LiveRollout live, out string? fault)
    {
        fault = null;
        var step = live.Spec.Steps[row.Step];
        var table = router.Find(row.Model)!;
        var inPlace = step.Shadow
            ? table.Shadow?.Version == row.Version && table.Candidate is null
            : table.Candidate?.Version == row.Version && Math.Abs(table.Share - step.Reach / 100) < 1e-9 && table.IsByFlag == step.IsByFlag && table.Shadow is null;
        if (!inPlace || table.Salt != row.Id)
        {
            try
            {
                Route(row.Id, live.Spec, row.Step, row.Version);
            }
            catch (SlipwayException e)
            {
                fault = e.Message;
                return false;
            }

            table = router.Find(row.Model)!;
        }

        live.CountFrom(row.Step, table, router.Loaded(row.Model, row.Version)!);
        return true;
    }

    private void Route(string id, RolloutSpec spec, int index, string version)
    {
        var step = spec.Steps[index];
        var criteria = spec.Disagreement is { } trigger ? new ShadowCriteria(trigger.DecisionThreshold, trigger.Tolerance) : null;
        router.SetCandidate(spec.Model, version, step.Shadow ? 0 : step.Reach / 100, step.Shadow, salt: id, spec.StickyKey == StickyKey.Entity, criteria, step.IsByFlag ? spec.Flags : null);
    }

    private (Definition Definition, RolloutSpec Spec) FindSpec(StartRolloutRequest request)
    {
        var known = definitions.List(RolloutSpec.Kind).Select(definition => (Definition: definition, Spec: RolloutSpec.Parse(DefinitionYaml.Parse(definition.Yaml)))).ToList();
        if (request.Spec is { } name)
        {
            var named = known.Find(pair => pair.Spec.Name == name);
            return named.Spec?.Model == request.Model ? named : throw new SlipwayException(ErrorCode.InvalidArgument, named.Spec is null
                ? $"'spec' names no applied rollout definition '{name}'; apply one with kind: rollout first."
                : $"'spec' names the rollout definition '{name}', which is for model '{named.Spec.Model}', not '{request.Model}'.");
        }

        var own = known.Where(pair => pair.Spec.Model == request.Model).ToList();
        if (own.Find(pair => pair.Spec.Name == request.Model) is { Spec: not null } main)
        {
            return main;
        }

        return own.Count switch
        {
            1 => own[0],
            0 => throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"No rollout definition is applied for model '{request.Model}'; apply one with kind: rollout that declares error, latency and quality limits."),
            _ => throw new SlipwayException(ErrorCode.InvalidArgument, $"Model '{request.Model}' has several rollout definitions; choose one with 'spec': {string.Join(", ", own.Select(pair => pair.Spec.Name))}."),
        };
    }

    // A trigger on a feature nobody counts would be quiet for ever.
    private static void CheckSkewFeatures(RolloutSpec spec, LoadedModel candidate)
    {
        if (spec.Skew is not { } skew)
        {
            return;
        }

        var counted = candidate.Skew.Snapshot().Select(feature => feature.Name).ToHashSet(StringComparer.Ordinal);
        if (counted.Count == 0)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"Version {candidate.Version} of '{candidate.Model}' has no training statistics to compare live inputs with; remove 'triggers.skew' or register the version with its baseline.");
        }

        if (skew.Features.Keys.Where(feature => !counted.Contains(feature)).ToList() is { Count: > 0 } unknown)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"'triggers.skew.features' names {string.Join(", ", unknown)}, which version {candidate.Version} of '{candidate.Model}' has no statistics for; it has {string.Join(", ", counted.Order(StringComparer.Ordinal))}.");
        }
    }

    private static RolloutDecision Stop(string reason) =>
        new(RolloutAction.RollBack, reason, [new RolloutGateReading("route", "limit", GateVerdict.Breached, null, null, null, null, reason)]);

    private static void Demand(string? text, string field)
    {
        if (string.IsNullOrWhiteSpace(text))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' is missing; give it a text.");
        }
    }

    private LiveRollout LiveOf(RolloutRow row) => _live.GetOrAdd(row.Id, _ => new LiveRollout(SpecOf(row), store.Counted(row.Id)));

    // Who starts a rollout sends it its traffic, and must be the one that watches it. A server that stopped keeps the lease for a few seconds.
    private async Task DemandLeaseAsync(CancellationToken cancellationToken)
    {
        for (var waited = 0; await leases.TryAcquireAsync(LeaseName, LeaseTime, cancellationToken) is null; waited++)
        {
            if (waited > 2 * LeaseTime.TotalSeconds)
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, "Another server on this database looks after the rollouts, and would not see this one's traffic; start it there.");
            }

            await Task.Delay(TimeSpan.FromSeconds(0.5), clock, cancellationToken);
        }
    }

    private async Task<Lease?> HoldLeaseAsync(CancellationToken cancellationToken)
    {
        // A lease per look would be four flushes of the disk a second.
        var now = clock.GetUtcNow();
        if (_renewal is null && (_lease is null || now >= _leaseRenewAt))
        {
            _renewal = leases.TryAcquireAsync(LeaseName, LeaseTime, cancellationToken);
        }

        if (_renewal is { } renewal)
        {
            // With one in hand the look goes on while the database is slow or its disk full: all it writes is fenced, and routes need no lease.
            if (_lease is not null)
            {
                await Task.WhenAny(renewal, Task.Delay(Patience, clock, cancellationToken));
            }

            if (_lease is null || renewal.IsCompleted)
            {
                _renewal = null;
                _leaseRenewAt = now + (LeaseTime / 3);
                try
                {
                    _lease = await renewal;
                }
                catch (Exception e) when (_lease is not null && !cancellationToken.IsCancellationRequested)
                {
                    logger.LogWarning(e, "The lease of the rollouts could not be renewed; looking at them all the same");
                }
            }
        }

        return _lease;
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        if (_lease is { } lease)
        {
            foreach (var (id, live) in _live)
            {
                await KeepAsync(id, live, lease, cancellationToken);
            }

            // A restarted server need not wait for the lease to run out.
            await leases.ReleaseAsync(lease, cancellationToken);
        }
    }
}
