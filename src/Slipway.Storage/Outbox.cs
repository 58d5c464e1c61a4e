using System.Data.Common;
using System.Text.Json;
using Dapper;

namespace Slipway.Storage;

/// <summary>One published event.</summary>
/// <param name="Seq">Rises with each event.</param>
/// <param name="Topic">Such as <c>registry.stage_changed</c>.</param>
/// <param name="Payload">JSON.</param>
public sealed record OutboxEvent(long Seq, string Topic, string Payload);

/// <summary>
/// How a high project learns of a low one's changes: each reader keeps its own place and sees every event at least once.
/// </summary>
public sealed class Outbox(Database database)
{
    private static readonly TimeSpan OthersSeenWithin = TimeSpan.FromSeconds(1);

    /// <summary>Events after the reader's place, oldest first.</summary>
    /// <param name="reader">The reader's fixed name.</param>
    /// <param name="topics">Only these topics; the place still moves past the others when acknowledged.</param>
    /// <param name="limit">At most this many.</param>
    public IReadOnlyList<OutboxEvent> Read(string reader, IReadOnlyCollection<string> topics, int limit = 100) =>
        database.Read(connection => connection.Query<OutboxEvent>(
            $"""
            SELECT seq AS Seq, topic AS Topic, payload AS Payload FROM outbox
             WHERE seq > coalesce((SELECT seq FROM outbox_cursors WHERE reader = @reader), 0) AND topic {database.Dialect.InTexts("@topics")}
             ORDER BY seq LIMIT @limit
            """,
            new { reader, topics = JsonSerializer.Serialize(topics), limit }).AsList());

    /// <summary>The reader's place; null before its first acknowledgement.</summary>
    public static long? Place(DbConnection connection, string reader) =>
        connection.QueryFirstOrDefault<long?>("SELECT seq FROM outbox_cursors WHERE reader = @reader", new { reader });

    /// <summary>The newest event's number; 0 when there is none.</summary>
    public static long Newest(DbConnection connection) => connection.ExecuteScalar<long?>("SELECT max(seq) FROM outbox") ?? 0;

    /// <summary>All events after a place, oldest first; within a transaction those of the transactions before it too.</summary>
    public static IReadOnlyList<OutboxEvent> After(DbConnection connection, long seq, IReadOnlyCollection<string> topics) =>
        connection.Query<OutboxEvent>(
            $"SELECT seq AS Seq, topic AS Topic, payload AS Payload FROM outbox WHERE seq > @seq AND topic {SqlDialect.Of(connection).InTexts("@topics")} ORDER BY seq",
            new { seq, topics = JsonSerializer.Serialize(topics) }).AsList();

    /// <summary>Moves the reader's place; call it after the event's effect is durable, or inside the transaction that makes it so.</summary>
    public static void Acknowledge(WriteTransaction transaction, string reader, long seq) =>
        transaction.Connection.Execute(
            "INSERT INTO outbox_cursors (reader, seq) VALUES (@reader, @seq) ON CONFLICT (reader) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > outbox_cursors.seq",
            new { reader, seq });

    /// <summary>Completes at once when there are events after the reader's place, else when some may have come, or after <paramref name="timeout"/>.</summary>
    /// <remarks>Other servers on the same PostgreSQL database publish too, unheard by this one: there it completes after a second at most.</remarks>
    public async Task WaitAsync(string reader, IReadOnlyCollection<string> topics, TimeSpan timeout, TimeProvider clock, CancellationToken cancellationToken)
    {
        var signal = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void Signal() => signal.TrySetResult();
        database.EventsCommitted += Signal;
        try
        {
            // Asked after listening, so that an event committed since the reader's last look is not slept through.
            if (Read(reader, topics, limit: 1).Count == 0)
            {
                var wait = database.Dialect == SqlDialect.Postgres && timeout > OthersSeenWithin ? OthersSeenWithin : timeout;
                using var delay = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                await Task.WhenAny(signal.Task, Task.Delay(wait, clock, delay.Token));
                await delay.CancelAsync(); // Else every wake-up would leave a timer behind.
            }

            cancellationToken.ThrowIfCancellationRequested();
        }
        finally
        {
            database.EventsCommitted -= Signal;
        }
    }
}
