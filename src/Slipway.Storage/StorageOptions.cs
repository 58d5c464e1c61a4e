using Slipway.Contracts;

namespace Slipway.Storage;

/// <summary>Where this server keeps its state.</summary>
public sealed class StorageOptions
{
    /// <summary>Folder of the embedded stores; made when absent, readable by its owner only.</summary>
    public required string DataDirectory { get; init; }

    /// <summary>Path of the SQLite database file.</summary>
    public required string DatabasePath { get; init; }

    /// <summary>Folder of the content-addressed blobs.</summary>
    public required string BlobDirectory { get; init; }

    /// <summary>Folder for files that may be deleted at any time the server is down.</summary>
    public string TemporaryDirectory => Path.Combine(DataDirectory, "tmp");

    /// <summary>Folder of the columnar files that are not addressed by content: prediction log segments, offline feature files.</summary>
    public string ColumnsDirectory => Path.Combine(DataDirectory, "columns");

    /// <summary>Folder of the written papers.</summary>
    public string DocumentsDirectory => Path.Combine(DataDirectory, "documents");

    /// <summary>Resolves the three settings a user may give.</summary>
    /// <param name="dataDirectory">Any path; made absolute.</param>
    /// <param name="databaseUrl">Null, <c>sqlite:///path</c> or a plain path.</param>
    /// <param name="artifactRoot">Null, <c>file:///path</c> or a plain path.</param>
    /// <exception cref="SlipwayException">NotImplemented: the scheme is not supported by this build.</exception>
    public static StorageOptions Resolve(string dataDirectory, string? databaseUrl = null, string? artifactRoot = null)
    {
        var data = Path.GetFullPath(dataDirectory);
        return new StorageOptions
        {
            DataDirectory = data,
            DatabasePath = databaseUrl is null ? Path.Combine(data, "slipway.db") : LocalPath(databaseUrl, "sqlite", "--database"),
            BlobDirectory = artifactRoot is null ? Path.Combine(data, "blobs") : LocalPath(artifactRoot, "file", "--artifact-root"),
        };
    }

    private static string LocalPath(string value, string scheme, string option)
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
                $"{option} '{value[..separator]}://…' is not supported by this build; use {scheme}:///absolute/path or a plain path.");
        }

        return Path.GetFullPath(value[(separator + 3)..]);
    }
}
