using Slipway.Contracts;

namespace Slipway.Cli.Import;

/// <summary>Which source an address names.</summary>
internal static class MlflowAddress
{
    private const string Forms =
        "sqlite:///relative/mlflow.db, sqlite:////absolute/mlflow.db, a path to the file, postgresql://user:password@host/database, or http(s)://host:port of a running server";

    /// <summary>Opens the source.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the address; Unavailable: the source.</exception>
    public static async Task<IMlflowSource> OpenAsync(string address, CancellationToken ct, TimeSpan? firstPause = null)
    {
        if (!address.Contains("://", StringComparison.Ordinal))
        {
            return Directory.Exists(address) ? throw FileStore(address) : await DatabaseAsync(SourceDatabase.Sqlite(address), ct);
        }

        var (scheme, rest) = address.Split("://", 2) is [var left, var right] ? (left.ToLowerInvariant(), right) : ("", "");
        switch (scheme.Split('+')[0])
        {
            case "sqlite":
                // SQLAlchemy's spelling: three slashes for a relative path, four for an absolute one.
                var path = Uri.UnescapeDataString(rest.Split('?')[0]);
                return path.StartsWith('/') && path.Length > 1
                    ? await DatabaseAsync(SourceDatabase.Sqlite(path[1..]), ct)
                    : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{address}' names no file; write sqlite:///relative/mlflow.db or sqlite:////absolute/mlflow.db.");
            case "postgresql" or "postgres":
                return Uri.TryCreate($"postgresql://{rest}", UriKind.Absolute, out var database)
                    ? await DatabaseAsync(SourceDatabase.Postgres(database), ct)
                    : throw Unknown(address);
            case "http" or "https":
                return Uri.TryCreate(address, UriKind.Absolute, out var server)
                    ? await RestMlflowSource.OpenAsync(server, firstPause ?? TimeSpan.FromSeconds(1), ct)
                    : throw Unknown(address);
            case "file":
                throw FileStore(address);
            case "mysql" or "mssql":
                throw new SlipwayException(ErrorCode.InvalidArgument,
                    $"MLflow databases on {scheme} are not read directly; start 'mlflow server' on it and import from its http:// address.");
            default:
                throw Unknown(address);
        }
    }

    /// <summary>The address without its password.</summary>
    public static string WithoutPassword(string address) =>
        address.Contains("://", StringComparison.Ordinal) && Uri.TryCreate(address, UriKind.Absolute, out var uri) && uri.UserInfo.Contains(':', StringComparison.Ordinal)
            ? address.Replace(uri.UserInfo, uri.UserInfo.Split(':')[0] + ":***", StringComparison.Ordinal)
            : address;

    private static async Task<IMlflowSource> DatabaseAsync(SourceDatabase database, CancellationToken ct)
    {
        try
        {
            return await SqlMlflowSource.OpenAsync(database, ct);
        }
        catch
        {
            await database.DisposeAsync();
            throw;
        }
    }

    private static SlipwayException FileStore(string address) => new(ErrorCode.InvalidArgument,
        $"'{address}' is a folder of MLflow's file store, which is not read directly; start 'mlflow server --backend-store-uri <folder>' on it and import from its http:// address.");

    private static SlipwayException Unknown(string address) => new(ErrorCode.InvalidArgument, $"The address '{WithoutPassword(address)}' is not understood: give {Forms}.");
}
