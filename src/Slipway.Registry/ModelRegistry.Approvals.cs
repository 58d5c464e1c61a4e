using System.Data.Common;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Identity;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Storage;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    private static readonly Caller Machine = Caller.System("registry");

    private long NowMs => clock.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>A promotion; null when there is none.</summary>
    public PromotionRecord? FindPromotion(string id) => database.Read(connection => PromotionTable.Find(connection, id) is { } found ? Complete(connection, found) : null);

    /// <summary>The open promotion of a version to a stage or environment; null when none is open.</summary>
    public PromotionRecord? FindOpenPromotion(string model, string version, PromotionTarget to) =>
        database.Read(connection => PromotionTable.FindOpen(connection, model, version, to, NowMs) is { } found ? Complete(connection, found) : null);

    /// <summary>Promotions, newest first; of all models when <paramref name="model"/> is null.</summary>
    public IReadOnlyList<PromotionRecord> ListPromotions(string? model = null) =>
        database.Read(connection => PromotionTable.List(connection, model).Select(found => Complete(connection, found)).ToList());

    /// <summary>Requests that wait for approvals or to be carried out, oldest first; of all models when <paramref name="model"/> is null.</summary>
    public IReadOnlyList<PromotionRecord> ListOpenPromotions(string? model = null) =>
        database.Read(connection => PromotionTable.Open(connection, model, NowMs).Select(found => Complete(connection, found)).ToList());

    /// <summary>Whether an open promotion has the approvals that the policy in force asks for.</summary>
    public bool HasApproval(string model, string version, PromotionTarget to) => FindOpenPromotion(model, version, to) is { } promotion && promotion.Steps.All(step => step.Complete);

    /// <summary>Asks for a promotion. The gate is checked when it is carried out; the source stage already now.</summary>
    /// <param name="model">Model.</param>
    /// <param name="version">Version, number, stage or alias.</param>
    /// <param name="to">Stage or environment asked for.</param>
    /// <param name="reason">Why.</param>
    /// <param name="by">Who asks; may not approve it.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    /// <param name="rollbackTo">For production: the version that takes over on failure; null takes the one in production now.</param>
    /// <param name="autoExecute">Carries it out by itself once approved; the policy may say so for all.</param>
    /// <exception cref="SlipwayException">FailedPrecondition: wrong source stage, or past its end of life; AlreadyExists: one is open; NotFound.</exception>
    public async Task<PromotionRecord> RequestPromotionAsync(
        string model, string version, PromotionTarget to, string reason, Caller by, CancellationToken cancellationToken, string? rollbackTo = null, bool autoExecute = false)
    {
        CheckText("reason", reason);
        await PrepareAsync(model, version, cancellationToken);
        var policy = Policy(model);
        _ = policy.For(to); // An environment that the policy does not name is no target.
        await ExpireAsync(cancellationToken);
        var id = await database.WriteAsync(transaction =>
        {
            var record = Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version);
            if (StageRules.WhyNot(record.Stage, to) is { } fault)
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"{record.Node} is in {StageRules.Name(record.Stage)}, {fault}.");
            }

            if (to.Stage is not (Stage.Archived or Stage.Development))
            {
                DemandAlive(transaction.Connection, record, transaction.Now);
            }

            if (PromotionTable.FindOpen(transaction.Connection, model, record.Version, to, transaction.NowMs) is { } open)
            {
                throw new SlipwayException(ErrorCode.AlreadyExists, $"{open.Id} already asks to move {record.Node} to {to.Name}; approve, reject or withdraw it.");
            }

            var plan = to.Stage is Stage.Production ? PlannedRollback(transaction.Connection, model, record.Version, rollbackTo) : null;
            var expires = transaction.Now + policy.ExpiresAfter;
            var promotion = PromotionTable.Insert(
                transaction, record, to, StepsOf(transaction.Connection, policy, record, to).Count == 0 ? PromotionStatus.Approved : PromotionStatus.Pending, reason, plan, expires,
                autoExecute || policy.AutoExecute, by);
            transaction.Audit(by, "promotion.requested", record.Node, reason, new { stage = record.Stage }, new { promotion, to = to.Name, rollback_to = plan, expires_at = expires });
            return promotion;
        }, cancellationToken);
        return await ExecuteIfReadyAsync(FindPromotion(id)!, cancellationToken);
    }

    /// <summary>Adds an approval, for the step that waits.</summary>
    /// <exception cref="SlipwayException">PermissionDenied: the caller asked for it, made the version, or is not of the roles and groups that the step names.</exception>
    public Task<PromotionRecord> ApproveAsync(string promotionId, string comment, Caller by, CancellationToken cancellationToken) =>
        DecideAsync(promotionId, approved: true, comment, by, cancellationToken);

    /// <summary>Says no; one rejection closes the promotion.</summary>
    /// <exception cref="SlipwayException">PermissionDenied: as for an approval.</exception>
    public Task<PromotionRecord> RejectAsync(string promotionId, string comment, Caller by, CancellationToken cancellationToken) =>
        DecideAsync(promotionId, approved: false, comment, by, cancellationToken);

    /// <summary>Adds a remark, which decides nothing.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: it is closed; NotFound.</exception>
    public async Task<PromotionRecord> CommentAsync(string promotionId, string comment, Caller by, CancellationToken cancellationToken)
    {
        CheckText("comment", comment);
        await ExpireAsync(cancellationToken);
        await database.WriteAsync(transaction =>
        {
            var promotion = Open(transaction.Connection, promotionId);
            PromotionTable.AddComment(transaction, promotion.Id, comment, by);
            transaction.Audit(by, "promotion.commented", ModelVersionNode.Of(promotion.Model, promotion.Version), comment, null, new { promotion = promotion.Id });
        }, cancellationToken);
        return FindPromotion(promotionId)!;
    }

    /// <summary>Closes a promotion that shall not be carried out, such as after a failed rollout.</summary>
    public async Task<PromotionRecord> WithdrawPromotionAsync(string promotionId, string reason, Caller by, CancellationToken cancellationToken)
    {
        CheckText("reason", reason);
        await ExpireAsync(cancellationToken);
        await database.WriteAsync(transaction =>
        {
            var promotion = Open(transaction.Connection, promotionId);
            PromotionTable.Close(transaction, promotion.Id, PromotionStatus.Withdrawn, by);
            transaction.Audit(by, "promotion.withdrawn", ModelVersionNode.Of(promotion.Model, promotion.Version), reason,
                new { promotion.Status }, new { promotion = promotion.Id, status = PromotionStatus.Withdrawn });
        }, cancellationToken);
        return FindPromotion(promotionId)!;
    }

    /// <summary>Closes the requests whose time is over. Runs before every change of a request, so that none is decided on late.</summary>
    /// <returns>How many were closed.</returns>
    public async Task<int> ExpireAsync(CancellationToken cancellationToken)
    {
        if (database.Read(connection => PromotionTable.Overdue(connection, NowMs)).Count == 0)
        {
            return 0;
        }

        return await database.WriteAsync(transaction =>
        {
            var overdue = PromotionTable.Overdue(transaction.Connection, transaction.NowMs);
            foreach (var promotion in overdue)
            {
                PromotionTable.Close(transaction, promotion.Id, PromotionStatus.Expired, Machine);
                transaction.Audit(Machine, "promotion.expired", ModelVersionNode.Of(promotion.Model, promotion.Version), "nobody carried it out in time",
                    new { promotion.Status }, new { promotion = promotion.Id, status = PromotionStatus.Expired });
            }

            return overdue.Count;
        }, cancellationToken);
    }

    private async Task<PromotionRecord> DecideAsync(string promotionId, bool approved, string comment, Caller by, CancellationToken cancellationToken)
    {
        CheckText("comment", comment);
        await ExpireAsync(cancellationToken);
        var user = users.Find(by.Name);
        var policy = Policy((FindPromotion(promotionId) ?? throw NoPromotion(promotionId)).Model);
        await database.WriteAsync(transaction =>
        {
            var promotion = Open(transaction.Connection, promotionId);
            var version = VersionTable.Find(transaction.Connection, promotion.Model, promotion.Version)!;
            var steps = StepsOf(transaction.Connection, policy, version, promotion.Target);
            var step = DemandMayDecide(promotion, version, steps, policy, user, approved, by);
            var decision = new PromotionDecision(user!.Name, Roles.Name(user.Role), approved, comment, transaction.Now) { Step = step.Name, Groups = GroupsOf(user, policy) };
            PromotionTable.AddDecision(transaction, promotion.Id, decision);
            var status = PromotionStatus.Rejected;
            if (!approved)
            {
                PromotionTable.Close(transaction, promotion.Id, status, by);
            }
            else
            {
                var decided = Open(transaction.Connection, promotion.Id);
                status = Approvals.Count(steps, decided, version.CreatedBy).All(state => state.Complete) ? PromotionStatus.Approved : PromotionStatus.Pending;
                PromotionTable.SetStatus(transaction, promotion.Id, status);
            }

            transaction.Audit(by, approved ? "promotion.approved" : "promotion.rejected", version.Node, comment,
                new { promotion.Status }, new { promotion = promotion.Id, to = promotion.Target.Name, status, decision.Role, decision.Step });
        }, cancellationToken);
        return await ExecuteIfReadyAsync(FindPromotion(promotionId)!, cancellationToken);
    }

    // One approval, then machines execute. A gate that refuses leaves the request approved, with the refusal on it.
    private async Task<PromotionRecord> ExecuteIfReadyAsync(PromotionRecord promotion, CancellationToken cancellationToken)
    {
        if (!promotion.AutoExecute || promotion.Status is not PromotionStatus.Approved)
        {
            return promotion;
        }

        try
        {
            await ExecutePromotionAsync(promotion.Id, Machine, cancellationToken);
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.FailedPrecondition)
        {
            // Kept with the promotion and in the audit trail.
        }

        return FindPromotion(promotion.Id)!;
    }

    private static ApprovalStep DemandMayDecide(
        PromotionRecord promotion, ModelVersionRecord version, IReadOnlyList<ApprovalStep> steps, PromotionPolicy policy, User? user, bool approved, Caller by)
    {
        // A step that is complete may still be said no to; then anyone of its last step may.
        var step = Approvals.Current(steps, Approvals.Count(steps, promotion, version.CreatedBy))
            ?? (steps.Count > 0 ? steps[^1] : new ApprovalStep("approvals", 0, RoleNames.Approvers, [], []));
        var may = approved || steps.Count == 0 ? [step] : steps;
        if (user is null || !may.Any(candidate => Approvals.Counts(candidate, Roles.Name(user.Role), GroupsOf(user, policy))))
        {
            var who = user is null ? "is not a stored user" : $"is {Roles.Name(user.Role)}{(GroupsOf(user, policy) is { Count: > 0 } groups ? $" in {string.Join(", ", groups)}" : "")}";
            var about = steps.Count > 1 ? $" (step {step.Name})" : "";
            throw new SlipwayException(ErrorCode.PermissionDenied, $"Deciding on {promotion.Id}{about} needs a user with role {Approvals.Who(step)}; '{by.Name}' {who}.");
        }

        if (by.Name == promotion.RequestedBy || by.Name == version.CreatedBy)
        {
            throw new SlipwayException(ErrorCode.PermissionDenied,
                $"'{by.Name}' {(by.Name == promotion.RequestedBy ? "asked for" : "made the version of")} {promotion.Id} and so may not decide on it; ask another approver.");
        }

        // One person is one voice: a second approval would only overwrite the first, and take it from its step.
        return approved && promotion.Decisions.Any(decision => decision.Approved && decision.By == by.Name)
            ? throw new SlipwayException(ErrorCode.FailedPrecondition, $"'{by.Name}' has approved {promotion.Id} already; the other approvals must come from others.")
            : step;
    }

    // The one place that says which groups a user belongs to.
    private static IReadOnlyList<string> GroupsOf(User user, PromotionPolicy policy) =>
        [.. policy.Groups.Where(group => group.Value.Contains(user.Name)).Select(group => group.Key).Union(user.Groups, StringComparer.Ordinal)];

    private IReadOnlyList<ApprovalStep> StepsOf(DbConnection connection, PromotionPolicy policy, ModelVersionRecord version, PromotionTarget to) =>
        Approvals.Steps(policy.For(to), RiskOf(connection, policy, version), policy.RiskTable);

    // Adds what a request does not store: whether its time is over, and how far its steps are.
    private PromotionRecord Complete(DbConnection connection, PromotionRecord promotion)
    {
        if (!promotion.IsOpen)
        {
            return promotion;
        }

        if (promotion.ExpiresAt is { } end && end <= clock.GetUtcNow())
        {
            return promotion with { Status = PromotionStatus.Expired };
        }

        var policy = Policy(promotion.Model);
        if (promotion.Environment is { } environment && policy.Environments.All(known => known.Name != environment))
        {
            return promotion; // The policy no longer names it; carrying it out says so.
        }

        var version = VersionTable.Find(connection, promotion.Model, promotion.Version)!;
        return promotion with { Steps = Approvals.Count(StepsOf(connection, policy, version, promotion.Target), promotion, version.CreatedBy) };
    }

    private static PromotionRecord Open(DbConnection connection, string promotionId)
    {
        var promotion = PromotionTable.Find(connection, promotionId) ?? throw NoPromotion(promotionId);
        return promotion.IsOpen
            ? promotion
            : throw new SlipwayException(ErrorCode.FailedPrecondition, $"{promotionId} is {PromotionTable.Name(promotion.Status)} already; ask for a new promotion.");
    }

    private static void CheckText(string field, string? text)
    {
        if (string.IsNullOrWhiteSpace(text) || text.Length > 4000)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' must say why, in 1 to 4000 characters.");
        }
    }

    private static SlipwayException NoPromotion(string id) => new(ErrorCode.NotFound, $"There is no promotion '{id}'.");
}
