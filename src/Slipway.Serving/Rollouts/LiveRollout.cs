using Slipway.Statistics.Drift;

namespace Slipway.Serving.Rollouts;

/// <summary>What the process knows of a running rollout beyond its row: where the counters stood when the step began, and the newest reading.</summary>
/// <param name="spec">What it follows.</param>
/// <param name="counted">What an earlier process counted in the step it was in; null when nothing is known of one.</param>
internal sealed class LiveRollout(RolloutSpec spec, CountedStep? counted = null)
{
    private ArmSnapshot? _stable;
    private ArmSnapshot? _candidate;
    private ShadowSnapshot? _shadow;
    private Dictionary<string, FeatureSkewCounts> _stableSkew = [];
    private Dictionary<string, FeatureSkewCounts> _candidateSkew = [];
    private LoadedModel? _countedStable;
    private LoadedModel? _countedCandidate;
    private CountedStep? _counted = counted;
    private RolloutEvidence? _earlier; // Of the same step, by an earlier process or before a version was loaded again.
    private int _step = -1;

    public RolloutSpec Spec { get; } = spec;

    /// <summary>One at a time: a look of the controller, or a person's word.</summary>
    public SemaphoreSlim Turn { get; } = new(1, 1);

    /// <summary>The newest decision, for readers; null before the first look.</summary>
    public volatile LookedAt? Latest;

    /// <summary>A rollback whose routes are restored and whose row is not written yet.</summary>
    public volatile Restored? Pending;

    public QualityEvidence Quality { get; set; } = QualityEvidence.None;

    /// <summary>The step whose split <see cref="Quality"/> holds.</summary>
    public int QualityStep { get; set; } = -1;

    public DateTimeOffset QualityReadAt { get; set; }

    /// <summary>A join of predictions with labels that is under way; null when none is.</summary>
    public (int Step, Task<QualityEvidence> Join)? Reading { get; set; }

    /// <summary>A write of what was counted; the next one waits for it.</summary>
    public Task Keeping { get; set; } = Task.CompletedTask;

    public DateTimeOffset KeptAt { get; set; }

    /// <summary>What the step has counted until now; null before the first look.</summary>
    public CountedStep? Counted => _counted;

    /// <summary>What the last stored decision said; holds that say the same again are not stored.</summary>
    public string? StoredSignature { get; set; }

    public DateTimeOffset StoredAt { get; set; }

    /// <summary>Begins counting for a step, unless it is counting these very versions in it already.</summary>
    public void CountFrom(int step, RouteTable table, LoadedModel candidate)
    {
        var stable = table.Stable!.Model;
        if (_step == step && ReferenceEquals(_countedStable, stable) && ReferenceEquals(_countedCandidate, candidate))
        {
            return;
        }

        _earlier = _counted?.Step == step ? _counted.Evidence : null;
        (_step, _countedStable, _countedCandidate) = (step, stable, candidate);
        _stable = stable.Statistics.Snapshot();
        _candidate = candidate.Statistics.Snapshot();
        _shadow = table.Comparison?.Snapshot();
        _stableSkew = table.Comparison?.StableSkew is { } copies ? ByName(copies) : [];
        _candidateSkew = table.Comparison?.ShadowSkew is { } own ? ByName(own) : [];
    }

    public RolloutEvidence Collect(RouteTable table, bool approved)
    {
        var evidence = Count(table, approved).After(_earlier);
        _counted = new CountedStep(_step, evidence);
        return evidence;
    }

    private RolloutEvidence Count(RouteTable table, bool approved)
    {
        var stable = _countedStable!.Statistics.Snapshot().Since(_stable!);
        var stableArm = ArmEvidence.Of(stable.Requests, stable.Errors, stable.Latency);
        if (!Spec.Steps[_step].Shadow)
        {
            var candidate = _countedCandidate!.Statistics.Snapshot().Since(_candidate!);
            return new RolloutEvidence(ArmEvidence.Of(candidate.Requests, candidate.Errors, candidate.Latency), stableArm, null, [], Quality, approved);
        }

        var shadow = table.Comparison!.Snapshot();
        var latency = _shadow is null ? shadow.Latency : shadow.Latency.Since(_shadow.Latency);
        var compared = shadow.Compared - (_shadow?.Compared ?? 0);
        var pairs = new PairEvidence(
            compared, shadow.Disagreements - (_shadow?.Disagreements ?? 0),
            compared == 0 ? 0 : (shadow.DifferenceSum - (_shadow?.DifferenceSum ?? 0)) / compared, shadow.MaxDifference,
            shadow.Dropped - (_shadow?.Dropped ?? 0), shadow.Incomparable - (_shadow?.Incomparable ?? 0));
        return new RolloutEvidence(
            ArmEvidence.Of(latency.Count, shadow.Errors - (_shadow?.Errors ?? 0), latency), stableArm, pairs, Spec.Skew is null ? [] : Skew(table.Comparison), Quality, approved);
    }

    private static Dictionary<string, FeatureSkewCounts> ByName(FeatureSkew skew) => skew.Snapshot().ToDictionary(feature => feature.Name, StringComparer.Ordinal);

    private List<SkewEvidence> Skew(ShadowStatistics comparison)
    {
        // The very copies that the shadow scored, in the stable version's bins: a shadow too slow for all copies sees other hours than the whole traffic.
        var stable = comparison.StableSkew is { } copies ? ByName(copies) : [];
        return
        [
            .. (comparison.ShadowSkew?.Snapshot() ?? []).Select(feature =>
            {
                var (psi, values) = Psi(feature, _candidateSkew);
                return new SkewEvidence(feature.Name, values, psi, stable.TryGetValue(feature.Name, out var own) ? Psi(own, _stableSkew).Psi : null);
            }),
        ];
    }

    // Missing values are a bin of their own: a feature that stops arriving is the worst skew of all.
    private static (double Psi, long Values) Psi(FeatureSkewCounts now, Dictionary<string, FeatureSkewCounts> before)
    {
        var earlier = before.GetValueOrDefault(now.Name);
        long[] live = [.. now.Actual.Select((count, bin) => count - (earlier?.Actual[bin] ?? 0)), now.ActualNulls - (earlier?.ActualNulls ?? 0)];
        long[] trained = [.. now.Expected, now.ExpectedNulls];
        var values = live.Sum();
        return values == 0 || trained.Sum() == 0 ? (0, 0) : (Divergence.Psi(trained, live), values);
    }
}

/// <summary>One look.</summary>
internal sealed record LookedAt(int Step, RolloutDecision Decision, RolloutEvidence Evidence);

/// <summary>A rollback that has happened on the routes.</summary>
internal sealed record Restored(RolloutDecision Decision, RolloutEvidence Evidence, DateTimeOffset? At, double RestoreMs);
