using System.Diagnostics;
using Slipway.Contracts.Registry;

namespace Slipway.Cli.LoadTesting;

/// <summary>What happened to one request.</summary>
/// <param name="LatencyMs">From when it should have been sent to its end.</param>
/// <param name="SendDelayMs">From when it should have been sent to when it was.</param>
/// <param name="EndedMs">Since the step's start.</param>
/// <param name="IsGood">Whether it was answered with a prediction.</param>
internal readonly record struct SentRequest(double LatencyMs, double SendDelayMs, double EndedMs, bool IsGood);

/// <summary>
/// Sends requests on schedule, whatever the answers do. A loop that waits for one answer before the next request would send less
/// just when the server is slow, and leave out the waiting that real callers have (Tene's "coordinated omission"); here latency
/// counts from the intended time.
/// </summary>
internal static class OpenLoop
{
    /// <summary>Runs one step.</summary>
    /// <param name="rate">Requests a second.</param>
    /// <param name="duration">How long; at least one request is sent.</param>
    /// <param name="timeout">After which a request without an answer has failed.</param>
    /// <param name="send">Sends one request; false for a refusal. An exception is a failure too.</param>
    /// <param name="ct">Ends the step.</param>
    public static async Task<IReadOnlyList<SentRequest>> RunAsync(double rate, TimeSpan duration, TimeSpan timeout, Func<CancellationToken, Task<bool>> send, CancellationToken ct)
    {
        var count = RequestsOf(rate, duration);
        var requests = new Task<SentRequest>[count];

        // A thread of its own: the pool is busy with answers, and a late schedule would be held against the server.
        var dispatch = Task.Factory.StartNew(() =>
        {
            var watch = Stopwatch.StartNew();
            for (var i = 0; i < count && !ct.IsCancellationRequested; i++)
            {
                var intendedMs = IntendedMs(i, rate);
                for (var left = intendedMs - watch.Elapsed.TotalMilliseconds; left > 0; left = intendedMs - watch.Elapsed.TotalMilliseconds)
                {
                    Thread.Sleep(left > 1.5 ? (int)(left - 0.5) : 0);
                }

                requests[i] = Task.Run(() => SendAsync(watch, intendedMs, timeout, send, ct), CancellationToken.None);
            }
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await dispatch;
        ct.ThrowIfCancellationRequested();
        return await Task.WhenAll(requests);
    }

    /// <summary>How many requests a step sends.</summary>
    public static int RequestsOf(double rate, TimeSpan duration) => Math.Max(1, (int)Math.Round(rate * duration.TotalSeconds));

    /// <summary>When a request should be sent, milliseconds since the step's start.</summary>
    public static double IntendedMs(int request, double rate) => request * 1000.0 / rate;

    private static async Task<SentRequest> SendAsync(Stopwatch watch, double intendedMs, TimeSpan timeout, Func<CancellationToken, Task<bool>> send, CancellationToken ct)
    {
        var sentMs = watch.Elapsed.TotalMilliseconds;
        var isGood = false;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(timeout);
        try
        {
            isGood = await send(limit.Token);
        }
        catch (Exception) when (!ct.IsCancellationRequested)
        {
            // Refused connections, broken answers and time-outs are what is counted here.
        }

        var endedMs = watch.Elapsed.TotalMilliseconds;
        return new SentRequest(endedMs - intendedMs, sentMs - intendedMs, endedMs, isGood);
    }
}

/// <summary>The figures of a step, and what follows from them.</summary>
internal static class LoadFigures
{
    private const double RateShareMin = 0.99;

    /// <summary>Sums a step up.</summary>
    /// <param name="rate">Requests a second that were asked for.</param>
    /// <param name="seconds">The step's length.</param>
    /// <param name="requests">At least one.</param>
    /// <param name="p95MsMax">The limit of the 95th percentile.</param>
    /// <param name="errorShareMax">The limit of failures, 0 to 1.</param>
    public static LoadTestStep Step(double rate, double seconds, IReadOnlyList<SentRequest> requests, double p95MsMax, double errorShareMax)
    {
        var latencies = requests.Select(request => request.LatencyMs).Order().ToArray();
        var delays = requests.Select(request => request.SendDelayMs).Order().ToArray();
        var errors = requests.Count(request => !request.IsGood);

        // What ends after the step only because an answer takes its time is not lost rate; what is still waiting beyond the limit is.
        var achieved = rate * requests.Count(request => request.EndedMs <= (seconds * 1000) + p95MsMax) / requests.Count;
        var p95 = Percentile(latencies, 0.95);
        var held = p95 <= p95MsMax && (double)errors / requests.Count <= errorShareMax && achieved >= RateShareMin * rate;
        return new LoadTestStep(rate, achieved, requests.Count, errors, Percentile(latencies, 0.5), p95, Percentile(latencies, 0.99), Percentile(latencies, 0.999), Percentile(delays, 0.99), held);
    }

    /// <summary>The nearest-rank percentile: the smallest value that at least that share of the values does not exceed.</summary>
    /// <param name="sorted">Ascending, not empty.</param>
    /// <param name="share">Above 0, at most 1.</param>
    public static double Percentile(ReadOnlySpan<double> sorted, double share) => sorted[Math.Max(0, (int)Math.Ceiling((share * sorted.Length) - 1e-9) - 1)];

    /// <summary>The highest rate that held, when all lower ones did too; null when the lowest did not.</summary>
    public static double? SafeRate(IEnumerable<LoadTestStep> steps) => steps.OrderBy(step => step.Rate).TakeWhile(step => step.Held).Select(step => (double?)step.Rate).LastOrDefault();
}
