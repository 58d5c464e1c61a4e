using System.Diagnostics;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Reproductions;
using Slipway.Pipelines.Stages;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Pipelines.Runs;

/// <summary>
/// Takes queued runs one after the other, under a lease. A run that was at work when its server stopped is taken up again once:
/// its finished stages come from the cache. A second stop fails it, so that a stage that kills the server is not tried for ever.
/// </summary>
internal sealed class PipelineRunner(
    PipelineStore store, StageCache cache, PipelineKind kind, RunProgress progress, ReproductionComparer reproductions, Leases leases, BlobStore blobs, StorageOptions storage,
    TimeProvider clock, ILogger<PipelineRunner> logger) : BackgroundService
{
    private const int AttemptsMax = 3;
    private static readonly TimeSpan LeaseDuration = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Poll = TimeSpan.FromSeconds(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                var changed = progress.Changed;
                if (store.Next() is not { } run || await leases.TryAcquireAsync("pipelines.runner", LeaseDuration, stoppingToken) is not { } lease)
                {
                    await changed.WaitAsync(Poll, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                    continue;
                }

                await WorkAsync(run, lease, stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                logger.LogError(e, "The pipeline runner failed; next attempt in {Poll}", Poll);
                await Task.Delay(Poll, clock, CancellationToken.None);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private async Task WorkAsync(WaitingRun run, Lease lease, CancellationToken stoppingToken)
    {
        using var lost = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
        var renewal = RenewAsync(lease, lost);
        var by = new Caller(run.CreatedBy, null);
        try
        {
            var resumed = store.Find(run.Id)!.Status == PipelineRunStatus.Running;
            if (resumed && run.Resumes >= 1)
            {
                await store.EndAsync(run.Id, PipelineRunStatus.Failed,
                    "The server stopped twice while this run was at work; see its log, then start the pipeline again: finished stages come from the cache.",
                    by, lease, stoppingToken);
                return;
            }

            await store.BeginAsync(run, resumed, lease, lost.Token);
            var (status, error) = await RunStagesAsync(run, by, lease, lost.Token);
            var reproduction = run.ReproducesVersion is null ? null : await reproductions.CompareAsync(run, error, lost.Token);
            await store.EndAsync(run.Id, status, error, by, lease, lost.Token, reproduction);
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.InvalidArgument or ErrorCode.NotFound)
        {
            // The stored text no longer parses with this build, or the version to be built again was deleted meanwhile.
            await store.EndAsync(run.Id, PipelineRunStatus.Failed, e.Message, by, lease, stoppingToken);
        }
        finally
        {
            await lost.CancelAsync();
            await renewal;
            progress.End(run.Id);
            await leases.ReleaseAsync(lease, CancellationToken.None);
        }
    }

    private async Task RenewAsync(Lease lease, CancellationTokenSource lost)
    {
        try
        {
            while (true)
            {
                await Task.Delay(LeaseDuration / 3, clock, lost.Token);
                if (await leases.TryAcquireAsync(lease.Name, LeaseDuration, lost.Token) is not { } held || held.Token != lease.Token)
                {
                    await lost.CancelAsync();
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The work has ended, or the lease is lost: nothing more to renew.
        }
    }

    private async Task<(PipelineRunStatus Status, string? Error)> RunStagesAsync(WaitingRun run, Caller by, Lease lease, CancellationToken cancellationToken)
    {
        // The stored text has its parameters filled in, but lists their defaults; and a version's model may have been renamed since.
        var pipeline = kind.Check(run.DefinitionYaml) with { Parameters = store.Find(run.Id)!.Parameters, Model = run.Model };
        var pins = reproductions.PinsOf(run);
        var wanted = run.OnlyStage is { } only ? Ancestors(pipeline, only) : [.. pipeline.Stages];
        var available = new Dictionary<string, PipelineArtifact>(StringComparer.Ordinal);
        var rejected = false;
        foreach (var (position, stage) in pipeline.Stages.Index())
        {
            if (!wanted.Contains(stage))
            {
                await store.StageEndedAsync(run.Id, position, PipelineStageStatus.Skipped, $"only stage '{run.OnlyStage}' was asked for", lease, cancellationToken);
                continue;
            }

            if (pins is not null && stage.Kind.Registers)
            {
                await store.StageEndedAsync(run.Id, position, PipelineStageStatus.Skipped, $"nothing is registered: the run builds {run.Model} {pins.Version} again", lease, cancellationToken);
                continue;
            }

            if (rejected)
            {
                await store.StageEndedAsync(run.Id, position, PipelineStageStatus.Skipped, "the model did not meet the go/no-go threshold", lease, cancellationToken);
                continue;
            }

            Report(run.Id, pipeline, position, 0, "starts");
            var (outcome, error) = await RunStageAsync(run, pipeline, pins, stage, position, available, by, lease, cancellationToken);
            if (error is not null)
            {
                foreach (var (later, skipped) in pipeline.Stages.Index().Skip(position + 1))
                {
                    await store.StageEndedAsync(run.Id, later, PipelineStageStatus.Skipped, $"stage '{stage.Name}' failed before '{skipped.Name}'", lease, cancellationToken);
                }

                return (PipelineRunStatus.Failed, error);
            }

            // A model that was registered once is compared, whatever is in production now.
            rejected |= pins is null && outcome!.Verdict == "no_go";
        }

        return (rejected ? PipelineRunStatus.Rejected : PipelineRunStatus.Succeeded, null);
    }

    private async Task<(StageOutcome? Outcome, string? Error)> RunStageAsync(
        WaitingRun run, PipelineDefinition pipeline, Pins? pins, StageDefinition stage, int position, Dictionary<string, PipelineArtifact> available,
        Caller by, Lease lease, CancellationToken cancellationToken)
    {
        var parts = StageCache.PartsOf(pipeline, stage, available);
        var answer = !stage.Kind.Cacheable ? new CacheAnswer(null, "not cached: this kind of stage always runs")
            : pins is not null ? new CacheAnswer(null, "not looked for: the version is built again from its record")
            : run.OnlyStage == stage.Name ? new CacheAnswer(null, "not looked for: this stage was asked for by name")
            : cache.Find(pipeline.Name, stage, parts);
        var inputs = stage.Inputs.Select(name => available[name]).ToList();
        await store.StageStartedAsync(run.Id, position, parts, answer.Note, inputs, lease, cancellationToken);
        if (answer.Hit is { } hit)
        {
            Adopt(available, hit.Outputs);
            await store.StageFinishedAsync(run.Id, position, null, hit, hit.Outputs, hit.Outcome, [], 0, 0, by, lease, cancellationToken);
            return (hit.Outcome, null);
        }

        var wall = clock.GetTimestamp();
        var cpu = ProcessorTime();
        for (var attempt = 1; ; attempt++)
        {
            var temporary = Directory.CreateDirectory(Path.Combine(storage.TemporaryDirectory, $"stage-{run.Id}-{position}"));
            try
            {
                var context = new StageContext(
                    run.Id, pipeline, stage, by, blobs, temporary.FullName, available, store.Find(run.Id)!.Stages, pins,
                    (share, message) => Report(run.Id, pipeline, position, share, message));
                await stage.Kind.RunAsync(context, cancellationToken);
                if (stage.Outputs.FirstOrDefault(name => context.Outputs.All(output => output.Name != name)) is { } missing)
                {
                    throw new SlipwayException(ErrorCode.FailedPrecondition, $"Stage '{stage.Name}' declares the output '{missing}' but did not write it.");
                }

                await store.StageFinishedAsync(run.Id, position, stage.Kind.Cacheable && pins is null ? parts.Key : null, null, context.Outputs, context.Outcome, context.Edges,
                    clock.GetElapsedTime(wall).TotalSeconds, (ProcessorTime() - cpu).TotalSeconds, by, lease, cancellationToken);
                Adopt(available, context.Outputs);
                return (context.Outcome, null);
            }
            catch (Exception e) when (Retry.IsTransient(e) && attempt < AttemptsMax && !cancellationToken.IsCancellationRequested)
            {
                var delay = Retry.DelayAfter(attempt);
                logger.LogWarning(e, "Stage {Stage} of run {Run} failed at attempt {Attempt}; next in {Delay}", stage.Name, run.Id, attempt, delay);
                await store.StageRetriedAsync(run.Id, position, $"attempt {attempt} failed: {Sentence(e)}; tried again after {delay.TotalSeconds:0} s", lease, cancellationToken);
                await Task.Delay(delay, clock, cancellationToken);
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested)
            {
                logger.LogError(e, "Stage {Stage} of run {Run} failed", stage.Name, run.Id);
                var message = attempt > 1 ? $"{Sentence(e)} (after {attempt} attempts)" : Sentence(e);
                await store.StageEndedAsync(run.Id, position, PipelineStageStatus.Failed, message, lease, cancellationToken);
                return (null, $"Stage '{stage.Name}' failed: {message}");
            }
            finally
            {
                temporary.Delete(recursive: true);
            }
        }
    }

    private void Report(string runId, PipelineDefinition pipeline, int position, double share, string message) =>
        progress.Set(runId, new PipelineProgress(pipeline.Stages[position].Name, (position + share) / pipeline.Stages.Count, message));

    private static void Adopt(Dictionary<string, PipelineArtifact> available, IEnumerable<PipelineArtifact> outputs)
    {
        foreach (var output in outputs)
        {
            available[output.Name] = output;
        }
    }

    private static HashSet<StageDefinition> Ancestors(PipelineDefinition pipeline, string stage)
    {
        var wanted = new HashSet<StageDefinition>();
        var needed = new HashSet<string>(StringComparer.Ordinal);
        foreach (var candidate in pipeline.Stages.Reverse())
        {
            if (candidate.Name == stage || candidate.Outputs.Any(needed.Contains))
            {
                wanted.Add(candidate);
                needed.UnionWith(candidate.Inputs);
            }
        }

        return wanted;
    }

    // Only what was written for callers leaves the log.
    private static string Sentence(Exception e) => e is SlipwayException ? e.Message.TrimEnd('.') : $"{e.GetType().Name}: {e.Message.TrimEnd('.')}";

    private static TimeSpan ProcessorTime()
    {
        using var process = Process.GetCurrentProcess();
        return process.TotalProcessorTime;
    }
}
