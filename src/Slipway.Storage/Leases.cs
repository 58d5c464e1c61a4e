using Dapper;

namespace Slipway.Storage;

/// <summary>A job's right to run, fenced by a token: a write under an older token is refused.</summary>
/// <param name="Name">The job.</param>
/// <param name="Token">Rises each time the lease changes hands.</param>
public sealed record Lease(string Name, long Token);

/// <summary>Owns <c>leases</c>: at most one holder of a name at a time, across servers that share the database.</summary>
public sealed class Leases(Database database)
{
    private readonly string _holder = $"{Environment.MachineName}:{Environment.ProcessId}:{Guid.NewGuid():N}";

    /// <summary>Takes or renews the lease; null while another holds it.</summary>
    public Task<Lease?> TryAcquireAsync(string name, TimeSpan duration, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var token = transaction.Connection.ExecuteScalar<long?>(
                """
                INSERT INTO leases (name, holder, token, expires_ms) VALUES (@name, @holder, 1, @expires)
                ON CONFLICT (name) DO UPDATE
                   SET token = CASE WHEN leases.holder = excluded.holder THEN leases.token ELSE leases.token + 1 END, holder = excluded.holder, expires_ms = excluded.expires_ms
                 WHERE leases.holder = excluded.holder OR leases.expires_ms <= @now
                RETURNING token
                """,
                new { name, holder = _holder, expires = transaction.NowMs + (long)duration.TotalMilliseconds, now = transaction.NowMs });
            return token is { } held ? new Lease(name, held) : null;
        }, cancellationToken);

    /// <summary>Gives the lease back, so that another need not wait for its end.</summary>
    public Task ReleaseAsync(Lease lease, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            transaction.Connection.Execute(
                "UPDATE leases SET expires_ms = 0 WHERE name = @Name AND token = @Token AND holder = @holder",
                new { lease.Name, lease.Token, holder = _holder });
        }, cancellationToken);

    /// <summary>Throws inside a transaction when the lease has been lost, so that a late writer changes nothing.</summary>
    public static void Demand(WriteTransaction transaction, Lease lease)
    {
        var token = transaction.Connection.ExecuteScalar<long?>("SELECT token FROM leases WHERE name = @Name", new { lease.Name });
        if (token != lease.Token)
        {
            throw new Contracts.SlipwayException(Contracts.ErrorCode.FailedPrecondition, $"The lease '{lease.Name}' has passed to another worker; its work counts.");
        }
    }
}
