using System.Data.Common;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;
using Slipway.Contracts.Audit;
using Slipway.Native.Sqlite;
using Slipway.Storage.Engines;

namespace Slipway.Storage.Audit;

/// <summary>A trail that is read without the server it belongs to: a database, opened for reading only, or a backup.</summary>
public sealed class AuditArchive : IDisposable
{
    private readonly IAuditSource _source;
    private readonly IDisposable _resource;

    private AuditArchive(IAuditSource source, IDisposable resource) => (_source, _resource) = (source, resource);

    /// <summary>The trail of a backup that <c>slipway db backup</c> has written.</summary>
    /// <exception cref="SlipwayException">NotFound: no such file; InvalidArgument: it is no backup.</exception>
    public static AuditArchive Of(string backup)
    {
        var source = new BackupAuditSource(backup);
        return new AuditArchive(source, source);
    }

    /// <summary>The trail of a database. Nothing of it is changed, nor is its schema brought up to date.</summary>
    /// <exception cref="SlipwayException">NotFound: no such file; FailedPrecondition: it holds no trail; Unavailable: it cannot be reached.</exception>
    public static AuditArchive Of(StorageOptions options)
    {
        if (options.PostgresConnection is { } address)
        {
            var engine = PostgresEngine.Open(address, patient: true);
            return new AuditArchive(new DatabaseAuditSource(query => engine.Read(query)), engine);
        }

        var connection = OpenReadOnly(options.DatabasePath);
        return new AuditArchive(new DatabaseAuditSource(query => Read(connection, query)), connection);
    }

    /// <summary>Recounts a trail and closes it.</summary>
    /// <param name="archive">The trail.</param>
    /// <param name="fileLines">Lines of the checkpoint file.</param>
    /// <param name="trustedKeys">Only these keys count, PEM or base64; null for all on record.</param>
    /// <param name="progress">Told the rows read and the rows there are.</param>
    /// <param name="cancellationToken">Interrupts between rows.</param>
    /// <exception cref="SlipwayException">InvalidArgument: a key is none, or a backup is damaged.</exception>
    public static AuditVerification Verify(
        AuditArchive archive, IEnumerable<string> fileLines, IReadOnlyList<string>? trustedKeys, Action<long, long> progress, CancellationToken cancellationToken)
    {
        using (archive)
        {
            return new AuditVerifier(archive._source)
            {
                FileLines = fileLines,
                TrustedKeys = trustedKeys is { Count: > 0 } ? [.. trustedKeys.Select(AuditSigningKey.ReadPublicKey)] : null,
            }.Run(progress, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _resource.Dispose();

    private static SqliteConnection OpenReadOnly(string path)
    {
        if (!File.Exists(path))
        {
            throw new SlipwayException(ErrorCode.NotFound, $"There is no database at '{path}'; name the data folder with --data, or the database with --database.");
        }

        SqliteLibrary.Initialize();
        // Without a log beside it nobody has the file open: read it as it lies, even from a medium that takes no lock.
        var source = File.Exists(path + "-wal") ? path : $"file:{Uri.EscapeDataString(path)}?immutable=1";
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = source, Mode = SqliteOpenMode.ReadOnly, Pooling = false }.ToString());
        try
        {
            connection.Open();
            using var tables = connection.CreateCommand();
            tables.CommandText = "SELECT count(*) FROM sqlite_master WHERE name IN ('audit_events', 'audit_head')";
            return tables.ExecuteScalar() is 2L ? connection : throw new SlipwayException(ErrorCode.FailedPrecondition, $"'{path}' holds no audit trail; name the database of a Slipway server.");
        }
        catch (Exception e)
        {
            connection.Dispose();
            throw e is SqliteException { SqliteErrorCode: 26 } ? new SlipwayException(ErrorCode.FailedPrecondition, $"'{path}' is not an SQLite database.", e) : e;
        }
    }

    private static bool Read(SqliteConnection connection, Func<DbConnection, bool> query)
    {
        using var snapshot = connection.BeginTransaction(deferred: true);
        return query(connection);
    }
}
