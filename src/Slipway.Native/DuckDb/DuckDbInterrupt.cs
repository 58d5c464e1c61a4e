namespace Slipway.Native.DuckDb;

/// <summary>Interrupts the running statement of a connection once a token is cancelled.</summary>
/// <remarks>
/// DuckDB forgets an interrupt that arrives before the statement has begun, so it is repeated until the statement ends.
/// </remarks>
internal sealed class DuckDbInterrupt : IDisposable
{
    private static readonly TimeSpan Repeat = TimeSpan.FromMilliseconds(20);

    private readonly Lock gate = new();
    private readonly DuckDbConnectionHandle connection;
    private readonly CancellationTokenRegistration registration;
    private Timer? timer;
    private bool ended;

    private DuckDbInterrupt(DuckDbConnectionHandle connection, CancellationToken ct)
    {
        this.connection = connection;
        registration = ct.Register(() =>
        {
            lock (gate)
            {
                timer = ended ? null : new Timer(_ => Interrupt(), null, TimeSpan.Zero, Repeat);
            }
        });
    }

    internal static DuckDbInterrupt? Watch(DuckDbConnectionHandle connection, CancellationToken ct) =>
        ct.CanBeCanceled ? new DuckDbInterrupt(connection, ct) : null;

    public void Dispose()
    {
        registration.Dispose();
        lock (gate)
        {
            ended = true;
            timer?.Dispose();
        }
    }

    private void Interrupt()
    {
        lock (gate)
        {
            if (!ended)
            {
                DuckDbApi.duckdb_interrupt(connection);
            }
        }
    }
}
