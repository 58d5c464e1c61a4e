using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Datasets;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Definitions;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Datasets;

public sealed class DatasetTests : IAsyncLifetime
{
    private const string Trips =
        """
        kind: dataset
        name: trips
        description: Taxi trips.
        file: trips.parquet
        timestamp: started
        source: { type: file, owner: transport team, update_frequency: daily, pii: false, licence: CC0 }
        columns:
          - { name: started, type: timestamp, nullable: false }
          - { name: miles, type: float64, unit: miles }
          - { name: zone, type: string }
        rules:
          - { column: miles, rule: range, min: 0, max: 100 }
          - { column: zone, rule: in_set, values: [north, south], severity: alert }
          - { column: started, rule: unique }
          - { column: started, rule: range, min: 2024-01-01, max: 2024-12-31 }
          - { rule: row_count, min: 3 }
        """;

    private const string GoodRows =
        "SELECT TIMESTAMP '2024-03-01' + INTERVAL (i) HOUR AS started, i::DOUBLE AS miles, CASE WHEN i % 2 = 0 THEN 'north' ELSE 'south' END AS zone FROM range(10) t(i)";

    private static readonly Caller Ada = new("ada", "request-1");

    private AreaHost _host = null!;

    private DatasetStore Store => _host.Service<DatasetStore>();

    public async ValueTask InitializeAsync()
    {
        _host = await AreaHost.StartAsync(services => services.AddSlipwayDatasets(), app => app.MapSlipwayDatasets());
        await Apply(Trips);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact, Trait("capability", "DAT-01")]
    public async Task The_same_bytes_are_the_same_version_and_one_changed_byte_is_a_new_one()
    {
        var bytes = ParquetFiles.From(GoodRows);
        var changed = ParquetFiles.From(GoodRows.Replace("i::DOUBLE", "i::DOUBLE + 0.5", StringComparison.Ordinal));

        var first = await Add(bytes);
        var again = await Add(bytes);
        var other = await Add(changed);

        Assert.Equal((1, 1, 2), (first.Version, again.Version, other.Version));
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(bytes)), first.Sha256);
        Assert.NotEqual(first.Sha256, other.Sha256);
        Assert.Equal((10, bytes.Length), (first.Rows, first.SizeBytes));
        Assert.Equal(2, _host.Read(c => c.ExecuteScalar<int>("SELECT count(*) FROM dataset_versions")));
        Assert.Equal(2, _host.Service<AuditTrail>().List().Count(row => row.Action == "dataset_version.added"));
    }

    [Fact, Trait("capability", "DAT-01")]
    public async Task Many_uploads_of_the_same_bytes_at_once_make_one_version()
    {
        var bytes = ParquetFiles.From(GoodRows);

        var added = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Add(bytes)));

        Assert.All(added, version => Assert.Equal(1, version.Version));
        Assert.Single(Store.ListVersions("trips"));
    }

    [Fact, Trait("capability", "DAT-02")]
    public async Task A_version_gives_back_its_exact_bytes_after_newer_ones_came()
    {
        var bytes = ParquetFiles.From(GoodRows);
        await Add(bytes);
        await Add(ParquetFiles.From($"{GoodRows} UNION ALL SELECT TIMESTAMP '2024-05-01', 1.0, 'north'"));

        Assert.Equal(bytes, await _host.Client.GetByteArrayAsync("/api/slipway/v1/datasets/trips/versions/1/content"));
    }

    [Theory, Trait("capability", "DAT-04")]
    [InlineData("SELECT started, zone FROM rows", "miles", "is missing")]
    [InlineData("SELECT started, miles AS distance, zone FROM rows", "miles", "undeclared 'distance' of that type: was it renamed?")]
    [InlineData("SELECT started, miles::VARCHAR AS miles, zone FROM rows", "miles", "is string, but float64 was declared")]
    public async Task A_missing_renamed_or_retyped_column_fails_the_gate_by_name(string select, string column, string message)
    {
        await Add(ParquetFiles.From($"WITH rows AS ({GoodRows}) {select}"));

        var report = await Validate();

        Assert.False(report.Passed);
        var check = Assert.Single(report.Checks, check => !check.Passed && check.Severity == RuleSeverity.Block);
        Assert.Equal((column, "schema"), (check.Column, check.Rule));
        Assert.Contains(message, check.Message, StringComparison.Ordinal);
        Assert.Contains($"'{column}'", check.Message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "DAT-05")]
    public async Task A_breach_lists_column_rule_count_and_sample_rows()
    {
        await Add(ParquetFiles.From(
            $"{GoodRows} UNION ALL SELECT TIMESTAMP '2024-06-01', 150.0, 'north' UNION ALL SELECT TIMESTAMP '2024-06-02', 'NaN'::DOUBLE, 'west' UNION ALL SELECT NULL, -1.0, NULL"));

        var report = await Validate();

        Assert.False(report.Passed);
        var failed = report.Checks.Where(check => !check.Passed).ToDictionary(check => (check.Column, check.Rule));
        Assert.Equal([("miles", "range"), ("started", "not_null"), ("zone", "in_set")], failed.Keys.Order());
        var range = failed[("miles", "range")];
        Assert.Equal((3, RuleSeverity.Block), (range.FailedCount, range.Severity));
        Assert.Equal(["150.0", "nan", "-1.0"], range.SampleRows.Select(row => row.Values["miles"]));
        Assert.Equal(10, range.SampleRows[0].Row);
        Assert.Equal("west", Assert.Single(failed[("zone", "in_set")].SampleRows).Values["zone"]);
        Assert.Null(Assert.Single(failed[("started", "not_null")].SampleRows).Values["started"]);
        Assert.Equal(report.ValidatedAt, Store.FindValidation("trips", 1)!.ValidatedAt);
    }

    [Fact, Trait("capability", "DAT-05")]
    public async Task An_alert_or_an_allowed_share_does_not_fail_the_version()
    {
        await Apply(Trips.Replace("min: 0, max: 100 }", "min: 0, max: 100, max_share: 0.2 }", StringComparison.Ordinal));
        await Add(ParquetFiles.From($"{GoodRows} UNION ALL SELECT TIMESTAMP '2024-06-01', 150.0, 'west'"));

        var report = await Validate();

        Assert.True(report.Passed);
        Assert.False(report.Checks.Single(check => check.Rule == "in_set").Passed);
        Assert.Equal((true, 1), report.Checks.Where(check => check.Column == "miles" && check.Rule == "range").Select(check => (check.Passed, check.FailedCount)).Single());
    }

    [Fact, Trait("capability", "DAT-05")]
    public async Task Doubled_values_and_too_few_rows_are_breaches()
    {
        await Add(ParquetFiles.From("SELECT TIMESTAMP '2024-03-01' AS started, 1.0::DOUBLE AS miles, 'north' AS zone FROM range(2)"));

        var failed = (await Validate()).Checks.Where(check => !check.Passed).Select(check => (check.Column, check.Rule, check.FailedCount));

        Assert.Equal([("started", "unique", 2), (null, "row_count", 2)], failed);
    }

    [Fact, Trait("capability", "DAT-06")]
    public async Task A_profile_with_counts_quantiles_and_categories_is_stored_with_the_version()
    {
        await Add(ParquetFiles.From(
            $"{GoodRows} UNION ALL SELECT TIMESTAMP '2024-06-01', 'inf'::DOUBLE, 'north' UNION ALL SELECT TIMESTAMP '2024-06-02', NULL, NULL"));

        var profile = (await _host.Client.GetFromJsonAsync<DatasetProfile>("/api/slipway/v1/datasets/trips/versions/1/profile", JsonDefaults.Options))!;

        Assert.Equal(12, profile.Rows);
        var miles = profile.Columns.Single(column => column.Name == "miles");
        Assert.Equal((1, 4.5), (miles.Nulls, miles.Mean));
        Assert.Equal(3.02765, miles.StandardDeviation!.Value, 5);
        Assert.Equal(4.5, miles.Quantiles.Single(quantile => quantile.Share == 0.5).Value);
        var zone = profile.Columns.Single(column => column.Name == "zone");
        Assert.Equal([new ValueCount("north", 6), new ValueCount("south", 5)], zone.TopValues);
        Assert.Equal(1, zone.Nulls);
        Assert.Equal("2024-03-01 00:00:00", profile.Columns.Single(column => column.Name == "started").Minimum);
    }

    [Fact, Trait("capability", "DAT-10")]
    public async Task The_catalogue_lists_type_frequency_volume_personal_data_and_owner()
    {
        var bytes = ParquetFiles.From(GoodRows);
        await Add(bytes);

        var row = Assert.Single((await _host.Client.GetFromJsonAsync<List<DatasetSummary>>("/api/slipway/v1/datasets", JsonDefaults.Options))!);

        Assert.Equal(("trips", 1, 10, bytes.Length), (row.Name, row.LatestVersion, row.Rows, row.SizeBytes));
        Assert.Equal(new DatasetSource("file", "transport team", "daily", false, "CC0", null), row.Source);
    }

    [Fact]
    public async Task Bytes_that_are_not_parquet_are_refused_in_one_sentence_and_leave_nothing()
    {
        var damaged = ParquetFiles.From(GoodRows);
        damaged.AsSpan(damaged.Length - 60, 50).Fill(0xFF);
        foreach (var body in new[] { "hello"u8.ToArray(), [], [.. "PAR1"u8, .. new byte[40]], damaged })
        {
            using var response = await _host.Client.PostAsync("/api/slipway/v1/datasets/trips/versions", new ByteArrayContent(body));

            Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
            Assert.Contains("Parquet", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        Assert.Empty(Store.ListVersions("trips"));
        Assert.Empty(_host.Service<Slipway.Storage.Blobs.BlobStore>().List());
        Assert.Empty(Directory.EnumerateFiles(_host.Service<StorageOptions>().TemporaryDirectory));
    }

    [Theory]
    [InlineData("GET", "/api/slipway/v1/datasets/none")]
    [InlineData("POST", "/api/slipway/v1/datasets/none/versions")]
    [InlineData("GET", "/api/slipway/v1/datasets/trips/versions/7")]
    [InlineData("GET", "/api/slipway/v1/datasets/trips/versions/7/content")]
    [InlineData("POST", "/api/slipway/v1/datasets/trips/versions/7/validate")]
    public async Task What_does_not_exist_is_not_found(string method, string path) =>
        Assert.Equal(404, (await _host.SendAsync(new HttpMethod(method), path)).Status);

    [Fact, Trait("capability", "DAT-05"), Trait("capability", "DAT-06")]
    public async Task The_flights_example_is_applied_profiled_and_passes_its_own_rules()
    {
        await Apply(await File.ReadAllTextAsync(Flights.Definition("dataset.yaml")));
        await using var file = File.OpenRead(Flights.ParquetPath);
        var version = await Store.AddVersionAsync("flights", file, Ada, CancellationToken.None);

        var report = await Store.ValidateAsync(version, Ada, CancellationToken.None);

        Assert.Equal(3_000_000, version.Rows);
        Assert.Equal(["date", "delay", "distance", "origin", "destination"], version.Columns.Select(column => column.Name));
        Assert.True(report.Passed);
        var early = Assert.Single(report.Checks, check => !check.Passed);
        Assert.Equal(("delay", RuleSeverity.Alert), (early.Column, early.Severity));
        Assert.Equal(5, early.SampleRows.Count);
        var delay = Store.FindProfile("flights", 1)!.Columns.Single(column => column.Name == "delay");
        Assert.Equal((-1, 0), (delay.Quantiles.Single(quantile => quantile.Share == 0.5).Value, delay.Nulls));
    }

    [Fact]
    public void A_definition_reports_all_its_faults_together()
    {
        const string Faulty =
            """
            kind: dataset
            name: Trips!
            timestamp: miles
            source: { type: file, owner: me, update_frequency: daily }
            columns:
              - { name: miles, type: double }
              - { name: miles, type: float64 }
              - { name: zone, type: string, nulable: true }
            rules:
              - { column: zone, rule: range, min: 1 }
              - { column: none, rule: not_null }
              - { column: zone, rule: in_set }
              - { rule: row_count }
            """;

        var error = Assert.Throws<SlipwayException>(() => DatasetDefinition.Parse(DefinitionYaml.Parse(Faulty)));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        foreach (var part in new[] { "'name'", "'timestamp'", "'source.pii' is missing", "not 'double'", "declared twice", "did you mean 'nullable'", "'rules[0].min'", "not 'none'", "'values'", "'min', 'max' or both" })
        {
            Assert.Contains(part, error.Message, StringComparison.Ordinal);
        }
    }

    private async Task Apply(string yaml) =>
        await _host.Service<IEnumerable<IDefinitionKind>>().Single(kind => kind.Kind == "dataset").ApplyAsync(yaml, Ada, CancellationToken.None);

    private async Task<DatasetVersion> Add(byte[] bytes)
    {
        using var response = await _host.Client.PostAsync("/api/slipway/v1/datasets/trips/versions", new ByteArrayContent(bytes));
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
        return (await response.Content.ReadFromJsonAsync<DatasetVersion>(JsonDefaults.Options))!;
    }

    private async Task<ValidationReport> Validate()
    {
        var (status, body) = await _host.SendAsync(HttpMethod.Post, "/api/slipway/v1/datasets/trips/versions/1/validate");
        Assert.Equal(200, status);
        return body.Deserialize<ValidationReport>(JsonDefaults.Options)!;
    }
}
