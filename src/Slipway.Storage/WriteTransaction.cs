using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Storage.Audit;

namespace Slipway.Storage;

/// <summary>One caller's part of a group commit: its rows, their audit rows, lineage edges and events commit together or not at all.</summary>
public sealed class WriteTransaction
{
    private readonly AuditRedaction _redaction;

    internal WriteTransaction(DbConnection connection, DateTimeOffset now, AuditRedaction redaction)
    {
        Connection = connection;
        Now = now;
        _redaction = redaction;
    }

    /// <summary>The writer's connection, inside the transaction. Use Dapper on it; do not begin or end transactions.</summary>
    public DbConnection Connection { get; }

    /// <summary>The time of the change.</summary>
    public DateTimeOffset Now { get; }

    /// <summary><see cref="Now"/> as Unix milliseconds, as the tables store it.</summary>
    public long NowMs => Now.ToUnixTimeMilliseconds();

    internal bool HasPublished { get; private set; }

    /// <summary>Records the change in the hash-chained audit trail; secrets by their names are hidden first.</summary>
    /// <param name="by">Who asked.</param>
    /// <param name="action">Verb under noun, such as <c>model_version.promoted</c>.</param>
    /// <param name="subject">What changed.</param>
    /// <param name="reason">Why, in the caller's words; null when none was asked for.</param>
    /// <param name="before">The state before, serialised to JSON; null when there was none.</param>
    /// <param name="after">The state after, serialised to JSON; null when there is none.</param>
    public void Audit(Caller by, string action, NodeRef subject, string? reason = null, object? before = null, object? after = null) =>
        AuditTrail.Append(this, by, action, subject, AuditRedaction.Text(reason), _redaction.Json(before), _redaction.Json(after));

    /// <summary>Adds a lineage edge; adding it again changes nothing.</summary>
    /// <param name="from">The upstream end: what was used.</param>
    /// <param name="relation">How, such as <c>trained_on</c>, seen from the downstream end.</param>
    /// <param name="to">The downstream end: what came of it.</param>
    public void Link(NodeRef from, string relation, NodeRef to)
    {
        using var insert = Statement.Of(Connection,
            "INSERT INTO lineage_edges (from_node, relation, to_node, created_at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING");
        insert.Bind(1, Lineage.AddNode(Connection, from));
        insert.Bind(2, relation);
        insert.Bind(3, Lineage.AddNode(Connection, to));
        insert.Bind(4, NowMs);
        insert.Run();
    }

    /// <summary>Whether the graph has the node, this transaction's edges included.</summary>
    public bool Knows(NodeRef node) => Lineage.FindNode(Connection, node) is not null;

    /// <summary>The edges that end at the node, this transaction's included.</summary>
    public IReadOnlyList<LineageEdge> EdgesTo(NodeRef node) => Lineage.EdgesTo(Connection, node, Lineage.DefaultLimit);

    /// <summary>The edges that begin at the node, this transaction's included.</summary>
    public IReadOnlyList<LineageEdge> EdgesFrom(NodeRef node) => Lineage.EdgesFrom(Connection, node, Lineage.DefaultLimit);

    /// <summary>Publishes an event that other parts read after the commit, at their own pace.</summary>
    public void Publish(string topic, object payload)
    {
        Connection.Execute(
            "INSERT INTO outbox (topic, payload, created_at_ms) VALUES (@topic, @payload, @now)",
            new { topic, payload = JsonSerializer.Serialize(payload, payload.GetType(), JsonDefaults.Options), now = NowMs });
        HasPublished = true;
    }
}
