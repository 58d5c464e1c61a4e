using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;
using Slipway.Storage.Audit;

namespace Slipway.Storage;

/// <summary>One caller's part of a group commit: its rows, their audit rows, lineage edges and events commit together or not at all.</summary>
public sealed class WriteTransaction
{
    internal WriteTransaction(SqliteConnection connection, DateTimeOffset now)
    {
        Connection = connection;
        Now = now;
    }

    /// <summary>The writer's connection, inside the transaction. Use Dapper on it; do not begin or end transactions.</summary>
    public SqliteConnection Connection { get; }

    /// <summary>The time of the change.</summary>
    public DateTimeOffset Now { get; }

    /// <summary><see cref="Now"/> as Unix milliseconds, as the tables store it.</summary>
    public long NowMs => Now.ToUnixTimeMilliseconds();

    internal bool HasPublished { get; private set; }

    /// <summary>Records the change in the hash-chained audit trail.</summary>
    /// <param name="by">Who asked.</param>
    /// <param name="action">Verb under noun, such as <c>model_version.promoted</c>.</param>
    /// <param name="subject">What changed.</param>
    /// <param name="reason">Why, in the caller's words; null when none was asked for.</param>
    /// <param name="before">The state before, serialised to JSON; null when there was none.</param>
    /// <param name="after">The state after, serialised to JSON; null when there is none.</param>
    public void Audit(Caller by, string action, NodeRef subject, string? reason = null, object? before = null, object? after = null) =>
        AuditTrail.Append(this, by, action, subject, reason, Json(before), Json(after));

    /// <summary>Adds a lineage edge; adding it again changes nothing.</summary>
    /// <param name="from">The upstream end: what was used.</param>
    /// <param name="relation">How, such as <c>trained_on</c>, seen from the downstream end.</param>
    /// <param name="to">The downstream end: what came of it.</param>
    public void Link(NodeRef from, string relation, NodeRef to) =>
        Connection.Execute(
            """
            INSERT INTO lineage_edges (from_kind, from_id, relation, to_kind, to_id, created_at_ms)
            VALUES (@fromKind, @fromId, @relation, @toKind, @toId, @now)
            ON CONFLICT DO NOTHING
            """,
            new { fromKind = from.Kind, fromId = from.Id, relation, toKind = to.Kind, toId = to.Id, now = NowMs });

    /// <summary>Publishes an event that other parts read after the commit, at their own pace.</summary>
    public void Publish(string topic, object payload)
    {
        Connection.Execute(
            "INSERT INTO outbox (topic, payload, created_at_ms) VALUES (@topic, @payload, @now)",
            new { topic, payload = Json(payload), now = NowMs });
        HasPublished = true;
    }

    private static string? Json(object? value) => value is null ? null : JsonSerializer.Serialize(value, value.GetType(), JsonDefaults.Options);
}
