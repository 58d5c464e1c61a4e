namespace Slipway.Contracts.Registry;

/// <summary>What registration found out about a version's files, and what its benchmark measured.</summary>
public sealed record VersionProfile
{
    /// <summary>SHA-256 of the manifest: one line <c>sha256  path</c> per file, ordered by path, as sha256sum prints them.</summary>
    public required string ManifestSha256 { get; init; }

    /// <summary>What made the model, such as <c>xgboost 1.7.6</c> or <c>scikit-learn</c>; null when its files do not say.</summary>
    public string? Framework { get; init; }

    /// <summary>How the model was turned into ONNX, and how well both agree; null when it was not.</summary>
    public ConversionReport? Conversion { get; init; }

    /// <summary>What the pickles among its files would import if they were loaded, which no server here does; empty when there are none.</summary>
    public IReadOnlyList<PickleScan> Pickles { get; init; } = [];

    /// <summary>A model without files; null when it has some.</summary>
    public ExternalModel? External { get; init; }

    /// <summary>Why no server here can run the version and what to do about it; null when one can.</summary>
    public string? NotServed { get; init; }

    /// <summary>Time, memory and size; null until measured, or when no server here can run the version.</summary>
    public ModelBenchmark? Benchmark { get; init; }

    /// <summary>The newest load test; null when nobody has run one.</summary>
    public LoadTest? LoadTest { get; init; }

    /// <summary>Of which version it is a smaller or faster form, and how both compare; null of a version of its own.</summary>
    public VariantReport? Variant { get; init; }
}

/// <summary>A conversion to ONNX and its check.</summary>
/// <param name="From">The file that was converted.</param>
/// <param name="Trees">How many trees it holds.</param>
/// <param name="Rows">Rows that both models scored.</param>
/// <param name="RowsFrom"><c>sample</c> when they were given, <c>thresholds</c> when they were made around the model's own split points.</param>
/// <param name="LargestDifference">Largest difference of any output from the source model's, as a share of the output where that is above 1.</param>
/// <param name="Tolerance">The most that is accepted.</param>
/// <param name="Library">The library that was asked too, such as <c>xgboost 1.7.4</c>; null when only the source format was walked.</param>
/// <param name="LibraryLargestDifference">As <paramref name="LargestDifference"/>, from the library's own answer; null without one.</param>
public sealed record ConversionReport(
    string From, int Trees, int Rows, string RowsFrom, double LargestDifference, double Tolerance, string? Library, double? LibraryLargestDifference);

/// <summary>A pickle's imports, read from its opcodes.</summary>
/// <param name="Path">The file; the member too when it is inside an archive, as <c>model.pt!data.pkl</c>.</param>
/// <param name="Globals">Everything it would import, as <c>module.name</c>, in order of first use.</param>
/// <param name="Dangerous">Those that run commands, load code or reach files and networks.</param>
/// <param name="Whole">False when the opcodes end or break before the pickle's own end, so that more may follow.</param>
public sealed record PickleScan(string Path, IReadOnlyList<string> Globals, IReadOnlyList<string> Dangerous, bool Whole);

/// <summary>A model that its provider runs.</summary>
/// <param name="Kind">Fine-tuned, foundation or SaaS.</param>
/// <param name="Provider">Who runs it.</param>
/// <param name="ModelId">The provider's name for it.</param>
/// <param name="Licence">Under which terms it may be used, as an SPDX identifier or a name; null when unknown.</param>
/// <param name="TermsUrl">Where the terms are; null when unknown.</param>
public sealed record ExternalModel(ModelKind Kind, string Provider, string ModelId, string? Licence = null, string? TermsUrl = null);

/// <summary>What running a version costs, measured in a process of its own after registration.</summary>
public sealed record ModelBenchmark
{
    /// <summary>Milliseconds to load it.</summary>
    public double? LoadMs { get; init; }

    /// <summary>Median microseconds of one row.</summary>
    public double? LatencyUsP50 { get; init; }

    /// <summary>95th percentile.</summary>
    public double? LatencyUsP95 { get; init; }

    /// <summary>99th percentile.</summary>
    public double? LatencyUsP99 { get; init; }

    /// <summary>Rows a second in batches of 64, on one thread.</summary>
    public double? RowsPerSecondBatch64 { get; init; }

    /// <summary>Processor microseconds per row of one.</summary>
    public double? CpuUsPerRow { get; init; }

    /// <summary>Memory that loading and running added to the process at its peak, in bytes.</summary>
    public long? PeakMemoryBytes { get; init; }

    /// <summary>The file that was loaded.</summary>
    public long SizeBytes { get; init; }

    /// <summary>When.</summary>
    public DateTimeOffset MeasuredAt { get; init; }

    /// <summary>Why there are no figures, such as that the runtime crashed; null when there are.</summary>
    public string? Fault { get; init; }

    /// <summary>Whether the model brought its process down, or never came to an end: no server loads it then. Any other fault may be of the values that it was tried on.</summary>
    public bool IsCrash { get; init; }
}

/// <summary>What a model is, beside its versions. Fields that are null stay as they are.</summary>
/// <param name="RiskClass">How much harm a wrong answer can do.</param>
/// <param name="Purpose">What it is for.</param>
/// <param name="Owner">Who answers for it.</param>
/// <param name="Kind">How it came to be.</param>
/// <param name="Reason">Why it is changed; kept in the audit trail.</param>
public sealed record DescribeModel(RiskClass? RiskClass = null, string? Purpose = null, string? Owner = null, ModelKind? Kind = null, string? Reason = null);

/// <summary>A model in the inventory.</summary>
/// <param name="Model">Name.</param>
/// <param name="Kind">How it came to be.</param>
/// <param name="Type">Format of its newest version; null while there is none.</param>
/// <param name="Framework">What made the newest version; null when unknown.</param>
/// <param name="Provider">Who runs it, when it is not run here.</param>
/// <param name="Owner">Who answers for it.</param>
/// <param name="Purpose">What it is for.</param>
/// <param name="RiskClass">How much harm a wrong answer can do.</param>
/// <param name="Licence">Terms of a model from elsewhere; null when unknown or its own.</param>
/// <param name="NewestVersion">By registration; null while there is none.</param>
/// <param name="ProductionVersion">Null when none is in production.</param>
public sealed record InventoryEntry(
    string Model, ModelKind Kind, ModelFormat? Type, string? Framework, string? Provider, string Owner, string Purpose, RiskClass RiskClass, string? Licence,
    string? NewestVersion, string? ProductionVersion);

/// <summary>Answer of <c>GET /inventory</c>.</summary>
/// <param name="Models">By name.</param>
public sealed record ModelInventory(IReadOnlyList<InventoryEntry> Models);

/// <summary>A blob as stored.</summary>
/// <param name="Sha256">Its name.</param>
/// <param name="SizeBytes">Its length.</param>
public sealed record StoredBlob(string Sha256, long SizeBytes);

/// <summary>Answer of <c>POST /blobs/hand-overs</c>: where a caller on the server's own machine may copy content to, in place of sending it.</summary>
/// <param name="Token">Names the copy in <c>POST /blobs/hand-overs/{token}</c>, which stores it.</param>
/// <param name="Path">A file that is not there yet, in a folder that only the server's own user can write to.</param>
public sealed record HandOver(string Token, string Path);
