using Slipway.Storage.Definitions;

namespace Slipway.Serving.Rollouts;

/// <summary>How a model's new versions take over: the steps and, declared before any traffic moves, what stops them.</summary>
/// <param name="Name">The definition's name.</param>
/// <param name="Model">The model it is for.</param>
/// <param name="Alpha">
/// Chance that the comparisons with the stable version stop a candidate that is no worse, over the whole rollout and however often
/// they are looked at. Each comparison in each step takes an equal share (Bonferroni). Fixed limits take none.
/// </param>
/// <param name="StickyKey">What decides which version answers.</param>
/// <param name="MinEvidence">Requests below which no fixed limit is judged.</param>
/// <param name="Steps">In order.</param>
/// <param name="ErrorRate">Always declared.</param>
/// <param name="Latency">Always declared.</param>
/// <param name="Quality">Always declared: the business limit.</param>
/// <param name="Disagreement">Null when not declared.</param>
/// <param name="Skew">Null when not declared.</param>
/// <param name="Strategy">How it ends.</param>
/// <param name="Decision">Of champion and challenger: what decides between them; null of other strategies.</param>
/// <param name="Flags">Of an external flag: the values that choose the candidate; empty of other strategies.</param>
internal sealed record RolloutSpec(
    string Name, string Model, double Alpha, StickyKey StickyKey, int MinEvidence, IReadOnlyList<RolloutStep> Steps,
    ErrorRateTrigger ErrorRate, LatencyTrigger Latency, QualityTrigger Quality, DisagreementTrigger? Disagreement, SkewTrigger? Skew,
    RolloutStrategy Strategy = RolloutStrategy.Canary, ChallengerDecision? Decision = null, IReadOnlyList<string>? Flags = null)
{
    public const string Kind = "rollout";

    /// <summary>One comparison's share of <see cref="Alpha"/>.</summary>
    public double AlphaPerCheck => Alpha / Math.Max(1, Steps.Sum(Comparisons) + (Quality.MaxDrop is null ? 0 : 1));

    // Quality is judged on one growing record over all steps, so it counts once and not per step.
    private int Comparisons(RolloutStep step) => step switch
    {
        { Shadow: true } => (ErrorRate.CompareStable ? 1 : 0) + (Disagreement is null ? 0 : 1),
        { Percent: < 100 } => (ErrorRate.CompareStable ? 1 : 0) + (Latency.CompareStable ? 1 : 0),
        _ => 0,
    };

    /// <summary>Reads and checks a definition file.</summary>
    /// <exception cref="Contracts.SlipwayException">InvalidArgument: all faults of the file in one sentence.</exception>
    public static RolloutSpec Parse(DefinitionYaml yaml)
    {
        if (yaml.Text("kind") is var kind && kind.Length > 0 && kind != Kind)
        {
            yaml.Fault("kind", $"must be {Kind}, not '{kind}'");
        }

        var name = yaml.Text("name");
        var model = yaml.Text("model");
        var alpha = yaml.OptionalNumber("alpha", 1e-6, 0.5) ?? 0.05;
        var stickyKey = yaml.OptionalChoice<StickyKey>("sticky_key") ?? StickyKey.Entity;
        var minEvidence = yaml.OptionalInteger("min_evidence", 20, 1_000_000) ?? 100;
        var strategy = yaml.OptionalChoice<RolloutStrategy>("strategy") ?? RolloutStrategy.Canary;
        var steps = ReadSteps(yaml, strategy);
        var decision = DecisionOf(yaml, strategy, alpha);
        var flags = FlagsOf(yaml, strategy);
        var triggers = yaml.OptionalMap("triggers");
        if (triggers is null)
        {
            yaml.Fault("triggers", "is missing; declare error_rate, latency and quality limits before any traffic moves");
            yaml.Done();
        }

        var errorRate = ErrorRateOf(triggers!);
        var latency = LatencyOf(triggers!);
        var quality = QualityOf(triggers!);
        var disagreement = triggers!.OptionalMap("disagreement") is { } d
            ? new DisagreementTrigger(d.Number("max_rate", 0.0001, 0.9999), d.OptionalNumber("tolerance", 0) ?? 0.1, d.OptionalNumber("decision_threshold") ?? 0.5)
            : null;
        var skew = triggers.OptionalMap("skew") is { } s ? SkewOf(s) : null;
        if (!steps.Any(step => step.Shadow))
        {
            // Only mirrored copies give both versions the same rows; in a canary the arms see different keys, whose inputs and
            // base rates differ without any fault of the candidate.
            foreach (var (key, declared) in new[] { ("disagreement", disagreement is not null), ("skew", skew is not null), ("quality", quality.MaxDrop is not null) })
            {
                if (declared)
                {
                    triggers.Fault(key, "compares both versions on the same requests; add a first step with 'shadow: true'");
                }
            }
        }

        yaml.Done();
        return new RolloutSpec(name, model, alpha, stickyKey, minEvidence, steps, errorRate, latency, quality, disagreement, skew, strategy, decision, flags);
    }

    private static List<RolloutStep> ReadSteps(DefinitionYaml yaml, RolloutStrategy strategy)
    {
        var steps = new List<RolloutStep>();
        var highest = 0.0;
        foreach (var item in yaml.Maps("steps"))
        {
            var shadow = item.OptionalBool("shadow") ?? false;
            if (shadow && item.Has("percent"))
            {
                item.Fault("percent", "has no meaning beside 'shadow: true'; a shadow answers nobody");
            }

            var byFlag = !shadow && strategy == RolloutStrategy.ExternalFlag;
            if (byFlag && item.Has("percent"))
            {
                item.Fault("percent", "has no meaning with an external flag, which says for each request who answers it; leave it out");
            }

            var percent = shadow || byFlag ? item.OptionalNumber("percent") ?? 0 : item.Number("percent", 0.1, 100);
            if (shadow && highest > 0)
            {
                item.Fault("shadow", "must come before the first step with 'percent'");
            }
            else if (!shadow && percent > 0 && percent <= highest)
            {
                item.Fault("percent", $"must be more than the step before ({highest} %), not {percent}");
            }

            highest = Math.Max(highest, shadow ? 0 : byFlag ? RolloutStep.FlagReach : percent);
            steps.Add(new RolloutStep(shadow, shadow ? 0 : byFlag ? RolloutStep.ByFlagPercent : percent, item.Integer("min_requests", 1), item.OptionalDuration("bake") ?? TimeSpan.Zero));
        }

        if (steps.Count == 0)
        {
            yaml.Fault("steps", "is missing; list at least one step such as {percent: 100, min_requests: 1000}");
        }
        else if (strategy == RolloutStrategy.Canary && highest < 100)
        {
            yaml.Fault("steps", "must end with 'percent: 100'");
        }
        else if (strategy == RolloutStrategy.ChampionChallenger && highest is 0 or 100)
        {
            yaml.Fault("steps", "must end with a 'percent' below 100, such as 50: both versions go on answering until one is chosen");
        }
        else if (strategy == RolloutStrategy.ExternalFlag && steps.Count(step => !step.Shadow) != 1)
        {
            yaml.Fault("steps", "must hold one step that is no shadow, such as {min_requests: 1000}: the flag decides who answers, not a share");
        }

        return steps;
    }

    private static ChallengerDecision? DecisionOf(DefinitionYaml yaml, RolloutStrategy strategy, double alpha)
    {
        if (strategy != RolloutStrategy.ChampionChallenger)
        {
            if (yaml.Has("decision"))
            {
                yaml.Fault("decision", "is for strategy champion_challenger alone; leave it out");
            }

            return null;
        }

        var map = yaml.OptionalMap("decision");
        return map is null ? new ChallengerDecision(0, alpha, false)
            : new ChallengerDecision(map.OptionalNumber("min_gain", 0, 1) ?? 0, map.OptionalNumber("alpha", 1e-6, 0.5) ?? alpha, map.OptionalBool("auto") ?? false);
    }

    private static IReadOnlyList<string> FlagsOf(DefinitionYaml yaml, RolloutStrategy strategy)
    {
        if (strategy != RolloutStrategy.ExternalFlag)
        {
            if (yaml.Has("flag"))
            {
                yaml.Fault("flag", "is for strategy external_flag alone; leave it out");
            }

            return [];
        }

        var values = yaml.Map("flag").Texts("candidate");
        if (values.Count == 0)
        {
            yaml.Fault("flag.candidate", "is missing; list the values of the request's parameter 'flag' that choose the candidate, such as [on]");
        }

        return values;
    }

    private static ErrorRateTrigger ErrorRateOf(DefinitionYaml triggers)
    {
        if (triggers.OptionalMap("error_rate") is not { } map)
        {
            triggers.Fault("error_rate", "is missing; a rollout needs an error limit, such as error_rate: {max: 0.05, compare: stable}");
            return new ErrorRateTrigger(1, false);
        }

        return new ErrorRateTrigger(map.Number("max", 0.0001, 1), CompareStable(map));
    }

    private static LatencyTrigger LatencyOf(DefinitionYaml triggers)
    {
        if (triggers.OptionalMap("latency") is not { } map)
        {
            triggers.Fault("latency", "is missing; a rollout needs a latency limit, such as latency: {percentile: 95, max_ms: 200, compare: stable}");
            return new LatencyTrigger(95, 1, false, 1, 0);
        }

        var percentile = map.Integer("percentile", 50, 99);
        return new LatencyTrigger(percentile, map.Number("max_ms", 0.001, 3_600_000), CompareStable(map),
            map.OptionalNumber("tolerance_ratio", 1, 100) ?? 1.5, map.OptionalNumber("tolerance_ms", 0, 60_000) ?? 1);
    }

    private static QualityTrigger QualityOf(DefinitionYaml triggers)
    {
        if (triggers.OptionalMap("quality") is not { } map)
        {
            triggers.Fault("quality", "is missing; a rollout needs a business limit on labelled predictions, such as quality: {metric: brier, max_drop: 0.02, min_labels: 500}");
            return new QualityTrigger(QualityMetric.Brier, 1, null, 1, 100);
        }

        if (!map.Has("metric"))
        {
            map.Fault("metric", "is missing; give it brier or accuracy");
        }

        var metric = map.OptionalChoice<QualityMetric>("metric") ?? QualityMetric.Brier;
        var maxDrop = map.OptionalNumber("max_drop", 0, 1);
        var limit = map.OptionalNumber("limit", 0, 1);
        if (!map.Has("max_drop") && !map.Has("limit"))
        {
            map.Fault("max_drop", "is missing; give the worst allowed drop against the stable version, or an absolute 'limit', or both");
        }

        return new QualityTrigger(metric, maxDrop, limit, map.Integer("min_labels", 20, 10_000_000), map.OptionalNumber("required_from_percent", 0, 100) ?? 0);
    }

    private static SkewTrigger SkewOf(DefinitionYaml map)
    {
        var features = new Dictionary<string, double>(StringComparer.Ordinal);
        if (map.OptionalMap("features") is { } own)
        {
            foreach (var feature in own.Keys)
            {
                features[feature] = own.Number(feature, 0.001, 1000);
            }
        }

        return new SkewTrigger(map.Number("psi_max", 0.001, 1000), CompareStable(map), features, map.OptionalInteger("min_values", 100, 10_000_000) ?? 500);
    }

    private static bool CompareStable(DefinitionYaml map)
    {
        if (map.OptionalText("compare") is not { } text)
        {
            return false;
        }

        if (text is not "stable")
        {
            map.Fault("compare", $"must be stable (or left out), not '{text}'");
        }

        return true;
    }
}

/// <summary>What decides which version answers a request.</summary>
internal enum StickyKey
{
    /// <summary>The request's entity key: the same key meets the same version in every step and after a restart.</summary>
    Entity,

    /// <summary>Each request by itself.</summary>
    None,
}

/// <summary>How a rollout ends.</summary>
internal enum RolloutStrategy
{
    /// <summary>The candidate takes all traffic, step by step.</summary>
    Canary,

    /// <summary>Both versions go on answering their share until the labelled answers say which is better.</summary>
    ChampionChallenger,

    /// <summary>A flag that somebody else holds says for each request who answers it, until a person ends it.</summary>
    ExternalFlag,
}

/// <summary>What decides between the champion, which is in production, and the challenger.</summary>
/// <param name="MinGain">How much lower the challenger's mean loss has to be.</param>
/// <param name="Alpha">Chance that the decision is ever wrong, however often it is looked at.</param>
/// <param name="Auto">Whether the decision is carried out; else it is a recommendation.</param>
internal sealed record ChallengerDecision(double MinGain, double Alpha, bool Auto);

/// <summary>One step.</summary>
/// <param name="Shadow">The candidate gets copies and answers nobody.</param>
/// <param name="Percent">Share of keys it answers, 0 to 100; <see cref="ByFlagPercent"/> where a flag says which.</param>
/// <param name="MinRequests">Requests the candidate must have seen in the step.</param>
/// <param name="Bake">Least time in the step.</param>
internal sealed record RolloutStep(bool Shadow, double Percent, int MinRequests, TimeSpan Bake)
{
    /// <summary>In place of a share, where a flag decides.</summary>
    public const double ByFlagPercent = -1;

    /// <summary>What such a step counts as where a share is asked for.</summary>
    public const double FlagReach = 50;

    /// <summary>Whether a flag says who answers.</summary>
    public bool IsByFlag => Percent < 0;

    /// <summary>Share of the traffic, 0 to 100.</summary>
    public double Reach => IsByFlag ? FlagReach : Percent;

    public override string ToString() => Shadow ? "shadow" : IsByFlag ? "by flag" : FormattableString.Invariant($"{Percent} %");
}

/// <summary>Failed requests.</summary>
/// <param name="Max">The candidate's own share may not exceed it.</param>
/// <param name="CompareStable">Nor may it be higher than the stable version's at the same time.</param>
internal sealed record ErrorRateTrigger(double Max, bool CompareStable);

/// <summary>Time per request.</summary>
/// <param name="Percentile">50 to 99.</param>
/// <param name="MaxMs">The candidate's own percentile may not exceed it.</param>
/// <param name="CompareStable">Nor the stable version's at the same time, stretched by the two tolerances.</param>
/// <param name="ToleranceRatio">Factor on the stable version's percentile.</param>
/// <param name="ToleranceMs">Added to it: at tens of microseconds a factor alone would stop harmless versions.</param>
internal sealed record LatencyTrigger(int Percentile, double MaxMs, bool CompareStable, double ToleranceRatio, double ToleranceMs);

/// <summary>Pairs of answers to the same request that differ in decision or by more than the tolerance.</summary>
/// <param name="MaxRate">Highest allowed share of such pairs.</param>
/// <param name="Tolerance">Difference of outputs that still counts as agreement.</param>
/// <param name="DecisionThreshold">An output at or above it is a yes.</param>
internal sealed record DisagreementTrigger(double MaxRate, double Tolerance, double DecisionThreshold);

/// <summary>Live inputs against the statistics the version was trained with.</summary>
/// <param name="PsiMax">Highest allowed population stability index of a feature.</param>
/// <param name="CompareStable">Judge the excess over the stable version's own index on the same rows: a season that moves for both is a matter for the monitor.</param>
/// <param name="Features">Limits of single features, by reference.</param>
/// <param name="MinValues">Values below which a feature is not judged.</param>
internal sealed record SkewTrigger(double PsiMax, bool CompareStable, IReadOnlyDictionary<string, double> Features, int MinValues)
{
    public double LimitOf(string feature) => Features.GetValueOrDefault(feature, PsiMax);
}

/// <summary>Measures of a labelled prediction.</summary>
internal enum QualityMetric
{
    /// <summary>Squared distance of the probability from the label; lower is better.</summary>
    Brier,

    /// <summary>Share of right decisions at 0.5; higher is better.</summary>
    Accuracy,
}

/// <summary>Predictions whose true outcome is known.</summary>
/// <param name="Metric">The measure.</param>
/// <param name="MaxDrop">Worst allowed loss against the stable version on the same requests; null to judge only the limit.</param>
/// <param name="Limit">The candidate's own worst allowed figure: a floor for accuracy, a ceiling for brier. Null for none.</param>
/// <param name="MinLabels">Labelled requests below which nothing is judged.</param>
/// <param name="RequiredFromPercent">Steps from this share on hold until the labels are there; earlier ones may pass while labels are still under way.</param>
internal sealed record QualityTrigger(QualityMetric Metric, double? MaxDrop, double? Limit, int MinLabels, double RequiredFromPercent);
