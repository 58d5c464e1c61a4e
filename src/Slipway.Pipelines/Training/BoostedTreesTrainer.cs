using System.Globalization;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Native.Onnx;
using Slipway.Native.Xgboost;

namespace Slipway.Pipelines.Training;

/// <summary>Settings of <see cref="BoostedTreesTrainer"/>.</summary>
/// <param name="Rounds">Trees at most.</param>
/// <param name="Depth">Of each tree.</param>
/// <param name="LearningRate">Weight of each tree.</param>
/// <param name="MinChildWeight">Least sum of second derivatives in a leaf.</param>
/// <param name="Subsample">Share of rows per tree.</param>
/// <param name="EarlyStoppingRounds">Stop after so many rounds without a better validation loss; null trains all rounds.</param>
/// <param name="Threads">Part of the result: sums in another order differ in the last bits.</param>
internal sealed record BoostedTreesSettings(
    int Rounds, int Depth, double LearningRate, double MinChildWeight, double Subsample, int? EarlyStoppingRounds, int Threads);

/// <summary>Gradient-boosted trees through the XGBoost library of the system.</summary>
internal sealed class BoostedTreesTrainer(BoostedTreesSettings settings) : ITrainer
{
    public string Name => "boosted_trees";

    public string? Unavailable => XgboostTrainer.IsAvailable(out var reason) ? null : reason;

    public TrainedModel Train(LabelledMatrix train, LabelledMatrix validation, long seed, Action<double, string> progress, CancellationToken cancellationToken)
    {
        var parameters = new Dictionary<string, string>
        {
            ["tree_method"] = "hist",
            ["max_bin"] = "128",
            ["max_depth"] = settings.Depth.ToString(CultureInfo.InvariantCulture),
            ["eta"] = settings.LearningRate.ToString(CultureInfo.InvariantCulture),
            ["min_child_weight"] = settings.MinChildWeight.ToString(CultureInfo.InvariantCulture),
            ["subsample"] = settings.Subsample.ToString(CultureInfo.InvariantCulture),
        };
        var curves = new List<(string, int, double)>();
        var booster = XgboostTrainer.Train(
            Data(train), Data(validation),
            new XgboostSettings
            {
                Rounds = settings.Rounds,
                EarlyStoppingRounds = settings.EarlyStoppingRounds,
                Seed = (int)(seed & int.MaxValue),
                Threads = settings.Threads,
                Metrics = ["logloss"],
                Parameters = parameters,
            },
            round =>
            {
                foreach (var (key, value) in round.Metrics)
                {
                    curves.Add((key.Replace("-logloss", "_log_loss", StringComparison.Ordinal), round.Round, value));
                }

                progress((round.Round + 1.0) / settings.Rounds, $"boosted trees, round {round.Round + 1} of {settings.Rounds}");
            },
            cancellationToken);
        var importance = booster.Importance().ToDictionary(
            pair => train.Names[int.Parse(pair.Key.AsSpan(1), CultureInfo.InvariantCulture)], pair => pair.Value);
        return new TrainedModel(
            OnnxConverters.XgboostTrees(booster.Json, train.Names),
            new Dictionary<string, string>(parameters)
            {
                ["trainer"] = Name,
                ["library"] = $"XGBoost {XgboostTrainer.LibraryVersion}",
                ["threads"] = settings.Threads.ToString(CultureInfo.InvariantCulture),
                ["rounds_max"] = settings.Rounds.ToString(CultureInfo.InvariantCulture),
                ["rounds_kept"] = booster.Rounds.ToString(CultureInfo.InvariantCulture),
            },
            curves,
            new Dictionary<string, byte[]>
            {
                ["booster.json"] = booster.Json.ToArray(),
                ["importance.json"] = JsonSerializer.SerializeToUtf8Bytes(importance, JsonDefaults.Options),
            });
    }

    private static XgboostData Data(LabelledMatrix rows) => new(rows.Values, rows.Columns, Array.ConvertAll(rows.Labels, label => label ? 1f : 0f));
}
