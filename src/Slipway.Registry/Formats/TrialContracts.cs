using Slipway.Contracts.Registry;

namespace Slipway.Registry.Formats;

/// <summary>What the child process is asked to do.</summary>
/// <param name="ModelPath">ONNX file.</param>
/// <param name="Measure">Whether to measure time and memory.</param>
/// <param name="Columns">Columns of <paramref name="Rows"/>.</param>
/// <param name="Rows">Rows to score, row-major; null for none.</param>
/// <param name="XgboostPath">A model that the XGBoost library shall score the same rows with; null for none.</param>
/// <param name="Outputs">Values per answer.</param>
/// <param name="Once">Whether to run it once, whatever it answers.</param>
/// <param name="VariantPath">Another graph of the same inputs and outputs, to compare the answers with; null for none. Both run <paramref name="Rows"/>, or rows that are made up.</param>
/// <param name="OptimizedPath">Where to write the graph as the runtime optimizes it; null for nowhere.</param>
internal sealed record TrialRequest(
    string ModelPath, bool Measure, int Columns = 0, float[]? Rows = null, string? XgboostPath = null, int Outputs = 1, bool Once = false, string? VariantPath = null, string? OptimizedPath = null);

/// <summary>What the child process found.</summary>
internal sealed record TrialResult
{
    public double? LoadMs { get; init; }

    public double? LatencyUsP50 { get; init; }

    public double? LatencyUsP95 { get; init; }

    public double? LatencyUsP99 { get; init; }

    public double? RowsPerSecondBatch64 { get; init; }

    public double? CpuUsPerRow { get; init; }

    public long? PeakMemoryBytes { get; init; }

    /// <summary>The ONNX model's answers, row-major.</summary>
    public float[]? Answers { get; init; }

    /// <summary>The XGBoost library's answers; null where it is not installed or could not read the model.</summary>
    public float[]? XgboostAnswers { get; init; }

    /// <summary>The library's version; null as <see cref="XgboostAnswers"/> is.</summary>
    public string? XgboostVersion { get; init; }

    /// <summary>How far the variant's answers are from the model's; null when there was none.</summary>
    public IReadOnlyList<AnswerDifference>? Differences { get; init; }

    /// <summary>Rows behind <see cref="Differences"/>.</summary>
    public int Compared { get; init; }

    /// <summary>Why the model could not be run; null when it could.</summary>
    public string? Fault { get; init; }

    /// <summary>Whether the process came down, or never came to an end.</summary>
    public bool IsCrash { get; init; }

    /// <summary>Whether the fault is this machine's, which starts no process.</summary>
    public bool IsUntried { get; init; }
}
