using System.Security.Cryptography;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Native.DuckDb;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;

namespace Slipway.Datasets;

/// <summary>Owns <c>dataset_versions</c> and <c>dataset_validations</c>: Parquet files as content-addressed versions, their profiles and checks.</summary>
public sealed class DatasetStore(Database database, BlobStore blobs, DefinitionStore definitions, DuckDbDatabase duckDb, StorageOptions options)
{
    private const string VersionColumns =
        "name AS Name, version AS Version, sha256 AS Sha256, size_bytes AS SizeBytes, rows AS Rows, columns_json AS ColumnsJson, created_by AS CreatedBy, created_at_ms AS CreatedAtMs";

    /// <summary>The definition in force and its version.</summary>
    /// <exception cref="SlipwayException">NotFound: no definition of that name was applied.</exception>
    public (DatasetDefinition Definition, long Version) Definition(string name) =>
        definitions.Find(DatasetDefinition.Kind, name) is { } stored
            ? (DatasetDefinition.Parse(DefinitionYaml.Parse(stored.Yaml)), stored.Version)
            : throw new SlipwayException(ErrorCode.NotFound, $"There is no dataset '{name}'; apply a file of kind dataset with that name first.");

    /// <summary>Every defined dataset, by name.</summary>
    public IReadOnlyList<DatasetDefinition> ListDefinitions() =>
        [.. definitions.List(DatasetDefinition.Kind).Select(stored => DatasetDefinition.Parse(DefinitionYaml.Parse(stored.Yaml)))];

    /// <summary>Stores a Parquet file as the newest version, with its profile. Bytes that are a version already stay that version.</summary>
    /// <exception cref="SlipwayException">NotFound: no such dataset; InvalidArgument: not a Parquet file; TooLarge.</exception>
    public async Task<DatasetVersionRecord> AddVersionAsync(string name, Stream parquet, Caller by, CancellationToken cancellationToken)
    {
        Definition(name);
        Directory.CreateDirectory(options.TemporaryDirectory);
        var temporary = Path.Combine(options.TemporaryDirectory, $"dataset-{Guid.NewGuid():N}.parquet");
        try
        {
            using var digest = SHA256.Create();
            await using (var hashing = new CryptoStream(new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.Read), digest, CryptoStreamMode.Write))
            {
                await parquet.CopyToAsync(hashing, 128 * 1024, cancellationToken);
            }

            if (FindByDigest(name, Convert.ToHexStringLower(digest.Hash!)) is { } existing)
            {
                return existing;
            }

            // Read whole before it is stored, so that nothing but good Parquet becomes a version or takes room among the blobs.
            var (columns, rows, profile) = Inspect(temporary, cancellationToken);
            var blob = await blobs.PutFileAsync(temporary, cancellationToken);
            var profileBlob = await blobs.PutAsync(JsonSerializer.SerializeToUtf8Bytes(profile, JsonDefaults.Options), cancellationToken);
            return await database.WriteAsync(transaction => Insert(transaction, name, blob, rows, columns, profileBlob.Sha256, by), cancellationToken);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <summary>One version; null when there is none.</summary>
    /// <param name="name">The dataset.</param>
    /// <param name="version">Null for the newest.</param>
    public DatasetVersionRecord? Find(string name, int? version = null) => database.Read(connection => connection.QueryFirstOrDefault<VersionRow>(
        $"SELECT {VersionColumns} FROM dataset_versions WHERE name = @name AND (@version IS NULL OR version = @version) ORDER BY version DESC LIMIT 1",
        new { name, version }))?.ToRecord();

    /// <summary>The version that holds these bytes; null when none does.</summary>
    public DatasetVersionRecord? FindByDigest(string name, string sha256) => database.Read(connection => connection.QueryFirstOrDefault<VersionRow>(
        $"SELECT {VersionColumns} FROM dataset_versions WHERE name = @name AND sha256 = @sha256", new { name, sha256 }))?.ToRecord();

    /// <summary>As <see cref="Find"/>, for callers that need one.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public DatasetVersionRecord Require(string name, int? version = null) =>
        Find(name, version) ?? throw new SlipwayException(ErrorCode.NotFound, version is null
            ? $"Dataset '{name}' has no version yet; upload a Parquet file first."
            : $"Dataset '{name}' has no version {version}.");

    /// <summary>All versions, newest first.</summary>
    public IReadOnlyList<DatasetVersionRecord> ListVersions(string name) => database.Read(connection => connection.Query<VersionRow>(
        $"SELECT {VersionColumns} FROM dataset_versions WHERE name = @name ORDER BY version DESC", new { name }).Select(row => row.ToRecord()).ToList());

    /// <summary>The version's file. Its bytes never change.</summary>
    public string ParquetPath(DatasetVersionRecord version) => blobs.PathOf(version.Sha256);

    /// <summary>The statistics computed when the version was added; null when there is no such version.</summary>
    public DatasetProfile? FindProfile(string name, int version)
    {
        var sha256 = database.Read(connection => connection.ExecuteScalar<string?>(
            "SELECT profile_sha256 FROM dataset_versions WHERE name = @name AND version = @version", new { name, version }));
        if (sha256 is null)
        {
            return null;
        }

        using var content = blobs.OpenRead(sha256);
        return JsonSerializer.Deserialize<DatasetProfile>(content, JsonDefaults.Options);
    }

    /// <summary>Checks a version against the definition in force and stores the report.</summary>
    public async Task<ValidationReport> ValidateAsync(DatasetVersionRecord version, Caller by, CancellationToken cancellationToken)
    {
        var (definition, definitionVersion) = Definition(version.Name);
        var checks = DatasetValidator.Check(duckDb, ParquetPath(version), version, definition, cancellationToken);
        var passed = checks.All(check => check.Passed || check.Severity == RuleSeverity.Alert);
        return await database.WriteAsync(transaction =>
        {
            var report = new ValidationReport(version.Name, version.Version, definitionVersion, passed, version.Rows, checks, transaction.Now);
            transaction.Connection.Execute(
                """
                INSERT INTO dataset_validations (name, version, definition_version, passed, report_json, validated_by, validated_at_ms)
                VALUES (@Name, @Version, @definitionVersion, @passed, @json, @by, @now)
                """,
                new { version.Name, version.Version, definitionVersion, passed, json = JsonSerializer.Serialize(report, JsonDefaults.Options), by = by.Name, now = transaction.NowMs });
            transaction.Audit(by, "dataset_version.validated", version.Node, null, null,
                new { passed, definitionVersion, failed = checks.Where(check => !check.Passed).Select(check => $"{check.Column ?? "file"}: {check.Rule}") });
            return report;
        }, cancellationToken);
    }

    /// <summary>The newest report on a version; null when it was never checked.</summary>
    public ValidationReport? FindValidation(string name, int version) => database.Read(connection => connection.ExecuteScalar<string?>(
        "SELECT report_json FROM dataset_validations WHERE name = @name AND version = @version ORDER BY id DESC LIMIT 1", new { name, version })) is { } json
        ? JsonSerializer.Deserialize<ValidationReport>(json, JsonDefaults.Options)
        : null;

    /// <summary>Whether a version had passed its checks by an instant.</summary>
    public bool HadPassedBy(string name, int version, DateTimeOffset instant) => database.Read(connection => connection.ExecuteScalar<int>(
        "SELECT count(*) FROM dataset_validations WHERE name = @name AND version = @version AND passed = 1 AND validated_at_ms <= @instant",
        new { name, version, instant = instant.ToUnixTimeMilliseconds() })) > 0;

    /// <summary>How many checks of any version have failed since an instant.</summary>
    public int CountFailedValidations(DateTimeOffset since) => database.Read(connection => connection.ExecuteScalar<int>(
        "SELECT count(*) FROM dataset_validations WHERE passed = 0 AND validated_at_ms >= @since", new { since = since.ToUnixTimeMilliseconds() }));

    /// <summary>Every blob that a version rests on.</summary>
    public IReadOnlyList<BlobReference> ReferencedBlobs() => database.Read(connection => connection
        .Query<(string Name, long Version, string Sha256, string Profile)>("SELECT name, version, sha256, profile_sha256 FROM dataset_versions ORDER BY name, version")
        .SelectMany(row =>
        {
            var node = new NodeRef(NodeKinds.DatasetVersion, $"{row.Name}@{row.Version}");
            return new[] { new BlobReference(node, "content", row.Sha256), new BlobReference(node, "profile", row.Profile) };
        }).ToList());

    private static DatasetVersionRecord Insert(
        WriteTransaction transaction, string name, Blob blob, long rows, IReadOnlyList<ColumnSchema> columns, string profileSha256, Caller by)
    {
        // Two uploads of the same bytes may both have found nothing; the second one sees the first one's row here.
        var existing = transaction.Connection.QueryFirstOrDefault<VersionRow>(
            $"SELECT {VersionColumns} FROM dataset_versions WHERE name = @name AND sha256 = @Sha256", new { name, blob.Sha256 });
        if (existing is not null)
        {
            return existing.ToRecord();
        }

        var number = transaction.Connection.ExecuteScalar<int>("SELECT coalesce(max(version), 0) + 1 FROM dataset_versions WHERE name = @name", new { name });
        var record = new DatasetVersionRecord(name, number, blob.Sha256, blob.SizeBytes, rows, columns, by.Name, transaction.NowMs);
        transaction.Connection.Execute(
            """
            INSERT INTO dataset_versions (name, version, sha256, size_bytes, rows, columns_json, profile_sha256, created_by, created_at_ms)
            VALUES (@Name, @Version, @Sha256, @SizeBytes, @Rows, @columnsJson, @profileSha256, @CreatedBy, @CreatedAtMs)
            """,
            new
            {
                record.Name,
                record.Version,
                record.Sha256,
                record.SizeBytes,
                record.Rows,
                record.CreatedBy,
                record.CreatedAtMs,
                profileSha256,
                columnsJson = JsonSerializer.Serialize(columns, JsonDefaults.Options),
            });
        transaction.Audit(by, "dataset_version.added", record.Node, null, null, new { record.Sha256, record.SizeBytes, record.Rows });
        transaction.Publish("datasets.version_added", new { record.Name, record.Version, record.Sha256 });
        return record;
    }

    private (IReadOnlyList<ColumnSchema> Columns, long Rows, DatasetProfile Profile) Inspect(string path, CancellationToken cancellationToken)
    {
        if (!HasParquetMarks(path))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The body is not a Parquet file (it does not begin and end with 'PAR1'); send the bytes of a Parquet file.");
        }

        try
        {
            using var connection = duckDb.Connect();
            var source = $"read_parquet({DuckDbLiteral.Quote(path)})";
            List<ColumnSchema> columns;
            using (var reader = connection.Query($"SELECT * FROM {source} LIMIT 0", cancellationToken))
            {
                columns = [.. reader.Columns.Select(column => new ColumnSchema(column.Name, ColumnTypes.NameOf(column), Nullable: true))];
            }

            var rows = connection.QueryScalar<long>($"SELECT count(*) FROM {source}", cancellationToken);
            return (columns, rows, DatasetProfiler.Profile(duckDb, path, columns, cancellationToken));
        }
        catch (DuckDbException e) when (e.Message.Contains("Out of Memory", StringComparison.Ordinal) || e.Message.Contains("No space left", StringComparison.Ordinal))
        {
            throw new SlipwayException(ErrorCode.Unavailable, "The server has too little memory or disk to read this file now; try again later, or send it in smaller files.", e);
        }
        catch (DuckDbException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The body is not a readable Parquet file: it is damaged or uses a feature that is not supported; write it again and send it whole.", e);
        }
    }

    private static bool HasParquetMarks(string path)
    {
        using var file = File.OpenRead(path);
        if (file.Length < 12)
        {
            return false;
        }

        Span<byte> mark = stackalloc byte[4];
        file.ReadExactly(mark);
        if (!mark.SequenceEqual("PAR1"u8))
        {
            return false;
        }

        file.Seek(-4, SeekOrigin.End);
        file.ReadExactly(mark);
        return mark.SequenceEqual("PAR1"u8);
    }

    private sealed record VersionRow(string Name, long Version, string Sha256, long SizeBytes, long Rows, string ColumnsJson, string CreatedBy, long CreatedAtMs)
    {
        public DatasetVersionRecord ToRecord() => new(
            Name, (int)Version, Sha256, SizeBytes, Rows, JsonSerializer.Deserialize<List<ColumnSchema>>(ColumnsJson, JsonDefaults.Options)!, CreatedBy, CreatedAtMs);
    }
}
