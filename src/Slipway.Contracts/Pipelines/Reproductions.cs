namespace Slipway.Contracts.Pipelines;

/// <summary>What came of building a version again.</summary>
public enum ReproductionOutcome
{
    /// <summary>The stages are waiting or at work.</summary>
    Running,

    /// <summary>The same model file, byte for byte, with the same metrics.</summary>
    Reproduced,

    /// <summary>Another model file, or other metrics; the checks name each difference.</summary>
    Differs,

    /// <summary>It could not be built again; the summary says why.</summary>
    NotReproducible,
}

/// <summary>One attempt to build a registered version again from its record.</summary>
/// <param name="Model">The model.</param>
/// <param name="Version">The version that was to be built again.</param>
/// <param name="Outcome">What came of it.</param>
/// <param name="Summary">In one or two sentences.</param>
/// <param name="OriginalRunId">The pipeline run that registered the version; null when none is known.</param>
/// <param name="RunId">The pipeline run that built it again; null when none was started.</param>
/// <param name="Checks">What was compared; empty until the stages are done.</param>
/// <param name="StartedBy">Who asked.</param>
/// <param name="StartedAt">When it was asked for.</param>
/// <param name="FinishedAt">When it ended; null while it runs.</param>
public sealed record Reproduction(
    string Model, string Version, ReproductionOutcome Outcome, string Summary, string? OriginalRunId, string? RunId, IReadOnlyList<ReproductionCheck> Checks,
    string StartedBy, DateTimeOffset StartedAt, DateTimeOffset? FinishedAt);

/// <summary>One thing compared between the version and the model built again.</summary>
/// <param name="Name">Such as <c>model file</c>, <c>metric auc</c>, <c>parameter seed</c>, <c>environment runtime</c> or <c>commit</c>.</param>
/// <param name="Then">Of the version; null when it has none.</param>
/// <param name="Now">Of the model built again; null when it has none.</param>
/// <param name="Same">Whether both are equal.</param>
/// <param name="Decides">Whether a difference here makes the outcome <see cref="ReproductionOutcome.Differs"/>; the others explain one.</param>
public sealed record ReproductionCheck(string Name, string? Then, string? Now, bool Same, bool Decides)
{
    /// <summary>Now minus then, of a metric; null for all else.</summary>
    public double? Difference { get; init; }
}

/// <summary>Answer of <c>GET /api/slipway/v1/models/{model}/versions/{version}/reproductions</c>.</summary>
/// <param name="Reproductions">Newest first.</param>
public sealed record ReproductionList(IReadOnlyList<Reproduction> Reproductions);
