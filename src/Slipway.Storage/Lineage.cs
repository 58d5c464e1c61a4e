using System.Data.Common;
using System.Text.Json;

namespace Slipway.Storage;

/// <summary>One lineage edge.</summary>
/// <param name="From">Upstream: what was used.</param>
/// <param name="Relation">How, seen from the downstream end.</param>
/// <param name="To">Downstream: what came of it.</param>
public sealed record LineageEdge(NodeRef From, string Relation, NodeRef To);

/// <summary>Which way a walk follows the edges.</summary>
public enum LineageDirection
{
    /// <summary>To what was used.</summary>
    Upstream,

    /// <summary>To what came of it.</summary>
    Downstream,
}

/// <summary>Which edges a walk follows.</summary>
public enum LineageScope
{
    /// <summary>How each thing was made. What only came before it, a parent version or the monitor that asked for it, is shown and not followed.</summary>
    Making,

    /// <summary>As <see cref="Making"/>, and on through what came before.</summary>
    History,

    /// <summary>Which data, features and versions went into which versions, in few steps however much work lies between.</summary>
    Ingredients,
}

/// <summary>A node that a walk met.</summary>
/// <param name="Node">The node.</param>
/// <param name="Depth">Edges between it and the nearest start, which has 0.</param>
/// <param name="Followed">Whether the walk looked behind it; false where only what came before stands.</param>
public sealed record ReachedNode(NodeRef Node, int Depth, bool Followed);

/// <summary>What a walk met.</summary>
/// <param name="Nodes">The starts first, then by distance.</param>
/// <param name="Edges">Every edge between two of these nodes.</param>
/// <param name="Truncated">Whether there is more than the walk was allowed to meet. What it did meet is the nearest.</param>
public sealed record LineageWalk(IReadOnlyList<ReachedNode> Nodes, IReadOnlyList<LineageEdge> Edges, bool Truncated);

/// <summary>The versions that things went into.</summary>
/// <param name="Versions">Those asked for first, then the newest; not all when there are many.</param>
/// <param name="Total">How many there are.</param>
/// <param name="Truncated">Whether even <paramref name="Total"/> is a count that was broken off.</param>
public sealed record IngredientUse(IReadOnlyList<NodeRef> Versions, int Total, bool Truncated);

/// <summary>A way from one node to another.</summary>
/// <param name="Edges">In the direction of the data; empty when there is none, or both ends are one node.</param>
/// <param name="Found">Whether there is one.</param>
/// <param name="Truncated">Whether the search met its bound, so that a shorter way may exist, or one at all where none was found.</param>
public sealed record LineagePath(IReadOnlyList<LineageEdge> Edges, bool Found, bool Truncated);

/// <summary>
/// Owns <c>lineage_nodes</c> and <c>lineage_edges</c>, the one graph of everything; edges are written with <see cref="WriteTransaction.Link"/>.
/// </summary>
/// <remarks>
/// Walks are one recursive query over small numbers. It keeps nodes, not paths, so that rings end and shared ancestors are met once;
/// both engines meet the nearest first, so that a bounded walk is a whole neighbourhood, and distances follow from its edges.
/// </remarks>
public sealed class Lineage(Database database)
{
    /// <summary>
    /// The relation straight from data, views and services to each version made from them: a short cut past training sets and runs,
    /// which are also there step by step. Only <see cref="LineageScope.Ingredients"/> follows it.
    /// </summary>
    public const string Feeds = "feeds";

    /// <summary>How many nodes a walk meets at most when nothing is said.</summary>
    public const int DefaultLimit = 1000;

    /// <summary>How many nodes each of the two walks of a search for a path meets at most when nothing is said.</summary>
    public const int DefaultPathLimit = 2000;

    private const int CountMax = 100_000;

    // What stands at the far end was not used to make this one: it came before it, or asked for it. Behind it lies the whole history of
    // the model.
    private static readonly string[] Successions = ["descends_from", "triggered"];

    // From data to views to services, and from each of these to versions, from which other versions may be made.
    private static readonly string[] Composes = ["built_from", "includes"];
    private static readonly string[] MakesVersions = [Feeds, "depends_on"];
    private static readonly string[] Ingredients = [.. MakesVersions, .. Composes];

    /// <summary>All edges on paths that lead to <paramref name="node"/>, history included, of the nearest <paramref name="limit"/> nodes.</summary>
    public IReadOnlyList<LineageEdge> Upstream(NodeRef node, int limit = 10_000) => Walk([node], LineageDirection.Upstream, limit, scope: LineageScope.History).Edges;

    /// <summary>All edges on paths that start at <paramref name="node"/>, history included, of the nearest <paramref name="limit"/> nodes.</summary>
    public IReadOnlyList<LineageEdge> Downstream(NodeRef node, int limit = 10_000) => Walk([node], LineageDirection.Downstream, limit, scope: LineageScope.History).Edges;

    /// <summary>Everything upstream or downstream of some nodes, nearest first.</summary>
    /// <param name="starts">Where to begin; a node that the graph does not have is left out.</param>
    /// <param name="direction">Which way.</param>
    /// <param name="limit">Nodes to meet at most, the starts included.</param>
    /// <param name="depth">Edges to follow at most; null for all.</param>
    /// <param name="scope">Along which edges.</param>
    public LineageWalk Walk(
        IReadOnlyList<NodeRef> starts, LineageDirection direction, int limit = DefaultLimit, int? depth = null, LineageScope scope = LineageScope.Making) =>
        database.Read(connection =>
        {
            var ids = starts.Select(start => FindNode(connection, start)).OfType<long>().ToHashSet();
            return Walk(connection, ids, direction, limit, depth, scope).ToWalk();
        });

    /// <summary>The edges that end at the node.</summary>
    public IReadOnlyList<LineageEdge> EdgesTo(NodeRef node, int limit = DefaultLimit) => database.Read(connection => EdgesTo(connection, node, limit));

    /// <summary>The edges that begin at the node.</summary>
    public IReadOnlyList<LineageEdge> EdgesFrom(NodeRef node, int limit = DefaultLimit) => database.Read(connection => EdgesFrom(connection, node, limit));

    /// <summary>A shortest way along the edges, through what came before too.</summary>
    /// <param name="from">Upstream end.</param>
    /// <param name="to">Downstream end.</param>
    /// <param name="limit">Nodes that each of the two walks of the search may meet.</param>
    public LineagePath FindPath(NodeRef from, NodeRef to, int limit = DefaultPathLimit) => database.Read(connection =>
        FindNode(connection, from) is { } start && FindNode(connection, to) is { } end ? FindPath(connection, start, end, limit) : new LineagePath([], false, false));

    /// <summary>Which versions were made from some data, feature views or services; exact also where these are shared by thousands.</summary>
    /// <param name="ingredients">What was used.</param>
    /// <param name="first">Versions to name before others.</param>
    /// <param name="take">How many to name.</param>
    public IngredientUse VersionsMadeFrom(IReadOnlyList<NodeRef> ingredients, IReadOnlyList<NodeRef> first, int take) => database.Read(connection =>
    {
        var dialect = SqlDialect.Of(connection);
        dialect.ProbeIndexes(connection);
        var versions = new HashSet<long>();
        Take(
            $"""
            WITH RECURSIVE reached (node) AS (
                SELECT id FROM lineage_nodes WHERE id {dialect.InNumbers("$1")}
                UNION
                SELECT e.to_node FROM reached r CROSS JOIN {Relations(Composes)} k CROSS JOIN lineage_edges e WHERE e.from_node = r.node AND e.relation = k.relation)
            SELECT e.to_node FROM reached r CROSS JOIN {Relations(MakesVersions)} k CROSS JOIN lineage_edges e WHERE e.from_node = r.node AND e.relation = k.relation
            """,
            FindNodes(connection, ingredients).Values);

        // Few versions lead to others. Asking that of all at once costs half of what it does one by one within the recursion above.
        List<long> next = [.. versions];
        while (next.Count > 0 && versions.Count <= CountMax)
        {
            next = Take(
                $"SELECT e.to_node FROM {Relations(MakesVersions)} k CROSS JOIN lineage_edges e WHERE e.from_node {dialect.InNumbers("$1")} AND e.relation = k.relation", next);
        }

        List<long> Take(string sql, IEnumerable<long> nodes)
        {
            var added = new List<long>();
            using var walk = Statement.Of(connection, sql);
            walk.Bind(1, Array(nodes));
            while (versions.Count <= CountMax && walk.Step())
            {
                if (versions.Add(walk.Integer(0)))
                {
                    added.Add(walk.Integer(0));
                }
            }

            return added;
        }

        return new IngredientUse(Name(connection, versions, first, take), versions.Count, versions.Count > CountMax);
    });

    /// <summary>The node itself; when there is none and the id names no version, every version of it, at most 1000. Empty when the graph has neither.</summary>
    public IReadOnlyList<NodeRef> Find(NodeRef node) => database.Read<IReadOnlyList<NodeRef>>(connection =>
    {
        if (FindNode(connection, node) is not null)
        {
            return [node];
        }

        if (node.Id.Contains('@', StringComparison.Ordinal))
        {
            return [];
        }

        // Versions are written name@version, and 'A' follows '@'.
        using var statement = Statement.Of(connection, "SELECT name FROM lineage_nodes WHERE kind = $1 AND name > $2 AND name < $3 ORDER BY name LIMIT 1000");
        statement.Bind(1, node.Kind);
        statement.Bind(2, $"{node.Id}@");
        statement.Bind(3, $"{node.Id}A");
        var versions = new List<NodeRef>();
        while (statement.Step())
        {
            versions.Add(node with { Id = statement.Text(0) });
        }

        return versions;
    });

    // Those asked for first, in their order, then the newest.
    private static List<NodeRef> Name(DbConnection connection, HashSet<long> versions, IReadOnlyList<NodeRef> first, int take)
    {
        if (versions.Count <= take)
        {
            // Fewer than may be named: what they are called says which of them were asked for, however many were.
            var names = Nodes(connection, versions);
            var asked = names.Values.ToHashSet();
            List<NodeRef> leading = [.. first.Where(asked.Remove)];
            return [.. leading, .. names.OrderByDescending(pair => pair.Key).Select(pair => pair.Value).Where(asked.Contains)];
        }

        var known = FindNodes(connection, first);
        var ids = first.Select(node => known.GetValueOrDefault(node)).Where(versions.Contains).Distinct().Take(take).ToList();
        ids.AddRange(versions.Except(ids).OrderDescending().Take(take - ids.Count));
        var nodes = Nodes(connection, ids);
        return ids.ConvertAll(id => nodes[id]);
    }

    private static Dictionary<long, NodeRef> Nodes(DbConnection connection, IReadOnlyCollection<long> ids)
    {
        using var find = Statement.Of(connection, $"SELECT id, kind, name FROM lineage_nodes WHERE id {SqlDialect.Of(connection).InNumbers("$1")}");
        find.Bind(1, Array(ids));
        var nodes = new Dictionary<long, NodeRef>(ids.Count);
        while (find.Step())
        {
            nodes.Add(find.Integer(0), new NodeRef(find.Text(1), find.Text(2)));
        }

        return nodes;
    }

    // One statement for each kind: one for each node is a round trip to PostgreSQL each time.
    private static Dictionary<NodeRef, long> FindNodes(DbConnection connection, IReadOnlyList<NodeRef> nodes)
    {
        var ids = new Dictionary<NodeRef, long>(nodes.Count);
        foreach (var kind in nodes.GroupBy(node => node.Kind, node => node.Id))
        {
            using var find = Statement.Of(connection, $"SELECT name, id FROM lineage_nodes WHERE kind = $1 AND name {SqlDialect.Of(connection).InTexts("$2")}");
            find.Bind(1, kind.Key);
            find.Bind(2, JsonSerializer.Serialize(kind));
            while (find.Step())
            {
                ids[new NodeRef(kind.Key, find.Text(0))] = find.Integer(1);
            }
        }

        return ids;
    }

    internal static long? FindNode(DbConnection connection, NodeRef node)
    {
        using var find = Statement.Of(connection, "SELECT id FROM lineage_nodes WHERE kind = $1 AND name = $2");
        find.Bind(1, node.Kind);
        find.Bind(2, node.Id);
        return find.Step() ? find.Integer(0) : null;
    }

    // Writers take turns, so that nobody adds the node between the look and the insert.
    internal static long AddNode(DbConnection connection, NodeRef node)
    {
        if (FindNode(connection, node) is { } known)
        {
            return known;
        }

        using var insert = Statement.Of(connection, "INSERT INTO lineage_nodes (kind, name) VALUES ($1, $2) RETURNING id");
        insert.Bind(1, node.Kind);
        insert.Bind(2, node.Id);
        insert.Step();
        return insert.Integer(0);
    }

    internal static List<LineageEdge> EdgesTo(DbConnection connection, NodeRef node, int limit) =>
        Edges(connection, node, limit, "to_node", "from_node", (near, relation, far) => new LineageEdge(far, relation, near));

    /// <summary>As the other overload, within a transaction.</summary>
    public static IReadOnlyList<LineageEdge> EdgesFrom(DbConnection connection, NodeRef node, int limit) =>
        Edges(connection, node, limit, "from_node", "to_node", (near, relation, far) => new LineageEdge(near, relation, far));

    private static List<LineageEdge> Edges(DbConnection connection, NodeRef node, int limit, string near, string far, Func<NodeRef, string, NodeRef, LineageEdge> edge)
    {
        var edges = new List<LineageEdge>();
        if (FindNode(connection, node) is { } id)
        {
            using var statement = Statement.Of(connection,
                $"SELECT n.kind, n.name, e.relation FROM lineage_edges e JOIN lineage_nodes n ON n.id = e.{far} WHERE e.{near} = $1 ORDER BY e.{far}, e.relation LIMIT $2");
            statement.Bind(1, id);
            statement.Bind(2, (long)limit);
            while (statement.Step())
            {
                edges.Add(edge(node, statement.Text(2), new NodeRef(statement.Text(0), statement.Text(1))));
            }
        }

        return edges;
    }

    private static LineagePath FindPath(DbConnection connection, long start, long end, int limit)
    {
        // Few things lead to one, while thousands may come of it: the end's ancestry nearly always decides alone.
        var upstream = Walk(connection, [end], LineageDirection.Upstream, limit, null, LineageScope.History);
        if (upstream.Depths.ContainsKey(start) || !upstream.Truncated)
        {
            return upstream.PathTo(start, end, truncated: false);
        }

        var downstream = Walk(connection, [start], LineageDirection.Downstream, limit, null, LineageScope.History);
        if (downstream.Depths.ContainsKey(end) || !downstream.Truncated)
        {
            return downstream.PathTo(start, end, truncated: false);
        }

        // Both were cut off, but each is a whole neighbourhood: a way not longer than the two radii together cannot have been missed.
        var path = upstream.Join(downstream).PathTo(start, end, truncated: true);
        return path.Found && path.Edges.Count <= upstream.Radius + downstream.Radius + 1 ? path with { Truncated = false } : path;
    }

    private static Reach Walk(DbConnection connection, IReadOnlyCollection<long> starts, LineageDirection direction, int limit, int? depth, LineageScope scope)
    {
        var dialect = SqlDialect.Of(connection);
        dialect.ProbeIndexes(connection);
        var (near, far) = direction is LineageDirection.Upstream ? ("to_node", "from_node") : ("from_node", "to_node");
        var goesOn = scope is LineageScope.Making ? $"CASE WHEN e.relation IN ({Texts(Successions)}) THEN 0 ELSE 1 END" : "1";
        var edgesOfScope = scope is LineageScope.Ingredients ? $"e.relation IN ({Texts(Ingredients)})" : $"e.relation <> '{Feeds}'";
        var reach = new Reach(direction, starts);
        var rows = 0;
        using (var walk = Statement.Of(connection,
            $"""
            WITH RECURSIVE reached (node, goes_on) AS (
                SELECT id, 1 FROM lineage_nodes WHERE id {dialect.InNumbers("$1")}
                UNION
                SELECT e.{far}, {goesOn} FROM reached r CROSS JOIN lineage_edges e WHERE e.{near} = r.node AND r.goes_on = 1 AND {edgesOfScope})
            SELECT r.node, r.goes_on, n.kind, n.name FROM (SELECT node, goes_on FROM reached LIMIT $2) r CROSS JOIN lineage_nodes n WHERE n.id = r.node
            """))
        {
            walk.Bind(1, Array(starts));
            walk.Bind(2, limit + 1L);
            while (walk.Step())
            {
                reach.Add(walk.Integer(0), walk.Integer(1) == 1, new NodeRef(walk.Text(2), walk.Text(3)));
                rows++;
            }
        }

        // By their lower ends whichever way the walk went: things are made from few others, while thousands may be made of one.
        using (var edges = Statement.Of(connection, $"SELECT from_node, relation, to_node FROM lineage_edges e WHERE to_node {dialect.InNumbers("$1")} AND {edgesOfScope}"))
        {
            edges.Bind(1, Array(reach.Nodes.Keys));
            while (edges.Step())
            {
                if (reach.Nodes.ContainsKey(edges.Integer(0)))
                {
                    reach.Add(edges.Integer(0), edges.Text(1), edges.Integer(2));
                }
            }
        }

        reach.Measure(rows > limit, depth);
        return reach;
    }

    // Rows to join in place of a condition: where one edge's own columns are compared with constants and the table has been analysed, SQLite
    // (from 3.38) first reads all edges into a Bloom filter, at each question.
    private static string Relations(string[] texts) => $"({string.Join(" UNION ALL ", texts.Select(text => $"SELECT '{text}' AS relation"))})";

    private static string Texts(string[] texts) => $"'{string.Join("', '", texts)}'";

    private static string Array(IEnumerable<long> numbers) => $"[{string.Join(',', numbers)}]";

    /// <summary>What one walk met, by number.</summary>
    private sealed class Reach(LineageDirection direction, IReadOnlyCollection<long> starts)
    {
        private readonly HashSet<long> _ends = []; // Met, and not gone beyond.
        private List<(long From, string Relation, long To)> _edges = [];

        public Dictionary<long, NodeRef> Nodes { get; } = [];

        /// <summary>Distance of each node, nearest first.</summary>
        public Dictionary<long, int> Depths { get; } = [];

        /// <summary>Within this distance nothing is missing.</summary>
        public int Radius { get; private set; }

        public bool Truncated { get; private set; }

        public void Add(long id, bool goesOn, NodeRef node)
        {
            if (Nodes.TryAdd(id, node) && !goesOn)
            {
                _ends.Add(id);
            }
            else if (goesOn)
            {
                _ends.Remove(id);
            }
        }

        public void Add(long from, string relation, long to) => _edges.Add((from, relation, to));

        public void Measure(bool cutOff, int? depth)
        {
            var steps = direction is LineageDirection.Upstream
                ? _edges.ToLookup(edge => edge.To, edge => edge.From)
                : _edges.ToLookup(edge => edge.From, edge => edge.To);
            var waiting = new Queue<long>();
            foreach (var start in starts)
            {
                Depths[start] = 0;
                waiting.Enqueue(start);
            }

            while (waiting.TryDequeue(out var node))
            {
                if (_ends.Contains(node) || Depths[node] == depth)
                {
                    continue;
                }

                foreach (var next in steps[node])
                {
                    if (Depths.TryAdd(next, Depths[node] + 1))
                    {
                        waiting.Enqueue(next);
                    }
                }
            }

            // The farthest ring may lack some of its nodes, those inside it none.
            var farthest = Depths.Count == 0 ? 0 : Depths.Values.Max();
            var unmeasured = Depths.Count < Nodes.Count; // Beyond the depth that was asked for: all within it were met.
            Truncated = cutOff && !unmeasured;
            Radius = cutOff ? farthest - 1 : farthest;
        }

        public Reach Join(Reach downstream)
        {
            var both = new Reach(LineageDirection.Downstream, downstream.Starts);
            foreach (var (id, node) in Nodes.Concat(downstream.Nodes))
            {
                both.Nodes.TryAdd(id, node);
            }

            both._edges = [.. _edges.Union(downstream._edges)];
            both.Measure(false, null);
            return both;
        }

        public LineagePath PathTo(long start, long end, bool truncated)
        {
            // Backwards from the far end, each time to a node one step nearer: distances were measured from the other end.
            var (at, goal) = direction is LineageDirection.Upstream ? (start, end) : (end, start);
            if (!Depths.TryGetValue(at, out var here))
            {
                return new LineagePath([], false, truncated);
            }

            var back = direction is LineageDirection.Upstream ? _edges.ToLookup(edge => edge.From) : _edges.ToLookup(edge => edge.To);
            var path = new List<LineageEdge>();
            for (; at != goal; here--)
            {
                var step = back[at].First(edge => Depths.TryGetValue(Far(edge), out var depth) && depth == here - 1 && !_ends.Contains(Far(edge)));
                path.Add(Edge(step));
                at = Far(step);
            }

            if (direction is LineageDirection.Downstream)
            {
                path.Reverse();
            }

            return new LineagePath(path, true, truncated);

            long Far((long From, string Relation, long To) edge) => direction is LineageDirection.Upstream ? edge.To : edge.From;
        }

        public LineageWalk ToWalk() => new(
            [.. Depths.OrderBy(pair => pair.Value).Select(pair => new ReachedNode(Nodes[pair.Key], pair.Value, !_ends.Contains(pair.Key)))],
            [.. _edges.Where(edge => Depths.ContainsKey(edge.From) && Depths.ContainsKey(edge.To)).Select(Edge)],
            Truncated);

        private IReadOnlyCollection<long> Starts => starts;

        private LineageEdge Edge((long From, string Relation, long To) edge) => new(Nodes[edge.From], edge.Relation, Nodes[edge.To]);
    }
}
