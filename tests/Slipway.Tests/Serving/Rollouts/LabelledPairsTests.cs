using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Contracts.Serving;
using Slipway.Serving;
using Slipway.Serving.Labels;
using Slipway.Serving.Rollouts;

namespace Slipway.Tests.Serving.Rollouts;

[Trait("database", "none")]
public sealed class LabelledPairsTests
{
    [Fact, Trait("capability", "REG-08")]
    public async Task Losses_are_paired_by_prediction_and_only_since_the_rollout_began()
    {
        using var data = new TemporaryData();
        await using var predictions = ServingFixtures.OpenLog(data);
        await using var labels = new LabelLog(data.Options, TimeProvider.System, NullLogger<LabelLog>.Instance);
        var start = TimeProvider.System.GetUtcNow().AddSeconds(-1);
        var (stable, shadow, candidate) = (new Arm(ArmRole.Stable, ServingFixtures.Model("1.0.0")), new Arm(ArmRole.Shadow, ServingFixtures.Model("1.1.0")), new Arm(ArmRole.Candidate, ServingFixtures.Model("1.1.0")));
        var now = start.AddSeconds(1).ToUnixTimeMilliseconds();
        predictions.Append(stable, "a", now, [1, 2], 0.2f);
        predictions.Append(shadow, "a", now, [1, 2], 0.6f);
        predictions.Append(stable, "b", now, [1, 2], 0.2f);
        predictions.Append(shadow, "b", now, [1, 2], 0.4f);
        predictions.Append(candidate, "c", now, [1, 2], 0.7f);
        predictions.Append(stable, "unlabelled", now, [1, 2], 0.2f);
        predictions.Append(shadow, "unlabelled", now, [1, 2], 0.9f);
        predictions.Append(stable, "before", now - 3_600_000, [1, 2], 0.2f);
        predictions.Append(shadow, "before", now - 3_600_000, [1, 2], 0.9f);
        await labels.AppendAsync("delay", [new Label("a", 1, start), new Label("b", 0, start), new Label("c", 1, start), new Label("before", 1, start)], default);
        var rollout = new RolloutRow("r1", "delay", "1.1.0", "1.0.0", "delay", 1, RolloutStatus.Running, 0, start, "ada", "", start, null, null, null);
        var reader = new LabelledPairs(predictions, labels);

        var brier = await reader.ReadAsync(rollout, QualityMetric.Brier, default);
        var accuracy = await reader.ReadAsync(rollout, QualityMetric.Accuracy, default);

        // a: 0.16 - 0.64, b: 0.16 - 0.04; c is the candidate's alone.
        Assert.Equal((2, 3), (brier.Pairs, brier.Labelled));
        Assert.Equal(-0.36, brier.SumDifference, precision: 6);
        Assert.Equal(0.48 * 0.48 + 0.12 * 0.12, brier.SumSquaredDifference, precision: 6);
        Assert.Equal(0.16 + 0.16 + 0.09, brier.SumLoss, precision: 6);
        // a: the stable version was wrong, the candidate right.
        Assert.Equal(new QualityEvidence(2, -1, 1, 3, 0), accuracy with { Split = null });

        // What each answered by itself: c alone, and a and b.
        var split = brier.Split!;
        Assert.Equal((1, 2), (split.Candidate, split.Stable));
        Assert.Equal((0.09, 0.34, 0.18), (Math.Round(split.CandidateMean, 6), Math.Round(split.StableMean, 6), Math.Round(split.StableVariance, 6)));
    }

    [Fact]
    public async Task Answers_to_callers_who_named_a_version_are_no_evidence()
    {
        using var data = new TemporaryData();
        await using var predictions = ServingFixtures.OpenLog(data);
        await using var labels = new LabelLog(data.Options, TimeProvider.System, NullLogger<LabelLog>.Instance);
        var start = TimeProvider.System.GetUtcNow().AddSeconds(-1);
        var now = start.AddSeconds(1).ToUnixTimeMilliseconds();
        predictions.Append(new Arm(ArmRole.Candidate, ServingFixtures.Model("1.1.0")), "a", now, [1, 2], 0.7f);
        foreach (var version in new[] { "1.0.0", "1.1.0" })
        {
            // The same id again, and one of their own.
            predictions.Append(new Arm(ArmRole.Direct, ServingFixtures.Model(version)), "a", now + 5, [1, 2], 0f);
            predictions.Append(new Arm(ArmRole.Direct, ServingFixtures.Model(version)), "b", now, [1, 2], 0f);
            predictions.Append(new Arm(ArmRole.Fallback, ServingFixtures.Model(version)), "c", now, [1, 2], 0f);
        }

        await labels.AppendAsync("delay", [new Label("a", 1, start), new Label("b", 1, start), new Label("c", 1, start)], default);
        var rollout = new RolloutRow("r1", "delay", "1.1.0", "1.0.0", "delay", 1, RolloutStatus.Running, 0, start, "ada", "", start, null, null, null);

        var read = await new LabelledPairs(predictions, labels).ReadAsync(rollout, QualityMetric.Brier, default);

        Assert.Equal((0, 1), (read.Pairs, read.Labelled));
        Assert.Equal(0.09, read.SumLoss, precision: 6);
    }

    [Fact]
    public async Task Without_labels_there_is_nothing_to_judge()
    {
        using var data = new TemporaryData();
        await using var predictions = ServingFixtures.OpenLog(data);
        await using var labels = new LabelLog(data.Options, TimeProvider.System, NullLogger<LabelLog>.Instance);
        var start = TimeProvider.System.GetUtcNow();
        var rollout = new RolloutRow("r1", "delay", "1.1.0", "1.0.0", "delay", 1, RolloutStatus.Running, 0, start, "ada", "", start, null, null, null);

        Assert.Equal(QualityEvidence.None, await new LabelledPairs(predictions, labels).ReadAsync(rollout, QualityMetric.Brier, default));
    }
}
