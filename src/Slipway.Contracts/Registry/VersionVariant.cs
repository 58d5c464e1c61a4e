namespace Slipway.Contracts.Registry;

/// <summary>How a variant of a version is made.</summary>
public enum VariantKind
{
    /// <summary>Dynamic 8-bit quantization: constant matrices as integers with a scale a column, what is multiplied with them quantized in each run.</summary>
    Int8,

    /// <summary>The graph as ONNX Runtime fuses and folds it when it loads it; it loads sooner and answers alike.</summary>
    Optimized,

    /// <summary>A file that another tool made.</summary>
    File,
}

/// <summary>Body of <c>POST /models/{model}/versions/{version}/variants</c>.</summary>
/// <param name="Kind">How it is made.</param>
public sealed record MakeVariant(VariantKind Kind)
{
    /// <summary>The ONNX file, stored already, of the kind <see cref="VariantKind.File"/>; null of the others.</summary>
    public ArtifactFile? File { get; init; }

    /// <summary>Blob of a CSV file of feature rows with a header, which both score; null draws rows from the training baseline, or makes them up where there is none.</summary>
    public string? SampleSha256 { get; init; }

    /// <summary>As of a registration.</summary>
    public string Bump { get; init; } = "auto";

    /// <summary>What it is for; empty says how it was made.</summary>
    public string Description { get; init; } = "";
}

/// <summary>A variant beside the version it was made from: how far their answers are apart, and what each costs, measured one after the other on one machine.</summary>
/// <param name="Of">The version it was made from.</param>
/// <param name="Kind">How.</param>
/// <param name="Answers">One row for each output.</param>
/// <param name="Rows">Rows that both scored.</param>
/// <param name="RowsFrom"><c>sample</c> when they were given, <c>baseline</c> when each feature was drawn from its training histogram, <c>made up</c> when they are random numbers from 0 to 1.</param>
/// <param name="Before">What the version costs.</param>
/// <param name="After">What the variant costs.</param>
public sealed record VariantReport(
    string Of, VariantKind Kind, IReadOnlyList<AnswerDifference> Answers, int Rows, string RowsFrom, ModelBenchmark Before, ModelBenchmark After)
{
    /// <summary>Matrices that became integers; null of kinds that quantize nothing here.</summary>
    public int? Weights { get; init; }
}

/// <summary>How far two versions' answers are apart in one output.</summary>
/// <param name="Output">Its name.</param>
/// <param name="Values">Values compared.</param>
/// <param name="Largest">Largest absolute difference of a number; 0 where the output holds no floating-point numbers.</param>
/// <param name="Mean">Mean absolute difference.</param>
/// <param name="Spread">Largest minus least answer of the version that was there before, which says what a difference is worth.</param>
/// <param name="Unequal">Values that are not the same at all: of labels, decisions that changed.</param>
public sealed record AnswerDifference(string Output, long Values, double Largest, double Mean, double Spread, long Unequal);
