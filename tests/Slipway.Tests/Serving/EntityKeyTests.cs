using System.Text;
using System.Text.Json;
using Google.Protobuf;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Native.DuckDb;
using Slipway.Native.Onnx;
using Slipway.Serving.Grpc;
using Slipway.Serving.Predictions;
using Slipway.Serving.Protocol;
using Slipway.Storage.Definitions;
using Slipway.Tests.Datasets;
using Slipway.Tests.Registry;

namespace Slipway.Tests.Serving;

/// <summary>Requests that bring entity keys: the online store and the on-demand expressions complete them.</summary>
[Trait("database", "none")]
public sealed class EntityKeyTests : IAsyncLifetime
{
    private const string Flights =
        """
        kind: dataset
        name: departures
        timestamp: departed_at
        source: { type: file, owner: transport team, update_frequency: daily, pii: false }
        columns:
          - { name: departed_at, type: timestamp }
          - { name: airport, type: string }
          - { name: late, type: float64 }
        """;

    private const string AirportView =
        """
        kind: feature_view
        name: airport_lateness
        entity: airport
        keys: [airport]
        source: departures
        sql: SELECT airport, departed_at AS event_timestamp, late AS late_rate FROM source
        features:
          - { name: late_rate, type: float64 }
        """;

    private const string FlightView =
        """
        kind: feature_view
        name: flight
        entity: flight
        on_demand: true
        inputs: [ { name: scheduled, type: timestamp }, { name: distance, type: float32 } ]
        features:
          - { name: hour, type: int64, expression: extract(hour FROM scheduled) }
          - { name: distance, type: float32, expression: distance }
        """;

    private const string Service =
        """
        kind: feature_service
        name: lateness
        event_time: scheduled
        inputs:
          - { name: origin, type: string }
          - { name: scheduled, type: timestamp }
          - { name: distance, type: float32 }
        keys:
          airport: { airport: origin }
        features: [ airport:late_rate, flight:hour, flight:distance ]
        """;

    private static readonly string[] Features = ["airport:late_rate", "flight:hour", "flight:distance"];
    private static readonly DateTimeOffset Departure = new(2001, 5, 1, 17, 30, 0, TimeSpan.Zero);

    private ServingHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await ServingHost.StartAsync();
        foreach (var yaml in new[] { Flights, AirportView, FlightView, Service })
        {
            var kind = yaml.Split('\n')[0]["kind: ".Length..];
            await _host.Area.Service<IEnumerable<IDefinitionKind>>().Single(candidate => candidate.Kind == kind).ApplyAsync(yaml, RegistryHost.Ada, default);
        }

        await _host.Area.Service<DatasetStore>().AddVersionAsync(
            "departures",
            new MemoryStream(ParquetFiles.From("SELECT * FROM (VALUES (TIMESTAMP '2001-04-30 00:00:00', 'ORD', 0.25::DOUBLE), (TIMESTAMP '2001-04-30 00:00:00', 'LAX', 0.75)) t(departed_at, airport, late)")),
            RegistryHost.Ada, default);
        await _host.Area.Service<OnlineStore>().MaterializeAsync("airport_lateness", Departure, RegistryHost.Ada, default);

        // Probability = sigmoid(4 × late rate + hour / 10 + distance / 1000).
        var model = OnnxConverters.LogisticRegression(Features, [0, 0, 0], [1, 1, 1], [4, 0.1, 0.001], 0);
        await _host.PutInProductionAsync((await _host.RegisterAsync(model, "lateness", Features)).Version);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    private static object Request(params (string Origin, object Scheduled, float Distance)[] flights) => new
    {
        inputs = new object[]
        {
            new { name = "origin", shape = new[] { flights.Length }, datatype = "BYTES", data = flights.Select(flight => flight.Origin) },
            new { name = "scheduled", shape = new[] { flights.Length, 1 }, datatype = flights[0].Scheduled is string ? "BYTES" : "INT64", data = flights.Select(flight => flight.Scheduled) },
            new { name = "distance", shape = new[] { flights.Length }, datatype = "FP32", data = flights.Select(flight => flight.Distance) },
        },
    };

    [Fact, Trait("capability", "SRV-01")]
    public async Task Entity_keys_are_taken_by_every_protocol()
    {
        var at = Departure.ToUnixTimeMilliseconds();
        var expected = Expected(0.25, 17, 733);

        // As bytes behind the JSON.
        const string Json = """{"inputs":[{"name":"origin","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":7}},{"name":"scheduled","shape":[1],"datatype":"INT64","parameters":{"binary_data_size":8}},{"name":"distance","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}""";
        using var binary = new HttpRequestMessage(HttpMethod.Post, $"/v2/models/{ServingHost.Model}/infer")
        {
            Content = new ByteArrayContent([.. Encoding.UTF8.GetBytes(Json), 3, 0, 0, 0, .. "ORD"u8, .. BitConverter.GetBytes(at), .. BitConverter.GetBytes(733f)]),
        };
        binary.Headers.TryAddWithoutValidation("Inference-Header-Content-Length", $"{Json.Length}");
        using var answered = await _host.Area.Client.SendAsync(binary);
        var answer = JsonDocument.Parse(await answered.Content.ReadAsStringAsync()).RootElement;
        Assert.Equal(expected, answer.GetProperty("outputs")[0].GetProperty("data")[0].GetDouble(), precision: 5);

        // Over gRPC, whose messages become the same tensors; the log has the key either way.
        var tensors = new TensorRequest();
        Assert.Null(GrpcTensors.Read(
            new ModelInferRequest
            {
                Inputs =
                {
                    new ModelInferRequest.Types.InferInputTensor { Name = "origin", Datatype = "BYTES", Shape = { 1 }, Contents = new InferTensorContents { BytesContents = { ByteString.CopyFromUtf8("ORD") } } },
                    new ModelInferRequest.Types.InferInputTensor { Name = "scheduled", Datatype = "INT64", Shape = { 1, 1 }, Contents = new InferTensorContents { Int64Contents = { at } } },
                    new ModelInferRequest.Types.InferInputTensor { Name = "distance", Datatype = "FP32", Shape = { 1 }, Contents = new InferTensorContents { Fp32Contents = { 733 } } },
                },
            }, tensors));
        var mine = InferScratch.Mine;
        var outcome = _host.Area.Service<Inference>().Score(mine, ServingHost.Model, null, RequestBody.Of(tensors));
        Assert.Null(outcome.Message);
        Assert.Equal("ORD", Encoding.UTF8.GetString(mine.FirstKey));
        var response = GrpcTensors.Answer(mine, outcome.Arm!);
        Assert.Equal([1L, 1], response.Outputs[0].Shape);
        Assert.Equal(expected, BitConverter.ToSingle(response.RawOutputContents[0].Span), precision: 5);

        // As a frame, in JSON and CSV, with the instant as a number or as text.
        foreach (var (body, type) in new[]
        {
            ($$"""{"dataframe_records":[{"origin":"ORD","scheduled":{{at}},"distance":733}]}""", "application/json"),
            ("origin,scheduled,distance\nORD,2001-05-01T17:30:00Z,733\n", "text/csv"),
        })
        {
            using var content = new StringContent(body, Encoding.UTF8, type);
            using var predicted = await _host.Area.Client.PostAsync("/invocations", content);
            var text = await predicted.Content.ReadAsStringAsync();
            Assert.True(predicted.IsSuccessStatusCode, text);
            Assert.Equal(expected, JsonDocument.Parse(text).RootElement.GetProperty("predictions")[0].GetDouble(), precision: 5);
        }
    }

    private static double Expected(double lateRate, double hour, double distance) => 1 / (1 + Math.Exp(-((4 * lateRate) + (hour / 10) + (distance / 1000))));

    [Fact, Trait("capability", "SRV-01"), Trait("capability", "FEA-02")]
    public async Task Entity_keys_are_completed_by_the_online_store_and_equal_the_same_features_sent_raw()
    {
        var (status, answer) = await _host.InferAsync(Request(("ORD", Departure.ToUnixTimeMilliseconds(), 733), ("LAX", Departure.ToUnixTimeMilliseconds(), 1000)));

        Assert.Equal(200, status);
        var data = answer.GetProperty("outputs")[0].GetProperty("data");
        Assert.Equal(Expected(0.25, 17, 733), data[0].GetDouble(), precision: 5);
        Assert.Equal(Expected(0.75, 17, 1000), data[1].GetDouble(), precision: 5);
        var raw = await _host.InferAsync("""{"inputs":[{"name":"features","shape":[1,3],"datatype":"FP32","data":[0.25,17,733]}]}""");
        Assert.Equal(data[0].GetDouble(), raw.Body.GetProperty("outputs")[0].GetProperty("data")[0].GetDouble());
    }

    [Fact]
    public async Task The_log_keeps_event_time_entity_key_and_the_completed_features()
    {
        Assert.Equal(200, (await _host.InferAsync(Request(("ORD", "2001-05-01T17:30:00Z", 733)))).Status);

        var log = _host.Area.Service<PredictionLog>();
        await log.FlushAsync(default);

        Assert.Equal(Departure, log.Watermark(ServingHost.Model));
        using var database = DuckDbDatabase.OpenInMemory();
        using var connection = database.Connect();
        var row = connection.QueryRows(
            $"SELECT event_ms, entity_key, \"airport:late_rate\", \"flight:hour\", \"flight:distance\" FROM read_parquet('{log.Segments(ServingHost.Model, Departure, Departure.AddHours(1)).Single()}')").Single();
        Assert.Equal([Departure.ToUnixTimeMilliseconds(), "ORD", 0.25, 17.0, 733.0], row);
    }

    [Fact, Trait("capability", "SRV-16")]
    public async Task The_services_key_inputs_keep_a_caller_on_one_version()
    {
        var model = OnnxConverters.LogisticRegression(Features, [0, 0, 0], [1, 1, 1], [4, 0.1, 0.001], 1);
        var second = (await _host.RegisterAsync(model, "lateness", Features)).Version;
        _host.Router.SetCandidate(ServingHost.Model, second, 0.5, shadow: false, "rollout-1");
        var seen = new HashSet<string?>();
        for (var airport = 0; airport < 30; airport++)
        {
            var versions = new HashSet<string?>();
            for (var hour = 0; hour < 3; hour++)
            {
                versions.Add((await _host.InferAsync(Request(($"A{airport}", Departure.AddHours(hour).ToUnixTimeMilliseconds(), 700)))).Body.GetProperty("model_version").GetString());
            }

            seen.Add(Assert.Single(versions));
        }

        Assert.Equal(2, seen.Count);
    }

    [Theory, Trait("capability", "REG-11")]
    [InlineData("""{"inputs":[{"name":"origin","shape":[1],"datatype":"BYTES","data":["ORD"]},{"name":"distance","shape":[1],"datatype":"FP32","data":[733]}]}""", "Input 'scheduled' is missing")]
    [InlineData("""{"inputs":[{"name":"origin","shape":[1],"datatype":"INT64","data":[7]}]}""", "'origin' has datatype INT64; send BYTES.")]
    [InlineData("""{"inputs":[{"name":"scheduled","shape":[1],"datatype":"FP32","data":[7]}]}""", "'scheduled' has datatype FP32; send INT64 or BYTES.")]
    [InlineData("""{"inputs":[{"name":"origin","shape":[1],"datatype":"BYTES","data":[7]}]}""", "'origin'.data[0] is 7; send text of at most 4096 bytes.")]
    [InlineData("""{"inputs":[{"name":"scheduled","shape":[1],"datatype":"INT64","data":[7.5]}]}""", "'scheduled'.data[0] is 7.5; send a whole number that fits INT64.")]
    [InlineData("""{"inputs":[{"name":"origin","shape":[1],"datatype":"BYTES","data":["ORD"]},{"name":"flight:hour","shape":[1],"datatype":"FP32","data":[7]}]}""", "'flight:hour' does not go with the inputs before it")]
    [InlineData("""{"inputs":[{"name":"origin","shape":[1],"datatype":"BYTES","data":["ORD"]},{"name":"scheduled","shape":[1],"datatype":"BYTES","data":["noon"]},{"name":"distance","shape":[1],"datatype":"FP32","data":[733]}]}""", "'scheduled'.data[0] is 'noon'; send an ISO 8601 time")]
    [InlineData("""{"inputs":[{"name":"origin","shape":[1],"datatype":"BYTES","data":["ORD"]},{"name":"scheduled","shape":[1],"datatype":"INT64","data":[9223372036854775807]},{"name":"distance","shape":[1],"datatype":"FP32","data":[733]}]}""", "'scheduled'")]
    public async Task A_wrong_request_input_is_400_with_the_field_and_the_fix(string body, string expected)
    {
        var (status, answer) = await _host.InferAsync(body);

        Assert.Equal(400, status);
        Assert.Contains(expected, answer.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(4096, "A", 200)]
    [InlineData(4097, "A", 400)]
    [InlineData(2049, "é", 400)]
    [InlineData(3_000_000, "A", 400)]
    public async Task A_key_has_at_most_as_many_bytes_as_are_kept_of_it(int length, string letter, int expected)
    {
        var (status, answer) = await _host.InferAsync(Request((string.Concat(Enumerable.Repeat(letter, length)), Departure.ToUnixTimeMilliseconds(), 733)));

        Assert.Equal(expected, status);
        Assert.True(status == 200 || answer.GetProperty("error").GetString()!.EndsWith("send text of at most 4096 bytes.", StringComparison.Ordinal), answer.ToString());
    }

    [Fact, Trait("capability", "SRV-04")]
    public async Task The_contract_names_the_inputs_and_its_example_is_answered()
    {
        var (_, body) = await _host.Area.GetAsync($"/api/slipway/v1/models/{ServingHost.Model}/versions/1.0.0/contract");
        var contract = body.Deserialize<InferenceContract>(JsonDefaults.Options)!;

        Assert.Equal(
            [("origin", "BYTES", true, false), ("scheduled", "INT64", false, true), ("distance", "FP32", false, false)],
            contract.RequestInputs.Select(input => (input.Name, input.Datatypes[0], input.EntityKey, input.EventTime)));
        var (status, answer) = await _host.InferAsync(contract.ExampleRequest.ToJsonString(), contract.Path);
        Assert.Equal(200, status);
        Assert.Equal(Expected(0.25, 8, 500), answer.GetProperty("outputs")[0].GetProperty("data")[0].GetDouble(), tolerance: 0.2);
    }

    [Fact]
    public async Task How_old_the_features_were_is_answered_on_request_and_logged()
    {
        var (status, plain) = await _host.InferAsync(Request(("ORD", Departure.ToUnixTimeMilliseconds(), 700)));
        Assert.Equal(200, status);

        // The rates are of midnight the day before; the hour and the distance are the request's own.
        var age = (long)TimeSpan.FromHours(41.5).TotalMilliseconds;
        Assert.Equal(age, plain.GetProperty("parameters").GetProperty("feature_age_max_ms").GetInt64());
        Assert.Single(plain.GetProperty("outputs").EnumerateArray());

        var flights = Request(("LAX", Departure.ToUnixTimeMilliseconds(), 700), ("ZZZ", Departure.ToUnixTimeMilliseconds(), 700));
        var asked = JsonSerializer.SerializeToNode(flights)!;
        asked["parameters"] = new System.Text.Json.Nodes.JsonObject { ["feature_ages"] = true };
        var (_, answer) = await _host.InferAsync(asked);
        var ages = answer.GetProperty("outputs")[1];
        Assert.Equal(("feature_age_ms", "INT64", "[2,3]"), (ages.GetProperty("name").GetString(), ages.GetProperty("datatype").GetString(), ages.GetProperty("shape").GetRawText()));
        Assert.Equal([age, 0, 0, -1, 0, 0], ages.GetProperty("data").EnumerateArray().Select(value => value.GetInt64()));
        asked["parameters"]!["feature_ages"] = 1;
        var (refused, why) = await _host.InferAsync(asked);
        Assert.Equal(400, refused);
        Assert.Contains("'parameters.feature_ages' is neither true nor false", why.GetProperty("error").GetString(), StringComparison.Ordinal);

        // Features that the request brings have no age.
        var (_, own) = await _host.InferAsync(new { inputs = new[] { new { name = "features", shape = new[] { 1, 3 }, datatype = "FP32", data = new[] { 0.5f, 8, 700 } } } });
        Assert.False(own.GetProperty("parameters").TryGetProperty("feature_age_max_ms", out _));

        var log = _host.Area.Service<PredictionLog>();
        await log.FlushAsync(TestContext.Current.CancellationToken);
        var files = string.Join(", ", log.Segments(ServingHost.Model, DateTimeOffset.MinValue, DateTimeOffset.MaxValue).Select(DuckDbLiteral.Quote));
        var rows = PredictionLogTests.Query($"SELECT \"age_s:airport:late_rate\", \"age_s:flight:hour\", \"flight:hour\" FROM read_parquet([{files}], union_by_name = true) ORDER BY ALL NULLS LAST");
        Assert.Equal([[149_400, 0, 17.0], [149_400, 0, 17.0], [null, 0, 17.0], [null, null, 8.0]], rows);
    }
}
