namespace Slipway.Serving;

/// <summary>Settings of the request path and its logs.</summary>
public sealed class ServingOptions
{
    /// <summary>Longest body of an inference or label request; longer ones are answered 413.</summary>
    public long BodyBytesMax { get; set; } = 64L << 20;

    /// <summary>Requests the prediction log holds until its writer comes by; a power of two. Beyond it, requests are answered but not logged, and counted.</summary>
    public int LogRequestsMax { get; set; } = 16_384;

    /// <summary>How often the prediction log hands its rows to the system, and so how much a killed process may lose.</summary>
    public TimeSpan LogInterval { get; set; } = TimeSpan.FromMilliseconds(200);

    /// <summary>Rows after which a journal becomes a Parquet segment.</summary>
    public int SegmentRows { get; set; } = 200_000;

    /// <summary>Requests that wait for the shadow; beyond it, copies are dropped and counted.</summary>
    public int MirrorRequestsMax { get; set; } = 4_096;

    /// <summary>A folder of models in Triton's layout, served without being registered; null for none.</summary>
    public string? ModelRepository { get; set; }

    /// <summary>The hosts that registered models may be run on.</summary>
    public Remote.RemoteHosts RemoteHosts { get; set; } = Remote.RemoteHosts.None;

    /// <summary>The Redis server whose streams models score; null for none.</summary>
    public Storage.Redis.RedisAddress? Redis { get; set; }

    /// <summary>How long a stream's message may take to arrive once it has begun, beside what its bytes take at the rate at which any body must arrive.</summary>
    public TimeSpan MessageWait { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Versions kept in memory beside the routed ones, because somebody asked for them by name.</summary>
    public int PinnedVersionsMax { get; set; } = 16;
}
