using System.Text.Json.Serialization;

namespace Slipway.Contracts.Registry;

/// <summary>Where a promotion stands.</summary>
public enum PromotionStatus
{
    /// <summary>Waits for approvals.</summary>
    Pending,

    /// <summary>Has the approvals the policy asks for; may be carried out.</summary>
    Approved,

    /// <summary>An approver said no.</summary>
    Rejected,

    /// <summary>Carried out.</summary>
    Executed,

    /// <summary>Withdrawn before it was carried out.</summary>
    Withdrawn,

    /// <summary>Nobody carried it out in time.</summary>
    Expired,
}

/// <summary>Where a promotion leads: a stage, or one of the environments that the model's policy names.</summary>
/// <param name="Stage">The stage; null for an environment.</param>
/// <param name="Environment">Such as <c>canary-eu</c>; null for a stage.</param>
public readonly record struct PromotionTarget(Stage? Stage, string? Environment)
{
    /// <summary>As people write it.</summary>
    public string Name => Environment ?? Stage?.ToString().ToLowerInvariant() ?? "";

    /// <summary>Reads a stage, or takes the text for an environment's name.</summary>
    public static PromotionTarget Parse(string text)
    {
        foreach (var stage in Enum.GetValues<Stage>())
        {
            if (string.Equals(stage.ToString(), text, StringComparison.OrdinalIgnoreCase))
            {
                return stage;
            }
        }

        return new PromotionTarget(null, text);
    }

    /// <summary>A stage is a target.</summary>
    public static implicit operator PromotionTarget(Stage stage) => new(stage, null);

    /// <inheritdoc/>
    public override string ToString() => Name;
}

/// <summary>A request to move a version to a stage.</summary>
/// <param name="Id">Unique.</param>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="From">Stage of the version when the promotion was asked for; it must still be there when carried out.</param>
/// <param name="To">Stage asked for.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="Reason">Why it was asked for.</param>
/// <param name="RequestedBy">Who asked.</param>
/// <param name="RequestedAt">When.</param>
/// <param name="RollbackTo">For production: the version that takes over if this one fails; null when there is none before it.</param>
/// <param name="Decisions">Approvals and rejections, oldest first.</param>
/// <param name="ClosedBy">Who carried it out, rejected or withdrew it; null while open.</param>
/// <param name="ClosedAt">When; null while open.</param>
/// <param name="LastGate">The gate as last checked on carrying out; null before.</param>
public sealed record PromotionRecord(
    string Id, string Model, string Version, Stage From, Stage To, PromotionStatus Status, string Reason, string RequestedBy, DateTimeOffset RequestedAt,
    string? RollbackTo, IReadOnlyList<PromotionDecision> Decisions, string? ClosedBy, DateTimeOffset? ClosedAt, GateReport? LastGate)
{
    /// <summary>The environment asked for; <see cref="To"/> is then the stage, which stays. Null when a stage was asked for.</summary>
    public string? Environment { get; init; }

    /// <summary>When an open request closes by itself; null when it does not.</summary>
    public DateTimeOffset? ExpiresAt { get; init; }

    /// <summary>Whether the server carries it out by itself once the last approval is there and the gate passes.</summary>
    public bool AutoExecute { get; init; }

    /// <summary>What people wrote about it, oldest first.</summary>
    public IReadOnlyList<PromotionComment> Comments { get; init; } = [];

    /// <summary>The steps of an open request under the policy in force, in order; empty when it is closed.</summary>
    public IReadOnlyList<ApprovalStepState> Steps { get; init; } = [];

    /// <summary>Whether it waits for approvals or to be carried out.</summary>
    [JsonIgnore]
    public bool IsOpen => Status is PromotionStatus.Pending or PromotionStatus.Approved;

    /// <summary>Where it leads.</summary>
    [JsonIgnore]
    public PromotionTarget Target => Environment is null ? To : new PromotionTarget(null, Environment);
}

/// <summary>A remark on a promotion.</summary>
/// <param name="By">Who.</param>
/// <param name="Comment">What.</param>
/// <param name="At">When.</param>
public sealed record PromotionComment(string By, string Comment, DateTimeOffset At);

/// <summary>How far one step of approval is.</summary>
/// <param name="Name">Such as <c>technical</c> or <c>ethics</c>.</param>
/// <param name="Needed">Approvals that it takes.</param>
/// <param name="Roles">Roles whose approval counts.</param>
/// <param name="Groups">Groups of which the user must be a member of one; empty when any user of the roles counts.</param>
/// <param name="By">Whose approvals count so far.</param>
/// <param name="Why">What asks for it: the policy, or the model's risk class.</param>
public sealed record ApprovalStepState(string Name, int Needed, IReadOnlyList<string> Roles, IReadOnlyList<string> Groups, IReadOnlyList<string> By, string Why)
{
    /// <summary>Whether it has its approvals.</summary>
    public bool Complete => By.Count >= Needed;
}

/// <summary>One approver's decision.</summary>
/// <param name="By">Who.</param>
/// <param name="Role">The role they held then.</param>
/// <param name="Approved">Yes or no.</param>
/// <param name="Comment">Why.</param>
/// <param name="At">When.</param>
public sealed record PromotionDecision(string By, string Role, bool Approved, string Comment, DateTimeOffset At)
{
    /// <summary>The step it was given for.</summary>
    public string Step { get; init; } = "approvals";

    /// <summary>Groups the user was a member of then.</summary>
    public IReadOnlyList<string> Groups { get; init; } = [];
}

/// <summary>The body of a promotion request.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version, number or alias.</param>
/// <param name="To">Stage asked for.</param>
/// <param name="Reason">Why.</param>
/// <param name="RollbackTo">Version that takes over on failure; null takes the one in production now.</param>
public sealed record RequestPromotion(string Model, string Version, Stage? To, string Reason, string? RollbackTo = null)
{
    /// <summary>An environment of the model's policy, in place of <see cref="To"/>.</summary>
    public string? Environment { get; init; }

    /// <summary>Carries it out by itself once the last approval is there and the gate passes; the policy may say so for all.</summary>
    public bool Auto { get; init; }
}

/// <summary>The body of an approval or rejection.</summary>
/// <param name="Comment">Why.</param>
public sealed record DecidePromotion(string Comment);

/// <summary>The body of a rollback.</summary>
/// <param name="ToVersion">A version that was in production before; null takes the last known good one.</param>
/// <param name="Reason">Why.</param>
public sealed record RollbackModel(string? ToVersion, string Reason);

/// <summary>The body of an alias change.</summary>
/// <param name="Version">Semantic version or number.</param>
public sealed record SetAlias(string Version);

/// <summary>What stands between a version and a stage.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="From">Its stage now.</param>
/// <param name="To">The stage asked for.</param>
/// <param name="Policy">The policy in force, <c>policy/name@version</c> or <c>built-in</c>.</param>
/// <param name="Items">Every requirement with its evidence, met or not.</param>
public sealed record GateReport(string Model, string Version, Stage From, Stage To, string Policy, IReadOnlyList<GateItem> Items)
{
    /// <summary>The environment asked for; null when a stage was.</summary>
    public string? Environment { get; init; }

    /// <summary>Whether every item is met.</summary>
    public bool Passed => Items.All(item => item.Passed);
}

/// <summary>One requirement.</summary>
/// <param name="Name">Such as <c>approvals</c> or <c>metric:auc</c>.</param>
/// <param name="Passed">Whether it is met.</param>
/// <param name="Detail">One sentence: what was required and what was found.</param>
/// <param name="Evidence">Ids that prove it, such as <c>evaluation_report:…</c>.</param>
public sealed record GateItem(string Name, bool Passed, string Detail, IReadOnlyList<string> Evidence);

/// <summary>One change of stage.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="From">Stage before; null on registration.</param>
/// <param name="To">Stage after.</param>
/// <param name="Cause"><c>registration</c>, <c>promotion</c>, <c>replaced</c>, <c>rollback</c>, <c>rolled_back</c>, <c>retirement</c>, or <c>external_change</c>: made on the external registry, past the gates.</param>
/// <param name="Reason">Why.</param>
/// <param name="By">Who.</param>
/// <param name="At">When.</param>
/// <param name="PromotionId">The promotion behind it; null when none.</param>
public sealed record StageChange(
    string Model, string Version, Stage? From, Stage To, string Cause, string Reason, string By, DateTimeOffset At, string? PromotionId);

/// <summary>Answer of <c>GET /promotions</c>.</summary>
/// <param name="Promotions">Newest first.</param>
public sealed record PromotionList(IReadOnlyList<PromotionRecord> Promotions);

/// <summary>Answer of <c>GET …/history</c>.</summary>
/// <param name="Changes">Oldest first.</param>
public sealed record StageHistory(IReadOnlyList<StageChange> Changes);

/// <summary>An alias that was set.</summary>
/// <param name="Model">Model.</param>
/// <param name="Alias">Alias.</param>
/// <param name="Version">The semantic version it points at now.</param>
/// <param name="Before">The one it pointed at; null when it is new.</param>
public sealed record AliasChange(string Model, string Alias, string Version, string? Before);
