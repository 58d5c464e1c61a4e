using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using Slipway.Cli.Commands;
using Slipway.Cli.LoadTesting;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Tests.Serving;

namespace Slipway.Tests.LoadTesting;

[Trait("capability", "X-21")]
public sealed class LoadTestTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(0.5, 5)]
    [InlineData(0.95, 10)]
    [InlineData(0.9, 9)]
    [InlineData(0.05, 1)]
    [InlineData(1, 10)]
    public void A_percentile_is_the_nearest_rank(double share, double expected) => Assert.Equal(expected, LoadFigures.Percentile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], share));

    [Fact]
    public void A_thousand_requests_have_the_known_figures()
    {
        var requests = Enumerable.Range(1, 1000).Select(i => new SentRequest(i / 10.0, i / 100.0, i * 5.0, i % 100 != 0)).ToList();

        var step = LoadFigures.Step(rate: 200, seconds: 5, requests, p95MsMax: 95, errorShareMax: 0.01);

        Assert.Equal((50.0, 95.0, 99.0, 99.9, 9.9), (step.P50Ms, step.P95Ms, step.P99Ms, step.P999Ms, step.SendDelayP99Ms));
        Assert.Equal((1000, 10, 0.01, 200.0, true), (step.Requests, step.Errors, step.ErrorShare, step.AchievedRate, step.Held));
        Assert.False(LoadFigures.Step(200, 5, requests, 94.9, 0.01).Held);
        Assert.False(LoadFigures.Step(200, 5, requests, 95, 0.009).Held);
    }

    [Theory]
    [InlineData(10, true)]
    [InlineData(11, false)]
    public void A_rate_is_held_while_99_percent_of_it_is_answered_in_time(int late, bool held)
    {
        var requests = Enumerable.Range(0, 1000).Select(i => new SentRequest(1, 0, i < late ? 5101 : 5100, true)).ToList();

        var step = LoadFigures.Step(200, 5, requests, p95MsMax: 100, errorShareMax: 0);

        Assert.Equal((200 * (1000 - late) / 1000.0, held), (step.AchievedRate, step.Held));
    }

    [Fact]
    public void The_safe_rate_is_the_last_one_below_the_first_that_did_not_hold()
    {
        static LoadTestStep Step(double rate, bool held) => new(rate, rate, 10, 0, 1, 1, 1, 1, 0, held);

        Assert.Equal(50, LoadFigures.SafeRate([Step(10, true), Step(50, true), Step(100, false), Step(200, true)]));
        Assert.Null(LoadFigures.SafeRate([Step(10, false)]));
        Assert.Equal(25, LoadFigures.SafeRate([Step(25, true)]));
    }

    [Fact]
    public void The_schedule_is_even()
    {
        Assert.Equal(50, OpenLoop.RequestsOf(25, TimeSpan.FromSeconds(2)));
        Assert.Equal(1, OpenLoop.RequestsOf(0.1, TimeSpan.FromSeconds(2)));
        Assert.Equal([0.0, 40.0, 80.0, 1960.0], new[] { 0, 1, 2, 49 }.Select(i => OpenLoop.IntendedMs(i, 25)));
    }

    [Fact]
    public async Task A_stalled_server_is_charged_with_every_request_that_should_have_been_sent_meanwhile()
    {
        // One request at a time, and the first takes 400 ms: a closed loop would see one slow answer among 100.
        using var one = new SemaphoreSlim(1);
        var first = 1;
        var sent = await OpenLoop.RunAsync(100, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(10), async ct =>
        {
            await one.WaitAsync(ct);
            try
            {
                await Task.Delay(Interlocked.Exchange(ref first, 0) == 1 ? 400 : 0, ct);
                return true;
            }
            finally
            {
                one.Release();
            }
        }, Cancel);

        // Request i was to leave at 10·i ms and could not be answered before 400 ms: about 40 of 100 waited.
        var ordered = sent.ToList();
        Assert.Equal(100, ordered.Count);
        Assert.All(Enumerable.Range(0, 35), i => Assert.True(ordered[i].LatencyMs >= 400 - (10 * i) - 20, $"request {i}: {ordered[i].LatencyMs} ms"));
        var step = LoadFigures.Step(100, 1, sent, 100, 0);
        Assert.False(step.Held);
        Assert.True(step.P95Ms > 300, $"p95 {step.P95Ms} ms");
    }

    [Fact]
    public async Task Requests_leave_on_time_though_nothing_is_answered_and_count_as_failed_at_their_limit()
    {
        var starts = new ConcurrentBag<long>();
        var sent = await OpenLoop.RunAsync(50, TimeSpan.FromSeconds(0.4), TimeSpan.FromSeconds(10), async ct =>
        {
            starts.Add(Stopwatch.GetTimestamp());
            await Task.Delay(Timeout.Infinite, ct);
            return true;
        }, Cancel);

        // The last left before the first was given up.
        Assert.Equal(20, starts.Count);
        Assert.True(Stopwatch.GetElapsedTime(starts.Min(), starts.Max()) < TimeSpan.FromSeconds(10));
        Assert.All(sent, request => Assert.False(request.IsGood));
        Assert.All(sent, request => Assert.True(request.LatencyMs >= 9980, $"{request.LatencyMs} ms"));
    }

    [Fact]
    [Trait("capability", "EVL-07")]
    public async Task A_test_of_a_served_version_is_stored_and_told_with_its_metadata()
    {
        await using var host = await ServingHost.StartServingAsync();
        using var client = new SlipwayClient(host.Area.Client.BaseAddress!);
        var contract = await client.GetAsync<InferenceContract>("models/flight-delay/versions/1.0.0/contract", Cancel);

        var test = await LoadTestCommand.RunAsync(
            client, contract.Path, Encoding.UTF8.GetBytes(contract.ExampleRequest.ToJsonString()), [5, 10], (P95: 5000, Errors: 0, Seconds: 1), "example", _ => { }, Cancel);
        var stored = await client.PostAsync<LoadTest>("models/flight-delay/versions/1.0.0/load-tests", test, Cancel);
        var again = await client.PostAsync<LoadTest>("models/flight-delay/versions/1.0.0/load-tests", test with { SafeRate = null }, Cancel);

        Assert.Equal([(5.0, 5, 0), (10.0, 10, 0)], test.Steps.Select(step => (step.Rate, step.Requests, step.Errors)));
        Assert.Equal(10, test.SafeRate);
        Assert.Equal(("ada", 10.0), (stored.MeasuredBy, stored.SafeRate));
        var list = (await client.GetAsync<LoadTestList>("models/flight-delay/versions/1.0.0/load-tests", Cancel)).LoadTests;
        Assert.Equal([null, 10.0], list.Select(kept => kept.SafeRate));
        Assert.Equal(test.Steps, list[1].Steps);
        var profile = (await client.GetAsync<ModelVersionRecord>("models/flight-delay/versions/1.0.0", Cancel)).Profile!;
        Assert.Equal(again.MeasuredAt, profile.LoadTest!.MeasuredAt);
    }

    [Fact]
    public async Task The_test_ends_with_the_first_rate_that_does_not_hold()
    {
        await using var host = await ServingHost.StartServingAsync();
        using var client = new SlipwayClient(host.Area.Client.BaseAddress!);

        var test = await LoadTestCommand.RunAsync(
            client, "/v2/models/flight-delay/infer", "{\"inputs\":[{\"name\":\"features\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}]}"u8.ToArray(), [5, 10], (P95: 0.0001, Errors: 0, Seconds: 1), "file", _ => { }, Cancel);
        var refused = await Assert.ThrowsAsync<SlipwayException>(() => LoadTestCommand.RunAsync(client, "/v2/models/flight-delay/infer", "{}"u8.ToArray(), [5], (1, 0, 1), "file", _ => { }, Cancel));

        Assert.Equal((5.0, null), (Assert.Single(test.Steps).Rate, test.SafeRate));
        Assert.StartsWith("The request is refused before any load: 'inputs' is missing", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("10,5")]
    [InlineData("0")]
    [InlineData("ten")]
    [InlineData("10,,20")]
    [InlineData("200000")]
    public void Rates_that_do_not_rise_are_refused(string rates) =>
        Assert.Contains("--rates", Assert.Throws<SlipwayException>(() => LoadTestCommand.Rates(rates)).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Figures_that_no_load_test_has_are_refused_by_field()
    {
        await using var host = await ServingHost.StartServingAsync();
        var step = new { rate = 10, achieved_rate = 10, requests = 10, errors = 11, p50_ms = 1, p95_ms = 1, p99_ms = 1, p999_ms = 1, send_delay_p99_ms = 0, held = true };
        var good = step with { errors = 0 };

        Assert.Equal(
            ["'steps'", "'error_share_max'", "'safe_rate'"],
            new[]
            {
                await Refusal(new { p95_ms_max = 100, error_share_max = 0.01, step_seconds = 1, request = "example", steps = new[] { step } }),
                await Refusal(new { p95_ms_max = 100, error_share_max = 2, step_seconds = 1, request = "example", steps = new[] { good } }),
                await Refusal(new { p95_ms_max = 100, error_share_max = 0.01, step_seconds = 1, request = "example", steps = new[] { good }, safe_rate = 20 }),
            }.Select(message => message.Split(' ')[0]));

        async Task<string> Refusal(object body)
        {
            var (status, answer) = await host.Area.PostAsync("/api/slipway/v1/models/flight-delay/versions/1.0.0/load-tests", body);
            Assert.Equal(400, status);
            return answer.GetProperty("message").GetString()!;
        }
    }
}
