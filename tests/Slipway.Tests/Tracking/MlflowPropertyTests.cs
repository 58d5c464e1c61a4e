using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using FsCheck;
using FsCheck.Fluent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Tests.Hosting;
using Slipway.Web;

namespace Slipway.Tests.Tracking;

/// <summary>Whatever is thrown at a route of MLflow's API, the answer is MLflow's, and what was stored before can still be read.</summary>
public sealed class MlflowPropertyTests : IAsyncLifetime
{
    private const string Api = "/api/2.0/mlflow";
    private const int RequestsPerRoute = 20;

    private static readonly HashSet<string> KnownCodes = new(StringComparer.Ordinal)
    {
        "NOT_IMPLEMENTED", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "RESOURCE_CONFLICT", "ALREADY_EXISTS", "NOT_FOUND", "ENDPOINT_NOT_FOUND",
        "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED", "UNAUTHENTICATED", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE",
    };

    private static readonly string[] Names =
    [
        "experiment_id", "experiment_ids", "experiment_name", "run_id", "run_ids", "run_uuid", "model_id", "model_json", "name", "new_name", "run_name", "user_id", "key", "value",
        "timestamp", "step", "metrics", "params", "tags", "datasets", "dataset", "digest", "source", "source_type", "schema", "profile", "models", "status", "end_time", "start_time", "filter",
        "filter_string", "order_by", "max_results", "page_token", "view_type", "run_view_type", "metric_key", "start_step", "end_step", "path", "artifact_location", "dataset_name", "dataset_digest", "field_name",
        "ascending", "artifact_directory_path", "artifact_file_path", "source_run_id", "model_type", "trace_id", "request_id", "trace_ids", "trace", "trace_info", "trace_location", "locations",
        "assessment", "assessment_id", "records", "dataset_id", "created_by", "timestamp_ms", "execution_time_ms", "request_metadata", "state", "request_time", "max_timestamp_millis", "max_traces", "request_ids", "version", "alias", "stage",
        "num_parts", "upload_id", "parts", "part_number", "etag", "serialized_scorer",
        "new_name", "description", "run_link", "archive_existing_versions", "stages", "events", "entity", "action", "url", "secret", "event", "webhook_id",
    ];

    private static readonly string[] Texts =
    [
        "", " ", "a", "0", "1", "-1", "EXPERIMENT", "RUN", "MODEL", "RUNNING", "FINISHED", "ALL", "LOGGED_MODEL_READY", "NaN", "Infinity", "1e400", "99999999999999999999", "metrics.auc > 0.5",
        "params.a = 'b' AND tags.c LIKE '%'", "metrics.`a", "run_id IN (", "attributes.start_time ASC", "metrics.auc DESC", "name", "creation_timestamp", "../..", "a/../b", "%2e%2e%2f", "C:\\x", "é", "数", "😀",
        "';DROP TABLE runs;--", "<script>", "{}", "[]", "null", "\t\r\n", "mlflow.runName", "mlflow.data.context", "{\"offset\": 5}", "eyJvZmZzZXQiOiA1fQ==", "2026-01-01T00:00:00Z", "1.5s", "\u202e", "a\0b",
    ];

    private static readonly string[] FilterPieces =
    [
        "metrics.", "auc", "params.a", "tags.`a b`", "run_id", "name", "status", "attributes.", "trace.", "creation_time", "=", "!=", "<", ">=", "LIKE", "ILIKE", "NOT", "IN", "(", ")", ",", "'x'", "'", "\"", "`", "1.5", "-", " ", " AND ", " OR ", ";", "%", "\0", "é", "[",
        "datasets.name", "IS NULL", "span.name", "feedback.x", "RLIKE",
    ];

    private readonly string _data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
    private WebApplication _app = null!;
    private HttpClient _client = null!;

    public async ValueTask InitializeAsync()
    {
        _app = SlipwayServer.Build(new ServerOptions { DataDirectory = _data, Database = TestDatabase.Address(_data), Port = 0, GrpcPort = 0 });
        await _app.StartAsync();
        _client = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false }) { BaseAddress = new Uri(_app.Urls.First()) };
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
        Directory.Delete(_data, recursive: true);
    }

    [Fact]
    [Trait("capability", "TRK-18")]
    public async Task Random_requests_to_every_route_get_MLflow_s_answers_and_harm_nothing()
    {
        var routes = _app.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
            .Where(route => route.Metadata.GetMetadata<ErrorShape>()?.Envelope is ErrorEnvelope.Mlflow && route.Order == 0)
            .SelectMany(route => route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods.Select(method => (Method: method, Pattern: route.RoutePattern.RawText!)))
            .Distinct().ToList();
        var kept = await NewThings();
        await PostAsync("runs/log-batch", new { run_id = kept.Run, metrics = new[] { new { key = "auc", value = 0.5, timestamp = 1, step = 0 } }, @params = new[] { new { key = "a", value = "b" } } });
        var before = await GetAsync($"{Api}/runs/get?run_id={kept.Run}");

        var faults = new List<string>();
        foreach (var (index, (method, pattern)) in routes.Index())
        {
            var things = await NewThings();
            // The same seed for a route in every run, so that a fault found once is found again.
            // The twin of a path is the same code: a few tries show that it is the same route.
            foreach (var attempt in Attempts(things).Sample(RequestsPerRoute, new Rnd((ulong)index), RequestsPerRoute).Take(pattern.StartsWith("/ajax-api", StringComparison.Ordinal) ? 3 : RequestsPerRoute))
            {
                if (await FaultAsync(method, pattern, attempt) is { } fault)
                {
                    faults.Add(fault);
                }
            }
        }

        Assert.True(routes.Count > 80, $"Only {routes.Count} routes: the server is not whole.");
        Assert.True(faults.Count == 0, $"{faults.Count} faults, such as:\n{string.Join('\n', faults.Take(40))}");
        Assert.Equal(before, await GetAsync($"{Api}/runs/get?run_id={kept.Run}"));
        await EverythingIsReadable();
    }

    [Theory]
    [InlineData("runs/search", "metrics.auc|metrics.`auc`|params.a|params.\"a\"|tags.mlflow.runName|run_name|attributes.status|start_time|datasets.digest|run_id|end_time|artifact_uri|name")]
    [InlineData("experiments/search", "name|creation_time|attribute.last_update_time|experiment_id|tags.a|tags.`a b`|metrics.auc")]
    [InlineData("logged-models/search", "metrics.auc|metrics.`auc`|params.a|tags.team|name|attributes.status|creation_timestamp|last_updated_time|model_id|source_run_id|run_id")]
    [Trait("capability", "X-27")]
    public async Task Random_filters_and_orders_find_something_or_are_refused_in_one_sentence(string path, string keys)
    {
        var things = await NewThings();
        await PostAsync("runs/log-batch", new { run_id = things.Run, metrics = new[] { new { key = "auc", value = 0.5, timestamp = 1, step = 0, model_id = things.Model } }, @params = new[] { new { key = "a", value = "x" } } });
        var key = Gen.Elements(keys.Split('|'));
        var clause = from left in key
                     from comparator in Gen.Elements(" = ", "!=", " > ", "<=", " LIKE ", " ilike ", " IN ", " NOT IN ")
                     from right in Gen.Elements("'x'", "\"%\"", "0.5", "-1e3", "('x', 'y')", "''", "'100%_'", "'[*?'", "'é\\'")
                     select left + comparator + right;
        var filters = Gen.OneOf(clause, clause.ListOf().Select(all => string.Join(" AND ", all.Take(4))), Gen.Elements(FilterPieces).ListOf().Select(all => string.Concat(all)));
        var orders = from left in key from direction in Gen.Elements("", " ASC", " desc", " SIDEWAYS") select left + direction;
        var answered = 0;
        foreach (var (filter, order) in (from filter in filters from order in orders select (filter, order)).Sample(100, new Rnd(1), 100))
        {
            object orderBy = path == "logged-models/search" ? new[] { new { field_name = order.Split(' ')[0], ascending = false } } : new[] { order };
            var body = JsonSerializer.Serialize(new { experiment_ids = new[] { things.Experiment }, filter, order_by = orderBy, max_results = 2 });
            using var answer = await _client.PostAsync($"{Api}/{path}", new StringContent(body, Encoding.UTF8, "application/json"));
            var fault = Fault((int)answer.StatusCode, answer.Content.Headers.ContentType?.MediaType, await answer.Content.ReadAsStringAsync());
            Assert.True(fault is null, $"{body}: {fault}");
            answered += answer.IsSuccessStatusCode ? 1 : 0;
        }

        Assert.InRange(answered, 1, 99);
    }

    [Theory]
    [InlineData("GET", "/api/2.0/mlflow/nothing/here")]
    [InlineData("POST", "/ajax-api/3.0/mlflow/unheard-of")]
    public async Task A_path_MLflow_does_not_know_is_told_by_the_name_its_clients_look_for(string method, string path)
    {
        using var answer = await _client.SendAsync(new HttpRequestMessage(new HttpMethod(method), path) { Content = new StringContent("{}", Encoding.UTF8, "application/json") });
        var body = JsonDocument.Parse(await answer.Content.ReadAsStringAsync()).RootElement;

        Assert.Equal((404, "ENDPOINT_NOT_FOUND"), ((int)answer.StatusCode, body.GetProperty("error_code").GetString()));
    }

    private static Gen<Attempt> Attempts((string Experiment, string Run, string Model) things)
    {
        var text = Gen.Frequency(
            (6, Gen.Elements(Texts).Select(one => one switch { "EXPERIMENT" => things.Experiment, "RUN" => things.Run, "MODEL" => things.Model, _ => one })),
            (2, Gen.Elements(FilterPieces).ListOf().Select(pieces => string.Concat(pieces))),
            (1, Gen.Choose(0, 9000).Select(length => new string('x', length))));
        var query = (from name in Gen.Elements(Names) from value in text select (name, value.Length > 500 ? value[..500] : value)).ListOf();
        return from body in Bodies(text, things) from pairs in query from part in text select new Attempt(body, pairs.Take(6).ToList(), part.Length > 500 ? part[..500] : part);
    }

    private static Gen<byte[]> Bodies(Gen<string> text, (string Experiment, string Run, string Model) things)
    {
        var leaf = Gen.OneOf(
            text.Select(one => (JsonNode?)JsonValue.Create(one)), Gen.Elements<JsonNode?>(null, JsonValue.Create(true)),
            Gen.Choose(-5, 5).Select(number => (JsonNode?)JsonValue.Create(number)), Gen.Elements(1e308, -0.0, 1.5, 1e18, 9.3e18).Select(number => (JsonNode?)JsonValue.Create(number)));
        var tree = Gen.Sized(size => Tree(leaf, Math.Min(size, 12)));
        // Half of them name what exists, so that they come further than the first check.
        var root = from fields in Fields(tree)
                   from known in Gen.Choose(0, 1)
                   select known == 0 ? fields : With(With(With(fields, "run_id", things.Run), "experiment_id", things.Experiment), "key", "auc");
        return Gen.Frequency(
            (8, root.Select(node => Encoding.UTF8.GetBytes(node.ToJsonString()))),
            (1, tree.Select(node => Encoding.UTF8.GetBytes(node?.ToJsonString() ?? "null"))),
            (1, Gen.Elements("", "{", "[[[[", "{\"a\":}", "\"\"", "{\"key\":\"\\ud800\"}", "{\"key\":NaN}", "{\"run_id\":\"a\\u0000\"}", new string('[', 5000), "{\"a\":1}{\"a\":1}").Select(Encoding.UTF8.GetBytes)),
            (1, Gen.Choose(0, 255).Select(value => (byte)value).ListOf().Select(bytes => bytes.ToArray())));
    }

    private static Gen<JsonNode?> Tree(Gen<JsonNode?> leaf, int size) => size <= 1
        ? leaf
        : Gen.Frequency(
            (3, leaf),
            (2, Gen.Resize(Tree(leaf, size / 3).ListOf(), 3).Select(items => (JsonNode?)new JsonArray([.. items.Select(item => item?.DeepClone())]))),
            (3, Gen.Resize(Fields(Tree(leaf, size / 3)), 5).Select(node => (JsonNode?)node)));

    private static Gen<JsonObject> Fields(Gen<JsonNode?> value) => (from name in Gen.Elements(Names) from node in value select (name, node)).ListOf().Select(pairs =>
    {
        var fields = new JsonObject();
        foreach (var (name, node) in pairs)
        {
            fields[name] = node?.DeepClone();
        }

        return fields;
    });

    private static JsonObject With(JsonObject fields, string name, string value)
    {
        fields[name] = value;
        return fields;
    }

    private async Task<string?> FaultAsync(string method, string pattern, Attempt attempt)
    {
        var path = string.Join('/', pattern.Split('/').Select(segment => segment.StartsWith('{') ? Uri.EscapeDataString(attempt.Part.Replace("\0", "", StringComparison.Ordinal).Trim('.') is { Length: > 0 } part ? part : "x") : segment));
        var target = path + (attempt.Query.Count == 0 ? "" : "?" + string.Join('&', attempt.Query.Select(pair => $"{pair.Name}={Uri.EscapeDataString(pair.Value)}")));
        using var request = new HttpRequestMessage(new HttpMethod(method), target);
        if (method is not "GET")
        {
            request.Content = new ByteArrayContent(attempt.Body);
            request.Content.Headers.ContentType = new("application/json");
        }

        using var answer = await _client.SendAsync(request);
        var status = (int)answer.StatusCode;
        var text = await answer.Content.ReadAsStringAsync();
        return Fault(status, answer.Content.Headers.ContentType?.MediaType, text) is { } fault
            ? $"{method} {target[..Math.Min(target.Length, 300)]} {Encoding.UTF8.GetString(attempt.Body)[..Math.Min(attempt.Body.Length / 4, 400)]}: {status} {fault}: {text[..Math.Min(text.Length, 300)]}"
            : null;
    }

    private static string? Fault(int status, string? type, string text)
    {
        if (status >= 500 && status != 501)
        {
            return "is a fault of the server";
        }

        JsonElement body;
        try
        {
            // Files come as they are.
            body = status < 400 && type != "application/json" ? default : JsonDocument.Parse(text).RootElement;
        }
        catch (JsonException)
        {
            return "is not JSON";
        }

        if (status < 400)
        {
            return null;
        }

        return body.ValueKind is not JsonValueKind.Object || !body.TryGetProperty("error_code", out var code) || !KnownCodes.Contains(code.GetString()!) ? "has no known error_code"
            : !body.TryGetProperty("message", out var message) || string.IsNullOrWhiteSpace(message.GetString()) ? "has no message"
            : message.GetString()!.Contains("   at ", StringComparison.Ordinal) || message.GetString()!.Contains("Exception", StringComparison.Ordinal) ? "shows its inside"
            : null;
    }

    private async Task EverythingIsReadable()
    {
        foreach (var (path, list) in (((string, string)[])[("experiments/search", "experiments"), ("runs/search", "runs"), ("logged-models/search", "models")]))
        {
            var all = (await PostAsync("experiments/search", new { view_type = "ALL", max_results = 50_000 })).GetProperty("experiments").EnumerateArray()
                .Select(experiment => experiment.GetProperty("experiment_id").GetString()).ToList();
            var found = await PostAsync(path, new { experiment_ids = all, view_type = "ALL", run_view_type = "ALL", max_results = 50_000 });
            Assert.NotEqual(0, found.GetProperty(list).GetArrayLength());
        }
    }

    private async Task<(string Experiment, string Run, string Model)> NewThings()
    {
        var experiment = (await PostAsync("experiments/create", new { name = Guid.NewGuid().ToString("N") })).GetProperty("experiment_id").GetString()!;
        var run = (await PostAsync("runs/create", new { experiment_id = experiment })).GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;
        var model = (await PostAsync("logged-models", new { experiment_id = experiment })).GetProperty("model").GetProperty("info").GetProperty("model_id").GetString()!;
        // A registered model of the same name, with a version that names the logged model.
        await PostAsync("registered-models/create", new { name = model });
        await PostAsync("model-versions/create", new { name = model, source = $"models:/{model}" });
        return (experiment, run, model);
    }

    private async Task<JsonElement> PostAsync(string path, object body)
    {
        using var answer = await _client.PostAsync($"{Api}/{path}", new StringContent(JsonSerializer.Serialize(body), Encoding.UTF8, "application/json"));
        var text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.IsSuccessStatusCode, text);
        return JsonDocument.Parse(text).RootElement;
    }

    private Task<string> GetAsync(string path) => _client.GetStringAsync(path);

    private sealed record Attempt(byte[] Body, IReadOnlyList<(string Name, string Value)> Query, string Part);
}
