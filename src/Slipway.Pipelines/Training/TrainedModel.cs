namespace Slipway.Pipelines.Training;

/// <summary>What a trainer made.</summary>
/// <param name="Onnx">The model file.</param>
/// <param name="Parameters">Everything that decided the result, for the tracked run.</param>
/// <param name="Curves">Metric points per round: key, round, value.</param>
/// <param name="Extras">Further files for the tracked run, by path.</param>
internal sealed record TrainedModel(
    byte[] Onnx, IReadOnlyDictionary<string, string> Parameters, IReadOnlyList<(string Key, int Round, double Value)> Curves,
    IReadOnlyDictionary<string, byte[]> Extras);

/// <summary>One way to make a model.</summary>
internal interface ITrainer
{
    /// <summary>Name of the candidate, such as <c>logistic_regression</c>.</summary>
    string Name { get; }

    /// <summary>Why it cannot run here; null when it can.</summary>
    string? Unavailable { get; }

    /// <summary>Trains; the same rows, settings and seed give the same bytes.</summary>
    TrainedModel Train(LabelledMatrix train, LabelledMatrix validation, long seed, Action<double, string> progress, CancellationToken cancellationToken);
}
