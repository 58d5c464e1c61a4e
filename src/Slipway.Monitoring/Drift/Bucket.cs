namespace Slipway.Monitoring.Drift;

/// <summary>What one version served in one step of the cadence.</summary>
internal sealed class Bucket(BinLayout layout)
{
    public BinLayout Layout { get; } = layout;

    public long[] Counts { get; } = new long[layout.Width];

    public long Rows { get; set; }

    public long NewestMs { get; set; } = long.MinValue;
}

/// <summary>A closed window: the buckets of the version that served its newest row, added up.</summary>
/// <param name="EndMs">Its end, in event time; the end itself is outside.</param>
/// <param name="Layout">The version's bins.</param>
/// <param name="Rows">Rows of that version.</param>
/// <param name="Counts">Its counts.</param>
/// <param name="Reference">What it is compared with.</param>
/// <param name="Newest">The buckets of its last step, one per version: the rows no earlier window has.</param>
internal sealed record ClosedWindow(long EndMs, BinLayout Layout, long Rows, long[] Counts, long[] Reference, IReadOnlyList<Bucket> Newest);
