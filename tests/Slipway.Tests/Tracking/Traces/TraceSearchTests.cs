using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking.Traces;

/// <summary>Filters and orders over one server with three traces, which no test here changes.</summary>
public sealed class TraceSearchTests(TraceSearchTests.Server server) : IClassFixture<TraceSearchTests.Server>
{
    [Theory]
    [InlineData("", "c b a")]
    [InlineData("trace.status = 'ERROR'", "b")]
    [InlineData("status != 'ERROR'", "c a")]
    [InlineData("attributes.status IN ('ERROR', 'IN_PROGRESS')", "c b")]
    [InlineData("status NOT IN ('ERROR', 'IN_PROGRESS')", "a")]
    [InlineData("trace.timestamp_ms > 1000 AND timestamp <= 2000", "b")]
    [InlineData("execution_time_ms >= 200", "b")]
    [InlineData("trace.end_time_ms < 2000", "a")]
    [InlineData("request_id = 'tr-c'", "c")]
    [InlineData("trace.client_request_id LIKE 'R%'", "a")]
    [InlineData("trace.client_request_id ILIKE 'R%'", "b a")]
    [InlineData("name = 'alpha'", "a")]
    [InlineData("name RLIKE '^(alpha|beta)$'", "b a")]
    [InlineData("trace.name ILIKE '%ET%'", "b")]
    [InlineData("tags.team = 'ops'", "b a")]
    [InlineData("tag.team != 'ops'", "c")]
    [InlineData("tags.`odd key` = 'x''y'", "c")]
    [InlineData("tags.\"odd key\" LIKE 'x%'", "c")]
    [InlineData("tags.`odd key` IS NULL", "b a")]
    [InlineData("tags.`odd key` IS NOT NULL", "c")]
    [InlineData("metadata.user = 'ada'", "a")]
    [InlineData("request_metadata.user ILIKE 'A%'", "a")]
    [InlineData("run_id = 'RUN'", "b a")]
    [InlineData("metadata.`mlflow.sourceRun` = 'RUN'", "b a")]
    [InlineData("span.name = 'call'", "b a")]
    [InlineData("span.type IN ('LLM')", "a")]
    [InlineData("span.type = 'LLM' AND span.status = 'ERROR'", "")]
    [InlineData("span.type = 'TOOL' AND span.status = 'ERROR'", "b")]
    [InlineData("span.attributes.model = 'gpt-4'", "a")]
    [InlineData("span.attributes.model != 'gpt-4'", "b")]
    [InlineData("span.attributes.`model` LIKE '%4'", "a")]
    [InlineData("span.attributes.\"gen_ai.usage.input_tokens\" > 99", "b")]
    [InlineData("span.attributes.gen_ai.usage.input_tokens = 5", "a")]
    [InlineData("span.attributes.model IN ('gpt-4', 'other')", "a")]
    [InlineData("span.content LIKE '%needle%'", "b")]
    [InlineData("text ILIKE '%NEEDLE%'", "b")]
    [InlineData("trace.text RLIKE 'need[lm]e'", "b")]
    [InlineData("feedback.quality > 0.8", "a")]
    [InlineData("feedback.quality <= 0.8", "b")]
    [InlineData("feedback.correct = 'true'", "a")]
    [InlineData("feedback.correct = false", "b")]
    [InlineData("feedback.quality IS NULL", "c")]
    [InlineData("expectation.answer = 'yes'", "c")]
    [InlineData("expectation.answer ILIKE 'Y%' and tags.team = 'dev'", "c")]
    [InlineData("feedback.answer = 'yes'", "")]
    [InlineData("tags.none = 'x'", "")]
    public async Task The_filter_finds_exactly(string filter, string expected)
    {
        var (status, found) = await server.Client.Search(filter.Replace("RUN", server.RunId, StringComparison.Ordinal));

        Assert.Equal(200, status);
        Assert.Equal(expected, TraceClient.Names(found));
    }

    [Theory]
    [InlineData("timestamp_ms ASC", "a b c")]
    [InlineData("execution_time DESC", "b a c")]
    [InlineData("execution_time", "a b c")]
    [InlineData("name DESC", "b a c")]
    [InlineData("tags.team, timestamp DESC", "c b a")]
    [InlineData("metadata.user", "a c b")]
    [InlineData("status DESC", "a c b")]
    [InlineData("request_id", "a b c")]
    public async Task The_order_is_kept_over_pages_of_one(string order, string expected)
    {
        var names = new List<string>();
        string? token = null;
        do
        {
            var (_, page) = await server.Host.PostAsync($"{TraceClient.V3}/traces/search", new { locations = TraceClient.Locations("0"), order_by = order.Split(", "), max_results = 1, page_token = token });
            names.Add(TraceClient.Names(page));
            token = page.TryGetProperty("next_page_token", out var next) ? next.GetString() : null;
        }
        while (token is not null);

        Assert.Equal(expected, string.Join(' ', names));
    }

    [Theory]
    [InlineData("status ~ 'OK'")]
    [InlineData("status > 'OK'")]
    [InlineData("status = OK")]
    [InlineData("timestamp_ms = 'yesterday'")]
    [InlineData("timestamp_ms LIKE '1%'")]
    [InlineData("metrics.auc > 1")]
    [InlineData("span.kind = 'x'")]
    [InlineData("unknown = 'x'")]
    [InlineData("tags. = 'x'")]
    [InlineData("tags.a = 'x' OR tags.b = 'y'")]
    [InlineData("tags.a IN ()")]
    [InlineData("tags.a IS")]
    [InlineData("tags.a NOT")]
    [InlineData("name RLIKE '(['")]
    [InlineData("name RLIKE '(a)\\1'")]
    [InlineData("tags.a = 'x")]
    [InlineData("tags.a = 'x' AND")]
    [InlineData("tags.a = '\u0000'")]
    public async Task A_broken_filter_is_explained(string filter)
    {
        var (status, answer) = await server.Client.Search(filter);

        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), (status, answer.GetProperty("error_code").GetString()));
        Assert.Contains("filter", answer.GetProperty("message").GetString(), StringComparison.OrdinalIgnoreCase);
    }

    public sealed class Server : IAsyncLifetime
    {
        internal AreaHost Host { get; private set; } = null!;

        internal TraceClient Client { get; private set; } = null!;

        internal string RunId { get; private set; } = "";

        public async ValueTask InitializeAsync()
        {
            Host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());
            Client = new TraceClient(Host);
            RunId = await Client.ThreeTraces();
        }

        public ValueTask DisposeAsync() => Host.DisposeAsync();
    }
}
