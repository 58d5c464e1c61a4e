using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;
using Slipway.Tracking.Discipline;

namespace Slipway.Tracking;

/// <summary>Owns the files of runs and of logged models: where a method takes a run's id, it takes a logged model's too.</summary>
public sealed class ArtifactStore(Database database, BlobStore blobs, DefinitionStore definitions)
{
    /// <summary>Stores a file of the run; the same path again replaces it.</summary>
    /// <exception cref="SlipwayException">NotFound: the run; InvalidArgument: the path.</exception>
    public Task LogAsync(string runId, string path, ReadOnlyMemory<byte> content, Caller by, CancellationToken cancellationToken) =>
        LogAsync(runId, path, new MemoryStream(content.ToArray(), writable: false), by, cancellationToken);

    /// <summary>Streams a file of the run in; the same path again replaces it.</summary>
    public async Task<RunArtifact> LogAsync(
        string runId, string path, Stream content, Caller by, CancellationToken cancellationToken, long limitBytes = long.MaxValue)
    {
        var canonical = ArtifactPath.Parse(path);
        DemandOwner(runId); // Before the bytes are read: they may be many.
        var cap = StorageCap(runId);
        if (cap is { } rule && database.Read(connection => rule.BytesMax - Used(connection, ArtifactOwner.Find(connection, runId), canonical)) is var room && room < limitBytes)
        {
            try
            {
                var fitting = await blobs.PutAsync(content, cancellationToken, Math.Max(0, room));
                return await LinkAsync(runId, canonical, fitting.Sha256, fitting.SizeBytes, cancellationToken);
            }
            catch (SlipwayException e) when (e.Code is ErrorCode.TooLarge)
            {
                throw rule.Exceeded(runId);
            }
        }

        var blob = await blobs.PutAsync(content, cancellationToken, limitBytes);
        return await LinkAsync(runId, canonical, blob.Sha256, blob.SizeBytes, cancellationToken);
    }

    /// <summary>Names a blob that is stored already as a file of the run.</summary>
    public Task<RunArtifact> LinkAsync(string runId, string path, string sha256, long sizeBytes, CancellationToken cancellationToken)
    {
        var canonical = ArtifactPath.Parse(path);
        var cap = StorageCap(runId);
        return database.WriteAsync(transaction =>
        {
            var owner = ArtifactOwner.FindActive(transaction.Connection, runId);
            DemandNoClash(transaction.Connection, owner, canonical);
            if (cap is { } rule && Used(transaction.Connection, owner, canonical) + sizeBytes > rule.BytesMax)
            {
                throw rule.Exceeded(runId);
            }

            transaction.Connection.Execute(
                $"""
                INSERT INTO {owner.Table} ({owner.Column}, path, sha256, size_bytes, created_at_ms) VALUES (@Number, @canonical, @sha256, @sizeBytes, @now)
                ON CONFLICT ({owner.Column}, path) DO UPDATE SET sha256 = excluded.sha256, size_bytes = excluded.size_bytes, created_at_ms = excluded.created_at_ms
                """,
                new { owner.Number, canonical, sha256, sizeBytes, now = transaction.NowMs });
            return new RunArtifact(canonical, sha256, sizeBytes);
        }, cancellationToken);
    }

    /// <summary>Refuses what takes no files.</summary>
    /// <exception cref="SlipwayException">NotFound: the run; InvalidArgument: it is deleted.</exception>
    internal void DemandOwner(string runId) => database.Read(connection => ArtifactOwner.FindActive(connection, runId));

    /// <summary>Removes a file, or a folder with all in it, from the run. The bytes stay as long as anything else names them.</summary>
    /// <exception cref="SlipwayException">NotFound: the run or the path.</exception>
    public Task DeleteAsync(string runId, string path, Caller by, CancellationToken cancellationToken)
    {
        var canonical = ArtifactPath.Parse(path);
        return database.WriteAsync(transaction =>
        {
            var owner = ArtifactOwner.FindActive(transaction.Connection, runId);
            var rows = transaction.Connection.Execute(
                $"DELETE FROM {owner.Table} WHERE {owner.Column} = @Number AND (path = @canonical OR (path > @canonical || '/' AND path < @canonical || '0'))",
                new { owner.Number, canonical });
            if (rows == 0)
            {
                throw NoArtifact(runId, path);
            }

            transaction.Audit(by, $"{owner.Node.Kind}.artifact_deleted", owner.Node, before: new { path = canonical, files = rows });
        }, cancellationToken);
    }

    /// <summary>One file of the run.</summary>
    /// <exception cref="SlipwayException">NotFound: the run or the path; InvalidArgument: the path.</exception>
    public RunArtifact Get(string runId, string path)
    {
        var canonical = ArtifactPath.Parse(path);
        return database.Read(connection =>
        {
            var owner = ArtifactOwner.Find(connection, runId);
            return connection.QueryFirstOrDefault<RunArtifact>(
                $"SELECT path AS Path, sha256 AS Sha256, size_bytes AS SizeBytes FROM {owner.Table} WHERE {owner.Column} = @Number AND path = @canonical",
                new { owner.Number, canonical });
        }) ?? throw NoArtifact(runId, path);
    }

    /// <summary>All files of the run by path.</summary>
    /// <exception cref="SlipwayException">NotFound: the run.</exception>
    public IReadOnlyList<RunArtifact> List(string runId) => database.Read(connection => Load(connection, ArtifactOwner.Find(connection, runId)));

    /// <summary>Every blob that is a file of a run or of a logged model.</summary>
    public IReadOnlyList<BlobReference> ReferencedBlobs() => database.Read(connection => connection
        .Query<(string Id, string Path, string Sha256)>(
            """
            SELECT r.run_id, a.path, a.sha256 FROM run_artifacts a JOIN runs r ON r.id = a.run
            UNION ALL
            SELECT m.model_id, a.path, a.sha256 FROM logged_model_artifacts a JOIN logged_models m ON m.id = a.model
            """)
        .Select(row => new BlobReference(new NodeRef(LoggedModelStore.IsModelId(row.Id) ? LoggedModelStore.NodeKind : NodeKinds.Run, row.Id), row.Path, row.Sha256)).ToList());

    // Null for logged models and where the experiment's file sets no limit.
    private Cap? StorageCap(string runId)
    {
        var experiment = database.Read(connection => connection.QueryFirstOrDefault<string>(
            "SELECT e.name FROM runs r JOIN experiments e ON e.id = r.experiment_id WHERE r.run_id = @runId", new { runId }));
        return experiment is not null && ExperimentRules.Of(definitions, experiment).RunStorageBytesMax is { } bytesMax ? new Cap(experiment, bytesMax) : null;
    }

    // What the other files have: one of the same path is replaced.
    private static long Used(DbConnection connection, ArtifactOwner owner, string path) => connection.ExecuteScalar<long>(
        $"SELECT CAST(coalesce(sum(size_bytes), 0) AS BIGINT) FROM {owner.Table} WHERE {owner.Column} = @Number AND path <> @path", new { owner.Number, path });

    // A client keeps files as files: a name cannot be a file and a folder at once.
    private static void DemandNoClash(DbConnection connection, ArtifactOwner owner, string path)
    {
        var parents = path.Split('/').SkipLast(1).Aggregate(new List<string>(), (all, part) => [.. all, all.Count == 0 ? part : $"{all[^1]}/{part}"]);
        var clash = connection.QueryFirstOrDefault<string>(
            $"SELECT path FROM {owner.Table} WHERE {owner.Column} = @Number AND (path {SqlDialect.Of(connection).InTexts("@parents")} OR (path > @path || '/' AND path < @path || '0')) LIMIT 1",
            new { owner.Number, path, parents = JsonSerializer.Serialize(parents) });
        if (clash is not null)
        {
            throw RunLimits.Invalid($"Invalid path '{path}': the {owner.Node.Kind.Replace('_', ' ')} already has '{clash}', and a name cannot be a file and a folder.");
        }
    }

    internal static List<RunArtifact> Load(DbConnection connection, ArtifactOwner owner) =>
        connection.Query<RunArtifact>(
            $"SELECT path AS Path, sha256 AS Sha256, size_bytes AS SizeBytes FROM {owner.Table} WHERE {owner.Column} = @Number ORDER BY path", new { owner.Number }).AsList();

    private static SlipwayException NoArtifact(string runId, string path) => new(ErrorCode.NotFound, $"{(LoggedModelStore.IsModelId(runId) ? "Logged model" : "Run")} {runId} has no artifact '{path}'.");

    private sealed record Cap(string Experiment, long BytesMax)
    {
        public SlipwayException Exceeded(string runId) => new(ErrorCode.TooLarge,
            $"The files of run {runId} would have more than the {BytesMax >> 20} MiB that experiment '{Experiment}' gives each run; delete some, or raise 'run_storage_mib_max' in its file.");
    }
}
