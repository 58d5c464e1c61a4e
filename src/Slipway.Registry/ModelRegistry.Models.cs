using System.Globalization;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.External;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Registry.Webhooks;
using Slipway.Storage;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    /// <summary>Longest value of a tag of a model or version.</summary>
    internal const int TagValueMax = 100_000;

    /// <summary>A model without its versions; null when there is none.</summary>
    internal ModelRow? FindModelRow(string model) => database.Read(connection => ModelTable.Find(connection, model));

    /// <summary>Makes a model that has no versions yet.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the name or a tag; AlreadyExists.</exception>
    public Task CreateModelAsync(string name, string? description, IReadOnlyDictionary<string, string> tags, Caller by, CancellationToken cancellationToken)
    {
        CheckName("name", name);
        foreach (var tag in tags)
        {
            CheckTag(tag.Key, tag.Value);
        }

        return database.WriteAsync(transaction =>
        {
            ModelTable.Insert(transaction, new ModelRow(name, description ?? "", tags, by.Name, transaction.NowMs, transaction.NowMs));
            transaction.Audit(by, "model.created", ModelNode(name), null, null, new { description, tags });
        }, cancellationToken);
    }

    /// <summary>Gives a model another name; its versions, aliases, promotions and history go with it, and lineage leads to both names.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: a version is in production, or a policy names the model; AlreadyExists; NotFound.</exception>
    public async Task RenameModelAsync(string name, string newName, Caller by, CancellationToken cancellationToken)
    {
        CheckName("new_name", newName);
        var edges = ListVersions(name).Select(version => (version, lineage.EdgesTo(version.Node))).ToList();
        await WriteOwnAsync(name, transaction =>
        {
            var model = ModelTable.Find(transaction.Connection, name) ?? throw NoModel(name);
            if (VersionTable.FindInStage(transaction.Connection, name, Stage.Production) is { } production)
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"{production.Node} is in production, where deployments and monitors name it; archive it before the model is renamed.");
            }

            if (definitions.Find(PolicyKind.KindName, name) is not null && definitions.Find(PolicyKind.KindName, newName) is null)
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"Promotions of '{name}' follow a policy; apply one for '{newName}' before the model is renamed.");
            }

            if (transaction.Connection.ExecuteScalar<bool>("SELECT EXISTS (SELECT 1 FROM models WHERE name = @newName)", new { newName }))
            {
                throw new SlipwayException(ErrorCode.AlreadyExists, $"Registered Model (name={newName}) already exists.");
            }

            foreach (var (version, _) in edges)
            {
                RefuseWhileRun(transaction, version, "renamed", exceptModel: name);
            }

            ModelMove.Rename(transaction, name, newName);
            transaction.Publish(NameGoneTopic, new { Model = name });
            foreach (var (version, into) in edges)
            {
                var renamed = ModelVersionNode.Of(newName, version.Version);
                foreach (var edge in into)
                {
                    transaction.Link(edge.From, edge.Relation, renamed);
                }
            }

            transaction.Audit(by, "model.renamed", ModelNode(newName), null, new { model.Name }, new { name = newName });
        }, cancellationToken);
    }

    /// <summary>Says what a model is for.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public Task DescribeModelAsync(string name, string description, Caller by, CancellationToken cancellationToken) => WriteOwnAsync(name, transaction =>
    {
        var model = ModelTable.Find(transaction.Connection, name) ?? throw NoModel(name);
        ModelTable.SetDescription(transaction, name, description);
        transaction.Audit(by, "model.described", ModelNode(name), null, new { model.Description }, new { description });
    }, cancellationToken);

    /// <summary>Sets a tag of a model; a null value removes it, which one that is not there bears too.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the key or value; NotFound: the model.</exception>
    public Task SetModelTagAsync(string name, string key, string? value, Caller by, CancellationToken cancellationToken)
    {
        CheckTag(key, value ?? "");
        return WriteOwnAsync(name, transaction =>
        {
            var model = ModelTable.Find(transaction.Connection, name) ?? throw NoModel(name);
            if (Changed(model.Tags, key, value) is { } tags)
            {
                ModelTable.SetTags(transaction, name, tags);
                AuditTag(transaction, by, "model", ModelNode(name), model.Tags, key, value);
                WebhookEvents.ModelTag(transaction, model, key, value);
            }
        }, cancellationToken);
    }

    /// <summary>Deletes a model with all its versions. Their history stays, and a later model of this name goes on counting after them.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: a version is in production; NotFound.</exception>
    public Task DeleteModelAsync(string name, Caller by, CancellationToken cancellationToken) => WriteOwnAsync(name, transaction =>
    {
        if (ModelTable.Find(transaction.Connection, name) is null)
        {
            throw NoModel(name);
        }

        var versions = VersionTable.Search(transaction.Connection, name, new VersionSearch());
        foreach (var version in versions)
        {
            Delete(transaction, version, by, withModel: true);
        }

        ModelTable.MarkDeleted(transaction, name);
        transaction.Audit(by, "model.deleted", ModelNode(name), null, new { versions = versions.Select(version => version.Version) });
    }, cancellationToken);

    /// <summary>Says what a version is for.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public Task DescribeVersionAsync(string model, string version, string description, Caller by, CancellationToken cancellationToken) => WriteOwnAsync(model, transaction =>
    {
        var record = Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version);
        VersionTable.SetDescription(transaction, record, description);
        transaction.Audit(by, "model_version.described", record.Node, null, new { record.Description }, new { description });
    }, cancellationToken);

    /// <summary>Sets a tag of a version; a null value removes it, which one that is not there bears too.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the key or value; NotFound: the version.</exception>
    public Task SetVersionTagAsync(string model, string version, string key, string? value, Caller by, CancellationToken cancellationToken)
    {
        CheckTag(key, value ?? "");
        return WriteOwnAsync(model, transaction =>
        {
            var record = Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version);
            if (Changed(record.Tags, key, value) is { } tags)
            {
                VersionTable.SetTags(transaction, record, tags);
                AuditTag(transaction, by, "model_version", record.Node, record.Tags, key, value);
                WebhookEvents.VersionTag(transaction, record, IsPrompt(transaction, record), key, value);
            }
        }, cancellationToken);
    }

    /// <summary>Deletes a version. Its number is never given again.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: it is in production; NotFound.</exception>
    public Task DeleteVersionAsync(string model, string version, Caller by, CancellationToken cancellationToken) => WriteOwnAsync(model, transaction =>
    {
        Delete(transaction, Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version), by);
        ModelTable.Touch(transaction, model);
    }, cancellationToken);

    /// <summary>Takes an alias away; one that is not there is no fault.</summary>
    /// <exception cref="SlipwayException">NotFound: the model.</exception>
    public Task DeleteAliasAsync(string model, string alias, Caller by, CancellationToken cancellationToken) => WriteOwnAsync(model, transaction =>
    {
        var row = ModelTable.Find(transaction.Connection, model) ?? throw NoModel(model);
        if (VersionTable.FindByAlias(transaction.Connection, model, alias) is { } version)
        {
            transaction.Connection.Execute("DELETE FROM model_aliases WHERE model = @model AND alias = @alias", new { model, alias });
            PlaceTable.RecordAlias(transaction, model, alias, null, version.Version, by);
            VersionTable.Touch(transaction, version);
            transaction.Audit(by, "model_version.alias_deleted", version.Node, null, new { alias, version.Version });
            transaction.Publish(NameGoneTopic, new { version.Model });
            WebhookEvents.AliasDeleted(transaction, model, row.IsPrompt, alias);
        }
    }, cancellationToken);

    /// <summary>Archives the other versions in staging: MLflow's <c>archive_existing_versions</c>, asked for with an executed promotion.</summary>
    internal async Task ArchiveOthersInStagingAsync(ModelVersionRecord staged, Caller by, CancellationToken cancellationToken)
    {
        var archived = await database.WriteAsync(transaction =>
        {
            var others = VersionTable.Search(transaction.Connection, staged.Model, new VersionSearch(Stage.Staging)).Where(other => other.Version != staged.Version).ToList();
            foreach (var other in others)
            {
                StageTable.Move(transaction, other, Stage.Archived, "replaced", $"replaced by {staged.Version} in staging", by);
                transaction.Audit(by, "model_version.archived", other.Node, $"replaced by {staged.Version}", new { other.Stage }, new { stage = Stage.Archived });
            }

            return others;
        }, cancellationToken);
        await ConfirmAsync(staged.Model, connection => archived.Exists(other => MirrorTable.IsOverruled(connection, other.Model, other.Version)), cancellationToken);
    }

    /// <summary>Refuses a name that no model may have.</summary>
    internal static void CheckName(string field, string? name)
    {
        if (string.IsNullOrEmpty(name))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Missing value for required parameter '{field}'.");
        }

        if (!RegistrationRules.IsName(name))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Invalid value for parameter '{field}' supplied: it {RegistrationRules.NameRule}.");
        }
    }

    internal static SlipwayException NoModel(string name) => new(ErrorCode.NotFound, $"Registered Model with name={name} not found");

    // A model that is kept on an external server is changed there.
    private Task WriteOwnAsync(string model, Action<WriteTransaction> change, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        external?.DemandOwn(transaction.Connection, model);
        change(transaction);
    }, cancellationToken);

    // A chain loads what it runs by name and version each time a server starts.
    private static void RefuseWhileRun(WriteTransaction transaction, ModelVersionRecord version, string what, string? exceptModel)
    {
        var chains = Lineage.EdgesFrom(transaction.Connection, version.Node, int.MaxValue).Where(edge => edge is { Relation: "depends_on", To.Kind: NodeKinds.ModelVersion })
            .Select(edge => edge.To.Id.Split('@')).Where(chain => chain[0] != exceptModel && VersionTable.Find(transaction.Connection, chain[0], chain[1]) is not null)
            .Select(chain => string.Join('@', chain)).Order(StringComparer.Ordinal).ToList();
        if (chains.Count > 0)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"{version.Node} is a step of {string.Join(", ", chains)}; delete {(chains.Count == 1 ? "that version" : "those versions")} before it is {what}.");
        }
    }

    private static void Delete(WriteTransaction transaction, ModelVersionRecord version, Caller by, bool withModel = false)
    {
        RefuseWhileRun(transaction, version, "deleted", exceptModel: withModel ? version.Model : null);
        if (version.Stage is Stage.Production)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"{version.Node} is in production; archive it or put another version in its place before it is deleted.");
        }

        foreach (var promotion in PromotionTable.List(transaction.Connection, version.Model).Where(promotion =>
            promotion.Version == version.Version && (promotion.Status is PromotionStatus.Pending or PromotionStatus.Approved)))
        {
            PromotionTable.Close(transaction, promotion.Id, PromotionStatus.Withdrawn, by);
        }

        PlaceTable.LeaveEnvironments(transaction, version, "the version was deleted", by, null);
        foreach (var alias in version.Aliases)
        {
            PlaceTable.RecordAlias(transaction, version.Model, alias, null, version.Version, by);
        }

        VersionTable.MarkDeleted(transaction, version);
        transaction.Publish(NameGoneTopic, new { version.Model });
        transaction.Audit(by, "model_version.deleted", version.Node, null,
            new { version.Number, version.Stage, version.RunId, version.Source, version.Aliases, files = version.Files.Select(file => new { file.Path, file.Sha256 }) });
    }

    // Null when nothing changes, so that nothing is told either.
    private static Dictionary<string, string>? Changed(IReadOnlyDictionary<string, string> tags, string key, string? value)
    {
        if (tags.TryGetValue(key, out var before) ? before == value : value is null)
        {
            return null;
        }

        var changed = tags.ToDictionary();
        if (value is null)
        {
            changed.Remove(key);
        }
        else
        {
            changed[key] = value;
        }

        return changed;
    }

    private static void AuditTag(WriteTransaction transaction, Caller by, string noun, NodeRef node, IReadOnlyDictionary<string, string> before, string key, string? value) =>
        transaction.Audit(by, value is null ? $"{noun}.tag_deleted" : $"{noun}.tag_set", node, null,
            before.TryGetValue(key, out var old) ? new { key, value = old } : null, value is null ? null : new { key, value });

    internal static bool IsPrompt(WriteTransaction transaction, ModelVersionRecord version) =>
        ModelRow.IsPromptBy(version.Tags) || ModelTable.Find(transaction.Connection, version.Model)?.IsPrompt == true;

    internal static void CheckTag(string key, string value)
    {
        if (Contracts.Tracking.RunKeys.Fault("tag", key) is { } fault)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, fault);
        }

        if (value.Length > TagValueMax)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument,
                $"The value of tag '{key}' has {value.Length.ToString(CultureInfo.InvariantCulture)} characters; at most {TagValueMax.ToString(CultureInfo.InvariantCulture)} are allowed.");
        }
    }

    private static NodeRef ModelNode(string name) => new(NodeKinds.Model, name);
}
