namespace Slipway.Native.Onnx;

/// <summary>How a session runs. One thread a run and many runs side by side is what serving wants.</summary>
public sealed record OnnxSessionOptions
{
    /// <summary>Threads within one operator; 0 takes one per processor.</summary>
    public int IntraOpThreads { get; init; } = 1;

    /// <summary>Threads across operators.</summary>
    public int InterOpThreads { get; init; } = 1;

    /// <summary>Whether idle threads burn processor time to answer sooner.</summary>
    public bool AllowSpinning { get; init; }

    /// <summary>Whether the runtime may fuse and fold operators.</summary>
    public bool Optimize { get; init; } = true;

    /// <summary>Where the runtime writes the graph as it has fused and folded it, with nothing in it that only this machine's processor knows; null for nowhere.</summary>
    public string? OptimizedPath { get; init; }
}
