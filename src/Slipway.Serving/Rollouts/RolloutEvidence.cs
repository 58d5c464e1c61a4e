using System.Text.Json.Serialization;
using Slipway.Contracts.Serving;

namespace Slipway.Serving.Rollouts;

/// <summary>Everything a decision is made from, counted since the step began; stored whole, so that the decision can be replayed.</summary>
/// <param name="Candidate">The candidate's requests (in a shadow step: its copies).</param>
/// <param name="Stable">The stable version's requests in the same time.</param>
/// <param name="Pairs">Answers of both versions to the same requests; null outside shadow steps.</param>
/// <param name="Skew">One entry per feature; empty outside shadow steps.</param>
/// <param name="Quality">Labelled predictions since the rollout began.</param>
/// <param name="Approved">Whether the candidate's promotion is approved.</param>
internal sealed record RolloutEvidence(
    ArmEvidence Candidate, ArmEvidence Stable, PairEvidence? Pairs, IReadOnlyList<SkewEvidence> Skew, QualityEvidence Quality, bool Approved)
{
    public static readonly RolloutEvidence None = new(ArmEvidence.None, ArmEvidence.None, null, [], QualityEvidence.None, false);

    /// <summary>With what was counted earlier in the same step. The index of a feature is that of the values counted now, which have no histogram to add to.</summary>
    public RolloutEvidence After(RolloutEvidence? earlier) => earlier is null ? this
        : this with { Candidate = Candidate.Plus(earlier.Candidate), Stable = Stable.Plus(earlier.Stable), Pairs = Pairs is null ? null : Pairs.Plus(earlier.Pairs) };
}

/// <summary>One arm.</summary>
/// <param name="Requests">All requests.</param>
/// <param name="Errors">Those that failed through the arm's fault.</param>
/// <param name="Latency">Non-empty buckets, rising.</param>
internal sealed record ArmEvidence(long Requests, long Errors, IReadOnlyList<LatencyBucket> Latency)
{
    public static readonly ArmEvidence None = new(0, 0, []);

    [JsonIgnore]
    public double ErrorRate => Requests == 0 ? 0 : (double)Errors / Requests;

    [JsonIgnore]
    public long Measured => Latency.Sum(bucket => bucket.Count);

    public ArmEvidence Plus(ArmEvidence other) => new(
        Requests + other.Requests, Errors + other.Errors,
        [.. Latency.Concat(other.Latency).GroupBy(bucket => (bucket.FromUs, bucket.ToUs)).OrderBy(same => same.Key.FromUs).Select(same => new LatencyBucket(same.Key.FromUs, same.Key.ToUs, same.Sum(bucket => bucket.Count)))]);

    /// <summary>Last microsecond of the bucket that holds the quantile; NaN without requests.</summary>
    public double LatencyQuantileUs(double q)
    {
        var rank = q * Measured;
        long seen = 0;
        foreach (var bucket in Latency)
        {
            seen += bucket.Count;
            if (seen >= rank)
            {
                return bucket.ToUs;
            }
        }

        return double.NaN;
    }

    /// <summary>Requests in buckets that lie wholly above the time: never counts a faster one.</summary>
    public long CountAbove(double us) => Latency.Where(bucket => bucket.FromUs > us).Sum(bucket => bucket.Count);

    public static ArmEvidence Of(long requests, long errors, LatencyHistogram latency) =>
        new(requests, errors, [.. latency.NonEmptyBuckets().Select(bucket => new LatencyBucket(bucket.FromUs, bucket.ToUs, bucket.Count))]);
}

/// <summary>Requests that took <paramref name="FromUs"/> to <paramref name="ToUs"/> whole microseconds.</summary>
internal sealed record LatencyBucket(double FromUs, double ToUs, long Count);

/// <summary>Pairs of answers.</summary>
/// <param name="Pairs">Rows that both versions answered.</param>
/// <param name="Disagreements">Those that differ by decision or by more than the tolerance.</param>
/// <param name="MeanDifference">Mean |difference| of the outputs.</param>
/// <param name="MaxDifference">Largest |difference| since the shadow began.</param>
/// <param name="Dropped">Requests not copied, because too many copies were waiting.</param>
/// <param name="Incomparable">Requests not copied, because the candidate needs an input they do not hold.</param>
internal sealed record PairEvidence(long Pairs, long Disagreements, double MeanDifference, double MaxDifference, long Dropped = 0, long Incomparable = 0)
{
    public PairEvidence Plus(PairEvidence? other) => other is null || other.Pairs + other.Dropped + other.Incomparable == 0 ? this : new PairEvidence(
        Pairs + other.Pairs, Disagreements + other.Disagreements, Pairs + other.Pairs == 0 ? 0 : ((Pairs * MeanDifference) + (other.Pairs * other.MeanDifference)) / (Pairs + other.Pairs),
        Math.Max(MaxDifference, other.MaxDifference), Dropped + other.Dropped, Incomparable + other.Incomparable);
}

/// <summary>One feature's live values against each version's own training statistics.</summary>
/// <param name="Feature">Its reference.</param>
/// <param name="Values">Live values counted.</param>
/// <param name="Psi">Index against the candidate's training statistics.</param>
/// <param name="StablePsi">Index of the same live values against the stable version's; null when it has no such feature.</param>
internal sealed record SkewEvidence(string Feature, long Values, double Psi, double? StablePsi);

/// <summary>Losses on labelled predictions: the squared error (brier) or one for a wrong decision (accuracy).</summary>
/// <param name="Pairs">Labelled requests that both versions answered.</param>
/// <param name="SumDifference">Sum of the candidate's loss less the stable version's.</param>
/// <param name="SumSquaredDifference">Sum of the squares of those differences.</param>
/// <param name="Labelled">Labelled answers of the candidate, paired or not.</param>
/// <param name="SumLoss">Sum of the candidate's losses over them.</param>
/// <param name="Split">Of each arm's own answers while both answered; null where that is not asked for.</param>
internal sealed record QualityEvidence(long Pairs, double SumDifference, double SumSquaredDifference, long Labelled, double SumLoss, SplitEvidence? Split = null)
{
    public static readonly QualityEvidence None = new(0, 0, 0, 0, 0);
}

/// <summary>Losses on the labelled answers of two arms that each answered requests of their own.</summary>
/// <param name="Candidate">Keys, or requests without one, that the candidate answered: what was drawn, and so the independent observations.</param>
/// <param name="CandidateMean">The mean loss of its answers.</param>
/// <param name="CandidateVariance">The variance of that mean, times <paramref name="Candidate"/>; 0 below two.</param>
/// <param name="Stable">As <paramref name="Candidate"/>, of the stable version.</param>
/// <param name="StableMean">The mean loss of its answers.</param>
/// <param name="StableVariance">As <paramref name="CandidateVariance"/>.</param>
internal sealed record SplitEvidence(long Candidate, double CandidateMean, double CandidateVariance, long Stable, double StableMean, double StableVariance)
{
    /// <summary>Labelled answers of the candidate; null in evidence of before keys were told apart.</summary>
    public long? CandidateAnswers { get; init; }

    /// <summary>Labelled answers of the stable version.</summary>
    public long? StableAnswers { get; init; }
}

/// <summary>Where a running rollout stands.</summary>
/// <param name="Step">Index into the steps, from 0.</param>
/// <param name="StepStartedAt">When it was entered.</param>
/// <param name="Pause">Null unless a person keeps it in the step.</param>
internal sealed record RolloutState(int Step, DateTimeOffset StepStartedAt, RolloutPause? Pause = null)
{
    public static RolloutState Of(RolloutRow row) => new(row.Step, row.StepStartedAt, row.Pause);
}

/// <summary>What a step has counted so far.</summary>
/// <param name="Step">From 0.</param>
/// <param name="Evidence">All of it.</param>
internal sealed record CountedStep(int Step, RolloutEvidence Evidence);

/// <summary>What the rules were asked beside the evidence; stored with the decision.</summary>
internal sealed record DecisionMoment(RolloutState State, DateTimeOffset Now);
