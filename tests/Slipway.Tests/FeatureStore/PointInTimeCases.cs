using System.Text.Json;
using Slipway.FeatureStore;
using Slipway.Native.DuckDb;

namespace Slipway.Tests.FeatureStore;

/// <summary>Runs the shared cases through the SQL that training sets are made with.</summary>
[Trait("database", "none")]
public sealed class PointInTimeCases : IDisposable
{
    private readonly DuckDbDatabase _database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 2 });

    public static IEnumerable<TheoryDataRow<string>> Cases =>
        Directory.EnumerateDirectories(Path.Combine(SharedFiles.Root, "pit")).Order(StringComparer.Ordinal).Select(folder => new TheoryDataRow<string>(Path.GetFileName(folder)));

    public void Dispose() => _database.Dispose();

    [Fact]
    public void There_are_36_cases() => Assert.Equal(36, Cases.Count());

    [Theory, MemberData(nameof(Cases)), Trait("capability", "FEA-03")]
    public void Each_entity_row_gets_the_newest_values_known_at_its_time(string name)
    {
        var folder = Path.Combine(SharedFiles.Root, "pit", name);
        using var document = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        var specification = document.RootElement;
        using var connection = _database.Connect();
        var entityColumns = Columns(connection, Csv(folder, specification.GetProperty("entity_df").GetString()!));
        var filterByCreated = specification.GetProperty("filter_by_created").GetBoolean();
        var views = specification.GetProperty("feature_views").EnumerateArray().Select(view => View(connection, folder, view, filterByCreated)).ToList();

        var sql = PointInTimeSql.Retrieve(
            Csv(folder, specification.GetProperty("entity_df").GetString()!), Nanoseconds(specification.GetProperty("entity_ts").GetString()!), views, entityColumns, [], withTies: true);
        var actual = Table(connection, sql);

        // Values and the winning row; then how many rows shared the rank.
        var expected = Table(connection, $"SELECT * FROM {Csv(folder, "expected.csv")}");
        var meta = Table(connection, $"SELECT * FROM {Csv(folder, "expected_meta.csv")}");
        Assert.Equal(expected.Keys.Concat(meta.Keys).Order(StringComparer.Ordinal), actual.Keys.Select(Renamed).Order(StringComparer.Ordinal));
        foreach (var (column, values) in actual)
        {
            Assert.Equal(expected.GetValueOrDefault(Renamed(column)) ?? meta[Renamed(column)], values);
        }

        string Renamed(string column)
        {
            return column.StartsWith("__ties_", StringComparison.Ordinal)
                ? $"{specification.GetProperty("feature_views")[int.Parse(column["__ties_".Length..])].GetProperty("name").GetString()}__ties"
                : column;
        }
    }

    private static PointInTimeView View(DuckDbConnection connection, string folder, JsonElement view, bool filterByCreated)
    {
        var name = view.GetProperty("name").GetString()!;
        var file = Csv(folder, view.GetProperty("file").GetString()!);
        var mapping = view.GetProperty("field_mapping").EnumerateObject().ToDictionary(pair => pair.Name, pair => pair.Value.GetString()!);
        var columns = Columns(connection, file).Select(column => $"{DuckDbIdentifier.Quote(column)} AS {DuckDbIdentifier.Quote(mapping.GetValueOrDefault(column, column))}");
        var keys = view.GetProperty("join_keys").EnumerateObject().Select(pair => (pair.Name, pair.Value.GetString()!)).ToList();
        var features = view.GetProperty("features").EnumerateArray().Select(feature => feature.GetString()!).ToList();
        var created = view.GetProperty("created").GetString();
        var ttl = view.GetProperty("ttl_seconds") is { ValueKind: JsonValueKind.Number } seconds && seconds.GetDouble() > 0 ? TimeSpan.FromSeconds(seconds.GetDouble()) : (TimeSpan?)null;

        var normal = PointInTimeSql.Normalize(
            $"(SELECT {string.Join(", ", columns)}, row_number() OVER () - 1 AS __file_row FROM {file})", [.. keys.Select(key => key.Name)],
            Nanoseconds(view.GetProperty("timestamp").GetString()!), created is null ? null : Nanoseconds(created), filterByCreated && created is not null,
            [.. features, "__file_row"]);
        return new PointInTimeView($"({normal})", keys, ttl, [.. features.Select(feature => (feature, $"{name}__{feature}")), ("__file_row", $"{name}__row")]);
    }

    private static string Csv(string folder, string file) =>
        $"read_csv({DuckDbLiteral.Quote(Path.Combine(folder, file))}, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', nullstr = '')";

    private static string Nanoseconds(string column) => $"epoch_ns(CAST({DuckDbIdentifier.Quote(column)} AS TIMESTAMP_NS))";

    private static List<string> Columns(DuckDbConnection connection, string relation)
    {
        using var reader = connection.Query($"SELECT * FROM {relation} LIMIT 0");
        return [.. reader.Columns.Select(column => column.Name)];
    }

    private static Dictionary<string, List<string?>> Table(DuckDbConnection connection, string sql)
    {
        using var reader = connection.Query(sql);
        var table = reader.Columns.ToDictionary(column => column.Name, _ => new List<string?>());
        while (reader.NextChunk())
        {
            for (var column = 0; column < reader.Columns.Count; column++)
            {
                for (var row = 0; row < reader.RowCount; row++)
                {
                    table[reader.Columns[column].Name].Add(reader.Value(column, row)?.ToString());
                }
            }
        }

        return table;
    }
}
