using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;
using Npgsql;
using Slipway.Contracts;
using Slipway.Web;

namespace Slipway.Cli.Import;

/// <summary>Connections to a database of MLflow that can read and nothing else.</summary>
internal sealed class SourceDatabase : IAsyncDisposable
{
    private readonly Func<DbConnection> _connect;
    private readonly NpgsqlDataSource? _postgres;

    private SourceDatabase(string engine, Func<DbConnection> connect, NpgsqlDataSource? postgres = null)
    {
        Engine = engine;
        _connect = connect;
        _postgres = postgres;
    }

    /// <summary><c>SQLite</c> or <c>PostgreSQL</c>.</summary>
    public string Engine { get; }

    public bool IsSqlite => _postgres is null;

    /// <summary>A SQLite file, which MLflow may have open.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: there is no such file.</exception>
    public static SourceDatabase Sqlite(string path)
    {
        var file = new FileInfo(Path.GetFullPath(path));
        if (!file.Exists)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"There is no file '{file.FullName}'; name the database of MLflow, such as sqlite:///mlflow.db.");
        }

        // The real file: its journal lies beside it, not beside a link.
        var real = file.ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? file.FullName;
        return new SourceDatabase("SQLite", () => SqliteFile.ToRead(real));
    }

    /// <summary>A PostgreSQL database by its SQLAlchemy or libpq address.</summary>
    public static SourceDatabase Postgres(Uri address)
    {
        var user = address.UserInfo.Split(':', 2);
        var text = new NpgsqlConnectionStringBuilder
        {
            Host = address.Host,
            Port = address.Port > 0 ? address.Port : 5432,
            Database = Uri.UnescapeDataString(address.AbsolutePath.TrimStart('/')),
            Username = user[0].Length > 0 ? Uri.UnescapeDataString(user[0]) : null,
            Password = user.Length > 1 ? Uri.UnescapeDataString(user[1]) : null,
            ApplicationName = "slipway import",
            MaxPoolSize = 8,
            Options = "-c default_transaction_read_only=on",
        };
        foreach (var pair in address.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var (key, value) = pair.Split('=', 2) is [var left, var right] ? (Uri.UnescapeDataString(left), Uri.UnescapeDataString(right)) : (pair, "");
            switch (key)
            {
                case "sslmode":
                    text.SslMode = Enum.TryParse<SslMode>(value.Replace("-", "", StringComparison.Ordinal), ignoreCase: true, out var mode)
                        ? mode
                        : throw new SlipwayException(ErrorCode.InvalidArgument, $"'sslmode={value}' of the address is unknown: use disable, allow, prefer, require, verify-ca or verify-full.");
                    break;
                case "sslrootcert":
                    text.RootCertificate = value;
                    break;
                case "host":
                    text.Host = value; // A folder of Unix sockets.
                    break;
                case "options":
                    text.Options += $" {value}"; // Such as -csearch_path=mlflow.
                    break;
                default:
                    throw new SlipwayException(ErrorCode.InvalidArgument, $"The address has the setting '{key}', which is not understood: use sslmode, sslrootcert, host or options.");
            }
        }

        var source = NpgsqlDataSource.Create(text);
        return new SourceDatabase("PostgreSQL", source.CreateConnection, source);
    }

    /// <summary>Opens a connection.</summary>
    /// <exception cref="SlipwayException">Unavailable: the database cannot be opened.</exception>
    public async Task<DbConnection> OpenAsync(CancellationToken ct)
    {
        var connection = _connect();
        try
        {
            await connection.OpenAsync(ct);
            return connection;
        }
        catch (Exception e) when (e is DbException or System.Net.Sockets.SocketException)
        {
            await connection.DisposeAsync();
            throw new SlipwayException(ErrorCode.Unavailable, $"The {Engine} database cannot be opened: {e.Message}", e);
        }
    }

    /// <summary>The tables with their columns, all in lower case.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: not a database at all.</exception>
    public async Task<ILookup<string, string>> TablesAsync(CancellationToken ct)
    {
        await using var connection = await OpenAsync(ct);
        try
        {
            var columns = await connection.QueryAsync<(string Table, string Column)>(IsSqlite
                ? "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
                : "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = ANY (current_schemas(false))");
            return columns.ToLookup(column => column.Table.ToLowerInvariant(), column => column.Column.ToLowerInvariant(), StringComparer.Ordinal);
        }
        catch (SqliteException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"The file is not a SQLite database that can be read: {e.Message}", e);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_postgres is not null)
        {
            await _postgres.DisposeAsync();
        }
    }
}
