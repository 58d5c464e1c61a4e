using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;

namespace Slipway.EndToEnd.Postgres;

/// <summary>PostgreSQL is stopped and started again, and killed, while clients write: the server says so quickly and goes on by itself.</summary>
public sealed class RestartTests
{
    [Fact, Trait("capability", "TRK-02")]
    public async Task Requests_fail_fast_while_the_database_is_away_and_nothing_acknowledged_is_lost()
    {
        Assert.SkipWhen(PostgresCluster.Binaries is null, "PostgreSQL is not installed.");
        var ct = TestContext.Current.CancellationToken;
        await using var cluster = await PostgresCluster.StartAsync(ct);
        var data = SlipwayProgram.NewDataFolder();
        await using var server = await RunningServer.StartAsync(data, ct, "--database", cluster.Address);
        using var http = new HttpClient { BaseAddress = server.Address };
        var run = await CreateRunAsync(http, ct);

        var acknowledged = new ConcurrentBag<long>();
        var answers = new ConcurrentBag<(HttpStatusCode Status, string? RetryAfter, TimeSpan Took, string Body)>();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var writers = Enumerable.Range(0, 4).Select(writer => WriteAsync(server.Address, run, writer, acknowledged, answers, stop.Token)).ToArray();
        foreach (var mode in new[] { "fast", "immediate", "fast" })
        {
            var before = acknowledged.Count;
            await UntilAsync(() => acknowledged.Count > before + 50, server, ct);
            var refusals = answers.Count(answer => answer.Status is HttpStatusCode.ServiceUnavailable);
            await cluster.StopServerAsync(mode, ct);
            await UntilAsync(() => answers.Count(answer => answer.Status is HttpStatusCode.ServiceUnavailable) > refusals + 10, server, ct);
            using var read = await http.GetAsync($"/api/2.0/mlflow/runs/get?run_id={run}", ct);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, read.StatusCode);
            using var ready = await http.GetAsync("/ready", ct);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.StatusCode);
            await cluster.StartServerAsync(ct);
        }

        var enough = acknowledged.Count + 50;
        await UntilAsync(() => acknowledged.Count > enough, server, ct);
        await stop.CancelAsync();
        await Task.WhenAll(writers);

        var refused = answers.Where(answer => answer.Status != HttpStatusCode.OK).ToList();
        Assert.All(refused, answer => Assert.Equal((HttpStatusCode.ServiceUnavailable, "1"), (answer.Status, answer.RetryAfter)));
        Assert.All(refused, answer => Assert.Contains("TEMPORARILY_UNAVAILABLE", answer.Body, StringComparison.Ordinal));
        Assert.True(refused.Max(answer => answer.Took) < TimeSpan.FromSeconds(20), $"slowest refusal {refused.Max(answer => answer.Took)}");
        Assert.Empty(acknowledged.Except(await StepsAsync(http, run, ct)));
        // The parts that run beside the requests have survived too.
        using var made = await http.PostAsJsonAsync("/api/2.0/mlflow/experiments/create", new { name = "after" }, ct);
        Assert.Equal(HttpStatusCode.OK, made.StatusCode);
    }

    private static async Task<string> CreateRunAsync(HttpClient http, CancellationToken ct)
    {
        using var created = await http.PostAsJsonAsync("/api/2.0/mlflow/runs/create", new { experiment_id = "0", start_time = 1 }, ct);
        created.EnsureSuccessStatusCode();
        return (await created.Content.ReadFromJsonAsync<JsonElement>(ct)).GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;
    }

    private static async Task WriteAsync(
        Uri server, string run, int writer, ConcurrentBag<long> acknowledged, ConcurrentBag<(HttpStatusCode, string?, TimeSpan, string)> answers, CancellationToken ct)
    {
        using var http = new HttpClient { BaseAddress = server };
        try
        {
            for (var step = (long)writer; !ct.IsCancellationRequested; step += 4)
            {
                var start = Stopwatch.GetTimestamp();
                using var logged = await http.PostAsJsonAsync("/api/2.0/mlflow/runs/log-metric", new { run_id = run, key = "loss", value = 0.5, timestamp = step, step }, ct);
                answers.Add((logged.StatusCode, logged.Headers.RetryAfter?.ToString(), Stopwatch.GetElapsedTime(start), logged.IsSuccessStatusCode ? "" : await logged.Content.ReadAsStringAsync(ct)));
                if (logged.IsSuccessStatusCode)
                {
                    acknowledged.Add(step);
                }
                else
                {
                    await Task.Delay(20, ct); // A client waits a second; this one is impatient.
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The test has seen enough.
        }
    }

    private static async Task<HashSet<long>> StepsAsync(HttpClient http, string run, CancellationToken ct)
    {
        var steps = new HashSet<long>();
        for (string? token = ""; token is not null;)
        {
            var page = await http.GetFromJsonAsync<JsonElement>($"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=loss&max_results=25000&page_token={token}", ct);
            foreach (var point in page.GetProperty("metrics").EnumerateArray())
            {
                steps.Add(point.GetProperty("step").GetInt64());
            }

            token = page.TryGetProperty("next_page_token", out var next) && next.GetString() is { Length: > 0 } more ? more : null;
        }

        return steps;
    }

    private static async Task UntilAsync(Func<bool> condition, RunningServer server, CancellationToken ct)
    {
        var start = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromMinutes(2), $"Waited for two minutes. The server said: {server.Said}");
            await Task.Delay(20, ct);
        }
    }
}
