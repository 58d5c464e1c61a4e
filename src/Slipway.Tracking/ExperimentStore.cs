using System.Data.Common;
using System.Globalization;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tracking.Search;

namespace Slipway.Tracking;

/// <summary>Owns <c>experiments</c> and <c>experiment_tags</c>.</summary>
public sealed class ExperimentStore(Database database, StorageOptions options)
{
    /// <summary>Kind of an experiment in the audit trail.</summary>
    public const string NodeKind = "experiment";

    private const string Columns =
        "e.id AS Id, e.name AS Name, e.lifecycle_stage AS Stage, e.created_at_ms AS CreatedAtMs, e.updated_at_ms AS UpdatedAtMs, e.artifact_location AS ArtifactLocation";

    /// <summary>Makes an experiment and returns its id.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the name; AlreadyExists, also when a deleted one holds the name.</exception>
    public Task<string> CreateAsync(string name, IReadOnlyDictionary<string, string>? tags, Caller by, CancellationToken cancellationToken) => CreateAsync(name, tags, null, by, cancellationToken);

    /// <summary>The same with a place of its own below the artifact root, checked already; null for the one its number gives it.</summary>
    internal Task<string> CreateAsync(string name, IReadOnlyDictionary<string, string>? tags, string? location, Caller by, CancellationToken cancellationToken)
    {
        CheckName(name);
        CheckTags(tags);
        return database.WriteAsync(transaction => Insert(transaction, name, tags, by, location), cancellationToken);
    }

    /// <summary>Puts Default below the artifact root, when there is one and Default has no runs: it was made before anybody could say where its files go.</summary>
    public async Task PlaceDefaultAsync(Caller by, CancellationToken cancellationToken)
    {
        if (options.ArtifactRoot is not { } root)
        {
            return;
        }

        await database.WriteAsync(transaction =>
        {
            var location = $"{root}/0";
            if (transaction.Connection.Execute(
                "UPDATE experiments SET artifact_location = @location WHERE id = 0 AND artifact_location IS NULL AND NOT EXISTS (SELECT 1 FROM runs WHERE experiment_id = 0)",
                new { location }) > 0)
            {
                transaction.Audit(by, "experiment.artifact_location_set", Node(0), after: new { artifact_location = location });
            }
        }, cancellationToken);
    }

    /// <summary>The id of the experiment of this name, made when there is none.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the name belongs to a deleted one.</exception>
    public async Task<string> GetOrCreateAsync(string name, Caller by, CancellationToken cancellationToken)
    {
        CheckName(name);
        if (FindByName(name) is { Deleted: false } existing)
        {
            return existing.ExperimentId;
        }

        return await database.WriteAsync(transaction => GetOrCreate(transaction, name, by), cancellationToken);
    }

    /// <summary>The same inside the caller's transaction; the name is checked already.</summary>
    internal string GetOrCreate(WriteTransaction transaction, string name, Caller by) =>
        transaction.Connection.QueryFirstOrDefault<(long Id, string Stage)?>("SELECT id, lifecycle_stage FROM experiments WHERE name = @name", new { name }) switch
        {
            null => Insert(transaction, name, null, by, null),
            { Stage: "active" } found => Text(found.Id),
            var deleted => throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"Experiment '{name}' (id {deleted.Value.Id}) is deleted; restore it or choose another name."),
        };

    /// <summary>The experiment; null when there is none. Deleted ones are found too.</summary>
    public ExperimentRecord? Find(string experimentId) =>
        TryId(experimentId, out var id) ? database.Read(connection => Load(connection, "WHERE e.id = @id", new { id })).SingleOrDefault() : null;

    /// <summary>The experiment of this name; null when there is none. Deleted ones are found too.</summary>
    public ExperimentRecord? FindByName(string name) =>
        database.Read(connection => Load(connection, "WHERE e.name = @name", new { name })).SingleOrDefault();

    /// <summary>All living experiments, newest change first.</summary>
    public IReadOnlyList<ExperimentRecord> List() =>
        database.Read(connection => Load(connection, "WHERE e.lifecycle_stage = 'active' ORDER BY e.updated_at_ms DESC, e.id", null));

    /// <summary>One page of a search.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the filter, order or token.</exception>
    public Page<ExperimentRecord> Search(ExperimentSearch search)
    {
        RunStore.CheckMaxResults(search.MaxResults);
        var sql = new SqlParts(database.Dialect);
        if (search.View is not LifecycleView.All)
        {
            sql.Conditions.Add($"e.lifecycle_stage = {sql.Parameter(search.View is LifecycleView.Active ? "active" : "deleted")}");
        }

        if (search.Visible is { } visible)
        {
            var ids = $"[{string.Join(',', visible.Names.Where(name => long.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out _)))}]";
            sql.Conditions.Add($"{(visible.Only ? "" : "NOT ")}(e.id {database.Dialect.InNumbers(sql.Parameter(ids))})");
        }

        FilterSql.AddExperimentFilter(sql, FilterParser.Parse(search.Filter, FilterFields.Experiments));
        var keyset = FilterSql.ExperimentOrder([.. (search.OrderBy ?? []).Select(term => FilterParser.ParseOrder(term, FilterFields.Experiments))]);
        var fingerprint = $"experiments\n{search.View}\n{search.Filter}\n{string.Join('\n', search.OrderBy ?? [])}";
        if (!string.IsNullOrEmpty(search.PageToken))
        {
            keyset.After(PageToken.Decode(search.PageToken, fingerprint, keyset.Count), sql);
        }

        return database.Read(connection =>
        {
            var text = $"SELECT e.id AS id, {keyset.Columns} FROM experiments e {sql.Where} {keyset.OrderBy} LIMIT {sql.Parameter(search.MaxResults + 1)}";
            var (ids, next) = PageReader.Read(connection, text, sql, search.MaxResults, fingerprint);
            var found = Load(connection, $"WHERE e.id {database.Dialect.InNumbers("@ids")}", new { ids = $"[{string.Join(',', ids)}]" })
                .ToDictionary(experiment => experiment.ExperimentId, StringComparer.Ordinal);
            return new Page<ExperimentRecord>([.. ids.Select(id => found[Text(id)])], next);
        });
    }

    /// <summary>Gives the experiment another name.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument; AlreadyExists.</exception>
    public Task RenameAsync(string experimentId, string name, Caller by, CancellationToken cancellationToken)
    {
        CheckName(name);
        return database.WriteAsync(transaction =>
        {
            var id = DemandActive(transaction.Connection, experimentId);
            if (transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM experiments WHERE name = @name AND id <> @id", new { name, id }) > 0)
            {
                throw NameTaken(name);
            }

            var before = transaction.Connection.ExecuteScalar<string>("SELECT name FROM experiments WHERE id = @id", new { id });
            transaction.Connection.Execute("UPDATE experiments SET name = @name, updated_at_ms = @now WHERE id = @id", new { id, name, now = transaction.NowMs });
            transaction.Audit(by, "experiment.renamed", Node(id), before: new { name = before }, after: new { name });
        }, cancellationToken);
    }

    /// <summary>Moves the experiment and its runs to the bin, or back.</summary>
    /// <exception cref="SlipwayException">NotFound: no such experiment in the other state.</exception>
    public Task SetDeletedAsync(string experimentId, bool deleted, Caller by, CancellationToken cancellationToken, string? reason = null) =>
        database.WriteAsync(transaction =>
        {
            var id = Id(experimentId);
            var (from, to) = deleted ? ("active", "deleted") : ("deleted", "active");
            var rows = transaction.Connection.Execute(
                "UPDATE experiments SET lifecycle_stage = @to, updated_at_ms = @now WHERE id = @id AND lifecycle_stage = @from",
                new { id, from, to, now = transaction.NowMs });
            if (rows == 0)
            {
                throw new SlipwayException(ErrorCode.NotFound, $"No {from} experiment with id={id} exists.");
            }

            RunStore.MoveRuns(transaction, id, to);
            transaction.Audit(by, deleted ? "experiment.deleted" : "experiment.restored", Node(id), reason, before: new { stage = from }, after: new { stage = to });
        }, cancellationToken);

    /// <summary>Sets one tag.</summary>
    public Task SetTagAsync(string experimentId, string key, string value, Caller by, CancellationToken cancellationToken)
    {
        CheckTags(new Dictionary<string, string> { [key] = value });
        return database.WriteAsync(transaction =>
        {
            var id = DemandActive(transaction.Connection, experimentId);
            var before = transaction.Connection.ExecuteScalar<string>("SELECT value FROM experiment_tags WHERE experiment_id = @id AND key = @key", new { id, key });
            WriteTag(transaction.Connection, id, key, value);
            transaction.Connection.Execute("UPDATE experiments SET updated_at_ms = @now WHERE id = @id", new { id, now = transaction.NowMs });
            transaction.Audit(by, "experiment.tag_set", Node(id), before: before is null ? null : new { key, value = before }, after: new { key, value });
        }, cancellationToken);
    }

    /// <summary>Removes one tag.</summary>
    /// <exception cref="SlipwayException">NotFound: the experiment, or it has no such tag; InvalidArgument: it is deleted.</exception>
    public Task DeleteTagAsync(string experimentId, string key, Caller by, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        var id = DemandActive(transaction.Connection, experimentId);
        var before = transaction.Connection.ExecuteScalar<string>("DELETE FROM experiment_tags WHERE experiment_id = @id AND key = @key RETURNING value", new { id, key })
            ?? throw new SlipwayException(ErrorCode.NotFound, $"No tag with name: {key} in experiment with id {id}.");
        transaction.Connection.Execute("UPDATE experiments SET updated_at_ms = @now WHERE id = @id", new { id, now = transaction.NowMs });
        transaction.Audit(by, "experiment.tag_deleted", Node(id), before: new { key, value = before });
    }, cancellationToken);

    internal static long DemandActive(DbConnection connection, string experimentId)
    {
        var id = Id(experimentId);
        using var experiment = Statement.Of(connection, "SELECT lifecycle_stage FROM experiments WHERE id = $1");
        experiment.Bind(1, id);
        return (experiment.Step() ? experiment.Text(0) : null) switch
        {
            "active" => id,
            null => throw NoExperiment(experimentId),
            _ => throw RunLimits.Invalid($"The experiment {id} must be in the 'active' state. Current state is deleted; restore it first."),
        };
    }

    internal static bool TryId(string? experimentId, out long id) => long.TryParse(experimentId, NumberStyles.None, CultureInfo.InvariantCulture, out id);

    internal static SlipwayException NoExperiment(string? experimentId) =>
        new(ErrorCode.NotFound, $"No Experiment with id={experimentId} exists.");

    internal static string Text(long id) => id.ToString(CultureInfo.InvariantCulture);

    private static long Id(string experimentId) => TryId(experimentId, out var id) ? id : throw NoExperiment(experimentId);

    internal static NodeRef Node(long id) => new(NodeKind, Text(id));

    private string Insert(WriteTransaction transaction, string name, IReadOnlyDictionary<string, string>? tags, Caller by, string? location)
    {
        var id = transaction.Connection.ExecuteScalar<long?>(
            """
            INSERT INTO experiments (name, lifecycle_stage, created_at_ms, updated_at_ms) VALUES (@name, 'active', @now, @now)
            ON CONFLICT (name) DO NOTHING RETURNING id
            """,
            new { name, now = transaction.NowMs }) ?? throw NameTaken(name);
        if ((location ?? (options.ArtifactRoot is { } root ? $"{root}/{Text(id)}" : null)) is { } place)
        {
            transaction.Connection.Execute("UPDATE experiments SET artifact_location = @place WHERE id = @id", new { id, place });
        }

        foreach (var (key, value) in tags ?? new Dictionary<string, string>())
        {
            WriteTag(transaction.Connection, id, key, value);
        }

        transaction.Audit(by, "experiment.created", Node(id), after: new { name });
        return Text(id);
    }

    internal static void WriteTag(DbConnection connection, long id, string key, string value) =>
        connection.Execute(
            "INSERT INTO experiment_tags (experiment_id, key, value) VALUES (@id, @key, @value) ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value",
            new { id, key, value });

    private static List<ExperimentRecord> Load(DbConnection connection, string where, object? parameters)
    {
        var rows = connection.Query<(long Id, string Name, string Stage, long CreatedAtMs, long UpdatedAtMs, string? ArtifactLocation)>($"SELECT {Columns} FROM experiments e {where}", parameters).AsList();
        var tags = connection.Query<(long Id, string Key, string Value)>(
                $"SELECT experiment_id, key, value FROM experiment_tags WHERE experiment_id {SqlDialect.Of(connection).InNumbers("@ids")} ORDER BY experiment_id, key",
                new { ids = $"[{string.Join(',', rows.Select(row => row.Id))}]" })
            .ToLookup(tag => tag.Id);
        return rows.ConvertAll(row =>
        {
            var record = new ExperimentRecord(
                Text(row.Id), row.Name, row.Stage != "active", row.CreatedAtMs, row.UpdatedAtMs,
                tags[row.Id].ToDictionary(tag => tag.Key, tag => tag.Value, StringComparer.Ordinal));
            return row.ArtifactLocation is { } location ? record with { ArtifactLocation = location } : record;
        });
    }

    internal static void CheckName(string name)
    {
        if (string.IsNullOrWhiteSpace(name))
        {
            throw RunLimits.Invalid("Missing value for required parameter 'name': an experiment needs a name.");
        }

        RunLimits.CheckLength("The experiment's name", name, RunLimits.ExperimentNameMax);
        if (name.Any(char.IsControl))
        {
            throw RunLimits.Invalid("The experiment's name may not hold control characters.");
        }
    }

    internal static void CheckTags(IReadOnlyDictionary<string, string>? tags)
    {
        foreach (var (key, value) in tags ?? new Dictionary<string, string>())
        {
            RunLimits.CheckKey("tag", key);
            RunLimits.CheckLength($"The value of tag '{key}'", value, RunLimits.ExperimentTagValueMax);
        }
    }

    private static SlipwayException NameTaken(string name) => new(ErrorCode.AlreadyExists, $"Experiment '{name}' already exists; it may be a deleted one.");
}
