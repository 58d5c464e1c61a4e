namespace Slipway.Serving.Queues;

/// <summary>How many of a version's requests run at once, how many wait, and what is done together.</summary>
public sealed record QueueSettings
{
    /// <summary>Where nobody said anything: 256 requests may wait, for 10 seconds at most; nothing is batched or kept.</summary>
    public static QueueSettings Default { get; } = new();

    /// <summary>Runs at once; null for the machine's processors, and more than that for a model that takes under a millisecond.</summary>
    public int? Instances { get; init; }

    /// <summary>Requests that wait for a run; one more is refused with 429.</summary>
    public int WaitingMax { get; init; } = 256;

    /// <summary>Bytes of all requests that wait, but that one may always wait; beyond it 429 too.</summary>
    public long WaitingBytesMax { get; init; } = 256L << 20;

    /// <summary>How long a request waits; it is answered 503 after, and never run. A request's own <c>timeout</c> counts when it is shorter.</summary>
    public TimeSpan WaitMax { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Most rows of several requests that one run takes together; 1 for each request by itself.</summary>
    public int BatchRowsMax { get; init; } = 1;

    /// <summary>How long a run waits for more rows, in whole milliseconds. With zero, what came while it waited for a thread or a run goes together.</summary>
    public TimeSpan BatchDelay { get; init; }

    /// <summary>Answers kept for requests with the same features; 0 for none.</summary>
    public int CacheEntries { get; init; }
}
