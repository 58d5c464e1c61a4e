using System.Collections.Concurrent;
using Slipway.Contracts.Pipelines;

namespace Slipway.Pipelines.Runs;

/// <summary>How far the run at work is: kept in memory, because a row per step would cost more than it tells.</summary>
internal sealed class RunProgress
{
    private readonly ConcurrentDictionary<string, PipelineProgress> _running = new(StringComparer.Ordinal);
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes at the next change of any run.</summary>
    public Task Changed => Volatile.Read(ref _changed).Task;

    /// <summary>The run's progress: from memory while it is at work here, else as its row tells.</summary>
    public PipelineProgress Of(PipelineRun run) =>
        run.FinishedAt is null && _running.TryGetValue(run.Id, out var progress) ? progress : run.Progress;

    /// <summary>Sets the progress of a run.</summary>
    public void Set(string runId, PipelineProgress progress)
    {
        _running[runId] = progress;
        Wake();
    }

    /// <summary>Forgets an ended run.</summary>
    public void End(string runId)
    {
        _running.TryRemove(runId, out _);
        Wake();
    }

    /// <summary>Tells those who wait that something changed.</summary>
    public void Wake() =>
        Interlocked.Exchange(ref _changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
}
