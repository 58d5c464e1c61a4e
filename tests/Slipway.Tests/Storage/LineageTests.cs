using Dapper;
using Slipway.Storage;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Storage;

public sealed class LineageTests
{
    [Fact]
    [Trait("capability", "LIN-01")]
    public async Task Both_directions_are_walked_to_their_ends_also_round_a_ring()
    {
        await using var stores = new TestStores();
        await LinkAsync(stores, "a>b", "b>c", "x>c", "c>d", "d>b", "other>end", "a>b");

        var lineage = stores.Get<Lineage>();

        Assert.Equal(["a>b", "b>c", "c>d", "d>b", "x>c"], Texts(lineage.Upstream(Run("d"))));
        Assert.Equal(["b>c", "c>d", "d>b"], Texts(lineage.Downstream(Run("c"))));
        Assert.Empty(lineage.Upstream(Run("a")));
        Assert.Empty(lineage.Upstream(Run("nobody")));
    }

    [Fact]
    [Trait("capability", "LIN-03")]
    public async Task A_walk_measures_distances_and_a_depth_keeps_the_nearest()
    {
        await using var stores = new TestStores();
        // c is two steps away the long way and one the short way; e lies behind both.
        await LinkAsync(stores, "a>b", "b>c", "a>c", "c>d", "d>e", "b>f");

        var all = stores.Get<Lineage>().Walk([Run("a")], LineageDirection.Downstream);
        var near = stores.Get<Lineage>().Walk([Run("a")], LineageDirection.Downstream, depth: 1);

        Assert.Equal(["a 0", "b 1", "c 1", "d 2", "f 2", "e 3"], Nodes(all));
        Assert.False(all.Truncated);
        Assert.Equal(["a 0", "b 1", "c 1"], Nodes(near));
        Assert.Equal(["a>b", "a>c", "b>c"], Texts(near.Edges));
        Assert.False(near.Truncated);
    }

    [Fact]
    [Trait("capability", "LIN-03")]
    public async Task A_walk_that_meets_its_limit_keeps_the_nearest_and_says_that_there_is_more()
    {
        await using var stores = new TestStores();
        await LinkAsync(stores, [.. Enumerable.Range(0, 30).Select(i => $"a>near{i:00}"), .. Enumerable.Range(0, 30).Select(i => $"near{i:00}>far{i:00}")]);
        var lineage = stores.Get<Lineage>();

        var cut = lineage.Walk([Run("a")], LineageDirection.Downstream, limit: 40);
        var whole = lineage.Walk([Run("a")], LineageDirection.Downstream, limit: 61);
        var ring = lineage.Walk([Run("a")], LineageDirection.Downstream, limit: 40, depth: 1);

        Assert.True(cut.Truncated);
        Assert.Equal(31, cut.Nodes.Count(node => node.Depth <= 1)); // The nearest ring is whole.
        Assert.InRange(cut.Nodes.Count, 40, 41);
        Assert.False(whole.Truncated);
        Assert.Equal(61, whole.Nodes.Count);
        Assert.False(ring.Truncated); // What was left out lies beyond what was asked for.
        Assert.Equal(31, ring.Nodes.Count);
    }

    [Fact]
    [Trait("capability", "LIN-03")]
    public async Task What_came_before_is_shown_and_followed_only_when_history_is_asked_for()
    {
        await using var stores = new TestStores();
        await stores.Database.WriteAsync(transaction =>
        {
            transaction.Link(Run("old-data"), "trained_on", Run("v1"));
            transaction.Link(Run("v1"), "descends_from", Run("v2"));
            transaction.Link(Run("new-data"), "trained_on", Run("v2"));
            transaction.Link(Run("new-data"), Lineage.Feeds, Run("v2"));
            transaction.Link(Run("old-data"), Lineage.Feeds, Run("v1"));
        }, default);
        var lineage = stores.Get<Lineage>();

        var making = lineage.Walk([Run("v2")], LineageDirection.Upstream);
        var history = lineage.Walk([Run("v2")], LineageDirection.Upstream, scope: LineageScope.History);

        Assert.Equal(["v2 0", "new-data 1", "v1 1"], Nodes(making));
        Assert.Equal(["v1"], making.Nodes.Where(node => !node.Followed).Select(node => node.Node.Id));
        Assert.Equal(["new-data>v2", "v1>v2"], Texts(making.Edges)); // The short cut that feeds is not an edge to see twice.
        Assert.Equal(["v2 0", "new-data 1", "v1 1", "old-data 2"], Nodes(history));
        Assert.All(history.Nodes, node => Assert.True(node.Followed));
    }

    [Fact]
    [Trait("capability", "LIN-02")]
    public async Task A_path_is_a_shortest_one_and_none_is_told_from_not_found_in_time()
    {
        await using var stores = new TestStores();
        await LinkAsync(stores, [
            "a>b", "b>c", "c>d", "d>z", "a>s", "s>z", "lonely>alone",
            .. Enumerable.Range(0, 50).Select(i => $"many{i}>hub"), "hub>t", .. Enumerable.Range(0, 50).Select(i => $"a>child{i}")]);
        var lineage = stores.Get<Lineage>();

        var path = lineage.FindPath(Run("a"), Run("z"));
        var none = lineage.FindPath(Run("z"), Run("a"));
        var cut = lineage.FindPath(Run("a"), Run("t"), limit: 20);
        var wide = lineage.FindPath(Run("a"), Run("t"));

        Assert.Equal(["a>s", "s>z"], path.Edges.Select(Text));
        Assert.Equal((true, false), (path.Found, path.Truncated));
        Assert.Equal((false, false), (none.Found, none.Truncated));
        Assert.Equal((false, true), (cut.Found, cut.Truncated)); // Both neighbourhoods are larger than 20.
        Assert.Equal((false, false), (wide.Found, wide.Truncated));
        Assert.Equal((true, 0), (lineage.FindPath(Run("a"), Run("a")).Found, lineage.FindPath(Run("a"), Run("a")).Edges.Count));
        Assert.False(lineage.FindPath(Run("a"), Run("nobody")).Found);
    }

    [Fact]
    [Trait("capability", "LIN-02")]
    public async Task A_path_is_found_where_two_neighbourhoods_that_were_cut_off_meet()
    {
        await using var stores = new TestStores();
        // Both ends are hubs: each walk is cut off before it reaches the other end.
        await LinkAsync(stores, [
            "a>m", "m>n", "n>z",
            .. Enumerable.Range(0, 60).Select(i => $"m>down{i:00}"), .. Enumerable.Range(0, 60).Select(i => $"up{i:00}>n")]);

        var path = stores.Get<Lineage>().FindPath(Run("a"), Run("z"), limit: 30);

        Assert.Equal(["a>m", "m>n", "n>z"], path.Edges.Select(Text));
        Assert.True(path.Found);
    }

    [Fact]
    [Trait("capability", "LIN-03")]
    public async Task Versions_made_from_an_ingredient_are_all_counted_and_the_wanted_ones_named_first()
    {
        await using var stores = new TestStores();
        NodeRef View(int version) => new(NodeKinds.FeatureView, $"fares@{version}");
        NodeRef Version(int version) => new(NodeKinds.ModelVersion, $"tips@1.{version}.0");
        await stores.Database.WriteAsync(transaction =>
        {
            for (var i = 0; i < 50; i++)
            {
                transaction.Link(View(1), Lineage.Feeds, Version(i));
                transaction.Link(Run($"r{i}"), "produced_by", Version(i));
            }

            transaction.Link(View(2), Lineage.Feeds, Version(99));
            transaction.Link(Version(3), "depends_on", new NodeRef(NodeKinds.ModelVersion, "other@1.0.0"));
        }, default);

        var use = stores.Get<Lineage>().VersionsMadeFrom([View(1)], [Version(99), Version(7), Version(3)], take: 5);

        Assert.Equal(51, use.Total); // The model that depends on one of them too.
        Assert.False(use.Truncated);
        Assert.Equal(["tips@1.7.0", "tips@1.3.0", "other@1.0.0", "tips@1.49.0", "tips@1.48.0"], use.Versions.Select(version => version.Id));
    }

    [Fact]
    public async Task A_name_without_a_version_means_all_versions_and_no_other_name()
    {
        await using var stores = new TestStores();
        await stores.Database.WriteAsync(transaction =>
        {
            foreach (var id in new[] { "fares@1", "fares@12", "fares_more@1", "fare@1", "faresA@1" })
            {
                transaction.Link(new NodeRef(NodeKinds.FeatureView, id), "includes", new NodeRef(NodeKinds.FeatureService, "tips@1"));
            }
        }, default);
        var lineage = stores.Get<Lineage>();

        Assert.Equal(["fares@1", "fares@12"], lineage.Find(new NodeRef(NodeKinds.FeatureView, "fares")).Select(node => node.Id));
        Assert.Equal(["fares@12"], lineage.Find(new NodeRef(NodeKinds.FeatureView, "fares@12")).Select(node => node.Id));
        Assert.Empty(lineage.Find(new NodeRef(NodeKinds.FeatureView, "fares@3")));
        Assert.Empty(lineage.Find(new NodeRef(NodeKinds.DatasetVersion, "fares")));
    }

    [Fact]
    public async Task Edges_are_written_with_their_change_or_not_at_all()
    {
        await using var stores = new TestStores();
        await Assert.ThrowsAsync<InvalidOperationException>(() => stores.Database.WriteAsync(transaction =>
        {
            transaction.Link(Run("a"), "used", Run("b"));
            Assert.True(transaction.Knows(Run("a")));
            Assert.Equal("a>b", Text(Assert.Single(transaction.EdgesTo(Run("b")))));
            throw new InvalidOperationException("no");
        }, default));

        Assert.Equal((0, 0), stores.Database.Read(connection => (connection.ExecuteScalar<int>("SELECT count(*) FROM lineage_nodes"), connection.ExecuteScalar<int>("SELECT count(*) FROM lineage_edges"))));
    }

    [Fact]
    [Trait("capability", "LIN-01")]
    public async Task A_database_of_before_keeps_its_edges_and_gains_the_short_cuts()
    {
        var folder = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        try
        {
            await using (var stores = new TestStores(folder: folder))
            {
                await stores.Database.WriteAsync(transaction => { transaction.Connection.Execute(Before); }, default);
            }

            await using var upgraded = new TestStores(folder: folder);
            var lineage = upgraded.Get<Lineage>();
            var version = new NodeRef(NodeKinds.ModelVersion, "tips@1.0.0");

            Assert.Equal(
                ["dataset_version:rides@1 feeds", "feature_view:fares@1 feeds", "run:r1 produced_by"],
                lineage.EdgesTo(version).Select(edge => $"{edge.From} {edge.Relation}").Order(StringComparer.Ordinal));
            Assert.Equal(["model:tips version_of"], lineage.EdgesFrom(version).Select(edge => $"{edge.To} {edge.Relation}"));
            Assert.Equal("drawn_from", Assert.Single(lineage.EdgesTo(new NodeRef(NodeKinds.TrainingSet, "s1")), edge => edge.From.Kind == NodeKinds.DatasetVersion).Relation);
            Assert.Equal("built_from", Assert.Single(lineage.EdgesTo(new NodeRef(NodeKinds.FeatureView, "fares@1"))).Relation);
            Assert.Equal(["monitor:tips watched_by"], lineage.EdgesFrom(new NodeRef(NodeKinds.Model, "tips")).Select(edge => $"{edge.To} {edge.Relation}"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // The tables of the schema before numbered nodes, with one version's edges.
    private const string Before =
        """
        DROP TABLE lineage_edges;
        DROP TABLE lineage_nodes;
        CREATE TABLE lineage_edges (from_kind TEXT NOT NULL, from_id TEXT NOT NULL, relation TEXT NOT NULL, to_kind TEXT NOT NULL, to_id TEXT NOT NULL, created_at_ms BIGINT NOT NULL,
            PRIMARY KEY (from_kind, from_id, relation, to_kind, to_id));
        CREATE INDEX lineage_edges_to ON lineage_edges (to_kind, to_id);
        INSERT INTO lineage_edges VALUES
            ('dataset_version', 'rides@1', 'built_from', 'feature_view', 'fares@1', 1), ('dataset_version', 'rides@1', 'built_from', 'training_set', 's1', 2),
            ('feature_view', 'fares@1', 'defined_by', 'training_set', 's1', 3), ('training_set', 's1', 'trained_on', 'run', 'r1', 4),
            ('run', 'r1', 'produced_by', 'model_version', 'tips@1.0.0', 5), ('model', 'tips', 'watched_by', 'monitor', 'tips', 6);
        DELETE FROM schema_migrations WHERE area = 'storage' AND number = 3;
        """;

    private static NodeRef Run(string id) => new(NodeKinds.Run, id);

    private static Task LinkAsync(TestStores stores, params string[] edges) => stores.Database.WriteAsync(transaction =>
    {
        foreach (var ends in edges.Select(edge => edge.Split('>')))
        {
            transaction.Link(Run(ends[0]), "used", Run(ends[1]));
        }
    }, default);

    private static string Text(LineageEdge edge) => $"{edge.From.Id}>{edge.To.Id}";

    private static IEnumerable<string> Texts(IEnumerable<LineageEdge> edges) => edges.Select(Text).Order(StringComparer.Ordinal);

    private static IEnumerable<string> Nodes(LineageWalk walk) => walk.Nodes.OrderBy(node => node.Depth).ThenBy(node => node.Node.Id, StringComparer.Ordinal).Select(node => $"{node.Node.Id} {node.Depth}");
}
