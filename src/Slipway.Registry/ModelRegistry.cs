using System.Globalization;
using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Identity;
using Slipway.Native.Onnx;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;

namespace Slipway.Registry;

/// <summary>Owns models, versions, their stages, promotions and aliases.</summary>
public sealed class ModelRegistry(Database database, BlobStore blobs, Lineage lineage, DefinitionStore definitions, UserStore users)
{
    /// <summary>Topic of a <see cref="StageChange"/>; published once per version that moves, the replaced version first.</summary>
    public const string StageChangedTopic = StageTable.Topic;

    /// <summary>Topic of <c>{model, version, number, run_id}</c>.</summary>
    public const string VersionRegisteredTopic = "registry.version_registered";

    private static readonly JsonSerializerOptions ReportOptions = new(JsonDefaults.Options) { RespectNullableAnnotations = true };

    /// <summary>Stores a new version with all its parts, or nothing.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: a part is missing or the bump too small; NotFound: a blob; AlreadyExists: the version.</exception>
    public async Task<ModelVersionRecord> RegisterAsync(RegisterVersion request, Caller by, CancellationToken cancellationToken)
    {
        RegistrationRules.Check(request);
        await CheckBlobsAsync(request, cancellationToken);
        var version = await database.WriteAsync(transaction => Insert(transaction, request, by), cancellationToken);
        return Get(version.Model, version.Version);
    }

    /// <summary>Finds a version; null when there is none.</summary>
    /// <param name="model">Model.</param>
    /// <param name="reference">
    /// <c>1.0.0</c>, the MLflow number <c>3</c>, a stage such as <c>production</c> (the newest version in it), <c>latest</c>, or an alias such as <c>@champion</c>.
    /// </param>
    public ModelVersionRecord? Find(string model, string reference) => WithLineage(database.Read(connection => Resolve(connection, model, reference)));

    /// <summary>As <see cref="Find"/>.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public ModelVersionRecord Get(string model, string reference) => Find(model, reference) ?? throw NoVersion(model, reference);

    /// <summary>The newest version in the stage; production holds at most one.</summary>
    public ModelVersionRecord? FindInStage(string model, Stage stage) =>
        WithLineage(database.Read(connection => VersionTable.FindInStage(connection, model, stage)));

    /// <summary>The version that was in production at an instant; null when none was.</summary>
    public ModelVersionRecord? FindInProductionAsOf(string model, DateTimeOffset instant) => WithLineage(database.Read(connection =>
        StageTable.InProductionAsOf(connection, model, instant.ToUnixTimeMilliseconds()) is { } version ? VersionTable.Find(connection, model, version) : null));

    /// <summary>All models by name.</summary>
    public IReadOnlyList<ModelSummary> ListModels() => database.Read(VersionTable.Summaries);

    /// <summary>A model; null when there is none.</summary>
    public ModelSummary? FindModel(string model) => ListModels().FirstOrDefault(summary => summary.Name == model);

    /// <summary>A model's versions, newest first; empty when there is no such model.</summary>
    public IReadOnlyList<ModelVersionRecord> ListVersions(string model) => Search(model, new VersionSearch());

    /// <summary>Versions that match, newest first; of all models when <paramref name="model"/> is null.</summary>
    public IReadOnlyList<ModelVersionRecord> Search(string? model, VersionSearch search) =>
        [.. database.Read(connection => VersionTable.Search(connection, model, search)).Select(version => WithLineage(version)!)];

    /// <summary>Changes of stage, oldest first, of one version or of the whole model.</summary>
    public IReadOnlyList<StageChange> History(string model, string? version = null) =>
        database.Read(connection => StageTable.History(connection, model, version));

    /// <summary>Where a version came from and what came of it.</summary>
    public LineageGraph LineageOf(ModelVersionRecord version) => VersionLineage.Graph(lineage, version.Node);

    /// <summary>The version's evaluation report; null when it was registered without one.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the blob was changed.</exception>
    public async Task<EvaluationReport?> ReadReportAsync(ModelVersionRecord version, CancellationToken cancellationToken) =>
        version.EvaluationReportSha256 is { } sha256 ? ParseReport(await blobs.ReadVerifiedAsync(sha256, cancellationToken)) : null;

    /// <summary>A file of the version, checked against the SHA-256 it was registered with.</summary>
    /// <exception cref="SlipwayException">NotFound: no such file; FailedPrecondition: the content was changed.</exception>
    public Task<byte[]> ReadFileAsync(ModelVersionRecord version, string path, CancellationToken cancellationToken)
    {
        var file = version.Files.FirstOrDefault(file => file.Path == path)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"{version.Node} has no file '{path}'; it has {string.Join(", ", version.Files.Select(known => known.Path))}.");
        return blobs.ReadVerifiedAsync(file.Sha256, cancellationToken);
    }

    /// <summary>Every blob that a version rests on: its files, baseline, environment and evaluation report.</summary>
    public IReadOnlyList<BlobReference> ReferencedBlobs() => database.Read(connection => connection
        .Query<(string Model, string Version, string Part, string Sha256)>(
            """
            SELECT model, version, path, sha256 FROM model_version_files
            UNION ALL
            SELECT model, version, 'baseline', baseline_sha256 FROM model_versions
            UNION ALL
            SELECT model, version, 'environment', environment_sha256 FROM model_versions
            UNION ALL
            SELECT model, version, 'evaluation report', evaluation_report_sha256 FROM model_versions WHERE evaluation_report_sha256 IS NOT NULL
            """)
        .Select(row => new BlobReference(ModelVersionNode.Of(row.Model, row.Version), row.Part, row.Sha256)).ToList());

    /// <summary>Two versions side by side.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public async Task<VersionComparison> CompareAsync(string model, string a, string b, CancellationToken cancellationToken)
    {
        var first = Get(model, a);
        var second = Get(model, b);
        return VersionComparer.Compare(
            first, await ReadReportAsync(first, cancellationToken), second, await ReadReportAsync(second, cancellationToken));
    }

    /// <summary>Points an alias at a version, moving it if it points elsewhere.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the name could be mistaken for a version or stage; NotFound.</exception>
    public async Task<ModelVersionRecord> SetAliasAsync(string model, string alias, string version, Caller by, CancellationToken cancellationToken)
    {
        if (!RegistrationRules.IsName(alias) || char.IsAsciiDigit(alias[0]) || alias == "latest" || StageRules.TryParse(alias, out _)
            || (alias[0] is 'v' or 'V' && alias.Length > 1 && alias.AsSpan(1).IndexOfAnyExceptInRange('0', '9') < 0))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'alias' may not be '{alias}', which reads as a version or stage; use a name such as champion.");
        }

        var set = await database.WriteAsync(transaction =>
        {
            var target = Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version);
            var before = VersionTable.FindByAlias(transaction.Connection, model, alias);
            transaction.Connection.Execute(
                """
                INSERT INTO model_aliases (model, alias, version, set_by, set_at_ms) VALUES (@Model, @alias, @Version, @by, @now)
                ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version, set_by = excluded.set_by, set_at_ms = excluded.set_at_ms
                """,
                new { target.Model, alias, target.Version, by = by.Name, now = transaction.NowMs });
            transaction.Audit(by, "model_version.alias_set", target.Node, null, before is null ? null : new { alias, before.Version }, new { alias, target.Version });
            return target;
        }, cancellationToken);
        return Get(model, set.Version);
    }

    /// <summary>A promotion; null when there is none.</summary>
    public PromotionRecord? FindPromotion(string id) => database.Read(connection => PromotionTable.Find(connection, id));

    /// <summary>The open promotion of a version to a stage; null when none is open.</summary>
    public PromotionRecord? FindOpenPromotion(string model, string version, Stage to) =>
        database.Read(connection => PromotionTable.FindOpen(connection, model, version, to));

    /// <summary>Promotions, newest first; of all models when <paramref name="model"/> is null.</summary>
    public IReadOnlyList<PromotionRecord> ListPromotions(string? model = null) => database.Read(connection => PromotionTable.List(connection, model));

    /// <summary>Whether an open promotion has the approvals that the policy in force asks for.</summary>
    public bool HasApproval(string model, string version, Stage to)
    {
        var requirements = Policy(model).For(to);
        return database.Read(connection =>
            PromotionTable.FindOpen(connection, model, version, to) is { } promotion
            && VersionTable.Find(connection, model, version) is { } record
            && PromotionGate.Valid(promotion, record.CreatedBy, requirements).Count >= requirements.Approvals);
    }

    /// <summary>Asks for a promotion. The gate is checked when it is carried out; the source stage already now.</summary>
    /// <param name="model">Model.</param>
    /// <param name="version">Version, number, stage or alias.</param>
    /// <param name="to">Stage asked for.</param>
    /// <param name="reason">Why.</param>
    /// <param name="by">Who asks; may not approve it.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    /// <param name="rollbackTo">For production: the version that takes over on failure; null takes the one in production now.</param>
    /// <exception cref="SlipwayException">FailedPrecondition: wrong source stage; AlreadyExists: one is open; NotFound.</exception>
    public async Task<PromotionRecord> RequestPromotionAsync(
        string model, string version, Stage to, string reason, Caller by, CancellationToken cancellationToken, string? rollbackTo = null)
    {
        CheckText("reason", reason);
        var policy = Policy(model);
        var id = await database.WriteAsync(transaction =>
        {
            var record = Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version);
            if (!StageRules.Allows(record.Stage, to))
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition,
                    $"{record.Node} is in {StageRules.Name(record.Stage)}, from which it may only go to {string.Join(" or ", StageRules.Targets(record.Stage).Select(StageRules.Name))}, not to {StageRules.Name(to)}.");
            }

            if (PromotionTable.FindOpen(transaction.Connection, model, record.Version, to) is { } open)
            {
                throw new SlipwayException(ErrorCode.AlreadyExists, $"{open.Id} already asks to move {record.Node} to {StageRules.Name(to)}; approve, reject or withdraw it.");
            }

            var plan = to is Stage.Production ? RollbackPlan(transaction.Connection, model, record.Version, rollbackTo) : null;
            var status = policy.For(to).Approvals == 0 ? PromotionStatus.Approved : PromotionStatus.Pending;
            var promotion = PromotionTable.Insert(transaction, record, to, status, reason, plan, by);
            transaction.Audit(by, "promotion.requested", record.Node, reason, new { stage = record.Stage }, new { promotion, to, rollback_to = plan });
            return promotion;
        }, cancellationToken);
        return FindPromotion(id)!;
    }

    /// <summary>Adds an approval.</summary>
    /// <exception cref="SlipwayException">PermissionDenied: the caller asked for it, made the version, or holds no role that the policy names.</exception>
    public Task<PromotionRecord> ApproveAsync(string promotionId, string comment, Caller by, CancellationToken cancellationToken) =>
        DecideAsync(promotionId, approved: true, comment, by, cancellationToken);

    /// <summary>Says no; one rejection closes the promotion.</summary>
    /// <exception cref="SlipwayException">PermissionDenied: as for an approval.</exception>
    public Task<PromotionRecord> RejectAsync(string promotionId, string comment, Caller by, CancellationToken cancellationToken) =>
        DecideAsync(promotionId, approved: false, comment, by, cancellationToken);

    /// <summary>Closes a promotion that shall not be carried out, such as after a failed rollout.</summary>
    public async Task<PromotionRecord> WithdrawPromotionAsync(string promotionId, string reason, Caller by, CancellationToken cancellationToken)
    {
        CheckText("reason", reason);
        await database.WriteAsync(transaction =>
        {
            var promotion = Open(transaction.Connection, promotionId);
            PromotionTable.Close(transaction, promotion.Id, PromotionStatus.Withdrawn, by);
            transaction.Audit(by, "promotion.withdrawn", ModelVersionNode.Of(promotion.Model, promotion.Version), reason,
                new { promotion.Status }, new { promotion = promotion.Id, status = PromotionStatus.Withdrawn });
        }, cancellationToken);
        return FindPromotion(promotionId)!;
    }

    /// <summary>What stands between a version and a stage now.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public async Task<GateReport> CheckAsync(string model, string version, Stage to, CancellationToken cancellationToken)
    {
        var record = Get(model, version);
        var promotion = FindOpenPromotion(model, record.Version, to);
        var evidence = await CollectEvidenceAsync(record, to, promotion?.RollbackTo, cancellationToken);
        return PromotionGate.Evaluate(record, to, Policy(model), promotion, FindInStage(model, Stage.Production), evidence);
    }

    /// <summary>Moves the version if the gate passes. Into production, the version there now is archived in the same transaction.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the gate refuses; the message lists every unmet item, and the promotion keeps the report.</exception>
    public async Task<ModelVersionRecord> ExecutePromotionAsync(string promotionId, Caller by, CancellationToken cancellationToken)
    {
        var asked = database.Read(connection => Open(connection, promotionId));
        var evidence = await CollectEvidenceAsync(Get(asked.Model, asked.Version), asked.To, asked.RollbackTo, cancellationToken);
        var policy = Policy(asked.Model);
        var gate = await database.WriteAsync(transaction =>
        {
            var promotion = Open(transaction.Connection, promotionId);
            var version = VersionTable.Find(transaction.Connection, promotion.Model, promotion.Version)!;
            var production = VersionTable.FindInStage(transaction.Connection, promotion.Model, Stage.Production);
            var report = PromotionGate.Evaluate(version, promotion.To, policy, promotion, production, evidence);
            PromotionTable.SetLastGate(transaction, promotion.Id, report);
            if (!report.Passed)
            {
                // The refusal is a fact worth keeping, so that it commits and the caller hears of it afterwards.
                transaction.Audit(by, "promotion.refused", version.Node, promotion.Reason,
                    new { version.Stage }, new { promotion = promotion.Id, promotion.To, unmet = report.Items.Where(item => !item.Passed) });
                return report;
            }

            Promote(transaction, promotion, version, production, by);
            return report;
        }, cancellationToken);

        return gate.Passed
            ? Get(asked.Model, asked.Version)
            : throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"{promotionId} to {StageRules.Name(asked.To)} is refused: {string.Join("; ", gate.Items.Where(item => !item.Passed).Select(item => $"{item.Name}: {item.Detail}"))}.");
    }

    /// <summary>Puts a version back into production that was there before, and archives the one there now, in one transaction.</summary>
    /// <param name="model">Model.</param>
    /// <param name="toVersion">The version; null takes the last one that left production without a rollback.</param>
    /// <param name="reason">Why.</param>
    /// <param name="by">Who.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    /// <exception cref="SlipwayException">FailedPrecondition: nothing to go back to, it was never in production, or its files are damaged; NotFound.</exception>
    public async Task<ModelVersionRecord> RollbackAsync(string model, string? toVersion, string reason, Caller by, CancellationToken cancellationToken)
    {
        CheckText("reason", reason);
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

            var current = VersionTable.FindInStage(transaction.Connection, model, Stage.Production);
            if (current is not null)
            {
                StageTable.Move(transaction, current, Stage.Archived, "rolled_back", reason, by);
            }

            StageTable.Move(transaction, now, Stage.Production, "rollback", reason, by);
            transaction.Audit(by, "model_version.rolled_back", now.Node, reason, new { production = current?.Version }, new { production = now.Version });
        }, cancellationToken);
        return Get(model, target.Version);
    }

    private async Task<PromotionRecord> DecideAsync(string promotionId, bool approved, string comment, Caller by, CancellationToken cancellationToken)
    {
        CheckText("comment", comment);
        var user = users.Find(by.Name);
        var policy = Policy((FindPromotion(promotionId) ?? throw NoPromotion(promotionId)).Model);
        await database.WriteAsync(transaction =>
        {
            var promotion = Open(transaction.Connection, promotionId);
            var version = VersionTable.Find(transaction.Connection, promotion.Model, promotion.Version)!;
            var requirements = policy.For(promotion.To);
            if (user is null || !requirements.Roles.Contains(user.Role))
            {
                throw new SlipwayException(ErrorCode.PermissionDenied,
                    $"Deciding on {promotionId} needs a user with role {string.Join(" or ", requirements.Roles).ToLowerInvariant()}; '{by.Name}' {(user is null ? "is not a stored user" : $"is {user.Role.ToString().ToLowerInvariant()}")}.");
            }

            if (by.Name == promotion.RequestedBy || by.Name == version.CreatedBy)
            {
                throw new SlipwayException(ErrorCode.PermissionDenied,
                    $"'{by.Name}' {(by.Name == promotion.RequestedBy ? "asked for" : "made the version of")} {promotionId} and so may not decide on it; ask another approver.");
            }

            var decision = new PromotionDecision(user.Name, user.Role.ToString().ToLowerInvariant(), approved, comment, transaction.Now);
            PromotionTable.AddDecision(transaction, promotion.Id, decision);
            var status = PromotionStatus.Rejected;
            if (!approved)
            {
                PromotionTable.Close(transaction, promotion.Id, status, by);
            }
            else
            {
                var decided = Open(transaction.Connection, promotion.Id);
                status = PromotionGate.Valid(decided, version.CreatedBy, requirements).Count >= requirements.Approvals ? PromotionStatus.Approved : PromotionStatus.Pending;
                PromotionTable.SetStatus(transaction, promotion.Id, status);
            }

            transaction.Audit(by, approved ? "promotion.approved" : "promotion.rejected", version.Node, comment,
                new { promotion.Status }, new { promotion = promotion.Id, promotion.To, status, decision.Role });
        }, cancellationToken);
        return FindPromotion(promotionId)!;
    }

    private static void Promote(WriteTransaction transaction, PromotionRecord promotion, ModelVersionRecord version, ModelVersionRecord? production, Caller by)
    {
        if (promotion.To is Stage.Production && production is not null)
        {
            StageTable.Move(transaction, production, Stage.Archived, "replaced", $"replaced by {version.Version}: {promotion.Reason}", by, promotion.Id);
            transaction.Audit(by, "model_version.archived", production.Node, $"replaced by {version.Version}", new { production.Stage }, new { stage = Stage.Archived, promotion = promotion.Id });
        }

        StageTable.Move(transaction, version, promotion.To, "promotion", promotion.Reason, by, promotion.Id);
        PromotionTable.Close(transaction, promotion.Id, PromotionStatus.Executed, by);
        transaction.Audit(by, "model_version.promoted", version.Node, promotion.Reason,
            new { version.Stage }, new { stage = promotion.To, promotion = promotion.Id, approved_by = promotion.Decisions.Where(decision => decision.Approved).Select(decision => decision.By) });
    }

    private static ModelVersionRecord Insert(WriteTransaction transaction, RegisterVersion request, Caller by)
    {
        var connection = transaction.Connection;
        var newest = VersionTable.Newest(connection, request.Model);
        var change = newest is null ? null : VersionRules.Compare(newest.Signature, newest.FeatureSchema, request.Signature, request.FeatureSchema);
        var next = VersionRules.Next(request.Bump, newest is null ? null : SemanticVersion.Parse(newest.Version), change);
        if (request.ParentVersion is { } parent && VersionTable.Find(connection, request.Model, parent) is null)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"'parent_version' names {parent}, but model '{request.Model}' has no such version.");
        }

        var version = new ModelVersionRecord
        {
            Model = request.Model,
            Version = next.Version.ToString(),
            Number = (newest?.Number ?? 0) + 1,
            Stage = Stage.Development,
            RunId = request.RunId,
            Bump = next.Bump,
            BumpReason = next.Reason,
            Description = request.Description ?? "",
            Owner = request.Owner ?? by.Name,
            Tags = request.Tags ?? new Dictionary<string, string>(),
            Files = request.Files,
            Signature = request.Signature,
            FeatureSchema = request.FeatureSchema,
            BaselineSha256 = request.BaselineSha256,
            EnvironmentSha256 = request.EnvironmentSha256,
            EvaluationReportSha256 = request.EvaluationReportSha256,
            TrainingSetSha256 = request.TrainingSetSha256,
            Datasets = request.Datasets,
            Commit = request.Commit,
            PipelineRunId = request.PipelineRunId,
            ParentVersion = request.ParentVersion ?? newest?.Version,
            CreatedBy = by.Name,
            CreatedAt = transaction.Now,
            Aliases = [],
        };
        VersionTable.Insert(transaction, version);
        StageTable.Record(transaction, new StageChange(
            version.Model, version.Version, null, Stage.Development, "registration", version.BumpReason, by.Name, transaction.Now, null));
        VersionLineage.Link(transaction, version);
        transaction.Audit(by, "model_version.registered", version.Node, version.BumpReason, null,
            new { version.Version, version.Bump, version.RunId, version.Files, version.BaselineSha256, version.EnvironmentSha256, version.EvaluationReportSha256 });
        transaction.Publish(VersionRegisteredTopic, new { version.Model, version.Version, version.Number, version.RunId });
        return version;
    }

    private async Task CheckBlobsAsync(RegisterVersion request, CancellationToken cancellationToken)
    {
        var faults = new List<string>();
        foreach (var file in request.Files)
        {
            if (!await blobs.VerifyAsync(file.Sha256, cancellationToken))
            {
                faults.Add($"'files' names {file.Path} as {file.Sha256}, which is not stored; upload it first");
            }
            else if (new FileInfo(blobs.PathOf(file.Sha256)).Length is var size && size != file.SizeBytes)
            {
                faults.Add($"'files' gives {file.Path} {file.SizeBytes} bytes, but the blob has {size}");
            }
        }

        foreach (var (field, sha256) in new[]
            { ("baseline_sha256", request.BaselineSha256), ("environment_sha256", request.EnvironmentSha256), ("evaluation_report_sha256", request.EvaluationReportSha256) })
        {
            if (sha256 is not null && !await blobs.VerifyAsync(sha256, cancellationToken))
            {
                faults.Add($"'{field}' names {sha256}, which is not stored; upload it first");
            }
        }

        if (faults.Count > 0)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"{string.Join("; ", faults)}.");
        }

        if (request.EvaluationReportSha256 is { } reportSha256
            && ParseReport(await blobs.ReadVerifiedAsync(reportSha256, cancellationToken)) is var report && report.Model != request.Model)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'evaluation_report_sha256' names a report on model '{report.Model}', not on '{request.Model}'.");
        }
    }

    private async Task<GateEvidence> CollectEvidenceAsync(ModelVersionRecord version, Stage to, string? rollbackTo, CancellationToken cancellationToken)
    {
        var damage = await FindDamageAsync(version, cancellationToken);
        var report = damage is null ? await ReadReportAsync(version, cancellationToken) : null;
        var target = to is Stage.Production ? rollbackTo ?? FindInStage(version.Model, Stage.Production)?.Version : null;
        var rollbackFault = target is null ? null : await FindRollbackFaultAsync(version.Model, target, cancellationToken);
        return new GateEvidence(report, VersionLineage.Missing(lineage, version.Node), damage, target, rollbackFault);
    }

    private async Task<string?> FindRollbackFaultAsync(string model, string target, CancellationToken cancellationToken)
    {
        var (record, wasInProduction) = database.Read(connection =>
            (VersionTable.Find(connection, model, target), StageTable.WasInProduction(connection, model, target)));
        return record is null || !wasInProduction
            ? $"the rollback plan names {target}, which was never in production"
            : await FindLoadFaultAsync(record, cancellationToken) is { } fault ? $"the rollback plan names {target}, but {fault}" : null;
    }

    // A plan that was never tried is a hope: the model is loaded as the server would load it.
    private async Task<string?> FindLoadFaultAsync(ModelVersionRecord version, CancellationToken cancellationToken)
    {
        if (await FindDamageAsync(version, cancellationToken) is { } damage)
        {
            return damage;
        }

        try
        {
            using var session = OnnxSession.Load(await blobs.ReadVerifiedAsync(version.OnnxSha256, cancellationToken));
            return null;
        }
        catch (OnnxException e)
        {
            return $"the model file of {version.Version} does not load: {e.Message}";
        }
    }

    // Every blob a server needs to load the version; the message names the first that is not as registered.
    private async Task<string?> FindDamageAsync(ModelVersionRecord version, CancellationToken cancellationToken)
    {
        var parts = version.Files.Select(file => (Name: file.Path, file.Sha256))
            .Append((Name: "the baseline", Sha256: version.BaselineSha256))
            .Append((Name: "the environment file", Sha256: version.EnvironmentSha256));
        if (version.EvaluationReportSha256 is { } report)
        {
            parts = parts.Append((Name: "the evaluation report", Sha256: report));
        }

        foreach (var (name, sha256) in parts)
        {
            if (!await blobs.VerifyAsync(sha256, cancellationToken))
            {
                return $"{name} of {version.Version} is missing or was changed: its content no longer has SHA-256 {sha256}";
            }
        }

        return null;
    }

    private static ModelVersionRecord RollbackTarget(SqliteConnection connection, string model, string? toVersion)
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

    private static string? RollbackPlan(SqliteConnection connection, string model, string version, string? rollbackTo)
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

    private PromotionPolicy Policy(string model) =>
        definitions.Find(PolicyKind.KindName, model) is { } definition
            ? PromotionPolicy.Read(DefinitionYaml.Parse(definition.Yaml), $"{definition.Kind}/{definition.Name}@{definition.Version}")
            : PromotionPolicy.BuiltIn(model);

    private ModelVersionRecord? WithLineage(ModelVersionRecord? version) =>
        version is null ? null : version with { MissingLineage = VersionLineage.Missing(lineage, version.Node) };

    private static ModelVersionRecord? Resolve(SqliteConnection connection, string model, string reference) => reference switch
    {
        ['@', .. var alias] => VersionTable.FindByAlias(connection, model, alias),
        "latest" => VersionTable.Newest(connection, model),
        _ when SemanticVersion.TryParse(reference, out _) => VersionTable.Find(connection, model, reference),
        _ when long.TryParse(reference, NumberStyles.None, CultureInfo.InvariantCulture, out var number) => VersionTable.FindByNumber(connection, model, number),
        _ when StageRules.TryParse(reference, out var stage) => VersionTable.FindInStage(connection, model, stage),
        _ => VersionTable.FindByAlias(connection, model, reference),
    };

    private static PromotionRecord Open(SqliteConnection connection, string promotionId)
    {
        var promotion = PromotionTable.Find(connection, promotionId) ?? throw NoPromotion(promotionId);
        return promotion.Status is PromotionStatus.Pending or PromotionStatus.Approved
            ? promotion
            : throw new SlipwayException(ErrorCode.FailedPrecondition, $"{promotionId} is {PromotionTable.Name(promotion.Status)} already; ask for a new promotion.");
    }

    private static EvaluationReport ParseReport(byte[] json)
    {
        try
        {
            var report = JsonSerializer.Deserialize<EvaluationReport>(json, ReportOptions);
            return report is not null && report.Baselines.All(baseline => baseline is not null)
                ? report
                : throw new SlipwayException(ErrorCode.InvalidArgument, "'evaluation_report_sha256' names a blob that holds null in place of an evaluation report or a baseline.");
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'evaluation_report_sha256' names a blob that is not an evaluation report: {e.Message}", e);
        }
    }

    private static void CheckText(string field, string? text)
    {
        if (string.IsNullOrWhiteSpace(text) || text.Length > 4000)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' must say why, in 1 to 4000 characters.");
        }
    }

    private static SlipwayException NoVersion(string model, string reference) =>
        new(ErrorCode.NotFound, $"Model '{model}' has no version '{reference}'; GET /api/slipway/v1/models/{model}/versions lists them.");

    private static SlipwayException NoPromotion(string id) => new(ErrorCode.NotFound, $"There is no promotion '{id}'.");
}
