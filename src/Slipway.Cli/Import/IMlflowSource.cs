using Slipway.Contracts.Tracking;

namespace Slipway.Cli.Import;

/// <summary>An MLflow store that is read, never written: its database, or its server.</summary>
internal interface IMlflowSource : IAsyncDisposable
{
    /// <summary>What was found, for the report: <c>MLflow database of version 3.x (SQLite), schema 0584bdc529eb</c>.</summary>
    string Description { get; }

    /// <summary>Counts all that can be counted without reading it; kinds that cannot are left out.</summary>
    Task<IReadOnlyDictionary<string, long>> CountAsync(CancellationToken ct);

    /// <summary>All experiments, deleted ones too.</summary>
    Task<IReadOnlyList<SourceExperiment>> ExperimentsAsync(CancellationToken ct);

    /// <summary>All runs, deleted ones too, in pages; without their metric points.</summary>
    IAsyncEnumerable<IReadOnlyList<SourceRun>> RunPagesAsync(CancellationToken ct);

    /// <summary>All metric points of a run in pages; none twice.</summary>
    IAsyncEnumerable<IReadOnlyList<MetricPoint>> PointPagesAsync(SourceRun run, CancellationToken ct);
}

/// <summary>An experiment as the source has it.</summary>
internal sealed record SourceExperiment(
    string Id, string Name, bool Deleted, long? CreatedAtMs, long? UpdatedAtMs, string? ArtifactLocation, IReadOnlyDictionary<string, string> Tags);

/// <summary>A run as the source has it.</summary>
internal sealed record SourceRun(
    string RunId, string ExperimentId, string? Name, string? UserId, RunStatus Status, long? StartMs, long? EndMs, bool Deleted, string? ArtifactUri,
    IReadOnlyDictionary<string, string> Parameters, IReadOnlyDictionary<string, string> Tags, IReadOnlyList<RunInput> Inputs, IReadOnlyList<MetricPoint> Latest)
{
    /// <summary>How many metric points the source has; null when only reading them tells.</summary>
    public long? Points { get; init; }
}
