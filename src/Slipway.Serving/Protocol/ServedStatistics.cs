namespace Slipway.Serving.Protocol;

/// <summary>How often, and how long together.</summary>
internal readonly record struct ServedTime(long Count, long Ns);

/// <summary>Where the time of all requests of a version went, in Triton's words.</summary>
internal sealed record ServedTimes(ServedTime Success, ServedTime Fail, ServedTime Queue, ServedTime ComputeInput, ServedTime ComputeInfer, ServedTime ComputeOutput, ServedTime CacheHit, ServedTime CacheMiss);

/// <summary>What a version has served since it was loaded, by arms and by callers who named it.</summary>
/// <param name="Name">Model.</param>
/// <param name="Version">Version.</param>
/// <param name="LastInference">Unix milliseconds; 0 for never.</param>
/// <param name="InferenceCount">Rows scored.</param>
/// <param name="ExecutionCount">Runs of the model: one for each request, less those that went along with another or had a kept answer.</param>
/// <param name="InferenceStats">Times.</param>
internal sealed record ServedStatistics(string Name, string Version, long LastInference, long InferenceCount, long ExecutionCount, ServedTimes InferenceStats)
{
    public static ServedStatistics Of(LoadedModel model)
    {
        var (arm, direct) = (model.Statistics.Snapshot(), model.DirectStatistics.Snapshot());
        var (armTimes, directTimes) = (model.Statistics.Times(), model.DirectStatistics.Times());
        var failed = arm.Errors + direct.Errors;
        var succeeded = arm.Requests + direct.Requests - failed;
        var failedNs = armTimes.FailedNs + directTimes.FailedNs;
        var (a, b) = (armTimes.Succeeded, directTimes.Succeeded);
        return new ServedStatistics(
            model.Model, model.Version, Math.Max(a.AtMs, b.AtMs), arm.Rows + direct.Rows, Math.Max(0, succeeded - model.Queue.Together - (model.Queue.Cache?.Hits ?? 0)),
            new ServedTimes(
                new(succeeded, Math.Max(0, ((arm.LatencySumUs + direct.LatencySumUs) * 1000) - failedNs)), new(failed, failedNs), new(succeeded, a.WaitNs + b.WaitNs),
                new(succeeded, a.ReadNs + b.ReadNs), new(succeeded, a.ScoreNs + b.ScoreNs), new(succeeded, a.WriteNs + b.WriteNs),
                new(model.Queue.Cache?.Hits ?? 0, 0), new(model.Queue.Cache?.Misses ?? 0, 0)));
    }
}
