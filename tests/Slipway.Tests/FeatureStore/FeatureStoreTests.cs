using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Native.DuckDb;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Definitions;
using Slipway.Tests.Datasets;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.FeatureStore;

public sealed class FeatureStoreTests : IAsyncLifetime
{
    private const string Rides =
        """
        kind: dataset
        name: rides
        timestamp: ride_at
        source: { type: file, owner: transport team, update_frequency: hourly, pii: false }
        columns:
          - { name: ride_at, type: timestamp }
          - { name: driver, type: int64 }
          - { name: zone, type: string }
          - { name: fare, type: float64 }
        """;

    private const string DriverView =
        """
        kind: feature_view
        name: driver_fares
        entity: driver
        keys: [driver]
        source: rides
        ttl: 2h
        sql: SELECT driver, ride_at AS event_timestamp, fare AS last_fare, fare > 20 AS is_long FROM source
        features:
          - { name: last_fare, type: float64 }
          - { name: is_long, type: boolean }
        """;

    private const string PairView =
        """
        kind: feature_view
        name: pair_rides
        entity: pair
        keys: [driver, zone]
        source: rides
        sql: SELECT driver, zone, ride_at AS event_timestamp, count(*) OVER (PARTITION BY driver, zone ORDER BY ride_at) AS rides FROM source
        features:
          - { name: rides, type: int64 }
        """;

    private const string CalendarView =
        """
        kind: feature_view
        name: calendar
        entity: calendar
        on_demand: true
        inputs: [ { name: when_at, type: timestamp }, { name: fare, type: float64 } ]
        features:
          - { name: hour, type: int64, expression: extract(hour FROM when_at) }
          - { name: log_fare, type: float64, expression: ln(fare) }
        """;

    private const string Service =
        """
        kind: feature_service
        name: tips
        event_time: when_at
        inputs:
          - { name: driver_id, type: int64 }
          - { name: zone, type: string }
          - { name: when_at, type: timestamp }
          - { name: fare, type: float64 }
        keys:
          driver: { driver: driver_id }
          pair: { driver: driver_id, zone: zone }
        features: [ driver:last_fare, calendar:hour, pair:rides, driver:is_long, calendar:log_fare ]
        """;

    // Driver 2's fare of 999 lies after every question that the tests ask.
    private const string Rows =
        """
        SELECT * FROM (VALUES
            (TIMESTAMP '2024-03-01 10:00:00', 1, 'north', 10.0::DOUBLE),
            (TIMESTAMP '2024-03-01 11:00:00', 1, 'north', 30.0),
            (TIMESTAMP '2024-03-01 11:30:00', 2, 'south', NULL),
            (TIMESTAMP '2024-03-01 12:00:00', 1, 'south', 12.0),
            (TIMESTAMP '2024-03-01 12:00:01', 2, 'south', 999.0)) t(ride_at, driver_int, zone, fare)
        """;

    private static readonly Caller Ada = new("ada", "request-1");
    private static readonly DateTimeOffset Noon = new(2024, 3, 1, 12, 0, 0, TimeSpan.Zero);

    private AreaHost _host = null!;
    private DatasetVersionRecord _rides = null!;

    private FeatureRegistry Registry => _host.Service<FeatureRegistry>();

    private OfflineStore Offline => _host.Service<OfflineStore>();

    private OnlineStore Online => _host.Service<OnlineStore>();

    public async ValueTask InitializeAsync()
    {
        _host = await AreaHost.StartAsync(services => services.AddSlipwayDatasets().AddSlipwayFeatureStore(), app => app.MapSlipwayFeatureStore());
        foreach (var yaml in new[] { Rides, DriverView, PairView, CalendarView, Service })
        {
            await Apply(yaml);
        }

        _rides = await AddRides(Rows);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact, Trait("capability", "FEA-01"), Trait("capability", "FEA-03")]
    public async Task A_training_set_holds_what_was_known_at_each_row_and_nothing_later()
    {
        var set = await Historical(
            "SELECT * FROM (VALUES (1, 'north', TIMESTAMP '2024-03-01 12:00:00', 8.0::DOUBLE, 'a'), (2, 'south', TIMESTAMP '2024-03-01 12:00:00', 0.0, 'b'), " +
            "(2, 'south', TIMESTAMP '2024-03-01 09:00:00', 1.0, 'c'), (1, 'north', TIMESTAMP '2024-03-01 14:00:01', 1.0, 'd'), (9, NULL, NULL, NULL, 'e')) t(driver_int, zone, when_at, fare, label)");

        Assert.Equal(["label", "driver:last_fare", "calendar:hour", "pair:rides", "driver:is_long", "calendar:log_fare"], Columns(set));
        Assert.Equal(
            [
                ["a", 12.0, 12.0, 2L, false, Math.Log(8)],
                ["b", null, 12.0, 1L, null, null], // The newest fare is NULL; 999 came a second later; ln(0) has no value.
                ["c", null, 9.0, null, null, 0.0],
                ["d", null, 14.0, 2L, null, 0.0], // The fare of 12:00 is older than two hours.
                ["e", null, null, null, null, null],
            ],
            Read(set));
        Assert.Equal(5, set.Rows);
        Assert.Equal(["driver_fares@1", "calendar@1", "pair_rides@1"], set.FeatureViewVersions);
        Assert.Empty(set.TiedRows);
    }

    [Fact, Trait("capability", "FEA-01")]
    public async Task Building_again_costs_nothing_and_a_training_set_has_its_lineage()
    {
        var first = await Offline.BuildAsync("driver_fares", _rides, Ada, CancellationToken.None);
        var again = await Offline.BuildAsync("driver_fares", _rides, Ada, CancellationToken.None);
        var set = await Historical("SELECT driver AS driver_int, zone, ride_at AS when_at, fare, 'x' AS label FROM source");

        Assert.Equal(first, again);
        Assert.Equal(5, first.Rows);
        Assert.Single(_host.Service<AuditTrail>().List(), row => row.Action == "feature_view.built" && row.SubjectId == "driver_fares@1");
        var upstream = _host.Service<Lineage>().Upstream(set.Node).Select(edge => edge.From.ToString()).ToHashSet();
        Assert.Superset(new HashSet<string> { "dataset_version:rides@1", "feature_view:driver_fares@1", "feature_view:calendar@1" }, upstream);
    }

    [Fact, Trait("capability", "FEA-03")]
    public async Task Doubled_rows_are_reported_and_the_last_in_the_file_wins()
    {
        _rides = await AddRides($"{Rows} UNION ALL SELECT TIMESTAMP '2024-03-01 12:00:00', 1, 'south', 13.0");

        var set = await Historical("SELECT * FROM (VALUES (1, 'north', TIMESTAMP '2024-03-01 12:30:00', 8.0::DOUBLE, 'a')) t(driver_int, zone, when_at, fare, label)");

        Assert.Equal(13.0, Read(set)[0][1]);
        Assert.Equal(1, set.TiedRows["driver_fares@1"]);
    }

    [Fact, Trait("capability", "FEA-02"), Trait("capability", "FEA-06")]
    public async Task Online_values_equal_the_training_set_at_every_instant()
    {
        var instants = new[] { "10:00:00", "11:15:00", "12:00:00", "12:00:01", "13:30:00", "14:30:00" };
        foreach (var instant in instants)
        {
            var at = DateTimeOffset.Parse($"2024-03-01T{instant}Z");
            foreach (var view in new[] { "driver_fares", "pair_rides" })
            {
                await Online.MaterializeAsync(view, at, Ada, CancellationToken.None);
            }

            var set = await Historical(
                $"SELECT d AS driver_int, z AS zone, TIMESTAMP '2024-03-01 {instant}' AS when_at, d * 4.0 AS fare, 'x' AS label FROM (VALUES (1), (2), (3)) a(d), (VALUES ('north'), ('south')) b(z) ORDER BY d, z");
            var offline = Read(set);
            for (var i = 0; i < 6; i++)
            {
                var (vector, _) = Vector((i / 2) + 1, i % 2 == 0 ? "north" : "south", at, ((i / 2) + 1) * 4.0);
                Assert.Equal(offline[i].Skip(1).Select(value => value is null ? float.NaN : Convert.ToSingle(value)), vector);
            }
        }
    }

    [Fact, Trait("capability", "FEA-02")]
    public async Task A_vector_tells_ages_and_what_the_store_does_not_know()
    {
        await Online.MaterializeAsync("driver_fares", Noon, Ada, CancellationToken.None);

        Assert.Equal([0, 0, -1, 0, 0], Vector(1, "north", Noon, 1).AgeMs);
        Assert.Equal([90_000, 0, -1, 90_000, 0], Vector(1, "north", Noon.AddSeconds(90), 1).AgeMs);
        Assert.Equal([-1, 0, -1, -1, 0], Vector(77, "north", Noon, 1).AgeMs);
        Assert.True(float.IsNaN(Vector(77, "north", Noon, 1).Values[0]));
        var expired = Vector(1, "north", Noon.AddHours(3), 1);
        Assert.True(float.IsNaN(expired.Values[0]));
        Assert.Equal(3 * 3_600_000, expired.AgeMs[0]);
    }

    [Fact]
    public void A_missing_input_is_named_and_a_null_one_is_a_missing_value()
    {
        var service = Registry.RequireService("tips");
        var (builder, row) = (Online.CreateVectorBuilder(service), service.NewRequest());
        var (vector, ages) = (new float[5], new long[5]);
        row.TrySet(row.IndexOf("driver_id"), 1L);
        row.SetNull(row.IndexOf("zone"));
        row.TrySet(row.IndexOf("when_at"), "2024-03-01T05:00:00+02:00");

        Assert.False(builder.TryBuild(row, vector, ages, out var error));
        Assert.Contains("'fare' (float64) is missing", error, StringComparison.Ordinal);
        row.SetNull(row.IndexOf("fare"));
        Assert.True(builder.TryBuild(row, vector, ages, out _));
        Assert.Equal(3, vector[1]);
        Assert.True(float.IsNaN(vector[4]));
    }

    [Fact]
    public async Task Building_a_vector_allocates_nothing()
    {
        await Online.MaterializeAsync("driver_fares", Noon, Ada, CancellationToken.None);
        await Online.MaterializeAsync("pair_rides", Noon, Ada, CancellationToken.None);
        var service = Registry.RequireService("tips");
        var (builder, row) = (Online.CreateVectorBuilder(service), service.NewRequest());
        var (vector, ages) = (new float[5], new long[5]);
        void Build()
        {
            row.Clear();
            row.TrySet(0, 1L);
            row.TrySet(1, "north"u8);
            row.TrySet(2, Noon.ToUnixTimeMilliseconds());
            row.TrySet(3, 20.0);
            builder.TryBuild(row, vector, ages, out _);
        }

        for (var i = 0; i < 200; i++)
        {
            Build();
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            Build();
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal([12f, 12f, 2f, 0f, (float)Math.Log(20)], vector);
    }

    [Fact, Trait("capability", "FEA-02")]
    public async Task Materialising_goes_on_from_its_watermark_also_after_a_restart()
    {
        Assert.Equal(1, await Online.MaterializeAsync("driver_fares", Noon.AddHours(-1), Ada, CancellationToken.None));
        Assert.Equal(2, await Online.MaterializeAsync("driver_fares", Noon, Ada, CancellationToken.None));
        Assert.Equal(0, await Online.MaterializeAsync("driver_fares", Noon, Ada, CancellationToken.None));
        _host.Service<KeyValueStore>().Dispose();

        using var values = new KeyValueStore(_host.Service<StorageOptions>());
        using var restarted = new OnlineStore(values, Offline, Registry, _host.Service<DatasetStore>(), _host.Service<DuckDbDatabase>());

        Assert.Equal((Noon, 2), (restarted.MaterializedUpTo("driver_fares@1"), restarted.CountKeys("driver_fares@1")));
        Assert.Equal(1, await restarted.MaterializeAsync("driver_fares", Noon.AddMinutes(1), Ada, CancellationToken.None));
    }

    [Fact, Trait("capability", "FEA-02"), Trait("capability", "FEA-03")]
    public async Task Going_back_in_time_takes_later_values_away()
    {
        await Online.MaterializeAsync("driver_fares", Noon.AddMinutes(1), Ada, CancellationToken.None);
        Assert.Equal(999f, Vector(2, "south", Noon.AddMinutes(1), 1).Values[0]);

        Assert.Equal(1, await Online.MaterializeAsync("driver_fares", Noon.AddHours(-1), Ada, CancellationToken.None));

        Assert.Equal(-1, Vector(2, "south", Noon, 1).AgeMs[0]);
        Assert.Equal(30f, Vector(1, "south", Noon, 1).Values[0]);
        Assert.Equal(1, Online.CountKeys("driver_fares@1"));
    }

    [Theory, Trait("capability", "FEA-04")]
    [InlineData("entity: driver", "entity: Driver")]
    [InlineData("name: last_fare", "name: lastFare")]
    [InlineData("name: last_fare", "name: \"last fare\"")]
    [InlineData("name: last_fare", "name: 7d_fare")]
    [InlineData("keys: [driver]", "keys: [Driver]")]
    public async Task Names_outside_the_convention_are_refused(string good, string bad)
    {
        var error = await Assert.ThrowsAsync<SlipwayException>(() => Apply(DriverView.Replace(good, bad, StringComparison.Ordinal)));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains("snake case", error.Message, StringComparison.Ordinal);
    }

    [Theory, Trait("capability", "FEA-04")]
    [InlineData("last_fare")]
    [InlineData("driver.last_fare")]
    [InlineData("driver:LastFare")]
    [InlineData("driver:a:b")]
    public async Task References_outside_the_convention_are_refused(string reference)
    {
        var error = await Assert.ThrowsAsync<SlipwayException>(() => Apply(Service.Replace("driver:last_fare", $"'{reference}'", StringComparison.Ordinal)));

        Assert.Contains("entity:feature", error.Message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "FEA-05"), Trait("capability", "FEA-09")]
    public async Task An_edited_view_is_a_new_version_of_it_and_of_the_services_that_use_it_and_old_versions_stay()
    {
        await Online.MaterializeAsync("driver_fares", Noon, Ada, CancellationToken.None);
        Assert.False((await Apply(DriverView)).Changed);
        var edited = await Apply(DriverView.Replace("fare AS last_fare", "fare * 2 AS last_fare", StringComparison.Ordinal));

        Assert.Equal((2, true), (edited.Version, edited.Changed));
        var (old, current) = (Registry.RequireService("tips", 1), Registry.RequireService("tips"));
        Assert.Equal(2, current.Version);
        Assert.Equal("driver_fares@1", old.Features[0].View.Id);
        Assert.Equal("driver_fares@2", current.Features[0].View.Id);
        Assert.Equal(["driver:last_fare float64", "calendar:hour int64", "pair:rides int64", "driver:is_long boolean", "calendar:log_fare float64"], old.Features.Select(feature => $"{feature.Ref} {feature.Type}"));

        // Both versions are kept fresh: a model that pins the old one goes on reading its own values.
        await Online.MaterializeAsync("driver_fares", Noon.AddMinutes(1), Ada, CancellationToken.None);
        Assert.Equal(999f, Vector(2, "south", Noon.AddMinutes(1), 1, old).Values[0]);
        Assert.Equal(1998f, Vector(2, "south", Noon.AddMinutes(1), 1, current).Values[0]);
    }

    [Theory]
    [InlineData(DriverView, "FROM source", "FROM sources", "sources")]
    [InlineData(DriverView, "SELECT driver", "DROP TABLE source; SELECT driver", "cannot be run")]
    [InlineData(DriverView, "FROM source", "FROM source) x; DROP TABLE source; SELECT * FROM (SELECT 1", "cannot be run")]
    [InlineData(DriverView, "FROM source", "FROM read_csv('/etc/passwd')", "cannot be run")]
    [InlineData(DriverView, "fare > 20 AS is_long", "fare AS other", "yields no column 'is_long'")]
    [InlineData(DriverView, "fare AS last_fare", "'x' AS last_fare", "'last_fare' as VARCHAR")]
    [InlineData(DriverView, "ride_at AS event_timestamp", "fare AS event_timestamp", "a timestamp is needed")]
    [InlineData(DriverView, "source: rides", "source: nothing", "no dataset 'nothing'")]
    [InlineData(DriverView, "- { name: is_long, type: boolean }", "", "tips")]
    [InlineData(PairView, "name: rides, type", "name: rides, typ", "did you mean 'type'")]
    [InlineData(CalendarView, "extract(hour FROM when_at)", "hour(when_at)", "there is no function 'hour'")]
    [InlineData(Service, "driver:last_fare", "driver:speed", "driver:speed, which no feature view defines")]
    [InlineData(Service, "driver: { driver: driver_id }", "driver: { driver: fare }", "a key is a string or a whole number")]
    [InlineData(Service, "{ name: fare, type: float64 }", "{ name: fare, type: string }", "computes from float64")]
    [InlineData(Service, "event_time: when_at", "event_time: zone", "type timestamp")]
    public async Task A_faulty_definition_is_refused_with_its_reason_and_changes_nothing(string yaml, string good, string bad, string reason)
    {
        var before = Registry.RequireService("tips").Version;

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Apply(yaml.Replace(good, bad, StringComparison.Ordinal)));

        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("\n", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, Registry.RequireService("tips").Version);
    }

    [Theory]
    [InlineData("SELECT zone, ride_at AS when_at, fare, 'x' AS label FROM source", "no column 'driver_id'")]
    [InlineData("SELECT driver::VARCHAR AS driver_id, zone, ride_at AS when_at, fare, 'x' AS label FROM source", "'driver_id' as string, but the key 'driver'")]
    [InlineData("SELECT driver AS driver_id, zone, zone AS when_at, fare, 'x' AS label FROM source", "must be a timestamp")]
    [InlineData("SELECT nonsense FROM source", "cannot be run")]
    [InlineData("DELETE FROM source", "cannot be run")]
    public async Task Entity_rows_that_do_not_fit_are_refused(string sql, string reason)
    {
        var request = new HistoricalRequest(sql, _rides, "when_at", Registry.RequireService("tips"), ["label"]);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Offline.GetHistoricalAsync(request, Ada, CancellationToken.None));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "FEA-02")]
    public async Task Online_features_answer_in_the_shape_of_feast()
    {
        var (status, done) = await _host.PostAsync("/api/slipway/v1/features/materialize", new { up_to = Noon });
        Assert.Equal(200, status);
        Assert.Equal(["driver_fares@1:2", "pair_rides@1:3"], done.GetProperty("views").EnumerateArray().Select(view => $"{view.GetProperty("view")}:{view.GetProperty("keys_written")}"));

        var (_, answer) = await _host.PostAsync("/get-online-features", new
        {
            features = new[] { "driver:last_fare", "driver:is_long" },
            entities = new { driver = new object?[] { 1, 2, 9, null }, event_timestamp = new[] { "2024-03-01T12:00:00Z", "2024-03-01T12:00:00Z", "2024-03-01T12:00:00Z", "2024-03-01T12:00:00Z" } },
            full_feature_names = true,
        });

        Assert.Equal(
            """
            {"metadata":{"feature_names":["driver_fares__last_fare","driver_fares__is_long"]},"results":[{"values":[12,null,null,null],"statuses":["PRESENT","NULL_VALUE","NOT_FOUND","NOT_FOUND"],"event_timestamps":["2024-03-01T12:00:00+00:00","2024-03-01T11:30:00+00:00","1970-01-01T00:00:00+00:00","1970-01-01T00:00:00+00:00"]},{"values":[0,null,null,null],"statuses":["PRESENT","NULL_VALUE","NOT_FOUND","NOT_FOUND"],"event_timestamps":["2024-03-01T12:00:00+00:00","2024-03-01T11:30:00+00:00","1970-01-01T00:00:00+00:00","1970-01-01T00:00:00+00:00"]}]}
            """.Trim(), answer.GetRawText());

        var (_, byService) = await _host.PostAsync("/get-online-features", new
        {
            feature_service = "tips",
            entities = new { driver_id = new[] { 1 }, zone = new[] { "south" }, when_at = new[] { "2024-03-01T14:00:01Z" }, fare = new[] { 1.0 } },
        });
        Assert.Equal(["OUTSIDE_MAX_AGE", "PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "PRESENT"], byService.GetProperty("results").EnumerateArray().Select(column => column.GetProperty("statuses")[0].GetString()));
    }

    [Theory]
    [InlineData("""{"entities":{"driver":[1]}}""", 400, "'feature_service'")]
    [InlineData("""{"features":["last_fare"],"entities":{"driver":[1]}}""", 400, "entity:feature")]
    [InlineData("""{"features":["driver:none"],"entities":{"driver":[1]}}""", 404, "driver:none")]
    [InlineData("""{"feature_service":"none","entities":{"driver":[1]}}""", 404, "'none'")]
    [InlineData("""{"features":["driver:last_fare"]}""", 400, "'entities'")]
    [InlineData("""{"features":["driver:last_fare"],"entities":{"driver":[1],"event_timestamp":[]}}""", 400, "differ in length")]
    [InlineData("""{"features":["driver:last_fare"],"entities":{"speed":[1]}}""", 400, "'speed'")]
    [InlineData("""{"features":["driver:last_fare"],"entities":{"driver":[{}]}}""", 400, "entities.driver[0]")]
    [InlineData("""{"features":["pair:rides"],"entities":{"driver":[1]}}""", 400, "'zone'")]
    [InlineData("""{"features":["pair:rides"],"entities":{"driver":null}}""", 400, "'entities'")]
    public async Task A_wrong_online_request_is_answered_in_one_sentence(string body, int status, string part)
    {
        var (actual, answer) = await _host.SendAsync(HttpMethod.Post, "/get-online-features", body);

        Assert.Equal(status, actual);
        Assert.Contains(part, answer.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Lists_show_views_with_their_watermark_and_services_with_ordered_features()
    {
        await Online.MaterializeAsync("driver_fares", Noon, Ada, CancellationToken.None);

        var (_, views) = await _host.GetAsync("/api/slipway/v1/features/views");
        var (_, services) = await _host.GetAsync("/api/slipway/v1/features/services");

        var driver = views.EnumerateArray().Single(view => view.GetProperty("name").GetString() == "driver_fares");
        Assert.Equal((2, Noon), (driver.GetProperty("online_keys").GetInt32(), driver.GetProperty("materialized_up_to").GetDateTimeOffset()));
        Assert.Equal("driver:last_fare", services[0].GetProperty("features")[0].GetProperty("ref").GetString());
    }

    private async Task<AppliedDefinition> Apply(string yaml)
    {
        var kind = yaml.Split('\n')[0]["kind: ".Length..].Trim();
        return await _host.Service<IEnumerable<IDefinitionKind>>().Single(candidate => candidate.Kind == kind).ApplyAsync(yaml, Ada, CancellationToken.None);
    }

    private async Task<DatasetVersionRecord> AddRides(string rows) => await _host.Service<DatasetStore>().AddVersionAsync(
        "rides", new MemoryStream(ParquetFiles.From($"SELECT ride_at, driver_int::BIGINT AS driver, zone, fare FROM ({rows})")), Ada, CancellationToken.None);

    private Task<TrainingSet> Historical(string entitySql) => Offline.GetHistoricalAsync(
        new HistoricalRequest($"SELECT driver_int::BIGINT AS driver_id, zone, when_at, fare, label FROM ({entitySql})", _rides, "when_at", Registry.RequireService("tips"), ["label"]), Ada, CancellationToken.None);

    private (float[] Values, long[] AgeMs) Vector(long driver, string zone, DateTimeOffset at, double fare, FeatureServiceRecord? service = null)
    {
        service ??= Registry.RequireService("tips");
        var (builder, row) = (Online.CreateVectorBuilder(service), service.NewRequest());
        Assert.True(row.TrySet(0, driver) && row.TrySet(1, zone) && row.TrySet(2, at.ToUnixTimeMilliseconds()) && row.TrySet(3, fare));
        var (vector, ages) = (new float[5], new long[5]);
        Assert.True(builder.TryBuild(row, vector, ages, out var error), error);
        return (vector, ages);
    }

    private List<object?[]> Read(TrainingSet set)
    {
        using var connection = _host.Service<DuckDbDatabase>().Connect();
        return [.. connection.QueryRows($"SELECT * FROM read_parquet({DuckDbLiteral.Quote(set.Path)})")];
    }

    private List<string> Columns(TrainingSet set)
    {
        using var connection = _host.Service<DuckDbDatabase>().Connect();
        using var reader = connection.Query($"SELECT * FROM read_parquet({DuckDbLiteral.Quote(set.Path)}) LIMIT 0");
        return [.. reader.Columns.Select(column => column.Name)];
    }
}
