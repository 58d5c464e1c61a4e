using Slipway.FeatureStore;
using Slipway.Native.DuckDb;

namespace Slipway.Tests.FeatureStore;

/// <summary>Compares the retrieval SQL with a scan of all rows that follows the rules word for word.</summary>
[Trait("database", "none")]
public sealed class PointInTimeProperties : IDisposable
{
    private readonly DuckDbDatabase _database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 2 });

    public void Dispose() => _database.Dispose();

    [Fact, Trait("capability", "FEA-03")]
    public void Retrieval_equals_a_scan_of_all_rows_on_random_tables()
    {
        using var connection = _database.Connect();
        connection.Execute("CREATE TABLE e (a VARCHAR, b BIGINT, ts BIGINT); CREATE TABLE f (a VARCHAR, b BIGINT, ts BIGINT, created BIGINT, value DOUBLE)");
        for (var seed = 0; seed < 150; seed++)
        {
            var random = new Random(seed);
            var (entities, features) = (Entities(random), Features(random));
            Load(connection, entities, features);
            var keyCount = random.Next(3);
            var filter = random.Next(2) == 0;
            var ttl = random.Next(3) == 0 ? (long?)null : random.Next(1, 12);
            (string, string)[] keys = [("a", "a"), ("b", "b")];

            var normal = PointInTimeSql.Normalize("f", [.. keys.Take(keyCount).Select(key => key.Item1)], "ts", "created", filter, ["value"]);
            var sql = PointInTimeSql.Retrieve(
                "e", "ts", [new PointInTimeView($"({normal})", [.. keys.Take(keyCount)], ttl is { } age ? TimeSpan.FromTicks(age) : null, [("value", "value")])], ["a", "b", "ts"], [], withTies: true);
            var actual = connection.QueryRows(sql).Select(row => ((string?)row[0], (long?)row[1], (long?)row[2], (double?)row[3], (long)row[4]!)).ToList();

            var expected = entities.Select(entity => (entity.A, entity.B, entity.At, Scan(entity, features, keyCount, filter, ttl * 100))).Select(row => (row.A, row.B, row.At, row.Item4.Value, row.Item4.Ties)).ToList();
            Assert.True(expected.SequenceEqual(actual), $"seed {seed}: {keyCount} keys, filter {filter}, ttl {ttl}, {expected.Count} rows expected, {actual.Count} returned; first difference {expected.Zip(actual).FirstOrDefault(pair => pair.First != pair.Second)}");
        }
    }

    private static (double? Value, long Ties) Scan(Entity entity, List<Feature> features, int keyCount, bool filter, long? ttl)
    {
        var candidates = features.Where(feature =>
            (keyCount < 1 || (feature.A is not null && feature.A == entity.A))
            && (keyCount < 2 || (feature.B is not null && feature.B == entity.B))
            && feature.At <= entity.At
            && (ttl is null || feature.At >= entity.At - ttl)
            && (!filter || feature.Created <= entity.At)).ToList();
        if (candidates.Count == 0)
        {
            return (null, 0);
        }

        var best = candidates.MaxBy(feature => (feature.At!.Value, feature.Created ?? long.MinValue, feature.Row))!;
        return (best.Value, candidates.Count(feature => feature.At == best.At && feature.Created == best.Created));
    }

    // Few values, so that equal instants, equal keys and missing parts are common. A tick is 100 ns.
    private static List<Entity> Entities(Random random) =>
        [.. Enumerable.Range(0, random.Next(0, 60)).Select(_ => new Entity(Key(random), Number(random, 3), Number(random, 25) * 100 + random.Next(2)))];

    private static List<Feature> Features(Random random) =>
        [.. Enumerable.Range(0, random.Next(0, 80)).Select(row => new Feature(Key(random), Number(random, 3), Number(random, 25) * 100, Number(random, 25) * 100, random.Next(5) == 0 ? null : row, row))];

    private static string? Key(Random random) => random.Next(4) switch { 0 => null, 1 => "7", 2 => "007", _ => "" };

    private static long? Number(Random random, int below) => random.Next(8) == 0 ? null : random.Next(-3, below);

    private static void Load(DuckDbConnection connection, List<Entity> entities, List<Feature> features)
    {
        connection.Execute("DELETE FROM e; DELETE FROM f");
        foreach (var entity in entities)
        {
            connection.Execute("INSERT INTO e VALUES (?, ?, ?)", entity.A, entity.B, entity.At);
        }

        foreach (var feature in features)
        {
            connection.Execute("INSERT INTO f VALUES (?, ?, ?, ?, ?)", feature.A, feature.B, feature.At, feature.Created, feature.Value);
        }
    }

    private sealed record Entity(string? A, long? B, long? At);

    private sealed record Feature(string? A, long? B, long? At, long? Created, double? Value, int Row);
}
