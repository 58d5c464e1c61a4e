using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Native.DuckDb;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Bench;

/// <summary>
/// Point-in-time retrieval through the offline store against the ASOF join that one would write by hand over the same Parquet
/// files, both in DuckDB with two threads and 1 GB, both from Parquet to Parquet.
/// </summary>
internal static class JoinBench
{
    private const int Entities = 10_000;
    private const int FeaturesCount = 5;

    private static string FeatureList => string.Join(", ", Enumerable.Range(0, FeaturesCount).Select(i => $"f{i}"));

    public static async Task RunAsync(BenchSettings settings)
    {
        var data = Path.Combine(BenchSettings.Folder, "join");
        if (Directory.Exists(data))
        {
            Directory.Delete(data, recursive: true);
        }

        var storage = StorageOptions.Resolve(data);
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddSlipwayStorage(storage);
        services.AddSlipwayDatasets();
        services.AddSlipwayFeatureStore();
        await using var provider = services.BuildServiceProvider();
        var kinds = provider.GetServices<IDefinitionKind>().ToDictionary(kind => kind.Kind);
        var datasets = provider.GetRequiredService<DatasetStore>();
        var offline = provider.GetRequiredService<OfflineStore>();
        var duckDb = provider.GetRequiredService<DuckDbDatabase>();
        var by = new Caller("bench", null);

        Directory.CreateDirectory(storage.TemporaryDirectory);
        var readings = await GenerateAsync("readings", string.Create(CultureInfo.InvariantCulture,
            $"""
            SELECT CAST(hash(i) % {Entities} AS BIGINT) AS id, TIMESTAMP '2024-01-01' + to_milliseconds(i * {31_536_000_000L / settings.Readings}) AS moment,
                   {string.Join(", ", Enumerable.Range(0, FeaturesCount).Select(i => $"CAST(hash(i + {i + 1}) % 1000000 AS DOUBLE) / 1000 AS f{i}"))}
              FROM range({settings.Readings}) AS rows(i)
            """), string.Join("\n", Enumerable.Range(0, FeaturesCount).Select(i => $"  - {{ name: f{i}, type: float64, nullable: false }}")));
        var labels = await GenerateAsync("labels", string.Create(CultureInfo.InvariantCulture,
            $"""
            SELECT CAST(hash(i + 77) % {Entities} AS BIGINT) AS id, TIMESTAMP '2024-01-01' + to_milliseconds(CAST(hash(i + 99) % 31536000000 AS BIGINT)) AS moment, hash(i) % 2 = 0 AS label
              FROM range({settings.Labels}) AS rows(i)
            """), "  - { name: label, type: boolean, nullable: false }");
        var features = string.Join("\n", Enumerable.Range(0, FeaturesCount).Select(i => $"  - {{ name: f{i}, type: float64 }}"));
        await kinds["feature_view"].ApplyAsync(
            $"""
            kind: feature_view
            name: sensor
            entity: sensor
            keys: [id]
            source: readings
            sql: SELECT id, moment AS event_timestamp, {FeatureList} FROM source
            features:
            {features}
            """, by, default);
        await kinds["feature_service"].ApplyAsync(
            $$"""
            kind: feature_service
            name: sensors
            inputs:
              - { name: id, type: int64 }
              - { name: moment, type: timestamp }
            event_time: moment
            keys:
              sensor: { id: id }
            features: [{{string.Join(", ", Enumerable.Range(0, FeaturesCount).Select(i => $"sensor:f{i}"))}}]
            """, by, default);

        var watch = Stopwatch.StartNew();
        await offline.BuildAsync("sensor", readings, by, default);
        var build = watch.Elapsed.TotalSeconds;

        var service = provider.GetRequiredService<FeatureRegistry>().RequireService("sensors");
        var request = new HistoricalRequest("SELECT id, moment, label FROM source", labels, "moment", service, ["id", "moment", "label"]);
        var byHand = Path.Combine(storage.TemporaryDirectory, "by-hand.parquet");
        var ours = new List<double>();
        var theirs = new List<double>();
        TrainingSet set = null!;
        for (var round = 0; round <= settings.Rounds; round++)
        {
            watch.Restart();
            set = await offline.GetHistoricalAsync(request, by, default);
            var retrieved = watch.Elapsed.TotalSeconds;

            using var connection = duckDb.Connect();
            watch.Restart();
            connection.Execute(
                $"""
                COPY (SELECT l.id, l.moment, l.label, {FeatureList}
                        FROM read_parquet({DuckDbLiteral.Quote(datasets.ParquetPath(labels))}) AS l
                        ASOF LEFT JOIN read_parquet({DuckDbLiteral.Quote(datasets.ParquetPath(readings))}) AS r ON l.id = r.id AND l.moment >= r.moment)
                TO {DuckDbLiteral.Quote(byHand)} (FORMAT parquet, COMPRESSION snappy)
                """);
            var joined = watch.Elapsed.TotalSeconds;
            if (round > 0) // The first reads the files into the system's cache.
            {
                ours.Add(retrieved);
                theirs.Add(joined);
            }
        }

        Check(duckDb, set, byHand, settings.Labels);
        Console.WriteLine(
            $"\nPoint-in-time join: {settings.Labels:N0} entity rows, {settings.Readings:N0} feature rows, {FeaturesCount} features, {Entities:N0} keys; {settings.Rounds} rounds in turn");
        Console.WriteLine(
            $"  offline store {BenchSettings.Median(ours):0.00} s, ASOF join by hand {BenchSettings.Median(theirs):0.00} s, ratio {BenchSettings.Median(ours.Zip(theirs, (a, b) => a / b)):0.00}; building the view once before: {build:0.0} s");
        Directory.Delete(data, recursive: true);

        async Task<DatasetVersionRecord> GenerateAsync(string name, string sql, string columns)
        {
            await kinds["dataset"].ApplyAsync(
                $"""
                kind: dataset
                name: {name}
                description: Generated rows of the benchmark.
                source:
                  type: generated
                  owner: benchmark
                  update_frequency: never
                  pii: false
                timestamp: moment
                columns:
                  - name: id
                    type: int64
                    nullable: false
                  - name: moment
                    type: timestamp
                    nullable: false
                {columns}
                """, by, default);
            var path = Path.Combine(storage.TemporaryDirectory, $"{name}.parquet");
            using (var connection = duckDb.Connect())
            {
                connection.Execute($"COPY ({sql}) TO {DuckDbLiteral.Quote(path)} (FORMAT parquet, COMPRESSION snappy)");
            }

            await using var parquet = File.OpenRead(path);
            return await datasets.AddVersionAsync(name, parquet, by, default);
        }
    }

    // Speed over different answers would mean nothing.
    private static void Check(DuckDbDatabase duckDb, TrainingSet set, string byHand, int labels)
    {
        using var connection = duckDb.Connect();
        string Digest(string path, string features) =>
            $"(SELECT count(*) || ':' || CAST(sum(CAST(hash(id, moment, label, {features}) >> 20 AS HUGEINT)) AS VARCHAR) FROM read_parquet({DuckDbLiteral.Quote(path)}))";
        var quoted = string.Join(", ", set.FeatureNames.Select(DuckDbIdentifier.Quote));
        var both = connection.QueryRows($"SELECT {Digest(set.Path, quoted)}, {Digest(byHand, FeatureList)}")[0];
        if (set.Rows != labels || !Equals(both[0], both[1]))
        {
            throw new InvalidOperationException($"The two joins differ: {both[0]} by the offline store, {both[1]} by hand.");
        }
    }
}
