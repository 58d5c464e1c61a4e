using System.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Native.DuckDb;
using Slipway.Storage;
using Slipway.Storage.Definitions;
using Slipway.Tests.Datasets;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.FeatureStore;

/// <summary>The example that users copy, on the real three million flights.</summary>
[Trait("database", "none")]
public sealed class FlightsFeatures(ITestOutputHelper output) : IAsyncLifetime
{
    private static readonly Caller Ada = new("ada", null);

    private AreaHost _host = null!;

    private OfflineStore Offline => _host.Service<OfflineStore>();

    private FeatureServiceRecord Service => _host.Service<FeatureRegistry>().RequireService("flight-delay");

    public async ValueTask InitializeAsync()
    {
        _host = await AreaHost.StartAsync(services => services.AddSlipwayDatasets().AddSlipwayFeatureStore(), app => app.MapSlipwayFeatureStore());
        var kinds = _host.Service<IEnumerable<IDefinitionKind>>().ToDictionary(kind => kind.Kind);
        string[] files = [Flights.Definition("dataset.yaml"), .. Directory.EnumerateFiles(Flights.Definition("features")), Flights.Definition("feature-service.yaml")];
        foreach (var yaml in files.Select(File.ReadAllText))
        {
            await kinds[DefinitionYaml.Parse(yaml).Text("kind")].ApplyAsync(yaml, Ada, CancellationToken.None);
        }
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact, Trait("capability", "FEA-01"), Trait("capability", "FEA-03"), Trait("capability", "FEA-06")]
    public async Task Two_million_rows_get_their_features_and_serving_gets_the_same()
    {
        DatasetVersionRecord flights;
        await using (var file = File.OpenRead(Flights.ParquetPath))
        {
            flights = await _host.Service<DatasetStore>().AddVersionAsync("flights", file, Ada, CancellationToken.None);
        }

        var clock = Stopwatch.StartNew();
        foreach (var view in new[] { "airport_delays", "route_delays", "airport_departures" })
        {
            var build = await Offline.BuildAsync(view, flights, Ada, CancellationToken.None);
            Assert.Equal(0, build.TiedRows);
            output.WriteLine($"{view}: {build.Rows} rows, {clock.ElapsedMilliseconds} ms since the start, {new FileInfo(Offline.PathOf(build)).Length} bytes");
        }

        clock.Restart();
        var processor = Environment.CpuUsage.TotalTime;
        var set = await Retrieve(flights, "date < TIMESTAMP '2001-05-01'");
        output.WriteLine($"retrieval: {set.Rows} rows in {clock.ElapsedMilliseconds} ms, {(Environment.CpuUsage.TotalTime - processor).TotalMilliseconds:0} ms of processor time");
        Assert.Equal(1_978_941, set.Rows);
        CheckAgainstTheRawFlights(flights, set);
        await CheckServing(flights);
    }

    [Fact, Trait("capability", "FEA-03")]
    public async Task Delays_that_were_not_known_yet_change_no_value()
    {
        const string FourAirports = "origin IN ('ATL', 'SFO', 'ABE', 'YAK') AND date < TIMESTAMP '2001-03-01'";
        var plain = await Add($"SELECT * FROM flights WHERE {FourAirports}");

        // A delay is known a day after its schedule: whatever happened from the 10th on is news from the 11th on.
        var planted = await Add($"SELECT date, CASE WHEN date >= TIMESTAMP '2001-02-10' THEN 5000 ELSE delay END::BIGINT AS delay, distance, origin, destination FROM flights WHERE {FourAirports}");

        var (before, after) = (await Retrieve(plain, "date < TIMESTAMP '2001-02-12'"), await Retrieve(planted, "date < TIMESTAMP '2001-02-12'"));
        using var connection = _host.Service<DuckDbDatabase>().Connect();
        var differing = connection.QueryRows(
            $"""
            SELECT count(*), min(a.date)
              FROM (SELECT *, row_number() OVER () AS n FROM read_parquet({DuckDbLiteral.Quote(before.Path)})) a
              JOIN (SELECT *, row_number() OVER () AS n FROM read_parquet({DuckDbLiteral.Quote(after.Path)})) b USING (n)
             WHERE a."airport:late_rate_7d" IS DISTINCT FROM b."airport:late_rate_7d" OR a."route:mean_delay_30d" IS DISTINCT FROM b."route:mean_delay_30d"
                OR a."airport:departures_1h" IS DISTINCT FROM b."airport:departures_1h"
            """);
        Assert.Equal(0L, differing[0][0]);

        // The same plant does show from the 12th on, so that the comparison can fail.
        var later = await Retrieve(planted, "date >= TIMESTAMP '2001-02-12'");
        Assert.True(connection.QueryScalar<double>($"SELECT max(\"route:mean_delay_30d\") FROM read_parquet({DuckDbLiteral.Quote(later.Path)})") > 100);
    }

    // An independent way to the same numbers: a count over the raw flights for each sampled row.
    private void CheckAgainstTheRawFlights(DatasetVersionRecord flights, TrainingSet set)
    {
        using var connection = _host.Service<DuckDbDatabase>().Connect();
        connection.Execute($"CREATE TEMP TABLE raw AS SELECT * FROM read_parquet({DuckDbLiteral.Quote(_host.Service<DatasetStore>().ParquetPath(flights))})");
        var sample = connection.QueryRows(
            $"""
            SELECT date, origin, destination, distance, "airport:late_rate_7d", "route:mean_delay_30d", "airport:departures_1h", "calendar:hour", "calendar:weekday", "calendar:month_day", "flight:distance"
              FROM read_parquet({DuckDbLiteral.Quote(set.Path)}) WHERE hash(date, origin, destination) % 40000 = 0
            """);
        Assert.InRange(sample.Count, 20, 200);
        foreach (var row in sample)
        {
            var (at, origin, destination) = ((DateTimeOffset)row[0]!, (string)row[1]!, (string)row[2]!);
            var day = new DateTimeOffset(at.Date, TimeSpan.Zero);
            var hour = day.AddHours(at.Hour);
            Assert.Equal(Scalar("SELECT count(*) FILTER (delay > 15) / nullif(count(*), 0) FROM raw WHERE origin = ? AND date >= ? AND date < ?", origin, day.AddDays(-8), day.AddDays(-1)), (double?)row[4]);
            Assert.Equal(Scalar("SELECT avg(delay) FROM raw WHERE origin = ? AND destination = ? AND date >= ? AND date < ?", origin, destination, day.AddDays(-31), day.AddDays(-1)), (double?)row[5]);
            var departures = Scalar("SELECT count(*)::DOUBLE FROM raw WHERE origin = ? AND date >= ? AND date < ?", origin, hour.AddHours(-1), hour);
            Assert.Equal(departures!.Value, row[6] is null ? 0 : Convert.ToDouble(row[6]));
            Assert.Equal([at.Hour, at.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)at.DayOfWeek, at.Day, Convert.ToDouble(row[3])], row.Skip(7).Select(Convert.ToDouble));
        }

        double? Scalar(string sql, params object?[] parameters) => (double?)connection.QueryRows(sql, parameters)[0][0];
    }

    private async Task CheckServing(DatasetVersionRecord flights)
    {
        var online = _host.Service<OnlineStore>();
        var start = new DateTimeOffset(2001, 5, 9, 0, 0, 0, TimeSpan.Zero);
        string[] views = ["airport_delays", "route_delays", "airport_departures"];
        foreach (var view in views)
        {
            await online.MaterializeAsync(view, start, Ada, CancellationToken.None);
        }

        var set = await Retrieve(flights, "date >= TIMESTAMP '2001-05-09 00:00:00' AND date < TIMESTAMP '2001-05-11'");
        using var connection = _host.Service<DuckDbDatabase>().Connect();
        var rows = connection.QueryRows($"SELECT * FROM read_parquet({DuckDbLiteral.Quote(set.Path)}) ORDER BY date");
        var (builder, request) = (online.CreateVectorBuilder(Service), Service.NewRequest());
        var (vector, ages) = (new float[7], new long[7]);
        var clock = Stopwatch.StartNew();
        var next = 0;
        for (var hour = 0; hour < 48; hour++)
        {
            foreach (var view in views)
            {
                await online.MaterializeAsync(view, start.AddHours(hour), Ada, CancellationToken.None);
            }

            for (; next < rows.Count && (DateTimeOffset)rows[next][0]! < start.AddHours(hour + 1); next++)
            {
                request.Clear();
                Assert.True(request.TrySet(0, (string)rows[next][1]!) && request.TrySet(1, (string)rows[next][2]!));
                Assert.True(request.TrySet(2, ((DateTimeOffset)rows[next][0]!).ToUnixTimeMilliseconds()) && request.TrySet(3, Convert.ToDouble(rows[next][3])));
                Assert.True(builder.TryBuild(request, vector, ages, out var error), error);
                Assert.Equal(rows[next].Skip(4).Select(value => value is null ? float.NaN : Convert.ToSingle(value)), vector);
            }
        }

        Assert.Equal(rows.Count, next);
        output.WriteLine($"{next} vectors and 48 hours of materialising in {clock.ElapsedMilliseconds} ms");
        clock.Restart();
        for (var hour = 48; hour < 148; hour++)
        {
            foreach (var view in views)
            {
                await online.MaterializeAsync(view, start.AddHours(hour), Ada, CancellationToken.None);
            }
        }

        output.WriteLine($"materialising one hour, three views: {clock.ElapsedMilliseconds / 100.0} ms");
        clock.Restart();
        for (var i = 0; i < 1_000_000; i++)
        {
            builder.TryBuild(request, vector, ages, out _);
        }

        output.WriteLine($"a vector: {clock.Elapsed.TotalNanoseconds / 1_000_000:0} ns");
    }

    private Task<TrainingSet> Retrieve(DatasetVersionRecord flights, string where) => Offline.GetHistoricalAsync(
        new HistoricalRequest(
            $"SELECT date, origin, destination, distance, date AS scheduled, delay > 15 AS late FROM source WHERE {where}", flights, "scheduled", Service, ["date", "origin", "destination", "distance"]),
        Ada, CancellationToken.None);

    private async Task<DatasetVersionRecord> Add(string select) => await _host.Service<DatasetStore>().AddVersionAsync(
        "flights", new MemoryStream(ParquetFiles.From($"WITH flights AS (SELECT * FROM read_parquet({DuckDbLiteral.Quote(Flights.ParquetPath)})) {select}")), Ada, CancellationToken.None);
}
