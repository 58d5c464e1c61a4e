using System.Buffers;
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Native.DuckDb;
using Slipway.Serving.Labels;
using Slipway.Serving.Predictions;
using Slipway.Serving.Protocol;

namespace Slipway.Tests.Serving;

[Trait("database", "none")]
public sealed class InferenceTests
{
    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    private static double Probability(JsonElement answer, int row = 0) => answer.GetProperty("outputs")[0].GetProperty("data")[row].GetDouble();

    [Fact, Trait("capability", "SRV-01")]
    public async Task The_production_alias_answers_with_a_probability_and_the_version_that_gave_it()
    {
        await using var host = await ServingHost.StartServingAsync();

        foreach (var path in new[] { $"/v2/models/{ServingHost.Model}/infer", $"/v2/models/{ServingHost.Model}/versions/production/infer" })
        {
            var (status, answer) = await host.InferAsync(ServingHost.Matrix(733, 8), path);

            Assert.Equal(200, status);
            Assert.Equal((ServingHost.Model, "1.0.0"), (answer.GetProperty("model_name").GetString(), answer.GetProperty("model_version").GetString()));
            Assert.Equal(Sigmoid(0.733), Probability(answer), precision: 5);
            var output = answer.GetProperty("outputs")[0];
            Assert.Equal(("probability", "FP32", "[1,1]"), (output.GetProperty("name").GetString(), output.GetProperty("datatype").GetString(), output.GetProperty("shape").GetRawText()));
            var parameters = answer.GetProperty("parameters");
            Assert.Equal("stable", parameters.GetProperty("arm").GetString());
            Assert.Equal(7, Guid.Parse(parameters.GetProperty("prediction_id").GetString()!).Version);
        }
    }

    [Fact, Trait("capability", "SRV-01")]
    public async Task A_version_named_in_the_path_answers_and_counts_for_no_arm()
    {
        await using var host = await ServingHost.StartServingAsync();
        var staged = await host.RegisterAsync(intercept: 2);

        var (status, answer) = await host.InferAsync(ServingHost.Matrix(733, 8), $"/v2/models/{ServingHost.Model}/versions/{staged.Version}/infer");

        Assert.Equal(200, status);
        Assert.Equal((staged.Version, "direct"), (answer.GetProperty("model_version").GetString(), answer.GetProperty("parameters").GetProperty("arm").GetString()));
        Assert.Equal(Sigmoid(2.733), Probability(answer), precision: 5);
        Assert.Equal(0, host.Router.Statistics(ServingHost.Model, "1.0.0").Snapshot().Requests);
    }

    [Theory]
    [InlineData("""{"inputs":[{"name":"features","shape":[2,2],"datatype":"FP32","data":[100,1,200,2]}]}""")]
    [InlineData("""{"inputs":[{"data":[[100,1],[200,2]],"datatype":"FP32","shape":[2,2],"name":"features"}]}""")]
    [InlineData("""{"unknown":{"a":[1]},"inputs":[{"name":"calendar:hour","shape":[2],"datatype":"FP32","data":[1,2]},{"name":"flight:distance","shape":[2,1],"datatype":"FP32","data":[[1e2],[200.0]],"parameters":{"a":1}}],"outputs":[{"name":"probability"}]}""")]
    public async Task Features_come_as_one_tensor_or_one_per_feature_nested_or_flat_in_any_order(string body)
    {
        await using var host = await ServingHost.StartServingAsync();

        var (status, answer) = await host.InferAsync(body);

        Assert.Equal(200, status);
        Assert.Equal([Sigmoid(0.1), Sigmoid(0.2)], [Math.Round(Probability(answer, 0), 6), Math.Round(Probability(answer, 1), 6)], (a, b) => Math.Abs(a - b) < 1e-5);
    }

    [Fact]
    public async Task Features_that_are_nested_otherwise_than_their_shape_are_refused()
    {
        await using var host = await ServingHost.StartServingAsync();
        foreach (var (shape, data, expected) in new[]
        {
            ("[1,2]", "[[1],[2]]", "'features'.data[0] holds 1 value, but its shape is [1, 2]; send the values flat, or nested as the shape says."),
            ("[2,2]", "[[1,2,3],[4]]", "'features'.data[0] holds more than 2 values, but its shape is [2, 2]"),
            ("[2,2]", "[[1,2],[3]]", "'features'.data[1] holds 1 value, but"),
            ("[2,2]", "[[1,2]]", "'features'.data holds 1 list, but"),
            ("[2,2]", "[[1,2],[3,4],[]]", "'features'.data holds more than 2 lists, but"),
            ("[2,2]", "[[],[1,2],[3,4]]", "'features'.data[0] holds 0 values, but"),
            ("[2,2]", "[1,2,[3,4]]", "'features'.data[2] is a list, but"),
            ("[2,2]", "[[1,2],3,4]", "'features'.data[1] is no list, but"),
            ("[2,2]", "[[1,2,[3,4]]]", "'features'.data[0] holds a list, but"),
            ("[2,2]", "[[[1,2],[3,4]]]", "'features'.data[0] holds a list, but"),
        })
        {
            await RefusedAsync($$"""{"inputs":[{"name":"features","shape":{{shape}},"datatype":"FP32","data":{{data}}}]}""", expected);
        }

        const string Hour = """{"name":"calendar:hour","shape":[2],"datatype":"FP32","data":[1,2]}""";
        await RefusedAsync($$"""{"inputs":[{"name":"flight:distance","shape":[2],"datatype":"FP32","data":[[1],[2]]},{{Hour}}]}""", "'flight:distance'.data[0] is a list, but its shape is [2]");
        await RefusedAsync($$"""{"inputs":[{"name":"flight:distance","shape":[2,1],"datatype":"FP32","data":[[1,2]]},{{Hour}}]}""", "'flight:distance'.data[0] holds more than 1 value, but its shape is [2, 1]");
        Assert.Equal(200, (await host.InferAsync($$"""{"inputs":[{"name":"flight:distance","shape":[2,1],"datatype":"FP32","data":[1,2]},{{Hour}}]}""")).Status);

        async Task RefusedAsync(string body, string expected)
        {
            var (status, answer) = await host.InferAsync(body);
            Assert.Equal(400, status);
            Assert.Contains(expected, answer.GetProperty("error").GetString(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_short_way_takes_no_memory()
    {
        await using var host = await ServingHost.StartServingAsync(options => options.LogRequestsMax = 64);
        var inference = host.Area.Service<Inference>();
        var body = new RequestBody(new ReadOnlySequence<byte>(JsonSerializer.SerializeToUtf8Bytes(ServingHost.Matrix(733, 8))), null, null);
        long Run(int requests)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < requests; i++)
            {
                var mine = InferScratch.Mine;
                var outcome = inference.Score(mine, ServingHost.Model, inference.Named(ServingHost.Model, null), body);
                JsonAnswer.Mine.Write(mine, outcome.Arm!);
                inference.Complete(mine, outcome);
                mine.Release();
            }

            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Run(2000); // Buffers and the log's ring are made by the first requests.

        Assert.Equal(0, Run(2000));
    }

    [Fact]
    public async Task Unknown_models_and_versions_are_404_and_models_without_production_say_so()
    {
        await using var host = await ServingHost.StartAsync();
        var (status, answer) = await host.InferAsync(ServingHost.Matrix(1, 2));
        Assert.Equal(404, status);
        Assert.Contains("Request for unknown model: 'flight-delay'", answer.GetProperty("error").GetString(), StringComparison.Ordinal);

        await host.RegisterAsync();
        (status, answer) = await host.InferAsync(ServingHost.Matrix(1, 2));
        Assert.Equal(404, status);
        Assert.Contains("has no version in production", answer.GetProperty("error").GetString(), StringComparison.Ordinal);

        Assert.Equal(404, (await host.InferAsync(ServingHost.Matrix(1, 2), $"/v2/models/{ServingHost.Model}/versions/9.9.9/infer")).Status);

        (status, answer) = await host.InferAsync(ServingHost.Matrix(1, 2), $"/v2/models/{ServingHost.Model}/versions/{new string('9', 2000)}/infer");
        Assert.Equal(404, status);
        Assert.Contains($"'flight-delay' has no version '{new string('9', 80)}…';", answer.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_body_over_the_limit_is_413_with_and_without_a_declared_length_and_compressed()
    {
        await using var host = await ServingHost.StartServingAsync(options => options.BodyBytesMax = 1000);
        var body = Encoding.UTF8.GetBytes("{\"inputs\": [" + new string(' ', 5000) + "]}");

        Assert.Equal(413, await SendAsync(host, new ByteArrayContent(body), chunked: false));
        Assert.Equal(413, await SendAsync(host, new ByteArrayContent(body), chunked: true));
        Assert.Equal(413, await SendAsync(host, Compressed(body, "gzip"), chunked: false));
    }

    [Fact]
    public async Task A_large_body_arrives_in_pieces_and_compressed_bodies_are_read()
    {
        await using var host = await ServingHost.StartServingAsync();
        // More than is copied into one piece.
        var values = Enumerable.Range(0, 400_000).Select(i => (float)(i % 977)).ToArray();
        var body = JsonSerializer.SerializeToUtf8Bytes(ServingHost.Matrix(values));

        Assert.True(body.Length > 1 << 20);

        foreach (var content in new HttpContent[] { new ByteArrayContent(body), Compressed(body, "gzip"), Compressed(body, "deflate") })
        {
            using (content)
            {
                using var response = await host.Area.Client.PostAsync($"/v2/models/{ServingHost.Model}/infer", content);
                Assert.Equal(HttpStatusCode.OK, response.StatusCode);
                var answer = JsonDocument.Parse(await response.Content.ReadAsStreamAsync()).RootElement;
                Assert.Equal(200_000, answer.GetProperty("outputs")[0].GetProperty("data").GetArrayLength());
                Assert.Equal(Sigmoid(values[399_998] / 1000), Probability(answer, 199_999), precision: 5);
            }
        }

        Assert.Equal(400, await SendAsync(host, new ByteArrayContent(body) { Headers = { ContentEncoding = { "gzip" } } }, chunked: false));
        Assert.Equal(400, await SendAsync(host, new ByteArrayContent(body) { Headers = { ContentEncoding = { "br" } } }, chunked: false));
    }

    [Fact]
    public async Task Health_metadata_and_readiness_speak_the_protocol()
    {
        await using var host = await ServingHost.StartServingAsync();

        Assert.Equal(200, (await host.Area.GetAsync("/v2/health/live")).Status);
        Assert.Equal(200, (await host.Area.GetAsync("/v2/health/ready")).Status);
        Assert.Equal("slipway", (await host.Area.GetAsync("/v2")).Body.GetProperty("name").GetString());
        Assert.Equal(200, (await host.Area.GetAsync($"/v2/models/{ServingHost.Model}/ready")).Status);
        Assert.Equal(404, (await host.Area.GetAsync("/v2/models/nothing/ready")).Status);
        var metadata = (await host.Area.GetAsync($"/v2/models/{ServingHost.Model}")).Body;
        Assert.Equal("""[{"name":"features","datatype":"FP32","shape":[-1,2]}]""", metadata.GetProperty("inputs").GetRawText());
        Assert.Equal("""["1.0.0"]""", metadata.GetProperty("versions").GetRawText());
        Assert.Equal("""[{"name":"probability","datatype":"FP32","shape":[-1,1]}]""", metadata.GetProperty("outputs").GetRawText());
    }

    [Fact]
    public async Task Metadata_and_errors_are_never_compressed()
    {
        await using var host = await ServingHost.StartServingAsync();
        foreach (var path in new[] { $"/v2/models/{ServingHost.Model}", "/v2/models/nothing" })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path);
            request.Headers.AcceptEncoding.Add(new StringWithQualityHeaderValue("gzip"));
            using var response = await host.Area.Client.SendAsync(request);
            Assert.Empty(response.Content.Headers.ContentEncoding);
        }
    }

    [Fact, Trait("capability", "SRV-04")]
    public async Task The_contract_of_a_version_comes_with_an_example_that_the_version_answers()
    {
        await using var host = await ServingHost.StartServingAsync();

        var (status, body) = await host.Area.GetAsync($"/api/slipway/v1/models/{ServingHost.Model}/versions/1.0.0/contract");
        var contract = body.Deserialize<InferenceContract>(JsonDefaults.Options)!;
        var (answered, answer) = await host.InferAsync(contract.ExampleRequest.ToJsonString(), contract.Path);

        Assert.Equal((200, 200), (status, answered));
        Assert.Equal(ServingFixtures.TwoFeatures, contract.Features.Select(feature => feature.Name));
        Assert.Equal(contract.Output.Name, answer.GetProperty("outputs")[0].GetProperty("name").GetString());
        Assert.Equal("example-request-1", answer.GetProperty("id").GetString());
    }

    [Fact]
    public async Task Prediction_ids_are_the_requests_own_when_they_look_unique_and_rows_of_a_batch_are_numbered()
    {
        await using var host = await ServingHost.StartServingAsync();
        async Task<(string Id, string Prediction)> Ask(string id, params float[] values)
        {
            var body = JsonSerializer.SerializeToNode(ServingHost.Matrix(values))!;
            body["id"] = id;
            var answer = (await host.InferAsync(body.ToJsonString())).Body;
            return (answer.GetProperty("id").GetString()!, answer.GetProperty("parameters").GetProperty("prediction_id").GetString()!);
        }

        Assert.Equal(("flight-2001-05-01-17", "flight-2001-05-01-17"), await Ask("flight-2001-05-01-17", 1, 2, 3, 4));
        var (echoed, own) = await Ask("1", 1, 2);
        Assert.Equal("1", echoed);
        Assert.NotEqual("1", own);

        var log = host.Area.Service<PredictionLog>();
        await log.FlushAsync(CancellationToken.None);
        var now = TimeProvider.System.GetUtcNow();
        var ids = Query($"SELECT prediction_id, entity_key, \"flight:distance\" FROM read_parquet('{log.Segments(ServingHost.Model, now.AddHours(-1), now.AddHours(1)).Single()}') ORDER BY 3, 1");
        Assert.Equal(3, ids.Count);
        Assert.Contains(ids, row => (string)row[0]! == "flight-2001-05-01-17#0" && (double)row[2]! == 1);
        Assert.Contains(ids, row => (string)row[0]! == "flight-2001-05-01-17#1" && (double)row[2]! == 3);
        Assert.Contains(ids, row => (string)row[0]! == own);
    }

    [Fact, Trait("capability", "MON-03")]
    public async Task Labels_sent_over_http_join_the_prediction_by_its_id()
    {
        await using var host = await ServingHost.StartServingAsync();
        var id = (await host.InferAsync(ServingHost.Matrix(733, 8))).Body.GetProperty("parameters").GetProperty("prediction_id").GetString();

        var (status, answer) = await host.Area.PostAsync($"/v2/models/{ServingHost.Model}/labels", new { labels = new[] { new { id, label = true, observed_at = "2001-05-02T00:00:00Z" } } });

        Assert.Equal((200, 1), (status, answer.GetProperty("stored").GetInt32()));
        var log = host.Area.Service<PredictionLog>();
        var labels = host.Area.Service<LabelLog>();
        await log.FlushAsync(CancellationToken.None);
        await labels.FlushAsync(CancellationToken.None);
        var now = TimeProvider.System.GetUtcNow();
        var row = Assert.Single(Query(
            $"SELECT p.output, l.label FROM read_parquet('{log.Segments(ServingHost.Model, now.AddHours(-1), now.AddHours(1)).Single()}') p JOIN read_parquet('{labels.Segments(ServingHost.Model).Single()}') l USING (prediction_id)"));
        Assert.Equal(Sigmoid(0.733), (double)row[0]!, precision: 5);
        Assert.Equal(1.0, row[1]);
    }

    [Theory]
    [InlineData("""{"labels":[]}""", "'labels' holds 0 entries")]
    [InlineData("""{"labels":[{"label":1}]}""", "labels[0].id is missing")]
    [InlineData("""{"labels":[{"id":"p","label":"late"}]}""", "labels[0].label is not a finite number")]
    public async Task A_wrong_label_request_is_400_with_the_field_and_stores_nothing(string body, string expected)
    {
        await using var host = await ServingHost.StartServingAsync();

        var (status, answer) = await host.Area.PostAsync($"/v2/models/{ServingHost.Model}/labels", body);

        Assert.Equal(400, status);
        Assert.Contains(expected, answer.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Empty(host.Area.Service<LabelLog>().Segments(ServingHost.Model));
    }

    private static IReadOnlyList<object?[]> Query(string sql)
    {
        using var database = DuckDbDatabase.OpenInMemory();
        using var connection = database.Connect();
        return connection.QueryRows(sql);
    }

    private static ByteArrayContent Compressed(byte[] body, string encoding)
    {
        using var buffer = new MemoryStream();
        using (Stream stream = encoding == "gzip" ? new GZipStream(buffer, CompressionMode.Compress, leaveOpen: true) : new ZLibStream(buffer, CompressionMode.Compress, leaveOpen: true))
        {
            stream.Write(body);
        }

        return new ByteArrayContent(buffer.ToArray()) { Headers = { ContentEncoding = { encoding } } };
    }

    private static async Task<int> SendAsync(ServingHost host, HttpContent content, bool chunked)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/v2/models/{ServingHost.Model}/infer") { Content = content };
        request.Headers.TransferEncodingChunked = chunked;
        using var response = await host.Area.Client.SendAsync(request);
        Assert.Contains("error", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        return (int)response.StatusCode;
    }
}
