using Slipway.Contracts;
using Slipway.Storage.Audit;
using Slipway.Storage.Engines;
using Slipway.Storage.S3;

namespace Slipway.Storage;

/// <summary>Where this server keeps its state.</summary>
public sealed class StorageOptions
{
    /// <summary>Folder of the embedded stores; made when absent, readable by its owner only.</summary>
    public required string DataDirectory { get; init; }

    /// <summary>Path of the SQLite database file; not used with PostgreSQL.</summary>
    public required string DatabasePath { get; init; }

    /// <summary>How PostgreSQL is reached, as the user wrote it, with the password in it: never print it. Null for SQLite.</summary>
    public string? PostgresConnection { get; init; }

    /// <summary>Folder of the content-addressed blobs; empty when they are kept in S3.</summary>
    public required string BlobDirectory { get; init; }

    /// <summary>Where blobs are kept in S3; null for <see cref="BlobDirectory"/>.</summary>
    public S3Location? BlobLocation { get; init; }

    /// <summary>How S3 is reached.</summary>
    public S3Settings S3 { get; init; } = new();

    /// <summary>
    /// Where clients are told to write the files of new experiments themselves: a <c>file:///</c> or <c>s3://</c> address without a '/' at its end.
    /// Null: they send them to this server.
    /// </summary>
    public string? ArtifactRoot { get; init; }

    /// <summary>How the audit trail is sealed, and what never enters it.</summary>
    public AuditOptions Audit { get; init; } = new();

    /// <summary>Folder of the copies of blobs that are kept in S3.</summary>
    public string CacheDirectory => Path.Combine(DataDirectory, "cache");

    /// <summary>What these copies may take.</summary>
    public long CacheBytesMax { get; init; } = 10L << 30;

    /// <summary>What the files of one run may take; an experiment's tag may say otherwise.</summary>
    public long RunStorageBytesMax { get; init; } = 100L << 30;

    /// <summary>Folder for files that may be deleted at any time the server is down.</summary>
    public string TemporaryDirectory => Path.Combine(DataDirectory, "tmp");

    /// <summary>Folder of the columnar files that are not addressed by content: prediction log segments, offline feature files.</summary>
    public string ColumnsDirectory => Path.Combine(DataDirectory, "columns");

    /// <summary>Folder of the written papers.</summary>
    public string DocumentsDirectory => Path.Combine(DataDirectory, "documents");

    /// <summary>Resolves the settings a user may give.</summary>
    /// <param name="dataDirectory">Any path; made absolute.</param>
    /// <param name="databaseUrl">Null, <c>sqlite:///path</c>, a plain path, <c>postgresql://user:password@host:port/database</c> or Npgsql's keywords.</param>
    /// <param name="artifactRoot">What clients are told: null or <c>mlflow-artifacts:/</c> to send files to the server, else <c>file:///path</c>, a plain path or <c>s3://bucket/prefix</c> to write there.</param>
    /// <param name="artifactsDestination">Where the server keeps what is sent to it and all its own blobs: <c>file:///path</c>, a plain path or <c>s3://bucket/prefix</c>; null for the artifact root when that is in S3, else the data folder.</param>
    /// <param name="s3">How S3 is reached; null for the defaults.</param>
    /// <param name="audit">How the audit trail is sealed; null for the defaults.</param>
    /// <exception cref="SlipwayException">InvalidArgument: a value is malformed; NotImplemented: its scheme is not supported by this build.</exception>
    public static StorageOptions Resolve(
        string dataDirectory, string? databaseUrl = null, string? artifactRoot = null, string? artifactsDestination = null, S3Settings? s3 = null,
        AuditOptions? audit = null)
    {
        var data = Path.GetFullPath(dataDirectory);
        var postgres = databaseUrl is not null && PostgresSettings.IsPostgres(databaseUrl) ? databaseUrl : null;
        if (postgres is not null)
        {
            PostgresSettings.Parse(postgres); // A wrong one is told before anything is opened.
        }

        var root = artifactRoot is null or "mlflow-artifacts:" or "mlflow-artifacts:/" ? null
            : S3Location.Is(artifactRoot) ? S3Location.Parse(artifactRoot, "--artifact-root").ToString()
            : FileAddress(LocalPath(artifactRoot, "file", "--artifact-root", "s3://bucket/prefix or mlflow-artifacts:/"));
        var destination = artifactsDestination ?? (root is not null && S3Location.Is(root) ? root : null);
        var inS3 = destination is not null && S3Location.Is(destination);
        return new StorageOptions
        {
            DataDirectory = data,
            PostgresConnection = postgres,
            DatabasePath = databaseUrl is null || postgres is not null ? Path.Combine(data, "slipway.db") : LocalPath(databaseUrl, "sqlite", "--database"),
            BlobDirectory = inS3 ? "" : destination is null ? Path.Combine(data, "blobs") : LocalPath(destination, "file", "--artifacts-destination", "s3://bucket/prefix"),
            BlobLocation = inS3 ? S3Location.Parse(destination!, "--artifacts-destination") : null,
            ArtifactRoot = root,
            S3 = s3 ?? new S3Settings(),
            Audit = (audit ?? new AuditOptions()).Checked(),
        };
    }

    // Clients undo the escapes of a path with a blank or an umlaut.
    private static string FileAddress(string path) => "file://" + string.Join('/', path.TrimEnd('/').Split('/').Select(Uri.EscapeDataString));

    private static string LocalPath(string value, string scheme, string option, string? other = null)
    {
        if (string.IsNullOrWhiteSpace(value))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"{option} is empty; leave it out or name a path.");
        }

        var separator = value.IndexOf("://", StringComparison.Ordinal);
        if (separator < 0)
        {
            return Path.GetFullPath(value);
        }

        if (!value.AsSpan(0, separator).Equals(scheme, StringComparison.OrdinalIgnoreCase))
        {
            throw new SlipwayException(ErrorCode.NotImplemented,
                $"{option} '{value[..separator]}://…' is not supported by this build; use {scheme}:///absolute/path, {(other is null ? "" : other + ", ")}or a plain path.");
        }

        return Path.GetFullPath(value[(separator + 3)..]);
    }
}
