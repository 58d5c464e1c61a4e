using System.Data.Common;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.External;
using Slipway.Registry.Stages;
using Slipway.Storage;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    private static readonly string[] RetirementOrder = ["notice", "migration", "archive", "deletion"];

    /// <summary>The deprecation of a version; null when it is not deprecated.</summary>
    public Deprecation? FindDeprecation(string model, string version) => database.Read(connection => LifeTable.FindDeprecation(connection, model, version));

    /// <summary>Deprecated versions; of all models when <paramref name="model"/> is null.</summary>
    public IReadOnlyList<Deprecation> ListDeprecations(string? model = null) => database.Read(connection => LifeTable.ListDeprecations(connection, model));

    /// <summary>Says that a version shall no longer be used, or changes what was said.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: no reason, or it would replace itself; NotFound.</exception>
    public async Task<Deprecation> DeprecateAsync(string model, string version, DeprecateVersion request, Caller by, CancellationToken cancellationToken)
    {
        CheckText("reason", request.Reason);
        return await database.WriteAsync(transaction =>
        {
            var record = Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version);
            var replacement = request.Replacement is { } other ? (Resolve(transaction.Connection, model, other) ?? throw NoVersion(model, other)).Version : null;
            if (replacement == record.Version)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'replacement' names {record.Version} itself; name another version.");
            }

            var before = LifeTable.FindDeprecation(transaction.Connection, model, record.Version);
            LifeTable.Deprecate(transaction, record, request.Reason!, request.EndOfLife, replacement, by);
            transaction.Audit(by, "model_version.deprecated", record.Node, request.Reason, before, new { end_of_life = request.EndOfLife, replacement });
            transaction.Publish(DeprecationTopic, new { record.Model, record.Version });
            return LifeTable.FindDeprecation(transaction.Connection, model, record.Version)!;
        }, cancellationToken);
    }

    /// <summary>Topic of <c>{model, version}</c>: a version was deprecated, or is no longer.</summary>
    public const string DeprecationTopic = "registry.deprecation_changed";

    /// <summary>Takes a deprecation back.</summary>
    /// <exception cref="SlipwayException">NotFound: no such version, or it is not deprecated.</exception>
    public Task UndeprecateAsync(string model, string version, string? reason, Caller by, CancellationToken cancellationToken)
    {
        CheckText("comment", reason);
        return database.WriteAsync(transaction =>
        {
            var record = Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version);
            var before = LifeTable.FindDeprecation(transaction.Connection, model, record.Version)
                ?? throw new SlipwayException(ErrorCode.NotFound, $"{record.Node} is not deprecated.");
            LifeTable.TakeBackDeprecation(transaction, record);
            transaction.Audit(by, "model_version.deprecation_taken_back", record.Node, reason, before);
            transaction.Publish(DeprecationTopic, new { record.Model, record.Version });
        }, cancellationToken);
    }

    /// <summary>Refuses a version whose life has ended.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: with the reason and the replacement.</exception>
    public void DemandAlive(string model, string version)
    {
        var record = Get(model, version);
        database.Read(connection =>
        {
            DemandAlive(connection, record, clock.GetUtcNow());
            return true;
        });
    }

    /// <summary>How far a version's retirement is.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public Retirement GetRetirement(string model, string version)
    {
        var record = Get(model, version);
        return database.Read(connection => RetirementOf(connection, record));
    }

    /// <summary>
    /// Does the next step of a retirement: <c>notice</c> tells the users, <c>migration</c> says that they have moved, <c>archive</c> takes the
    /// version out of its stage and environments, <c>deletion</c> records that its copies outside are gone and ends its life here. Its files
    /// stay: they are the evidence behind decisions that it made.
    /// </summary>
    /// <exception cref="SlipwayException">FailedPrecondition: out of turn, done already, or still in production; PermissionDenied: the policy leaves the step to an approver.</exception>
    public async Task<Retirement> RetireAsync(string model, string version, string step, string? comment, Caller by, CancellationToken cancellationToken)
    {
        CheckText("comment", comment);
        if (!RetirementOrder.Contains(step))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'step' must be one of {string.Join(", ", RetirementOrder)}, not '{step}'.");
        }

        await PrepareAsync(model, version, cancellationToken);
        var policy = Policy(model);
        var user = users.Find(by.Name);
        var retired = await database.WriteAsync(transaction =>
        {
            var record = Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version);
            var now = RetirementOf(transaction.Connection, record);
            var next = now.Steps.FirstOrDefault(candidate => !candidate.Done)?.Step;
            if (next != step)
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, next is null
                    ? $"{record.Node} is retired already."
                    : $"The next step of the retirement of {record.Node} is {next}, not {step}.");
            }

            if (policy.RetirementApprovals.Contains(step)
                && (user is null || !RoleNames.Approvers.Contains(user.Role) || by.Name == now.Steps[0].By))
            {
                throw new SlipwayException(ErrorCode.PermissionDenied,
                    $"The policy leaves the step {step} to a user with role {RoleNames.Of(RoleNames.Approvers)} other than '{now.Steps[0].By}', who gave the notice.");
            }

            if (step == "archive" && record.Stage is not Stage.Archived)
            {
                if (record.Stage is Stage.Production)
                {
                    throw new SlipwayException(ErrorCode.FailedPrecondition, $"{record.Node} is in production; promote its successor or archive it with approval first.");
                }

                StageTable.Move(transaction, record, Stage.Archived, "retirement", comment!, by);
            }

            LifeTable.DoRetirementStep(transaction, record, step, comment!, by);
            if (step is "notice" && LifeTable.FindDeprecation(transaction.Connection, model, record.Version) is null)
            {
                // Whoever uses it is told.
                LifeTable.Deprecate(transaction, record, comment!, null, null, by);
                transaction.Publish(DeprecationTopic, new { record.Model, record.Version });
            }
            else if (step is "deletion")
            {
                var deprecation = LifeTable.FindDeprecation(transaction.Connection, model, record.Version);
                LifeTable.Deprecate(transaction, record, deprecation?.Reason ?? comment!, transaction.Now, deprecation?.Replacement, by);
                transaction.Publish(DeprecationTopic, new { record.Model, record.Version });
            }

            transaction.Audit(by, $"model_version.retirement_{step}", record.Node, comment, new { record.Stage }, new { step });
            return RetirementOf(transaction.Connection, record);
        }, cancellationToken);
        await ConfirmAsync(model, connection => MirrorTable.IsOverruled(connection, model, retired.Version), cancellationToken);
        return retired;
    }

    /// <summary>The checklist that the policy sets for a stage or environment, with who ticked what.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public Checklist GetChecklist(string model, string version, PromotionTarget to)
    {
        var record = Get(model, version);
        var items = Policy(model).For(to).Checklist;
        var ticked = database.Read(connection => LifeTable.Ticked(connection, model, record.Version));
        return new Checklist(model, record.Version,
            [.. items.Select(item => ticked.TryGetValue(item.Item, out var tick) ? tick with { Text = item.Text } : new ChecklistItem(item.Item, item.Text, null, null, null))]);
    }

    /// <summary>Ticks an item of the checklist, or opens it again.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: no note, or no policy of the model names the item; NotFound.</exception>
    public async Task TickAsync(string model, string version, string item, bool done, string? note, Caller by, CancellationToken cancellationToken)
    {
        CheckText("note", note);
        var policy = Policy(model);
        var known = policy.Stages.Values.Concat(policy.Environments.Select(environment => environment.Requirements)).SelectMany(stage => stage.Checklist).Select(entry => entry.Item).ToHashSet();
        if (!known.Contains(item))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument,
                known.Count == 0 ? $"The policy of '{model}' sets no checklist." : $"'item' must be one of {string.Join(", ", known.Order(StringComparer.Ordinal))}, not '{item}'.");
        }

        await database.WriteAsync(transaction =>
        {
            var record = Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version);
            if (done)
            {
                LifeTable.Tick(transaction, record, item, note!, by);
            }
            else
            {
                LifeTable.Untick(transaction, record, item);
            }

            transaction.Audit(by, done ? "model_version.checklist_ticked" : "model_version.checklist_opened", record.Node, note, null, new { item });
        }, cancellationToken);
    }

    private Retirement RetirementOf(DbConnection connection, ModelVersionRecord version)
    {
        var done = LifeTable.RetirementSteps(connection, version.Model, version.Version);
        var approvals = Policy(version.Model).RetirementApprovals;
        return new Retirement(version.Model, version.Version, [.. RetirementOrder.Select(step => done.TryGetValue(step, out var act)
            ? new RetirementStep(step, true, act.By, act.At, act.Comment, approvals.Contains(step))
            : new RetirementStep(step, false, null, null, null, approvals.Contains(step)))]);
    }

    private static void DemandAlive(DbConnection connection, ModelVersionRecord version, DateTimeOffset now)
    {
        if (LifeTable.FindDeprecation(connection, version.Model, version.Version) is { EndOfLife: { } end } deprecation && end <= now)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"The life of {version.Node} ended {end.UtcDateTime:yyyy-MM-dd}: {deprecation.Reason}; use {deprecation.Replacement ?? "another version"}, or take the deprecation back.");
        }
    }
}
