using Dapper;

namespace Slipway.Storage;

/// <summary>One lineage edge.</summary>
/// <param name="From">Upstream: what was used.</param>
/// <param name="Relation">How, seen from the downstream end.</param>
/// <param name="To">Downstream: what came of it.</param>
public sealed record LineageEdge(NodeRef From, string Relation, NodeRef To);

/// <summary>Reads <c>lineage_edges</c>; edges are written with <see cref="WriteTransaction.Link"/>.</summary>
public sealed class Lineage(Database database)
{
    /// <summary>All edges on paths that lead to <paramref name="node"/>, at most <paramref name="limit"/> nodes deep and wide.</summary>
    public IReadOnlyList<LineageEdge> Upstream(NodeRef node, int limit = 10_000) => Walk(node, limit,
        """
        WITH RECURSIVE reached (kind, id) AS (
            VALUES (@kind, @id)
            UNION
            SELECT e.from_kind, e.from_id FROM lineage_edges e JOIN reached r ON e.to_kind = r.kind AND e.to_id = r.id LIMIT @limit)
        SELECT e.from_kind, e.from_id, e.relation, e.to_kind, e.to_id
          FROM reached r JOIN lineage_edges e ON e.to_kind = r.kind AND e.to_id = r.id
        """);

    /// <summary>All edges on paths that start at <paramref name="node"/>.</summary>
    public IReadOnlyList<LineageEdge> Downstream(NodeRef node, int limit = 10_000) => Walk(node, limit,
        """
        WITH RECURSIVE reached (kind, id) AS (
            VALUES (@kind, @id)
            UNION
            SELECT e.to_kind, e.to_id FROM lineage_edges e JOIN reached r ON e.from_kind = r.kind AND e.from_id = r.id LIMIT @limit)
        SELECT e.from_kind, e.from_id, e.relation, e.to_kind, e.to_id
          FROM reached r JOIN lineage_edges e ON e.from_kind = r.kind AND e.from_id = r.id
        """);

    private List<LineageEdge> Walk(NodeRef node, int limit, string sql) =>
        database.Read(connection => connection
            .Query<(string FromKind, string FromId, string Relation, string ToKind, string ToId)>(sql, new { kind = node.Kind, id = node.Id, limit })
            .Select(row => new LineageEdge(new NodeRef(row.FromKind, row.FromId), row.Relation, new NodeRef(row.ToKind, row.ToId)))
            .ToList());
}
