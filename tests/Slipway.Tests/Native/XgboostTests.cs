using System.Text;
using System.Text.Json.Nodes;
using Slipway.Native.Onnx;
using Slipway.Native.Xgboost;

namespace Slipway.Tests.Native;

public sealed class XgboostTests
{
    private const int Columns = 4;

    private static readonly XgboostSettings Settings = new()
    {
        Rounds = 40,
        Seed = 3,
        Metrics = ["logloss", "auc"],
        Parameters = new Dictionary<string, string> { ["max_depth"] = "5", ["eta"] = "0.3", ["base_score"] = "0.3" },
        FeatureNames = ["a", "b", "c", "d"],
    };

    public XgboostTests()
    {
        if (!XgboostTrainer.IsAvailable(out var reason))
        {
            Assert.Skip(reason);
        }
    }

    [Theory]
    [InlineData("binary:logistic")]
    [InlineData("reg:squarederror")]
    public void Trees_written_as_ONNX_predict_as_XGBoost_does_also_with_missing_values(string objective)
    {
        var booster = XgboostTrainer.Train(Data(2000, 1), null, Settings with { Objective = objective, Metrics = [] });
        var test = Data(1000, 2);
        var expected = booster.Predict(test.Features.Span, test.Rows);

        using var session = OnnxSession.Load(OnnxConverters.XgboostTrees(booster.Json));
        var actual = new float[test.Rows];
        session.RunMatrix(test.Features.Span, test.Rows, actual);

        Assert.True(expected.Max() - expected.Min() > 0.3, "The model learnt nothing, so agreement would mean nothing.");
        Assert.True(expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max() < 1e-5);
        Assert.Equal("""["a","b","c","d"]""", session.Model.Metadata[OnnxConverters.FeatureNamesKey]);
        Assert.Contains("ai.onnx.ml:TreeEnsembleRegressor", session.Model.OpTypes);
    }

    [Fact]
    public void A_base_score_in_brackets_and_a_flag_per_default_direction_are_understood_too()
    {
        var booster = XgboostTrainer.Train(Data(2000, 1), null, Settings with { Rounds = 3 });
        var newer = JsonNode.Parse(booster.Json.Span)!;
        var parameters = newer["learner"]!["learner_model_param"]!;
        parameters["base_score"] = $"[{(string)parameters["base_score"]!}]";
        foreach (var tree in newer["learner"]!["gradient_booster"]!["model"]!["trees"]!.AsArray())
        {
            tree!["default_left"] = new JsonArray([.. tree["default_left"]!.AsArray().Select(d => (JsonNode)(d!.ToString() is "1" or "true" ? 1 : 0))]);
        }

        Assert.Equal(OnnxConverters.XgboostTrees(booster.Json), OnnxConverters.XgboostTrees(Encoding.UTF8.GetBytes(newer.ToJsonString())));
    }

    [Fact]
    public void The_same_seed_and_data_give_the_same_model()
    {
        var settings = Settings with { Parameters = new Dictionary<string, string> { ["subsample"] = "0.5" } };
        var first = XgboostTrainer.Train(Data(500, 1), null, settings);
        var second = XgboostTrainer.Train(Data(500, 1), null, settings);
        var other = XgboostTrainer.Train(Data(500, 1), null, settings with { Seed = 4 });

        Assert.True(first.Json.Span.SequenceEqual(second.Json.Span));
        Assert.False(first.Json.Span.SequenceEqual(other.Json.Span));
    }

    [Fact]
    public void Metrics_of_each_round_are_reported_and_early_stopping_keeps_the_best_round()
    {
        var rounds = new List<XgboostRound>();
        var booster = XgboostTrainer.Train(
            Data(300, 1), Data(300, 2), Settings with { Rounds = 200, EarlyStoppingRounds = 5, Metrics = ["auc", "logloss"] }, rounds.Add);

        Assert.Equal(["train-auc", "train-logloss", "validation-auc", "validation-logloss"], rounds[0].Metrics.Keys);
        var best = rounds.MinBy(r => r.Metrics["validation-logloss"])!;
        Assert.True(rounds.Count < 200);
        Assert.Equal(best.Round + 5, rounds[^1].Round);
        Assert.Equal(best.Round + 1, booster.Rounds);
        var trees = JsonNode.Parse(booster.Json.Span)!["learner"]!["gradient_booster"]!["model"]!["trees"]!.AsArray();
        Assert.Equal(booster.Rounds, trees.Count);
    }

    [Fact]
    public void Importance_names_the_feature_that_decides()
    {
        var importance = XgboostTrainer.Train(Data(1000, 1), null, Settings).Importance();
        Assert.Equal("a", importance.MaxBy(f => f.Value).Key);
    }

    [Fact]
    public void Cancelling_stops_between_rounds()
    {
        using var cancel = new CancellationTokenSource();
        var rounds = 0;
        Assert.Throws<OperationCanceledException>(() => XgboostTrainer.Train(
            Data(300, 1), null, Settings, _ => { rounds++; cancel.Cancel(); }, cancel.Token));
        Assert.Equal(1, rounds);
    }

    [Fact]
    public void A_parameter_XGBoost_does_not_know_the_value_of_is_an_error_with_its_message()
    {
        var error = Assert.Throws<XgboostException>(() => XgboostTrainer.Train(
            Data(100, 1), null, Settings with { Parameters = new Dictionary<string, string> { ["max_depth"] = "deep" } }));
        Assert.Contains("max_depth", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("binary:hinge", "binary:hinge")]
    public void An_objective_without_an_equal_in_ONNX_is_refused(string objective, string named)
    {
        var booster = XgboostTrainer.Train(Data(100, 1), null, Settings with { Objective = objective, Rounds = 1, Metrics = [] });
        Assert.Contains(named, Assert.Throws<OnnxException>(() => OnnxConverters.XgboostTrees(booster.Json)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Bytes_that_are_no_XGBoost_model_are_refused()
    {
        Assert.Throws<OnnxException>(() => OnnxConverters.XgboostTrees("{}"u8.ToArray()));
        Assert.Throws<OnnxException>(() => OnnxConverters.XgboostTrees("not json"u8.ToArray()));
    }

    // The first feature decides most, the second a little; one value in ten is missing.
    private static XgboostData Data(int rows, int seed)
    {
        var random = new Random(seed);
        var features = new float[rows * Columns];
        var labels = new float[rows];
        for (var row = 0; row < rows; row++)
        {
            var values = features.AsSpan(row * Columns, Columns);
            for (var i = 0; i < Columns; i++)
            {
                values[i] = (float)random.NextDouble();
            }

            labels[row] = values[0] + 0.3 * values[1] + 0.3 * random.NextDouble() > 0.8 ? 1 : 0;
            for (var i = 0; i < Columns; i++)
            {
                values[i] = random.Next(10) == 0 ? float.NaN : values[i];
            }
        }

        return new XgboostData(features, Columns, labels);
    }
}
