using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;

namespace Slipway.Registry.Stages;

/// <summary>What was read from files and from other areas before the transaction; none of it can change while the transaction runs.</summary>
internal sealed record GateEvidence
{
    /// <summary>The version's evaluation report; null when it has none.</summary>
    public EvaluationReport? Report { get; init; }

    /// <summary>Kinds of upstream things that are missing.</summary>
    public IReadOnlyList<string> MissingLineage { get; init; } = [];

    /// <summary>What is wrong with the version's files; null when all are as registered.</summary>
    public string? Damage { get; init; }

    /// <summary>What is wrong with the versions that a chain runs, and which they are; null when the version is no chain.</summary>
    public (string? Fault, IReadOnlyList<string> Nodes)? Parts { get; init; }

    /// <summary>The version that would take over; null when none was in production.</summary>
    public string? RollbackTo { get; init; }

    /// <summary>Why it could not; null when it could.</summary>
    public string? RollbackFault { get; init; }

    /// <summary>The limits that count: those in force when the run began.</summary>
    public required LimitsInForce Limits { get; init; }

    /// <summary>The run that made the version; null when it is not known here.</summary>
    public RunRecord? Run { get; init; }

    /// <summary>What the environment file says.</summary>
    public PinnedDependencies.Finding Dependencies { get; init; } = new(null, "the version has no environment file");

    /// <summary>The improvement over the version that was in production when this was read; null when it cannot be found.</summary>
    public PairedImprovement? Improvement { get; init; }

    /// <summary>The documents asked for, by name; null for one that is not there.</summary>
    public IReadOnlyDictionary<string, GateFact?> Documents { get; init; } = new Dictionary<string, GateFact?>();

    /// <summary>The A/B test of the version; null when none is known.</summary>
    public GateFact? AbTest { get; init; }

    /// <summary>Whether any part of the server knows of A/B tests.</summary>
    public bool KnowsAbTests { get; init; }
}

/// <summary>The limits that count for one run, and why these.</summary>
/// <param name="Requirements">Where the limits stand.</param>
/// <param name="Policy">The policy version they are from.</param>
/// <param name="Detail">Which policy that is and when it was set, beside the start of the run.</param>
/// <param name="BeforeRun">Whether they were set before the run began; null when that is not known.</param>
internal sealed record LimitsInForce(StageRequirements Requirements, string Policy, string Detail, bool? BeforeRun);

/// <summary>Rows that a gate looks at, read in the transaction that may carry the promotion out.</summary>
/// <param name="Production">The version in production now; null for none.</param>
/// <param name="Risk">The model's risk class.</param>
/// <param name="Deprecation">Null when the version is not deprecated.</param>
/// <param name="Ticked">Ticked items of the checklist.</param>
/// <param name="WasIn">Environments that the version is or was in.</param>
internal sealed record GateState(
    ModelVersionRecord? Production, RiskClass Risk, Deprecation? Deprecation, IReadOnlyDictionary<string, ChecklistItem> Ticked, IReadOnlySet<string> WasIn);
