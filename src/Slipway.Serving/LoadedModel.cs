using System.Text;
using System.Text.Json;
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
    /// <param name="inputs">What a caller may send in place of features; null when only features are taken.</param>
    /// <param name="outputName">The name of the output tensor.</param>
    public LoadedModel(
        string model, string version, IReadOnlyList<string> featureNames, ScoreRows score, ModelBaseline? baseline = null, RequestInputs? inputs = null,
        string outputName = "probability")
    {
        Model = model;
        Version = version;
        FeatureNames = featureNames;
        Score = score;
        Inputs = inputs;
        OutputName = outputName;
        Baseline = baseline;
        Skew = new FeatureSkew(featureNames, baseline);
        JournalKey = $"{model}\n{string.Join('\n', featureNames)}";
        InputKey = $"{JournalKey}\n\n{string.Join('\n', inputs?.Inputs.Select(input => $"{input.Name} {string.Join(' ', input.Datatypes)} {input.IsKey} {input.IsEventTime}") ?? [])}";
        Utf8FeatureNames = [.. featureNames.Select(Encoding.UTF8.GetBytes)];
        EncodedModel = JsonEncodedText.Encode(model);
        EncodedVersion = JsonEncodedText.Encode(version);
        EncodedOutputName = JsonEncodedText.Encode(outputName);
    }

    /// <summary>The model's name.</summary>
    public string Model { get; }

    /// <summary>The semantic version.</summary>
    public string Version { get; }

    /// <summary>The features in the order of the model's input.</summary>
    public IReadOnlyList<string> FeatureNames { get; }

    /// <summary>Scores rows; throws when the model fails.</summary>
    public ScoreRows Score { get; }

    /// <summary>What a caller may send in place of features; null when only features are taken.</summary>
    public RequestInputs? Inputs { get; }

    /// <summary>The name of the output tensor.</summary>
    public string OutputName { get; }

    /// <summary>What it has served.</summary>
    public ArmStatistics Statistics { get; } = new();

    /// <summary>The training histograms; null when there are none.</summary>
    public ModelBaseline? Baseline { get; }

    /// <summary>Its live inputs in the bins of its training baseline.</summary>
    public FeatureSkew Skew { get; }

    /// <summary>What callers are told of its deprecation; null while it is not deprecated. Set while requests run.</summary>
    internal volatile DeprecationNotice? Notice;

    /// <summary>Versions with the same key share a prediction journal.</summary>
    internal string JournalKey { get; }

    /// <summary>A request read for one version can be scored by another with the same key, unless the feature store completes it.</summary>
    internal string InputKey { get; }

    internal byte[][] Utf8FeatureNames { get; }

    internal JsonEncodedText EncodedModel { get; }

    internal JsonEncodedText EncodedVersion { get; }

    internal JsonEncodedText EncodedOutputName { get; }
}
