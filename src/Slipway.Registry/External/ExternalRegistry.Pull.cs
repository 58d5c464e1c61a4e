using System.Data.Common;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Registry.Mlflow;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Registry.Webhooks;
using Slipway.Storage;

namespace Slipway.Registry.External;

public sealed partial class ExternalRegistry
{
    // A change may carry an earlier time than one already seen, when it committed later.
    private const long OverlapMs = 5000;

    // A look that finds nothing new reads one page. With MLflow's tags of up to 100 kB no page may be long.
    private const int ChangesPerPage = 50;
    private const int VersionsPerPage = 500;

    /// <summary>Takes over what changed on the external server since the last pass; after a break the next pass goes on where it stopped.</summary>
    /// <param name="full">Whether to compare everything.</param>
    /// <param name="cancellationToken">Stops between two versions.</param>
    /// <exception cref="SlipwayException">Unavailable: the server.</exception>
    public async Task<ExternalSyncReport> SyncAsync(bool full, CancellationToken cancellationToken)
    {
        await OpenAsync(cancellationToken);
        await _passing.WaitAsync(cancellationToken);
        try
        {
            var progress = _progress = new ExternalSyncProgress(_clock);
            try
            {
                await PassAsync(full, progress, cancellationToken);
            }
            finally
            {
                progress.End();
            }

            return progress.Report(Interlocked.Read(ref _writesSent));
        }
        finally
        {
            _passing.Release();
        }
    }

    private async Task PassAsync(bool full, ExternalSyncProgress progress, CancellationToken cancellationToken)
    {
        await PushAsync(cancellationToken);
        var startedAt = _clock.GetUtcNow();
        var (state, mark) = _database.Read(connection => (MirrorTable.State(connection)!, Outbox.Newest(connection)));
        full |= state.FullAtMs is not { } last || startedAt - DateTimeOffset.FromUnixTimeMilliseconds(last) >= _options.FullInterval;
        progress.Full = full;
        var look = new Look(full ? long.MinValue : state.WatermarkMs - OverlapMs, mark, progress) { NewestMs = state.WatermarkMs };
        var models = await ChangedModelsAsync(look, cancellationToken);
        if (full)
        {
            _skipped.Clear();
            await ComparePagesAsync(look, cancellationToken);
        }
        else
        {
            await ApplyAsync(await ChangedVersionsAsync(look, cancellationToken), look, cancellationToken);
        }

        foreach (var model in models)
        {
            await DescribeAsync(model, look, cancellationToken);
            look.Whole &= await ReconcileAsync(model.Name!, [], model.Aliases ?? [], look, cancellationToken);
        }

        await _database.WriteAsync(transaction => MirrorTable.SaveState(transaction, MirrorTable.State(transaction.Connection)! with
        {
            // What a decision made meanwhile kept from being taken over is looked at again.
            WatermarkMs = look.Whole ? look.NewestMs : state.WatermarkMs,
            SyncedAtMs = startedAt.ToUnixTimeMilliseconds(),
            FullAtMs = full ? startedAt.ToUnixTimeMilliseconds() : state.FullAtMs,
        }), cancellationToken);
    }

    private async Task<List<ExternalModel>> ChangedModelsAsync(Look look, CancellationToken cancellationToken)
    {
        var changed = new List<ExternalModel>();
        await foreach (var page in _server.ModelPagesAsync(look.IsFull ? "&order_by=name%20ASC" : "&order_by=last_updated_timestamp%20DESC", cancellationToken))
        {
            var fresh = page.Where(model => model.Name is not null && (model.LastUpdatedTimestamp ?? long.MaxValue) >= look.SinceMs).ToList();
            changed.AddRange(fresh);
            if (fresh.Count < page.Count)
            {
                break;
            }
        }

        return changed;
    }

    private async Task<List<ExternalVersion>> ChangedVersionsAsync(Look look, CancellationToken cancellationToken)
    {
        var changed = new List<ExternalVersion>();
        await foreach (var page in _server.VersionPagesAsync(null, "&order_by=last_updated_timestamp%20DESC", ChangesPerPage, cancellationToken))
        {
            var fresh = page.Where(version => version.UpdatedMs >= look.SinceMs).ToList();
            changed.AddRange(fresh);
            if (fresh.Count < page.Count)
            {
                break;
            }
        }

        return changed;
    }

    private async Task ComparePagesAsync(Look look, CancellationToken cancellationToken)
    {
        var gone = _database.Read(MirrorTable.Living);
        await foreach (var page in _server.VersionPagesAsync(null, "&order_by=name%20ASC&order_by=version_number%20ASC", VersionsPerPage, cancellationToken))
        {
            gone.ExceptWith(page.Select(version => (version.Name ?? "", version.Number)));
            await ApplyAsync(page, look, cancellationToken);
        }

        foreach (var model in gone.GroupBy(version => version.Model, version => version.Number))
        {
            var deleted = new List<int>();
            foreach (var number in model)
            {
                // A page may have been shifted by a change; only the version's own absence counts.
                if (await _server.FindVersionAsync(model.Key, number, cancellationToken) is null)
                {
                    deleted.Add(number);
                }
            }

            look.Whole &= await ReconcileAsync(model.Key, [], null, look, cancellationToken, deleted);
        }
    }

    private async Task PullModelAsync(string model, CancellationToken cancellationToken)
    {
        var mark = _database.Read(Outbox.Newest);
        var look = new Look(long.MinValue, mark, new ExternalSyncProgress(_clock));
        var external = await _server.FindModelAsync(model, cancellationToken);
        var versions = new List<ExternalVersion>();
        if (external is not null)
        {
            await DescribeAsync(external, look, cancellationToken);
            await foreach (var page in _server.VersionPagesAsync(model, "&order_by=version_number%20ASC", VersionsPerPage, cancellationToken))
            {
                versions.AddRange(page.Where(version => version.Name == model));
            }
        }

        await ApplyAsync(versions, look, cancellationToken);
        var seen = versions.Select(version => version.Number).ToHashSet();
        var gone = _database.Read(connection => MirrorTable.Of(connection, model))
            .Where(row => row.ExternalStage != MirrorRow.Deleted && !seen.Contains((int)row.Number)).Select(row => (int)row.Number).ToList();
        await ReconcileAsync(model, [], external?.Aliases ?? [], look, cancellationToken, gone);
    }

    private async Task ApplyAsync(IReadOnlyList<ExternalVersion> versions, Look look, CancellationToken cancellationToken)
    {
        look.Progress.Seen(versions.Count);
        look.NewestMs = versions.Select(version => version.UpdatedMs).Append(look.NewestMs).Max();
        foreach (var group in versions.Where(version => version is { Name: not null, Number: > 0 }).GroupBy(version => version.Name!).OrderBy(group => group.Key, StringComparer.Ordinal))
        {
            if (Refused(group.Key) is { } reason)
            {
                _skipped[group.Key] = reason;
                continue;
            }

            var ordered = group.OrderBy(version => version.Number).ToList();
            var known = _database.Read(connection => MirrorTable.Of(connection, group.Key)).ToDictionary(row => (int)row.Number);
            var replaced = ordered.Where(version => known.TryGetValue(version.Number, out var row) && !row.Is(version)).Select(version => version.Number).ToList();
            foreach (var number in replaced)
            {
                _skipped[$"{group.Key} version {number}"] = "its number was that of a version that was deleted since; register it again, until its number is one that is not known here";
            }

            foreach (var version in ordered.Where(version => !known.ContainsKey(version.Number)))
            {
                if (version.IsReady)
                {
                    await AddAsync(group.Key, version, look.Progress, cancellationToken);
                }
                else if (version.Status == ExternalVersion.Pending)
                {
                    look.Whole = false; // It is looked at again until its files are there.
                }
            }

            look.Whole &= await ReconcileAsync(
                group.Key, [.. ordered.Where(version => !replaced.Contains(version.Number))], null, look, cancellationToken,
                [.. replaced.Where(number => known[number].ExternalStage != MirrorRow.Deleted)]);
        }
    }

    private string? Refused(string model) =>
        !RegistrationRules.IsName(model) ? $"its name is not one this server takes: it {RegistrationRules.NameRule}"
        : !MlflowServer.CanName(model) ? "its name has both kinds of quotes, which no filter of MLflow's can hold"
        : _database.Read(connection => MirrorTable.IsOwn(connection, model)) ? "a model of this name was registered on this server itself"
        : null;

    // Each new version is its own transaction, so that a pass that is broken off has lost nothing.
    private async Task AddAsync(string model, ExternalVersion external, ExternalSyncProgress progress, CancellationToken cancellationToken)
    {
        var facts = await _facts.ReadAsync(model, external, external.Stage is not Stage.Archived, progress, cancellationToken);
        var added = await _database.WriteAsync(transaction =>
        {
            if (VersionTable.FindByNumber(transaction.Connection, model, external.Number) is not null || MirrorTable.IsOwn(transaction.Connection, model))
            {
                return false; // Another server on this database was faster, or a user who registered here.
            }

            var version = Record(transaction, model, external, facts);
            VersionTable.Insert(transaction, version);
            MirrorTable.Insert(transaction, version, external, facts.Missing);
            StageTable.Record(transaction, new StageChange(model, version.Version, null, Stage.Development, "registration", version.BumpReason, version.CreatedBy, transaction.Now, null));
            Link(transaction, version, facts);
            transaction.Audit(By, "model_version.registered", version.Node, version.BumpReason, null,
                new { version.Version, version.Number, version.Source, version.RunId, version.Files, version.CreatedBy, facts.Missing });
            transaction.Publish(ModelRegistry.VersionRegisteredTopic, new { version.Model, version.Version, version.Number, version.RunId });
            return true;
        }, cancellationToken);
        if (added)
        {
            progress.Added();
        }
    }

    private static ModelVersionRecord Record(WriteTransaction transaction, string model, ExternalVersion external, VersionFacts facts)
    {
        var newest = VersionTable.Last(transaction.Connection, model);
        var next = NextVersion(newest, external, facts);
        var author = external.UserId is { Length: > 0 } user ? user : facts.RunUser is { Length: > 0 } runUser ? runUser : "mlflow";
        return new ModelVersionRecord
        {
            Model = model,
            Version = next.Version.ToString(),
            Number = external.Number,
            Stage = Stage.Development,
            RunId = facts.RunId,
            Bump = next.Bump,
            BumpReason = next.Reason,
            Description = external.Description ?? "",
            Owner = author,
            Tags = Tags(external),
            Format = facts.Format,
            Source = external.Source,
            Files = facts.Files,
            ServedPath = facts.ServedPath,
            Signature = facts.Signature,
            FeatureSchema = facts.FeatureSchema,
            BaselineSha256 = facts.BaselineSha256,
            EnvironmentSha256 = facts.EnvironmentSha256,
            EvaluationReportSha256 = facts.EvaluationReportSha256,
            Datasets = facts.Datasets,
            Commit = facts.Commit,
            ParentVersion = newest?.Version,
            CreatedBy = author,
            CreatedAt = external.CreationTimestamp is { } created ? DateTimeOffset.FromUnixTimeMilliseconds(created) : transaction.Now,
            UpdatedAt = transaction.Now,
            Aliases = [],
        };
    }

    // A version that names its semantic version keeps it, as long as the rules allow it.
    private static NextVersion NextVersion(ModelVersionRecord? newest, ExternalVersion external, VersionFacts facts)
    {
        var previous = newest is null ? (SemanticVersion?)null : SemanticVersion.Parse(newest.Version);
        // What could not be read is no change of interface.
        var change = newest is null ? null
            : facts.Missing.Length > 0 && facts.Signature.Inputs.Count == 0 ? new InterfaceChange(Bump.Patch, ["its interface could not be read when it was first seen"])
            : VersionRules.Compare(newest.Signature, newest.FeatureSchema, facts.Signature, facts.FeatureSchema);
        if (external.Tag(RegistrySearch.VersionTag) is { } named && SemanticVersion.TryParse(named, out _))
        {
            try
            {
                return VersionRules.Next(named, previous, change);
            }
            catch (SlipwayException)
            {
                // Too small, or taken: the rules decide.
            }
        }

        return VersionRules.Next("auto", previous, change);
    }

    private static void Link(WriteTransaction transaction, ModelVersionRecord version, VersionFacts facts)
    {
        VersionLineage.Link(transaction, version);
        foreach (var dataset in facts.OtherDatasets)
        {
            var node = new NodeRef(NodeKinds.DatasetVersion, dataset);
            transaction.Link(node, "trained_on", version.RunId is { } run ? new NodeRef(NodeKinds.Run, run) : version.Node);
            transaction.Link(node, Lineage.Feeds, version.Node);
        }
    }

    private async Task CompleteAsync(ModelVersionRecord version, CancellationToken cancellationToken)
    {
        var row = _database.Read(connection => MirrorTable.Find(connection, version.Model, version.Version));
        if (row is not { Missing.Length: > 0 } || await _server.FindVersionAsync(version.Model, version.Number, cancellationToken) is not { } external || !row.Is(external))
        {
            return;
        }

        var facts = await _facts.ReadAsync(version.Model, external, withFiles: true, new ExternalSyncProgress(_clock), cancellationToken);
        if (facts.Missing == row.Missing)
        {
            return;
        }

        await _database.WriteAsync(transaction =>
        {
            var now = VersionTable.Find(transaction.Connection, version.Model, version.Version)!;
            // Files that were copied once are the version's for ever; a second look may only add them.
            var changed = now.Files.Count > 0 && !now.Files.SequenceEqual(facts.Files.OrderBy(file => file.Path, StringComparer.Ordinal));
            if (changed || MirrorTable.Find(transaction.Connection, version.Model, version.Version) is not { Missing.Length: > 0 })
            {
                return;
            }

            MirrorTable.Complete(transaction, row, facts);
            Link(transaction, VersionTable.Find(transaction.Connection, version.Model, version.Version)!, facts);
            transaction.Audit(By, "model_version.completed", version.Node, null, new { row.Missing }, new { facts.Missing, facts.Files, facts.RunId });
        }, cancellationToken);
    }

    /// <summary>Takes over stages, texts, aliases and deletions of one model. False when a decision on its way forbids it for now.</summary>
    private async Task<bool> ReconcileAsync(
        string model, IReadOnlyList<ExternalVersion> seen, IReadOnlyList<ExternalAlias>? aliases, Look look, CancellationToken cancellationToken, IReadOnlyList<int>? deleted = null)
    {
        // Most models have not changed: a read is cheaper than a turn of the writer.
        if (!_database.Read(connection => Differs(connection, model, seen, aliases, deleted ?? [])))
        {
            return true;
        }

        return await _database.WriteAsync(transaction =>
        {
            var connection = transaction.Connection;
            // The server was asked before a decision was made here, or has not heard of it yet: what it said is out of date.
            if (Decisions(connection, Math.Min(Outbox.Place(connection, Reader) ?? 0, look.Mark)).Contains(model))
            {
                return false;
            }

            var changes = 0;
            var rows = MirrorTable.Of(connection, model).ToDictionary(row => (int)row.Number);
            foreach (var external in seen)
            {
                if (rows.TryGetValue(external.Number, out var row))
                {
                    changes += TakeText(transaction, row, external);
                    MirrorTable.SetSeen(transaction, row, StageRules.Name(external.Stage), external.UpdatedMs);
                }
            }

            foreach (var number in deleted ?? [])
            {
                if (rows.TryGetValue(number, out var row))
                {
                    MirrorTable.SetSeen(transaction, row, MirrorRow.Deleted, row.UpdatedAtMs);
                }
            }

            foreach (var move in MirrorRules.Moves(MirrorTable.Of(connection, model)))
            {
                var version = VersionTable.Find(connection, model, move.Row.Version)!;
                StageTable.Move(transaction, version, move.To, StageTable.ExternalChange, move.Reason, By);
                transaction.Audit(By, "model_version.external_change", version.Node, move.Reason, new { version.Stage }, new { stage = move.To });
                changes++;
            }

            changes += aliases is null ? 0 : TakeAliases(transaction, model, aliases, rows);
            look.Progress.Changed(changes);
            return true;
        }, cancellationToken);
    }

    private static bool Differs(DbConnection connection, string model, IReadOnlyList<ExternalVersion> seen, IReadOnlyList<ExternalAlias>? aliases, IReadOnlyList<int> deleted)
    {
        var versions = MirrorTable.Of(connection, model);
        if (versions.Count == 0)
        {
            return false;
        }

        var rows = versions.ToDictionary(row => (int)row.Number);
        return deleted.Count > 0
            || seen.Any(external => rows.TryGetValue(external.Number, out var row)
                && (row.ExternalStage != StageRules.Name(external.Stage) || row.UpdatedAtMs != external.UpdatedMs || row.Description != (external.Description ?? "") || row.Tags != MirrorTable.Json(Tags(external))))
            || MirrorRules.Moves(versions).Count > 0
            || (aliases is not null && !Wanted(aliases, rows).OrderBy(alias => alias.Key, StringComparer.Ordinal)
                .SequenceEqual(MirrorTable.Aliases(connection, model).OrderBy(alias => alias.Key, StringComparer.Ordinal)));
    }

    /// <summary>Takes over what the server says of a model itself.</summary>
    private async Task DescribeAsync(ExternalModel external, Look look, CancellationToken cancellationToken)
    {
        var (model, description, tags) = (external.Name!, external.Description ?? "", Pairs(external.Tags));
        bool IsSame(ModelRow row) => row.Description == description && MirrorTable.Json(new SortedDictionary<string, string>(row.Tags.ToDictionary(), StringComparer.Ordinal)) == MirrorTable.Json(tags);
        if (_database.Read(connection => !MirrorTable.IsMirrored(connection, model) || ModelTable.Find(connection, model) is not { } now || IsSame(now)))
        {
            return;
        }

        await _database.WriteAsync(transaction =>
        {
            if (ModelTable.Find(transaction.Connection, model) is not { } row || IsSame(row))
            {
                return;
            }

            ModelTable.SetDescription(transaction, model, description);
            ModelTable.SetTags(transaction, model, tags);
            transaction.Audit(By, "model.external_change", new NodeRef(NodeKinds.Model, model), "description or tags changed on the MLflow server",
                new { row.Description, row.Tags }, new { description, tags });
            look.Progress.Changed(1);
        }, cancellationToken);
    }

    private static int TakeText(WriteTransaction transaction, MirrorRow row, ExternalVersion external)
    {
        var (description, tags) = (external.Description ?? "", MirrorTable.Json(Tags(external)));
        if (row.Description == description && row.Tags == tags)
        {
            return 0;
        }

        MirrorTable.SetText(transaction, row, description, tags);
        transaction.Audit(By, "model_version.external_change", row.Node, "description or tags changed on the MLflow server",
            new { row.Description, row.Tags }, new { description, tags });
        return 1;
    }

    private static int TakeAliases(WriteTransaction transaction, string model, IReadOnlyList<ExternalAlias> aliases, Dictionary<int, MirrorRow> rows)
    {
        var now = MirrorTable.Aliases(transaction.Connection, model);
        var wanted = Wanted(aliases, rows);
        var changes = 0;
        foreach (var (alias, version) in wanted.Where(alias => now.GetValueOrDefault(alias.Key) != alias.Value))
        {
            var target = VersionTable.Find(transaction.Connection, model, version)!;
            MirrorTable.SetAlias(transaction, model, alias, version, By);
            PlaceTable.RecordAlias(transaction, model, alias, version, now.GetValueOrDefault(alias), By);
            WebhookEvents.AliasCreated(transaction, target, ModelRegistry.IsPrompt(transaction, target), alias);
            transaction.Audit(By, "model_version.external_change", ModelVersionNode.Of(model, version), $"alias {alias} set on the MLflow server",
                now.TryGetValue(alias, out var before) ? new { alias, version = before } : null, new { alias, version });
            changes++;
        }

        foreach (var (alias, version) in now.Where(alias => !wanted.ContainsKey(alias.Key)))
        {
            MirrorTable.RemoveAlias(transaction, model, alias);
            PlaceTable.RecordAlias(transaction, model, alias, null, version, By);
            WebhookEvents.AliasDeleted(transaction, model, ModelTable.Find(transaction.Connection, model)?.IsPrompt == true, alias);
            transaction.Audit(By, "model_version.external_change", ModelVersionNode.Of(model, version), $"alias {alias} removed on the MLflow server", new { alias, version });
            changes++;
        }

        return changes;
    }

    // Aliases that read as versions here stay there.
    private static Dictionary<string, string> Wanted(IReadOnlyList<ExternalAlias> aliases, Dictionary<int, MirrorRow> rows) => aliases
        .Where(alias => RegistrationRules.IsAlias(alias.Alias, mayNameStage: true) && int.TryParse(alias.Version, System.Globalization.CultureInfo.InvariantCulture, out var number) && rows.ContainsKey(number))
        .DistinctBy(alias => alias.Alias)
        .ToDictionary(alias => alias.Alias!, alias => rows[int.Parse(alias.Version!, System.Globalization.CultureInfo.InvariantCulture)].Version, StringComparer.Ordinal);

    // Our own mark of a stage is no news, and the semantic version is the mirror's own to show.
    private static SortedDictionary<string, string> Tags(ExternalVersion external) => Pairs((external.Tags ?? []).Where(tag => tag.Key is not (ExternalVersion.StageTag or RegistrySearch.VersionTag)));

    private static SortedDictionary<string, string> Pairs(IEnumerable<MlflowTag>? tags) =>
        new((tags ?? []).Where(tag => tag.Key is not null).DistinctBy(tag => tag.Key).ToDictionary(tag => tag.Key!, tag => tag.Value ?? ""), StringComparer.Ordinal);

    /// <summary>One look at the server.</summary>
    /// <param name="SinceMs">Changes from then on; the least number for all.</param>
    /// <param name="Mark">The newest decision made here before the server was asked.</param>
    /// <param name="Progress">Counts.</param>
    private sealed record Look(long SinceMs, long Mark, ExternalSyncProgress Progress)
    {
        public bool IsFull => SinceMs == long.MinValue;

        public long NewestMs { get; set; }

        /// <summary>Whether all that was seen could be taken over.</summary>
        public bool Whole { get; set; } = true;
    }
}
