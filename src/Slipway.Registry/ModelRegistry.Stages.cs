using System.Data.Common;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.External;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Storage;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    /// <summary>Moves the version if the gate passes. Into production, the version there now is archived in the same transaction.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the gate refuses; the message lists every unmet item, and the promotion keeps the report.</exception>
    public async Task<ModelVersionRecord> ExecutePromotionAsync(string promotionId, Caller by, CancellationToken cancellationToken)
    {
        await ExpireAsync(cancellationToken);
        var asked = database.Read(connection => Open(connection, promotionId));
        await PrepareAsync(asked.Model, asked.Version, cancellationToken);
        var policy = Policy(asked.Model);
        var evidence = await CollectEvidenceAsync(Get(asked.Model, asked.Version), asked.Target, policy, asked.RollbackTo, cancellationToken);
        var gate = await database.WriteAsync(transaction =>
        {
            var promotion = Open(transaction.Connection, promotionId);
            var version = VersionTable.Find(transaction.Connection, promotion.Model, promotion.Version)!;
            var state = StateOf(transaction.Connection, policy, version);
            var report = PromotionGate.Evaluate(version, promotion.Target, policy, promotion, state, evidence, transaction.Now);
            PromotionTable.SetLastGate(transaction, promotion.Id, report);
            if (!report.Passed)
            {
                // The refusal is a fact worth keeping, so that it commits and the caller hears of it afterwards.
                transaction.Audit(by, "promotion.refused", version.Node, promotion.Reason,
                    new { version.Stage }, new { promotion = promotion.Id, to = promotion.Target.Name, unmet = report.Items.Where(item => !item.Passed) });
                return report;
            }

            Promote(transaction, promotion, version, state.Production, by);
            return report;
        }, cancellationToken);

        if (!gate.Passed)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"{promotionId} to {asked.Target.Name} is refused: {string.Join("; ", gate.Items.Where(item => !item.Passed).Select(item => $"{item.Name}: {item.Detail}"))}.");
        }

        await ConfirmAsync(asked.Model, connection => MirrorTable.IsOverruled(connection, asked.Model, asked.Version), cancellationToken);
        return Get(asked.Model, asked.Version);
    }

    /// <summary>Puts a version back into production that was there before, and archives the one there now, in one transaction.</summary>
    /// <param name="model">Model.</param>
    /// <param name="toVersion">The version; null takes the last one that left production without a rollback.</param>
    /// <param name="reason">Why.</param>
    /// <param name="by">Who.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    /// <exception cref="SlipwayException">FailedPrecondition: nothing to go back to, it was never in production, its life ended, or its files are damaged; NotFound.</exception>
    public async Task<ModelVersionRecord> RollbackAsync(string model, string? toVersion, string reason, Caller by, CancellationToken cancellationToken)
    {
        CheckText("reason", reason);
        await PrepareAsync(model, toVersion, cancellationToken);
        var target = database.Read(connection => RollbackTarget(connection, model, toVersion));
        if (await FindLoadFaultAsync(target, cancellationToken) is { } fault)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"{target.Node} cannot take over: {fault}; name another version.");
        }

        await database.WriteAsync(transaction =>
        {
            var now = RollbackTarget(transaction.Connection, model, toVersion);
            if (now.Version != target.Version)
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"The production version of '{model}' changed meanwhile; look again and retry.");
            }

            DemandAlive(transaction.Connection, now, transaction.Now);
            var current = VersionTable.FindInStage(transaction.Connection, model, Stage.Production);
            if (current is not null)
            {
                StageTable.Move(transaction, current, Stage.Archived, "rolled_back", reason, by);
            }

            StageTable.Move(transaction, now, Stage.Production, "rollback", reason, by);
            transaction.Audit(by, "model_version.rolled_back", now.Node, reason, new { production = current?.Version }, new { production = now.Version });
        }, cancellationToken);
        await ConfirmAsync(model, connection => MirrorTable.IsOverruled(connection, model, target.Version), cancellationToken);
        return Get(model, target.Version);
    }

    /// <summary>What would happen on a rollback now; the target is loaded as the server would load it.</summary>
    /// <exception cref="SlipwayException">NotFound: there is no such model.</exception>
    public async Task<RollbackPlan> PlanRollbackAsync(string model, CancellationToken cancellationToken)
    {
        _ = FindModel(model) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}'; GET /api/slipway/v1/models lists them.");
        var (production, target, alive) = database.Read(connection =>
        {
            var current = VersionTable.FindInStage(connection, model, Stage.Production);
            var good = StageTable.LastKnownGood(connection, model, current?.Version) is { } version ? VersionTable.Find(connection, model, version) : null;
            return (current, good, good is null ? null : LifeTable.FindDeprecation(connection, model, good.Version));
        });
        var command = $"slipway registry rollback {model} --reason WHY";
        if (target is null)
        {
            return new RollbackPlan(model, production?.Version, null, false, "no earlier version was in production, so that there is nothing to go back to", command);
        }

        var fault = alive is { EndOfLife: { } end } && end <= clock.GetUtcNow() ? $"the life of {target.Version} has ended" : await FindLoadFaultAsync(target, cancellationToken);
        return new RollbackPlan(model, production?.Version, target.Version, fault is null,
            fault is null ? $"{target.Version} was in production before, its files verify and its model loads" : $"{target.Version} was in production before, but {fault}", command);
    }

    /// <summary>The environments of a model's policy in order, and those that still hold a version.</summary>
    public IReadOnlyList<ModelEnvironment> ListEnvironments(string model)
    {
        var policy = Policy(model);
        var occupants = database.Read(connection => PlaceTable.Occupants(connection, model));
        var named = policy.Environments.Index().Select(item => Of(item.Item.Name, item.Index + 1, item.Item.Optional));
        var others = occupants.Keys.Except(policy.Environments.Select(environment => environment.Name)).Order(StringComparer.Ordinal).Select(name => Of(name, 0, true));
        return [.. named, .. others];

        ModelEnvironment Of(string name, int order, bool optional) => occupants.TryGetValue(name, out var held)
            ? new ModelEnvironment(name, order, optional, held.Version, held.By, held.Since)
            : new ModelEnvironment(name, order, optional, null, null, null);
    }

    private static void Promote(WriteTransaction transaction, PromotionRecord promotion, ModelVersionRecord version, ModelVersionRecord? production, Caller by)
    {
        var approvedBy = promotion.Decisions.Where(decision => decision.Approved).Select(decision => decision.By);
        if (promotion.Environment is { } environment)
        {
            var was = PlaceTable.Enter(transaction, version, environment, promotion.Reason, by, promotion.Id);
            PromotionTable.Close(transaction, promotion.Id, PromotionStatus.Executed, by);
            transaction.Audit(by, "model_version.entered_environment", version.Node, promotion.Reason,
                new { environment, version = was }, new { environment, version.Version, promotion = promotion.Id, approved_by = approvedBy });
            return;
        }

        if (promotion.To is Stage.Production && production is not null)
        {
            StageTable.Move(transaction, production, Stage.Archived, "replaced", $"replaced by {version.Version}: {promotion.Reason}", by, promotion.Id);
            transaction.Audit(by, "model_version.archived", production.Node, $"replaced by {version.Version}", new { production.Stage }, new { stage = Stage.Archived, promotion = promotion.Id });
        }

        StageTable.Move(transaction, version, promotion.To, "promotion", promotion.Reason, by, promotion.Id);
        PromotionTable.Close(transaction, promotion.Id, PromotionStatus.Executed, by);
        transaction.Audit(by, "model_version.promoted", version.Node, promotion.Reason,
            new { version.Stage }, new { stage = promotion.To, promotion = promotion.Id, approved_by = approvedBy });
    }

    private static ModelVersionRecord RollbackTarget(DbConnection connection, string model, string? toVersion)
    {
        var current = VersionTable.FindInStage(connection, model, Stage.Production);
        if (toVersion is null)
        {
            var good = StageTable.LastKnownGood(connection, model, current?.Version)
                ?? throw new SlipwayException(ErrorCode.FailedPrecondition, $"Model '{model}' has no earlier production version to go back to.");
            return VersionTable.Find(connection, model, good)!;
        }

        var target = Resolve(connection, model, toVersion) ?? throw NoVersion(model, toVersion);
        if (target.Version == current?.Version)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"{target.Node} is in production already.");
        }

        return StageTable.WasInProduction(connection, model, target.Version)
            ? target
            : throw new SlipwayException(ErrorCode.FailedPrecondition, $"{target.Node} was never in production; promote it instead.");
    }

    private static string? PlannedRollback(DbConnection connection, string model, string version, string? rollbackTo)
    {
        if (rollbackTo is null)
        {
            return VersionTable.FindInStage(connection, model, Stage.Production)?.Version;
        }

        var target = Resolve(connection, model, rollbackTo) ?? throw NoVersion(model, rollbackTo);
        return target.Version != version && StageTable.WasInProduction(connection, model, target.Version)
            ? target.Version
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"'rollback_to' names {target.Version}, which was never in production; name one that was.");
    }
}
