using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Native.DuckDb;
using Slipway.Serving;
using Slipway.Serving.Labels;

namespace Slipway.Tests.Serving;

[Trait("database", "none")]
public sealed class PredictionLogTests
{
    private static readonly DateTimeOffset May = new(2001, 5, 1, 0, 0, 0, TimeSpan.Zero);

    internal static IReadOnlyList<object?[]> Query(string sql)
    {
        using var database = DuckDbDatabase.OpenInMemory();
        using var connection = database.Connect();
        return connection.QueryRows(sql);
    }

    private static string Files(IEnumerable<string> paths) => $"read_parquet([{string.Join(", ", paths.Select(DuckDbLiteral.Quote))}], union_by_name = true)";

    [Fact]
    public async Task Every_column_of_a_prediction_comes_back_from_its_segment()
    {
        using var data = new TemporaryData();
        await using var log = ServingFixtures.OpenLog(data);
        var arm = new Arm(ArmRole.Candidate, ServingFixtures.Model("1.1.0"));
        var at = May.ToUnixTimeMilliseconds();
        log.Append(arm, "flight-000001", at, [733f, float.NaN], 0.75f, key: "Zürich");

        await log.FlushAsync(CancellationToken.None);

        var segment = Assert.Single(log.Segments("delay", May, May.AddDays(1)));
        var row = Assert.Single(Query(
            $"SELECT prediction_id, at_ms, event_ms, version, arm, entity_key, output, latency_us, status, \"flight:distance\", \"calendar:hour\" FROM {Files([segment])}"));
        Assert.Equal(["flight-000001", at + 5, at, "1.1.0", "candidate", "Zürich", 0.75, 120L, 200, 733.0, null], row);
        Assert.Equal(May, log.Watermark("delay"));
    }

    [Fact]
    public async Task Segments_are_found_by_event_time()
    {
        using var data = new TemporaryData();
        await using var log = ServingFixtures.OpenLog(data);
        var arm = new Arm(ArmRole.Stable, ServingFixtures.Model("1.0.0"));
        foreach (var day in new[] { 0, 10 })
        {
            log.Append(arm, $"flight-day-{day}", May.AddDays(day).ToUnixTimeMilliseconds(), [1, 2], 0.5f);
            await log.FlushAsync(CancellationToken.None);
        }

        Assert.Equal(2, log.Segments("delay", May, May.AddDays(11)).Count);
        Assert.Single(log.Segments("delay", May.AddDays(5), May.AddDays(11)));
        Assert.Empty(log.Segments("delay", May.AddDays(11), May.AddDays(12)));
        Assert.Empty(log.Segments("another", May, May.AddDays(11)));
    }

    [Fact]
    public async Task A_full_ring_drops_and_counts_and_never_waits()
    {
        using var data = new TemporaryData();
        await using var log = ServingFixtures.OpenLog(data, new ServingOptions { LogRequestsMax = 64, LogInterval = TimeSpan.FromHours(1) });
        var arm = new Arm(ArmRole.Stable, ServingFixtures.Model("1.0.0"));
        const int requests = 200_000;
        for (var i = 0; i < requests; i++)
        {
            log.Append(arm, "flight-000001", May.ToUnixTimeMilliseconds(), [1, 2], 0.5f);
        }

        await log.FlushAsync(CancellationToken.None);

        Assert.Equal(requests, log.Written + log.Dropped);
        Assert.Equal(log.Written, Query($"SELECT count(*) FROM {Files(log.Segments("delay", May, May.AddDays(1)))}")[0][0]);
    }

    [Fact]
    public async Task A_journal_that_a_killed_process_left_becomes_a_segment_without_its_torn_end()
    {
        using var data = new TemporaryData();
        var folder = Path.Combine(data.Options.ColumnsDirectory, "predictions", "delay");
        string journal;
        await using (var log = ServingFixtures.OpenLog(data))
        {
            await log.FlushAsync(CancellationToken.None); // What it does at its start is done.
            for (var i = 0; i < 3; i++)
            {
                log.Append(new Arm(ArmRole.Stable, ServingFixtures.Model("1.0.0")), $"flight-{i}", May.AddHours(i).ToUnixTimeMilliseconds(), [1, 2], 0.5f);
            }
        }

        journal = Directory.GetFiles(folder, "*.journal").Single();
        File.Move(journal, Path.ChangeExtension(journal, ".open")); // As a process leaves it that was killed while writing.
        using (var file = new FileStream(Path.ChangeExtension(journal, ".open"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.SetLength(file.Length - 3);
        }

        await using (var log = ServingFixtures.OpenLog(data))
        {
            await log.FlushAsync(CancellationToken.None);

            Assert.Equal(["flight-0", "flight-1"], Query($"SELECT prediction_id FROM {Files(log.Segments("delay", May, May.AddDays(1)))} ORDER BY 1").Select(row => (string)row[0]!));
            Assert.Equal(May.AddHours(1), log.Watermark("delay"));
        }

        Assert.Empty(Directory.GetFiles(folder, "*.journal"));
    }

    [Fact]
    public async Task Versions_with_other_features_are_read_together_by_name()
    {
        using var data = new TemporaryData();
        await using var log = ServingFixtures.OpenLog(data);
        var wider = new LoadedModel("delay", "2.0.0", ["flight:distance", "calendar:hour", "calendar:weekday"], (_, _, _) => { });
        log.Append(new Arm(ArmRole.Stable, ServingFixtures.Model("1.0.0")), "flight-old", May.ToUnixTimeMilliseconds(), [1, 2], 0.5f);
        log.Append(new Arm(ArmRole.Candidate, wider), "flight-new", May.ToUnixTimeMilliseconds(), [1, 2, 3], 0.5f);

        await log.FlushAsync(CancellationToken.None);

        var rows = Query($"SELECT prediction_id, \"calendar:weekday\" FROM {Files(log.Segments("delay", May, May.AddDays(1)))} ORDER BY 1");
        Assert.Equal(["flight-new", 3.0], rows[0]);
        Assert.Equal(["flight-old", null], rows[1]);
    }

    [Fact]
    public async Task Live_features_are_counted_in_the_bins_of_the_versions_own_baseline()
    {
        using var data = new TemporaryData();
        await using var log = ServingFixtures.OpenLog(data);
        var model = ServingFixtures.Model("1.0.0", baseline: ServingFixtures.Baseline(("flight:distance", [500, 1000], [10, 20, 30])));
        foreach (var distance in new[] { 100f, 500f, 999f, 5000f, float.NaN })
        {
            log.Append(new Arm(ArmRole.Stable, model), "flight-000001", May.ToUnixTimeMilliseconds(), [distance, 2], 0.5f);
        }

        await log.FlushAsync(CancellationToken.None);

        var skew = Assert.Single(model.Skew.Snapshot());
        Assert.Equal([1, 2, 1], skew.Actual);
        Assert.Equal((1, 5), (skew.ActualNulls, skew.ActualRows));
        Assert.Equal([10, 20, 30], skew.Expected);
    }

    [Fact, Trait("capability", "MON-03")]
    public async Task Labels_that_arrive_late_join_their_predictions_by_id_and_the_last_one_counts()
    {
        using var data = new TemporaryData();
        await using var log = ServingFixtures.OpenLog(data);
        await using var labels = new LabelLog(data.Options, TimeProvider.System, NullLogger<LabelLog>.Instance);
        for (var i = 0; i < 4; i++)
        {
            log.Append(new Arm(ArmRole.Stable, ServingFixtures.Model("1.0.0")), $"flight-{i}", May.ToUnixTimeMilliseconds(), [1, 2], 0.5f);
        }

        Assert.Equal(2, await labels.AppendAsync("delay", [new Label("flight-0", 0, May.AddDays(1)), new Label("flight-2", 0, May.AddDays(1))], CancellationToken.None));
        await labels.FlushAsync(CancellationToken.None);
        Assert.Equal(1, await labels.AppendAsync("delay", [new Label("flight-2", 1, May.AddDays(2))], CancellationToken.None));
        await labels.FlushAsync(CancellationToken.None);
        await log.FlushAsync(CancellationToken.None);

        var rows = Query(
            $"""
            SELECT p.prediction_id, arg_max(l.label, l.received_ms)
              FROM {Files(log.Segments("delay", May, May.AddDays(1)))} p JOIN {Files(labels.Segments("delay"))} l USING (prediction_id)
             GROUP BY 1 ORDER BY 1
            """);
        Assert.Equal(2, rows.Count);
        Assert.Equal(["flight-0", 0.0], rows[0]);
        Assert.Equal(["flight-2", 1.0], rows[1]);
    }

    [Fact]
    public async Task An_acknowledged_label_is_on_disk_and_survives_a_process_that_never_closed_its_file()
    {
        using var data = new TemporaryData();
        var killed = new LabelLog(data.Options, TimeProvider.System, NullLogger<LabelLog>.Instance);
        await killed.AppendAsync("delay", [new Label("flight-0", 1, May)], CancellationToken.None);

        await using (var after = new LabelLog(data.Options, TimeProvider.System, NullLogger<LabelLog>.Instance))
        {
            await after.FlushAsync(CancellationToken.None);
            Assert.Equal(["flight-0", 1.0, May.ToUnixTimeMilliseconds()], Query($"SELECT prediction_id, label, observed_ms FROM {Files(after.Segments("delay"))}").Single());
        }
    }
}
