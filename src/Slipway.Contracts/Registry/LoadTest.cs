namespace Slipway.Contracts.Registry;

/// <summary>What a version's server bore: requests sent on schedule at rising rates, whatever the answers did.</summary>
/// <param name="P95MsMax">The limit of the 95th percentile, milliseconds.</param>
/// <param name="ErrorShareMax">The limit of the share of failed requests, 0 to 1.</param>
/// <param name="StepSeconds">How long each rate was kept up.</param>
/// <param name="Steps">In the order they ran, with rising rates.</param>
/// <param name="SafeRate">The highest rate whose step held, requests a second; null when none did.</param>
/// <param name="Request">What was sent: <c>example</c> for the contract's example request, else the file's name.</param>
public sealed record LoadTest(double P95MsMax, double ErrorShareMax, double StepSeconds, IReadOnlyList<LoadTestStep> Steps, double? SafeRate, string Request)
{
    /// <summary>When it was stored; set by the server.</summary>
    public DateTimeOffset MeasuredAt { get; init; }

    /// <summary>Who ran it; set by the server.</summary>
    public string MeasuredBy { get; init; } = "";
}

/// <summary>One rate of a load test. Latencies count from when a request should have been sent, milliseconds.</summary>
/// <param name="Rate">Requests a second that were asked for.</param>
/// <param name="AchievedRate">Answers a second, refusals too, within the step and the latency limit after it.</param>
/// <param name="Requests">Sent.</param>
/// <param name="Errors">Without a good answer.</param>
/// <param name="P50Ms">Median.</param>
/// <param name="P95Ms">95th percentile.</param>
/// <param name="P99Ms">99th percentile.</param>
/// <param name="P999Ms">99.9th percentile.</param>
/// <param name="SendDelayP99Ms">How late the generator itself was, 99th percentile: where this is large, its machine was the limit.</param>
/// <param name="Held">Whether the step kept the limits and at least 99 % of its rate.</param>
public sealed record LoadTestStep(
    double Rate, double AchievedRate, int Requests, int Errors, double P50Ms, double P95Ms, double P99Ms, double P999Ms, double SendDelayP99Ms, bool Held)
{
    /// <summary>Share of requests without a good answer, 0 to 1.</summary>
    public double ErrorShare => Requests == 0 ? 0 : (double)Errors / Requests;
}

/// <summary>Answer of <c>GET /models/{model}/versions/{version}/load-tests</c>.</summary>
/// <param name="LoadTests">Newest first.</param>
public sealed record LoadTestList(IReadOnlyList<LoadTest> LoadTests);
