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
        predictions.Append(stable, "a", now, [1, 2], 0.2f, key: "JFK");
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
    public async Task Answers_to_one_key_are_one_observation_and_rows_of_one_request_too()
    {
        using var data = new TemporaryData();
        await using var predictions = ServingFixtures.OpenLog(data);
        await using var labels = new LabelLog(data.Options, TimeProvider.System, NullLogger<LabelLog>.Instance);
        var start = TimeProvider.System.GetUtcNow().AddSeconds(-1);
        var now = start.AddSeconds(1).ToUnixTimeMilliseconds();
        var (stable, candidate) = (new Arm(ArmRole.Stable, ServingFixtures.Model("1.0.0")), new Arm(ArmRole.Candidate, ServingFixtures.Model("1.1.0")));
        var random = new Random(3);
        var truth = new List<Label>();
        var losses = new List<(string Key, double Loss)>();
        for (var i = 0; i < 300; i++)
        {
            // Some keys are always wrong and ask more often: their answers are alike.
            var key = random.Next(10) < 6 ? random.Next(4) : 4 + random.Next(16);
            var output = key % 3 == 0 ? 0.9f : 0.1f + (0.1f * random.NextSingle());
            predictions.Append(candidate, $"c-{i}", now, [1, 2], output, key: $"key-{key}");
            truth.Add(new Label($"c-{i}", 0, start));
            losses.Add(($"key-{key}", (double)output * output));
        }

        foreach (var i in Enumerable.Range(0, 6))
        {
            predictions.Append(stable, $"s-{i / 3}#{i % 3}", now, [1, 2], 0.5f, key: "");
            truth.Add(new Label($"s-{i / 3}#{i % 3}", 0, start));
        }

        await labels.AppendAsync("delay", truth, default);
        var rollout = new RolloutRow("r1", "delay", "1.1.0", "1.0.0", "delay", 1, RolloutStatus.Running, 0, start, "ada", "", start, null, null, null);

        var split = (await new LabelledPairs(predictions, labels).ReadAsync(rollout, QualityMetric.Brier, default)).Split!;

        // The delta method by hand.
        var units = losses.GroupBy(loss => loss.Key).Select(unit => (Answers: unit.Count(), Loss: unit.Sum(loss => loss.Loss))).ToList();
        var mean = losses.Average(loss => loss.Loss);
        var ofMean = units.Count / (units.Count - 1.0) * units.Sum(unit => Math.Pow(unit.Loss - (mean * unit.Answers), 2)) / Math.Pow(losses.Count, 2);
        Assert.Equal((20, 300, 2, 6), (split.Candidate, split.CandidateAnswers, split.Stable, split.StableAnswers));
        Assert.Equal((mean, ofMean * 20), (split.CandidateMean, split.CandidateVariance), (x, y) => Math.Abs(x.Item1 - y.Item1) < 1e-6 && Math.Abs(x.Item2 - y.Item2) < 1e-6);
        // Taken as independent they would look far surer than they are.
        var naive = losses.Sum(loss => Math.Pow(loss.Loss - mean, 2)) / 299 / 300;
        Assert.True(ofMean > 3 * naive, $"{ofMean} and {naive}");
        Assert.Equal((0.25, 0.0), (Math.Round(split.StableMean, 6), Math.Round(split.StableVariance, 6)));
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
