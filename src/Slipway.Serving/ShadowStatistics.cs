using Slipway.Serving.Protocol;

namespace Slipway.Serving;

/// <summary>When two outputs for the same input count as a disagreement.</summary>
/// <param name="DecisionThreshold">An output at or above it is a yes; a yes against a no disagrees.</param>
/// <param name="Tolerance">Outputs further apart than this disagree even when the decision is the same.</param>
public sealed record ShadowCriteria(double DecisionThreshold = 0.5, double Tolerance = 0.1);

/// <summary>Paired comparisons of a shadow with the stable version since the shadow began; each figure only grows.</summary>
/// <param name="Compared">Rows that both versions scored.</param>
/// <param name="Disagreements">Rows whose decision differs or whose outputs are further apart than the tolerance.</param>
/// <param name="DecisionsDiffer">Rows whose decision differs.</param>
/// <param name="MaxDifference">The largest |difference| of the outputs.</param>
/// <param name="DifferenceSum">Sum of |difference|.</param>
/// <param name="SignedDifferenceSum">Sum of shadow minus stable: a shift of all outputs shows here.</param>
/// <param name="Errors">Requests that the shadow failed.</param>
/// <param name="Dropped">Requests not mirrored because the queue was full.</param>
/// <param name="Incomparable">Requests not mirrored because the shadow needs a feature that the stable version's request does not hold.</param>
/// <param name="Latency">Durations of the shadow's runs.</param>
public sealed record ShadowSnapshot(
    long Compared, long Disagreements, long DecisionsDiffer, double MaxDifference, double DifferenceSum, double SignedDifferenceSum,
    long Errors, long Dropped, long Incomparable, LatencyHistogram Latency)
{
    /// <summary>Disagreements as a share of the compared rows; 0 when there were none.</summary>
    public double DisagreementRate => Compared == 0 ? 0 : (double)Disagreements / Compared;

    /// <summary>Mean |difference| of the outputs; 0 when there were none.</summary>
    public double MeanDifference => Compared == 0 ? 0 : DifferenceSum / Compared;
}

/// <summary>How a shadow's answers compare with those that were sent. Written by the one mirror worker and by tests; read by anyone.</summary>
/// <param name="criteria">What counts as a disagreement.</param>
/// <param name="stableSkew">
/// Counts the copies that the shadow has scored in the bins of the stable version's baseline, so that the two versions' skew
/// compares on the same rows even when a slow shadow drops most copies; null counts nothing.
/// </param>
/// <param name="shadowSkew">Counts the same copies in the bins of the shadow's own baseline; null counts nothing.</param>
public sealed class ShadowStatistics(ShadowCriteria criteria, FeatureSkew? stableSkew = null, FeatureSkew? shadowSkew = null)
{
    private readonly Lock _lock = new();
    private readonly long[] _latency = new long[LatencyHistogram.BucketCount];
    private long _compared;
    private long _disagreements;
    private long _decisionsDiffer;
    private long _errors;
    private long _dropped;
    private long _incomparable;
    private double _max;
    private double _sum;
    private double _signedSum;

    /// <summary>What counts as a disagreement.</summary>
    public ShadowCriteria Criteria { get; } = criteria;

    /// <summary>The scored copies against the stable version's baseline; null when it has none.</summary>
    public FeatureSkew? StableSkew { get; } = stableSkew;

    /// <summary>The same copies against the shadow's baseline; null when it has none.</summary>
    public FeatureSkew? ShadowSkew { get; } = shadowSkew;

    /// <summary>Counts the inputs of one scored copy. One caller at a time.</summary>
    public void CountInputs(ReadOnlySpan<float> features)
    {
        StableSkew?.Count(features);
        ShadowSkew?.Count(features);
    }

    /// <summary>Adds one compared row.</summary>
    public void Record(double stable, double shadow) =>
        Record(stable >= Criteria.DecisionThreshold != shadow >= Criteria.DecisionThreshold, shadow - stable);

    /// <summary>
    /// Adds the answers to one request of tensors, as one compared row: its decision differs when a whole number, a truth value or a text does, or a single
    /// value stands on the other side of the threshold; its difference is the largest of any element. Outputs that only one of the two gives, or in
    /// other shapes, differ.
    /// </summary>
    internal void Record(IReadOnlyList<AnswerTensor> stable, IReadOnlyList<AnswerTensor> shadow)
    {
        var decisionDiffers = stable.Count != shadow.Count;
        var widest = 0d;
        foreach (var one in stable)
        {
            var other = shadow.FirstOrDefault(answer => answer.Name == one.Name);
            if (other is null || other.Datatype != one.Datatype || !other.Shape.AsSpan().SequenceEqual(one.Shape))
            {
                decisionDiffers = true;
            }
            else if (one.Datatype is Datatype.FP16 or Datatype.BF16 or Datatype.FP32 or Datatype.FP64)
            {
                var size = one.Datatype.Size();
                for (var at = 0; at < one.Data.Length; at += size)
                {
                    var (before, now) = (Numbers.At(one.Datatype, one.Data, at), Numbers.At(one.Datatype, other.Data, at));
                    decisionDiffers |= one.Data.Length == size && before >= Criteria.DecisionThreshold != now >= Criteria.DecisionThreshold;
                    var difference = before.Equals(now) ? 0 : now - before; // Two infinities, or two that are no number, agree.
                    decisionDiffers |= double.IsNaN(difference);
                    widest = Math.Abs(difference) > Math.Abs(widest) ? difference : widest;
                }
            }
            else
            {
                decisionDiffers |= !one.Data.AsSpan().SequenceEqual(other.Data);
            }
        }

        Record(decisionDiffers, widest);
    }

    private void Record(bool decisionDiffers, double difference)
    {
        lock (_lock)
        {
            _compared++;
            _decisionsDiffer += decisionDiffers ? 1 : 0;
            _disagreements += decisionDiffers || !(Math.Abs(difference) <= Criteria.Tolerance) ? 1 : 0;
            _max = Math.Max(_max, Math.Abs(difference));
            _sum += Math.Abs(difference);
            _signedSum += difference;
        }
    }

    /// <summary>Adds the duration of one mirrored request, and whether the shadow failed it.</summary>
    public void RecordRun(long latencyUs, bool failed)
    {
        lock (_lock)
        {
            _latency[LatencyHistogram.BucketOf(latencyUs)]++;
            _errors += failed ? 1 : 0;
        }
    }

    /// <summary>The figures now.</summary>
    public ShadowSnapshot Snapshot()
    {
        lock (_lock)
        {
            return new ShadowSnapshot(
                _compared, _disagreements, _decisionsDiffer, _max, _sum, _signedSum, _errors,
                Interlocked.Read(ref _dropped), Interlocked.Read(ref _incomparable), new LatencyHistogram([.. _latency]));
        }
    }

    // These two happen on the request path, which takes no lock.
    internal void CountDropped() => Interlocked.Increment(ref _dropped);

    internal void CountIncomparable() => Interlocked.Increment(ref _incomparable);
}
