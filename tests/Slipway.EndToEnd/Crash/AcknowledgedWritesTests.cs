using System.Collections.Concurrent;
using System.Net.Http.Json;
using System.Text.Json;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Host;

namespace Slipway.EndToEnd.Crash;

/// <summary>SIGKILL in the middle of writing, again and again: everything acknowledged is there afterwards, and the audit chain holds.</summary>
public sealed class AcknowledgedWritesTests
{
    private const int Kills = 6;

    [Fact, Trait("capability", "TRK-02"), Trait("capability", "GOV-01")]
    public async Task No_acknowledged_metric_or_audited_change_is_lost_by_a_kill()
    {
        var ct = TestContext.Current.CancellationToken;
        var data = SlipwayProgram.NewDataFolder();
        var acknowledgedRuns = new ConcurrentBag<string>();
        var acknowledgedPoints = new ConcurrentBag<(string Run, long Step)>();
        var random = new Random(7);
        for (var round = 0; round < Kills; round++)
        {
            await using var server = await RunningServer.StartAsync(data, ct);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
            var writers = Enumerable.Range(0, 4).Select(writer => WriteAsync(server.Address, acknowledgedRuns, acknowledgedPoints, stop.Token)).ToArray();
            var before = acknowledgedPoints.Count;
            var enough = before + 100 + random.Next(200);
            while (acknowledgedPoints.Count < enough)
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
        foreach (var run in acknowledgedRuns)
        {
            var expected = acknowledgedPoints.Where(point => point.Run == run).Select(point => point.Step).ToHashSet();
            var history = await http.GetFromJsonAsync<JsonElement>($"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=loss&max_results=25000", ct);
            var found = history.TryGetProperty("metrics", out var metrics)
                ? metrics.EnumerateArray().Select(point => point.GetProperty("step").GetInt64()).ToHashSet()
                : [];
            Assert.Empty(expected.Except(found));
        }

        Assert.True(acknowledgedPoints.Count >= Kills * 100);
        using var client = new SlipwayClient(survivor.Address);
        var newest = (await client.GetAsync<Page<AuditEventResponse>>("audit?limit=1", ct)).Items[0].Seq;
        // Each acknowledged run has its audit row: one transaction.
        Assert.True(newest >= acknowledgedRuns.Count);
    }

    private static async Task WriteAsync(Uri server, ConcurrentBag<string> runs, ConcurrentBag<(string, long)> points, CancellationToken ct)
    {
        using var http = new HttpClient { BaseAddress = server };
        try
        {
            while (!ct.IsCancellationRequested)
            {
                var created = await http.PostAsJsonAsync("/api/2.0/mlflow/runs/create", new { experiment_id = "0", start_time = 1 }, ct);
                created.EnsureSuccessStatusCode();
                var run = (await created.Content.ReadFromJsonAsync<JsonElement>(ct)).GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;
                runs.Add(run);
                for (var step = 0; step < 20; step++)
                {
                    using var logged = await http.PostAsJsonAsync("/api/2.0/mlflow/runs/log-metric", new { run_id = run, key = "loss", value = 1.0 / (step + 1), timestamp = step, step }, ct);
                    if (logged.IsSuccessStatusCode)
                    {
                        points.Add((run, step));
                    }
                }
            }
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException or IOException)
        {
            // The server was killed under this writer: what was not answered is not counted.
        }
    }
}
