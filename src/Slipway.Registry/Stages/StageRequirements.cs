using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;

namespace Slipway.Registry.Stages;

/// <summary>What one stage or environment asks for.</summary>
internal sealed record StageRequirements
{
    /// <summary>Users other than the requester and the author who must agree; a policy with <see cref="Steps"/> counts them there.</summary>
    public int Approvals { get; init; } = 1;

    /// <summary>Roles whose approval counts.</summary>
    public IReadOnlyList<Role> Roles { get; init; } = RoleNames.Approvers;

    /// <summary>Groups of which an approver must be a member of one; empty takes any.</summary>
    public IReadOnlyList<string> Groups { get; init; } = [];

    /// <summary>In order; empty asks for <see cref="Approvals"/> in one step.</summary>
    public IReadOnlyList<ApprovalStep> Steps { get; init; } = [];

    /// <summary>Whether the model's risk class may add approvals.</summary>
    public bool RiskRaises { get; init; }

    /// <summary>The four links must exist.</summary>
    public bool LineageComplete { get; init; } = true;

    /// <summary>A dataset version must be named; null leaves it to the lineage.</summary>
    public bool DatasetVersion { get; init; }

    /// <summary>True: the environment file must show exact versions. Null: one that shows inexact versions is refused.</summary>
    public bool? PinnedDependencies { get; init; }

    /// <summary>Limits on the evaluation report's metrics.</summary>
    public IReadOnlyList<MetricLimit> Metrics { get; init; } = [];

    /// <summary>Whether limits that were set after the run began are refused.</summary>
    public bool LimitsBeforeRun { get; init; }

    /// <summary>The metric in which the candidate must beat every baseline of its report; null for none.</summary>
    public string? MustBeatBaseline { get; init; }

    /// <summary>The least improvement over the version in production; null for none.</summary>
    public ImprovementLimit? ImprovementOverProduction { get; init; }

    /// <summary>Limits on differences between groups.</summary>
    public IReadOnlyList<FairnessLimit> Fairness { get; init; } = [];

    /// <summary>Limits on business metrics of the report.</summary>
    public IReadOnlyList<MetricLimit> BusinessMetrics { get; init; } = [];

    /// <summary>Documents that must be there.</summary>
    public IReadOnlyList<DocumentRequirement> Documents { get; init; } = [];

    /// <summary>The A/B test that must have been won; null for none.</summary>
    public AbTestRequirement? AbTest { get; init; }

    /// <summary>Items that named users must have ticked.</summary>
    public IReadOnlyList<(string Item, string Text)> Checklist { get; init; } = [];

    public static StageRequirements Default { get; } = new();

    public static StageRequirements None { get; } = new() { Approvals = 0, LineageComplete = false };

    public bool NeedsReport => Metrics.Count > 0 || MustBeatBaseline is not null || ImprovementOverProduction is not null || Fairness.Count > 0 || BusinessMetrics.Count > 0;

    /// <summary>The limits of <paramref name="other"/> in place of this one's: everything that must stand before a run begins.</summary>
    public StageRequirements WithLimitsOf(StageRequirements other) => this with
    {
        Metrics = other.Metrics,
        MustBeatBaseline = other.MustBeatBaseline,
        ImprovementOverProduction = other.ImprovementOverProduction,
        Fairness = other.Fairness,
        BusinessMetrics = other.BusinessMetrics,
    };
}

/// <summary>A limit on one metric.</summary>
internal sealed record MetricLimit(string Metric, double? Minimum, double? Maximum);

/// <summary>The least improvement that the interval must exclude, in the metric's own unit; negative allows a small loss.</summary>
/// <param name="Metric">Which metric.</param>
/// <param name="Minimum">The interval of the improvement must lie above it.</param>
/// <param name="Alpha">One minus the interval's coverage.</param>
internal sealed record ImprovementLimit(string Metric, double Minimum, double Alpha);

/// <summary>A limit on the difference of a metric between the groups of one column.</summary>
/// <param name="Metric">Such as <c>selection_rate</c>.</param>
/// <param name="By">The column, as the report's slices name it.</param>
/// <param name="MaximumDifference">Highest less lowest; null for no limit.</param>
/// <param name="MinimumRatio">Lowest by highest; null for no limit.</param>
/// <param name="RowsMin">Groups with fewer rows are left out.</param>
internal sealed record FairnessLimit(string Metric, string By, double? MaximumDifference, double? MinimumRatio, int RowsMin);

/// <summary>A document that must be there.</summary>
/// <param name="Name">Such as <c>model_card</c>.</param>
/// <param name="AgeMax">How old it may be; null for any age.</param>
internal sealed record DocumentRequirement(string Name, TimeSpan? AgeMax);

/// <summary>The A/B test that must have been won.</summary>
/// <param name="DaysMin">How long it must have run.</param>
/// <param name="ShareMin">The least share of the traffic, 0 to 1.</param>
internal sealed record AbTestRequirement(double DaysMin, double ShareMin);

/// <summary>One step of approval.</summary>
/// <param name="Name">Such as <c>technical</c>.</param>
/// <param name="Approvals">How many.</param>
/// <param name="Roles">Roles whose approval counts.</param>
/// <param name="Groups">Groups of which the user must be a member of one; empty takes any.</param>
/// <param name="Risk">Risk classes that need the step; empty for all.</param>
internal sealed record ApprovalStep(string Name, int Approvals, IReadOnlyList<Role> Roles, IReadOnlyList<string> Groups, IReadOnlyList<RiskClass> Risk)
{
    /// <summary>What asks for it.</summary>
    public string Why { get; init; } = "the policy";
}
