using System.IO.Compression;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Slipway.Tests.Hosting;
using Slipway.Tracking;
using Slipway.Tracking.Traces;

namespace Slipway.Tests.Tracking.Traces;

public sealed class OtlpApiTests : IAsyncLifetime
{
    private const string TraceId = "0af7651916cd43dd8448eb211c80319c";
    private const string Root = "b7ad6b7169203331";
    private const string Child = "00f067aa0ba902b7";
    private const string Protobuf = "application/x-protobuf";

    private AreaHost _host = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "TRK-18")]
    public async Task A_protobuf_export_becomes_a_trace_named_timed_and_previewed_by_its_root_span()
    {
        var (status, type, body) = await Send(OtlpBytes.Request(RootSpan(), ChildSpan()));

        Assert.Equal((200, Protobuf, 0), (status, type, body.Length));
        var (_, answer) = await _host.GetAsync($"/api/3.0/mlflow/traces/tr-{TraceId}");
        var info = answer.GetProperty("trace").GetProperty("trace_info");
        Assert.Equal("0", info.GetProperty("trace_location").GetProperty("mlflow_experiment").GetProperty("experiment_id").GetString());
        Assert.Equal("2023-11-14T22:13:20Z", info.GetProperty("request_time").GetString());
        Assert.Equal("1.500s", info.GetProperty("execution_duration").GetString());
        Assert.Equal("OK", info.GetProperty("state").GetString());
        Assert.Equal("answer", info.GetProperty("tags").GetProperty("mlflow.traceName").GetString());
        Assert.Equal("TRACKING_STORE", info.GetProperty("tags").GetProperty("mlflow.trace.spansLocation").GetString());
        Assert.Equal("""{"question":"why?"}""", info.GetProperty("request_preview").GetString());
        Assert.Equal("because", info.GetProperty("response_preview").GetString());
    }

    [Fact]
    public async Task Spans_are_read_back_with_every_kind_of_value()
    {
        var list = new OtlpBytes().Message(5, new OtlpBytes().Message(1, new OtlpBytes().Text(1, "a")).Message(1, new OtlpBytes().Varint(3, 7)));
        var span = RootSpan()
            .Attribute(9, "count", new OtlpBytes().Varint(3, unchecked((ulong)-5)))
            .Attribute(9, "ratio", new OtlpBytes().Double(4, 0.25))
            .Attribute(9, "not a number", new OtlpBytes().Double(4, double.NaN))
            .Attribute(9, "yes", new OtlpBytes().Varint(2, 1))
            .Attribute(9, "list", list)
            .Attribute(9, "map", new OtlpBytes().Message(6, new OtlpBytes().Attribute(1, "k", "v")))
            .Attribute(9, "raw", new OtlpBytes().Bytes(7, [1, 2, 3]))
            .Attribute(9, "nothing", new OtlpBytes())
            .Message(11, new OtlpBytes().Fixed64(1, 1_700_000_000_100_000_000).Text(2, "exception").Attribute(3, "exception.type", "Broken"))
            .Message(13, new OtlpBytes().Bytes(1, Convert.FromHexString(TraceId)).Bytes(2, Convert.FromHexString(Child)).Attribute(4, "why", "retry"));
        await Send(OtlpBytes.Request(span));

        var (_, file) = await _host.GetAsync($"/ajax-api/2.0/mlflow/get-trace-artifact?request_id=tr-{TraceId}");
        var (_, batch) = await _host.GetAsync($"/api/3.0/mlflow/traces/batchGet?trace_ids=tr-{TraceId}&trace_ids=tr-none");
        var (_, one) = await _host.GetAsync($"/api/3.0/mlflow/traces/get?trace_id=tr-{TraceId}");

        var kept = Assert.Single(file.GetProperty("spans").EnumerateArray());
        Assert.Equal(Convert.ToBase64String(Convert.FromHexString(TraceId)), kept.GetProperty("trace_id").GetString());
        Assert.Equal("STATUS_CODE_OK", kept.GetProperty("status").GetProperty("code").GetString());
        Assert.Equal(1_700_000_001_500_000_000, kept.GetProperty("end_time_unix_nano").GetInt64());
        var attributes = kept.GetProperty("attributes");
        Assert.Equal(
            ["-5", "0.25", "\"NaN\"", "true", """["a",7]""", """{"k":"v"}""", "\"AQID\"", "null", $"\"tr-{TraceId}\""],
            new[] { "count", "ratio", "not a number", "yes", "list", "map", "raw", "nothing", "mlflow.traceRequestId" }.Select(key => attributes.GetProperty(key).GetString()));
        Assert.Equal("Broken", kept.GetProperty("events")[0].GetProperty("attributes").GetProperty("exception.type").GetString());
        Assert.Equal(Child, kept.GetProperty("links")[0].GetProperty("span_id").GetString());

        var sent = Assert.Single(Assert.Single(batch.GetProperty("traces").EnumerateArray()).GetProperty("spans").EnumerateArray());
        Assert.Equal(one.GetProperty("trace").GetProperty("spans")[0].GetRawText().Replace(" ", "", StringComparison.Ordinal), sent.GetRawText().Replace(" ", "", StringComparison.Ordinal));
        var values = sent.GetProperty("attributes").EnumerateArray().ToDictionary(item => item.GetProperty("key").GetString()!, item => item.GetProperty("value"));
        Assert.Equal(-5, values["count"].GetProperty("int_value").GetInt64());
        Assert.Equal(0.25, values["ratio"].GetProperty("double_value").GetDouble());
        Assert.Equal("a", values["list"].GetProperty("array_value").GetProperty("values")[0].GetProperty("string_value").GetString());
        Assert.Equal("k", values["map"].GetProperty("kvlist_value").GetProperty("values")[0].GetProperty("key").GetString());
        Assert.Equal("exception", sent.GetProperty("events")[0].GetProperty("name").GetString());
    }

    [Fact]
    public async Task The_same_export_in_JSON_and_compressed_means_the_same()
    {
        await Send(OtlpBytes.Request(RootSpan()));
        var fromProtobuf = Spans(TraceId);
        const string Other = "11111111111111111111111111111111";
        var json = Json(Other);

        var (status, type, body) = await Send(Encoding.UTF8.GetBytes(json), "application/json; charset=utf-8", encoding: "gzip");
        await Send(OtlpBytes.Request(OtlpBytes.Span("22222222222222222222222222222222", Root, null, "deflated", 1, 2)), encoding: "deflate");
        await Send(OtlpBytes.Request(OtlpBytes.Span("33333333333333333333333333333333", Root, null, "deflated", 1, 2)), encoding: "raw deflate");

        Assert.Equal((200, "application/json", "{}"), (status, type, Encoding.UTF8.GetString(body)));
        Assert.Equal(Comparable(fromProtobuf, TraceId), Comparable(Spans(Other), Other));
        Assert.Equal(4, _host.Service<TraceStore>().Search(new TraceSearch(["0"])).Items.Count);
    }

    [Fact]
    public async Task Spans_of_one_trace_may_come_one_by_one_in_any_order_and_twice()
    {
        await Send(OtlpBytes.Request(ChildSpan()));
        var early = _host.Service<TraceStore>().Get("tr-" + TraceId);
        await Send(OtlpBytes.Request(RootSpan()));
        await Send(OtlpBytes.Request(RootSpan()));
        await Send(OtlpBytes.Request(ChildSpan(), RootSpan()));

        var late = _host.Service<TraceStore>().Get("tr-" + TraceId);

        Assert.Equal(("IN_PROGRESS", null, 1_700_000_000_500, 500L), (early.State, early.Name, early.RequestTimeMs, early.DurationMs!.Value));
        Assert.Equal(("OK", "answer", 1_700_000_000_000, 1500L), (late.State, late.Name, late.RequestTimeMs, late.DurationMs!.Value));
        Assert.Equal(2, Spans(TraceId).Count);
        Assert.Equal(2L, _host.Read(connection => Dapper.SqlMapper.ExecuteScalar<long>(connection, "SELECT count(*) FROM spans")));
    }

    [Fact]
    public async Task A_root_that_failed_fails_the_trace_and_GenAI_conventions_give_a_span_its_type()
    {
        await Send(OtlpBytes.Request(
            OtlpBytes.Span(TraceId, Root, null, "chat gpt", 1, 2, status: 2).Attribute(9, "gen_ai.operation.name", "chat").Attribute(9, "gen_ai.request.model", "gpt-4")));

        Assert.Equal("ERROR", _host.Service<TraceStore>().Get("tr-" + TraceId).State);
        var found = _host.Service<TraceStore>().Search(new TraceSearch(["0"], "span.type = 'CHAT_MODEL' AND span.status = 'ERROR' AND span.attributes.gen_ai.request.model = 'gpt-4'"));
        Assert.Equal("it broke", Spans(TraceId)[0].GetProperty("status").GetProperty("message").GetString());
        Assert.Single(found.Items);
    }

    [Fact]
    public async Task What_a_client_states_of_its_trace_is_not_changed_by_spans_that_come_later()
    {
        await _host.PostAsync("/api/3.0/mlflow/traces", new
        {
            trace = new
            {
                trace_info = new
                {
                    trace_id = "tr-" + TraceId,
                    trace_location = new { type = "MLFLOW_EXPERIMENT", mlflow_experiment = new { experiment_id = "0" } },
                    request_time = "2020-01-01T00:00:00Z",
                    execution_duration = "2s",
                    state = "ERROR",
                    request_preview = "mine",
                },
            },
        });
        await Send(OtlpBytes.Request(RootSpan()));

        var trace = _host.Service<TraceStore>().Get("tr-" + TraceId);

        Assert.Equal(("ERROR", 1_577_836_800_000, 2000L, "mine", "because"), (trace.State, trace.RequestTimeMs, trace.DurationMs!.Value, trace.RequestPreview, trace.ResponsePreview));
        Assert.Single(Spans(TraceId));
    }

    [Fact]
    public async Task Spans_that_cannot_be_taken_are_counted_in_the_answer_and_the_others_are_kept()
    {
        var (status, _, body) = await Send(OtlpBytes.Request(
            RootSpan(),
            new OtlpBytes().Bytes(1, [1, 2]).Bytes(2, Convert.FromHexString(Root)).Text(5, "short id"),
            OtlpBytes.Span(TraceId, Child, Root, "backwards", 5, 4)));
        var (_, _, json) = await Send("""{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","spanId":"00","name":"x"}]}]}]}"""u8.ToArray(), "application/json");

        Assert.Equal(200, status);
        // partial_success (field 1) { rejected_spans (field 1) = 2, error_message (field 2) }.
        Assert.Equal([(byte)0x0A, (byte)(body.Length - 2), 0x08, 2, 0x12, (byte)(body.Length - 6)], body[..6]);
        Assert.Contains("'trace_id' must be 16 bytes", Encoding.UTF8.GetString(body), StringComparison.Ordinal);
        Assert.Equal("1", JsonDocument.Parse(json).RootElement.GetProperty("partialSuccess").GetProperty("rejectedSpans").GetString());
        Assert.Single(Spans(TraceId));
    }

    [Theory]
    [InlineData(null, Protobuf, "", 400, "x-mlflow-experiment-id")]
    [InlineData("99", Protobuf, "", 404, "99")]
    [InlineData("abc", Protobuf, "", 404, "abc")]
    [InlineData("0", "text/plain", "", 400, "Content-Type")]
    [InlineData("0", null, "", 400, "Content-Type")]
    [InlineData("0", Protobuf, "gzip as is", 400, "Content-Encoding")]
    [InlineData("0", Protobuf, "br as is", 400, "Content-Encoding")]
    public async Task A_request_that_is_wrong_outside_its_body_says_where(string? experiment, string? type, string encoding, int status, string named)
    {
        var answer = await Send(OtlpBytes.Request(RootSpan()), type, experiment, encoding);

        Assert.Equal(status, answer.Status);
        Assert.Contains(named, JsonDocument.Parse(answer.Body).RootElement.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Null(_host.Service<TraceStore>().Find("tr-" + TraceId));
    }

    [Theory]
    [InlineData("""[]""")]
    [InlineData("""{"resourceSpans":1}""")]
    [InlineData("""{"resourceSpans":[1]}""")]
    [InlineData("""{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}""")]
    [InlineData("""{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"\ud800"}]}]}]}""")]
    [InlineData("""{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":-1}]}]}]}""")]
    [InlineData("""{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":{"intValue":"x"}}]}]}]}]}""")]
    [InlineData("""{"resourceSpans":""")]
    public async Task A_JSON_body_of_another_shape_is_refused(string body)
    {
        Assert.Equal(400, (await Send(Encoding.UTF8.GetBytes(body), "application/json")).Status);
    }

    [Fact]
    public async Task A_cut_off_or_scrambled_protobuf_body_is_refused_or_taken_but_never_breaks_the_server()
    {
        var whole = OtlpBytes.Request(RootSpan(), ChildSpan());
        var random = new Random(20251119);
        for (var i = 0; i < 300; i++)
        {
            var bytes = whole[..(i < 100 ? random.Next(whole.Length) : whole.Length)];
            for (var flips = i < 100 ? 0 : random.Next(1, 8); flips > 0; flips--)
            {
                bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            }

            var (status, _, _) = await Send(bytes);

            Assert.True(status is 200 or 400, $"Answered {status} to {Convert.ToHexString(bytes)}.");
        }
    }

    [Fact]
    public async Task An_attribute_that_nests_without_end_is_refused()
    {
        var value = new OtlpBytes().Text(1, "deep");
        for (var i = 0; i < 5000; i++)
        {
            value = new OtlpBytes().Message(5, new OtlpBytes().Message(1, value));
        }

        var (status, _, body) = await Send(OtlpBytes.Request(RootSpan().Attribute(9, "deep", value)));

        Assert.Equal(400, status);
        Assert.Contains("nests", Encoding.UTF8.GetString(body), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_small_body_that_inflates_without_end_is_refused_as_too_large()
    {
        using var bomb = new MemoryStream();
        using (var gzip = new GZipStream(bomb, CompressionLevel.Fastest, leaveOpen: true))
        {
            var zeros = new byte[1024 * 1024];
            for (var i = 0; i < 80; i++)
            {
                gzip.Write(zeros);
            }
        }

        var (status, _, _) = await Send(bomb.ToArray(), encoding: "gzip as is");

        Assert.True(bomb.Length < 2_000_000);
        Assert.Equal(413, status);
    }

    [Fact]
    public async Task Spans_for_a_trace_of_another_experiment_are_refused()
    {
        var (_, created) = await _host.PostAsync("/api/2.0/mlflow/experiments/create", new { name = "other" });
        await Send(OtlpBytes.Request(RootSpan()));

        var (status, _, _) = await Send(OtlpBytes.Request(ChildSpan()), experiment: created.GetProperty("experiment_id").GetString());

        Assert.Equal(400, status);
        Assert.Single(Spans(TraceId));
    }

    [Fact]
    public async Task A_deleted_experiment_takes_no_spans()
    {
        var (_, created) = await _host.PostAsync("/api/2.0/mlflow/experiments/create", new { name = "gone" });
        var id = created.GetProperty("experiment_id").GetString();
        await Send(OtlpBytes.Request(RootSpan()), experiment: id);
        await _host.PostAsync("/api/2.0/mlflow/experiments/delete", new { experiment_id = id });

        Assert.Equal(400, (await Send(OtlpBytes.Request(ChildSpan()), experiment: id)).Status);
        // As in MLflow, the traces it has stay readable.
        Assert.Equal(200, (await _host.GetAsync($"/api/3.0/mlflow/traces/tr-{TraceId}")).Status);
    }

    private static OtlpBytes RootSpan() => OtlpBytes.Span(TraceId, Root, null, "answer", 1_700_000_000, 1_700_000_001.5, status: 1)
        .Attribute(9, "mlflow.spanType", "AGENT")
        .Attribute(9, "mlflow.spanInputs", new OtlpBytes().Message(6, new OtlpBytes().Attribute(1, "question", "why?")))
        .Attribute(9, "mlflow.spanOutputs", "because");

    private static OtlpBytes ChildSpan() => OtlpBytes.Span(TraceId, Child, Root, "lookup", 1_700_000_000.5, 1_700_000_001).Attribute(9, "mlflow.spanType", "TOOL");

    private static string Json(string traceId) =>
        """
        {"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"scope":{"name":"test"},"spans":[
          {"traceId":"TRACE_ID","spanId":"SPAN_ID","parentSpanId":"","name":"answer","kind":1,"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":1700000001500000000,
           "status":{"code":1},"unknownField":1,
           "attributes":[{"key":"mlflow.spanType","value":{"stringValue":"AGENT"}},
             {"key":"mlflow.spanInputs","value":{"kvlistValue":{"values":[{"key":"question","value":{"stringValue":"why?"}}]}}},
             {"key":"mlflow.spanOutputs","value":{"stringValue":"because"}}]}]}]}]}
        """.Replace("TRACE_ID", traceId, StringComparison.Ordinal).Replace("SPAN_ID", Root.ToUpperInvariant(), StringComparison.Ordinal);

    private IReadOnlyList<JsonElement> Spans(string traceId) => Assert.Single(_host.Service<TraceStore>().GetWithSpans(["tr-" + traceId])).Spans;

    private static IEnumerable<string> Comparable(IEnumerable<JsonElement> spans, string traceId) => spans.Select(span => span.GetRawText()
        .Replace(Convert.ToBase64String(Convert.FromHexString(traceId)), "TRACE", StringComparison.Ordinal).Replace(traceId, "TRACE", StringComparison.Ordinal));

    private async Task<(int Status, string? Type, byte[] Body)> Send(byte[] body, string? type = Protobuf, string? experiment = "0", string encoding = "")
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/traces");
        if (experiment is not null)
        {
            request.Headers.Add("x-mlflow-experiment-id", experiment);
        }

        using var packed = new MemoryStream();
        using (Stream? packer = encoding switch
        {
            "gzip" => new GZipStream(packed, CompressionMode.Compress, leaveOpen: true),
            "deflate" => new ZLibStream(packed, CompressionMode.Compress, leaveOpen: true),
            "raw deflate" => new DeflateStream(packed, CompressionMode.Compress, leaveOpen: true),
            _ => null,
        })
        {
            await (packer ?? packed).WriteAsync(body, Cancel);
        }

        request.Content = new ByteArrayContent(packed.ToArray());
        if (encoding.Length > 0)
        {
            request.Content.Headers.ContentEncoding.Add(encoding.Replace("raw ", "", StringComparison.Ordinal).Split(' ')[0]);
        }

        request.Content.Headers.ContentType = type is null ? null : MediaTypeHeaderValue.Parse(type);
        using var response = await _host.Client.SendAsync(request, Cancel);
        return ((int)response.StatusCode, response.Content.Headers.ContentType?.MediaType, await response.Content.ReadAsByteArrayAsync(Cancel));
    }
}
