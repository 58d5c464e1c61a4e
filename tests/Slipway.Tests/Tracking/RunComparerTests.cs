using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

public sealed class RunComparerTests
{
    [Fact, Trait("capability", "X-28")]
    public void The_best_comes_first_with_each_ones_distance_and_a_sentence_that_chooses()
    {
        var comparison = RunComparer.Compare([Run("a", 0.7), Run("b", 0.9), Run("c", null), Run("d", double.NaN)], "auc");

        Assert.Equal(["b", "a", "c", "d"], comparison.Runs.Select(run => run.RunId));
        Assert.Equal(("b", null), (comparison.BestRunId, comparison.Runs[0].Delta));
        Assert.Equal(-0.2, comparison.Runs[1].Delta!.Value, 12);
        Assert.StartsWith("Choose b: its auc of 0.9 is ahead of a by 0.2.", comparison.Recommendation, StringComparison.Ordinal);
    }

    [Fact]
    public void A_loss_is_better_when_lower_under_the_name_of_any_split()
    {
        Assert.Equal("a", RunComparer.Compare([Run("a", 0.1, metric: "val_loss"), Run("b", 0.2, metric: "val_loss")]).BestRunId);
        foreach (var lower in new[] { "loss", "val_loss", "test/rmse", "validation_log_loss", "eval-mae", "p99_latency_ms", "fit_seconds" })
        {
            Assert.False(MetricDirection.HigherIsBetter(lower), lower);
        }

        foreach (var higher in new[] { "auc", "val_accuracy", "test/f1", "lossless_share", "gloss" })
        {
            Assert.True(MetricDirection.HigherIsBetter(higher), higher);
        }
    }

    [Fact, Trait("capability", "TRK-16")]
    public void Runs_of_different_test_sets_are_not_chosen_between()
    {
        var comparison = RunComparer.Compare([Run("a", 0.7, "x"), Run("b", 0.9, "y"), Run("c", 0.8, "x"), Run("d", 0.6)], "auc");

        Assert.False(comparison.SameTestSet);
        Assert.Equal([("b", "B"), ("c", "A"), ("a", "A"), ("d", null)], comparison.Runs.Select(run => (run.RunId, run.TestSetGroup)));
        Assert.Contains("different test sets", comparison.Recommendation, StringComparison.Ordinal);
        Assert.Contains("1 of 2 runs do not name", RunComparer.Compare([Run("a", 0.7, "x"), Run("b", 0.9)], "auc").Recommendation, StringComparison.Ordinal);
        Assert.DoesNotContain("name", RunComparer.Compare([Run("a", 0.7, "x"), Run("b", 0.9, "x")], "auc").Recommendation, StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_is_made_up_where_nothing_is_known()
    {
        Assert.Contains("share no metric", RunComparer.Compare([Run("a", null)]).Recommendation, StringComparison.Ordinal);
        Assert.Contains("None of the runs", RunComparer.Compare([Run("a", 1)], "other").Recommendation, StringComparison.Ordinal);
        Assert.Contains("level", RunComparer.Compare([Run("a", 1), Run("b", 1)], "auc").Recommendation, StringComparison.Ordinal);
        Assert.Equal(ErrorCode.InvalidArgument, Assert.Throws<SlipwayException>(() => RunComparer.Compare([])).Code);
    }

    private static RunRecord Run(string id, double? value, string? test = null, string metric = "auc") => new(
        id, "0", id, "ada", RunStatus.Finished, 0, 1, false, value is { } number ? [new MetricPoint(metric, number, 0, 0)] : [],
        new Dictionary<string, string>(), new Dictionary<string, string>(), test is null ? [] : [new RunInput("data", test, "", "test")], null, null, []);
}
