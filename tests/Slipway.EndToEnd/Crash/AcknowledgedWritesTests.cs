using System.Collections.Concurrent;
using System.Net.Http.Json;
using System.Text.Json;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Host;

namespace Slipway.EndToEnd.Crash;

/// <summary>SIGKILL in the middle of writing, again and again: everything acknowledged is there afterwards, no batch by half, and the audit chain holds.</summary>
public sealed class AcknowledgedWritesTests
{
    private const int Kills = 50;
    private const int Writers = 4;
    private const int BatchSize = 100;

    [Fact, Trait("capability", "TRK-02"), Trait("capability", "GOV-01")]
    public async Task No_acknowledged_metric_or_audited_change_is_lost_by_a_kill_and_no_batch_is_there_by_half()
    {
        var ct = TestContext.Current.CancellationToken;
        var data = SlipwayProgram.NewDataFolder();
        var acknowledged = new Acknowledged();
        var random = new Random(7);
        for (var round = 0; round < Kills; round++)
        {
            await using var server = await RunningServer.StartAsync(data, ct);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
            var writers = Enumerable.Range(0, Writers).Select(_ => WriteAsync(server.Address, acknowledged, stop.Token)).ToArray();
            var enough = acknowledged.Points.Count + 20 + random.Next(80);
            while (acknowledged.Points.Count < enough)
            {
                Assert.False(writers.All(writer => writer.IsCompleted), $"The writers ended before the kill: {server.Said}");
                await Task.Delay(5, ct);
            }

            await server.KillAsync(ct);
            await stop.CancelAsync();
            await Task.WhenAll(writers);
        }

        await using var survivor = await RunningServer.StartAsync(data, ct);
        using var http = new HttpClient { BaseAddress = survivor.Address };
        foreach (var run in acknowledged.Runs)
        {
            var points = (await HistoryAsync(http, run, "loss", ct)).ToHashSet();
            Assert.Empty(acknowledged.Points.Where(point => point.Run == run).Select(point => point.Step).Except(points));

            // A batch is the hundred steps from its number times a hundred on, and a parameter of its own.
            var batches = (await HistoryAsync(http, run, "batch", ct)).GroupBy(step => step / BatchSize).ToDictionary(batch => batch.Key, batch => batch.Count());
            Assert.All(batches.Values, count => Assert.Equal(BatchSize, count));
            Assert.Empty(acknowledged.Batches.Where(batch => batch.Run == run).Select(batch => batch.Number).Except(batches.Keys));
            var read = await http.GetFromJsonAsync<JsonElement>($"/api/2.0/mlflow/runs/get?run_id={run}", ct);
            var parameters = read.GetProperty("run").GetProperty("data").TryGetProperty("params", out var found) ? found.EnumerateArray().Select(p => p.GetProperty("key").GetString()!).ToHashSet() : [];
            Assert.Equal(batches.Keys.Select(number => $"batch-{number}").ToHashSet(), parameters);
        }

        Assert.True(acknowledged.Points.Count >= Kills * 20);
        Assert.NotEmpty(acknowledged.Batches);
        using var client = new SlipwayClient(survivor.Address);
        var newest = (await client.GetAsync<Page<AuditEventResponse>>("audit?limit=1", ct)).Items[0].Seq;
        // Each acknowledged run has its audit row: one transaction.
        Assert.True(newest >= acknowledged.Runs.Count);
        var (exitCode, _, error) = await SlipwayProgram.RunAsync(ct, "verify", "--server", $"{survivor.Address}");
        Assert.True(exitCode == 0, error);
    }

    private static async Task<IEnumerable<long>> HistoryAsync(HttpClient http, string run, string key, CancellationToken ct)
    {
        var history = await http.GetFromJsonAsync<JsonElement>($"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key={key}&max_results=25000", ct);
        return history.TryGetProperty("metrics", out var metrics) ? metrics.EnumerateArray().Select(point => point.GetProperty("step").GetInt64()) : [];
    }

    private static async Task WriteAsync(Uri server, Acknowledged acknowledged, CancellationToken ct)
    {
        using var http = new HttpClient { BaseAddress = server };
        try
        {
            while (!ct.IsCancellationRequested)
            {
                using var created = await http.PostAsJsonAsync("/api/2.0/mlflow/runs/create", new { experiment_id = "0", start_time = 1 }, ct);
                created.EnsureSuccessStatusCode();
                var run = (await created.Content.ReadFromJsonAsync<JsonElement>(ct)).GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;
                acknowledged.Runs.Add(run);
                for (var number = 0L; number < 5; number++)
                {
                    for (var step = number * 10; step < (number * 10) + 10; step++)
                    {
                        using var logged = await http.PostAsJsonAsync("/api/2.0/mlflow/runs/log-metric", new { run_id = run, key = "loss", value = 1.0 / (step + 1), timestamp = step, step }, ct);
                        logged.EnsureSuccessStatusCode();
                        acknowledged.Points.Add((run, step));
                    }

                    var metrics = Enumerable.Range(0, BatchSize).Select(i => new { key = "batch", value = i * 0.5, timestamp = 1L, step = (number * BatchSize) + i });
                    using var batch = await http.PostAsJsonAsync(
                        "/api/2.0/mlflow/runs/log-batch", new { run_id = run, metrics, @params = new[] { new { key = $"batch-{number}", value = "logged" } } }, ct);
                    batch.EnsureSuccessStatusCode();
                    acknowledged.Batches.Add((run, number));
                }
            }
        }
        catch (Exception e) when (e is HttpRequestException { StatusCode: null } or OperationCanceledException or IOException)
        {
            // The server was killed under this writer: what was not answered is not counted. A refusal would not be caught here.
        }
    }

    private sealed class Acknowledged
    {
        public ConcurrentBag<string> Runs { get; } = [];

        public ConcurrentBag<(string Run, long Step)> Points { get; } = [];

        public ConcurrentBag<(string Run, long Number)> Batches { get; } = [];
    }
}
