using Slipway.Contracts.Monitoring;

namespace Slipway.Serving;

/// <summary>Scores rows.</summary>
/// <param name="features">Row-major, <paramref name="rows"/> times the number of features.</param>
/// <param name="rows">At least 1.</param>
/// <param name="outputs">One value per row, such as the probability of the positive class.</param>
public delegate void ScoreRows(ReadOnlySpan<float> features, int rows, Span<float> outputs);

/// <summary>A model version in memory, ready to score, with its counters. They begin when it is loaded and keep counting while its role changes.</summary>
public sealed class LoadedModel
{
    /// <summary>Makes a version ready.</summary>
    /// <param name="model">The model's name.</param>
    /// <param name="version">The semantic version.</param>
    /// <param name="featureNames">The features in the order of the model's input.</param>
    /// <param name="score">Safe to call from several threads.</param>
    /// <param name="baseline">The training histograms; null when there are none.</param>
    public LoadedModel(string model, string version, IReadOnlyList<string> featureNames, ScoreRows score, ModelBaseline? baseline = null)
    {
        Model = model;
        Version = version;
        FeatureNames = featureNames;
        Score = score;
        JournalKey = $"{model}\n{string.Join('\n', featureNames)}";
        Skew = new FeatureSkew(featureNames, baseline);
    }

    /// <summary>The model's name.</summary>
    public string Model { get; }

    /// <summary>The semantic version.</summary>
    public string Version { get; }

    /// <summary>The features in the order of the model's input.</summary>
    public IReadOnlyList<string> FeatureNames { get; }

    /// <summary>Scores rows; throws when the model fails.</summary>
    public ScoreRows Score { get; }

    /// <summary>Versions with the same key share a prediction journal.</summary>
    internal string JournalKey { get; }

    /// <summary>What it has served.</summary>
    public ArmStatistics Statistics { get; } = new();

    /// <summary>Its live inputs in the bins of its training baseline.</summary>
    public FeatureSkew Skew { get; }
}
