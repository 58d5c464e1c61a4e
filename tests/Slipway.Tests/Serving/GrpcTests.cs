using System.IO.Compression;
using System.Net;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Slipway.Contracts.Identity;
using Slipway.Identity;
using Slipway.Identity.Grants;
using Slipway.Native.Onnx;
using Slipway.Serving;
using Slipway.Serving.Grpc;
using Slipway.Storage;

namespace Slipway.Tests.Serving;

/// <summary>The Open Inference Protocol over gRPC, with frames by hand.</summary>
[Trait("database", "none")]
public sealed class GrpcTests(GrpcServer server) : IClassFixture<GrpcServer>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static ModelInferRequest Simple(int rows = 1)
    {
        var request = new ModelInferRequest { ModelName = "simple", Id = "request-1" };
        foreach (var name in (string[])["INPUT0", "INPUT1"])
        {
            request.Inputs.Add(new ModelInferRequest.Types.InferInputTensor { Name = name, Datatype = "INT32", Shape = { rows, 16 } });
            request.RawInputContents.Add(ByteString.CopyFrom(MemoryMarshal.AsBytes<int>(Enumerable.Range(0, rows * 16).ToArray())));
        }

        return request;
    }

    private static ModelInferRequest One(string model, string datatype, long size, InferTensorContents contents, string name = "IN") => new()
    {
        ModelName = model,
        Inputs = { new ModelInferRequest.Types.InferInputTensor { Name = name, Datatype = datatype, Shape = { size }, Contents = contents } },
    };

    [Fact, Trait("capability", "SRV-01")]
    public async Task An_inference_answers_with_bytes_and_who_answered()
    {
        var (status, message, answer) = await server.CallAsync("ModelInfer", Simple(), ModelInferResponse.Parser);

        Assert.True(status == 0, message);
        Assert.Equal(("simple", "1", "request-1", "stable"), (answer!.ModelName, answer.ModelVersion, answer.Id, answer.Parameters["arm"].StringParam));
        Assert.NotEmpty(answer.Parameters["prediction_id"].StringParam);
        Assert.Equal(["OUTPUT0", "OUTPUT1"], answer.Outputs.Select(output => output.Name));
        Assert.Equal(Enumerable.Range(0, 16).Select(i => 2 * i), MemoryMarshal.Cast<byte, int>(answer.RawOutputContents[0].Span).ToArray());

        // Each datatype has its own contents; texts are bytes, and come back so.
        (_, _, answer) = await server.CallAsync("ModelInfer", One("texts", "BYTES", 2, new InferTensorContents { BytesContents = { ByteString.CopyFromUtf8("größer"), ByteString.Empty } }), ModelInferResponse.Parser);
        Assert.Equal([8, 0, 0, 0, .. "größer"u8, 0, 0, 0, 0], answer!.RawOutputContents[0].ToByteArray());
        (_, _, answer) = await server.CallAsync("ModelInfer", One("small", "INT8", 2, new InferTensorContents { IntContents = { -128, 127 } }), ModelInferResponse.Parser);
        Assert.Equal([0x80, 0x7F], answer!.RawOutputContents[0].ToByteArray());
    }

    [Fact, Trait("capability", "SRV-01")]
    public async Task The_ordinary_message_is_answered_however_it_comes_and_whatever_answers_it()
    {
        await using var own = new GrpcServer();
        own.Add("floats", TensorModels.Echo(OnnxElementType.Float, -1, -1));
        await own.InitializeAsync();
        own.App.Services.GetRequiredService<ModelRouter>().SetStable(ServingFixtures.Model("1.0.0", model: "one-tensor"));
        var request = new ModelInferRequest { ModelName = "one-tensor", Id = "request-1", RawInputContents = { ByteString.CopyFrom(MemoryMarshal.AsBytes<float>([733, 8, 100, 9])) } };
        request.Inputs.Add(new ModelInferRequest.Types.InferInputTensor { Name = "features", Datatype = "FP32", Shape = { 2, 2 } });
        Assert.True(OneTensorMessage.TryRead(request.ToByteArray(), out _));
        var frame = GrpcServer.Frame(request.ToByteArray());

        // In one piece, in two, and with a second message behind it, of which a unary call takes no notice.
        foreach (var pieces in (int[][])[[frame.Length], [3, frame.Length - 3], [40, frame.Length - 40], [frame.Length, frame.Length]])
        {
            var content = new PiecesContent([.. frame, .. frame], pieces);
            var (status, message, bytes) = await own.SendAsync("ModelInfer", [], change: sent => sent.Content = content);
            Assert.True(status == 0, message);
            var answer = ModelInferResponse.Parser.ParseFrom(bytes.AsSpan(5));
            Assert.Equal(("one-tensor", "1.0.0", "request-1", "stable"), (answer.ModelName, answer.ModelVersion, answer.Id, answer.Parameters["arm"].StringParam));
            Assert.Equal([0.25f, 0.25f], MemoryMarshal.Cast<byte, float>(Assert.Single(answer.RawOutputContents).Span).ToArray());
            Assert.Equal(("probability", "FP32", 2L), (answer.Outputs.Single().Name, answer.Outputs[0].Datatype, answer.Outputs[0].Shape[0]));
        }

        // A version of tensors gets the same tensor; in one dimension too.
        request.ModelName = "floats";
        request.Inputs[0].Name = "IN";
        foreach (var shape in (long[][])[[2, 2], [4, 1]])
        {
            request.Inputs[0].Shape.Clear();
            request.Inputs[0].Shape.Add(shape);
            var (status, message, echoed) = await own.CallAsync("ModelInfer", request, ModelInferResponse.Parser);
            Assert.True(status == 0, message);
            Assert.Equal(request.RawInputContents[0], echoed!.RawOutputContents[0]);
            Assert.Equal(shape, echoed.Outputs[0].Shape);
        }

        request.Inputs[0].Name = "OTHER";
        Assert.Equal(3, (await own.CallAsync("ModelInfer", request, ModelInferResponse.Parser)).Status);
        Assert.Equal(4, (await own.CallAsync("ModelInfer", request, ModelInferResponse.Parser, change: sent => sent.Headers.Add("grpc-timeout", "1n"))).Status);
        var users = own.App.Services.GetRequiredService<UserStore>();
        var kept = (await users.CreateAsync("kept-from-floats", Role.MlEngineer, Caller.System("test"), Cancel)).Token;
        await own.App.Services.GetRequiredService<GrantStore>().PutAsync("kept-from-floats", null, Resource.Model("floats"), GrantLevel.NoPermissions, Caller.System("test"), Cancel);
        Assert.Equal(7, (await own.CallAsync("ModelInfer", request, ModelInferResponse.Parser, kept)).Status);
    }

    [Fact]
    public async Task A_message_of_megabytes_arrives_and_one_over_the_limit_does_not()
    {
        var (status, message, answer) = await server.CallAsync("ModelInfer", Simple(rows: 30_000), ModelInferResponse.Parser);
        Assert.True(status == 0, message);
        Assert.Equal(30_000 * 64, answer!.RawOutputContents[0].Length);

        (status, message, _) = await server.CallAsync("ModelInfer", Simple(rows: 40_000), ModelInferResponse.Parser);
        Assert.Equal(8, status);
        Assert.Contains("over the limit of 4194304 bytes", message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "REG-11")]
    public async Task A_request_that_does_not_fit_is_told_by_status_and_sentence()
    {
        var cases = new (int Status, string Sentence, ModelInferRequest Request)[]
        {
            (5, "Request for unknown model: 'nothing'", new ModelInferRequest { ModelName = "nothing" }),
            (5, "'simple' has no version '9'", new ModelInferRequest { ModelName = "simple", ModelVersion = "9" }),
            (5, $"'simple' has no version '{new string('9', 80)}…';", new ModelInferRequest { ModelName = "simple", ModelVersion = new string('9', 5000) }),
            (5, $"unknown model: '{new string('n', 80)}…' is not", new ModelInferRequest { ModelName = new string('n', 5000) }),
            (3, "Input 'INPUT0' is missing: expected 2 inputs but got 0", new ModelInferRequest { ModelName = "simple" }),
            (3, "'IN' is INT8, but its values are in fp32_contents; send them in int_contents.", One("small", "INT8", 1, new InferTensorContents { Fp32Contents = { 1 } })),
            (3, "int_contents holds a number that does not fit INT8", One("small", "INT8", 1, new InferTensorContents { IntContents = { 128 } })),
            (3, "'IN' has 1 bytes, but 2 values of INT8 take 2", One("small", "INT8", 2, new InferTensorContents { IntContents = { 1 } })),
            (3, "has the datatype 'INT7', which is unknown", One("small", "INT7", 1, new InferTensorContents())),
            (3, "has shape [-1]: sizes are whole numbers of at least 0", One("small", "INT8", -1, new InferTensorContents())),
            (3, "byte size overflow for input 'IN'", One("small", "INT8", long.MaxValue, new InferTensorContents())),
            (3, "'IN' has 0 bytes, but 1 values of FP16 take 2", One("halves", "FP16", 1, new InferTensorContents())),
            (3, "is FP16, but its values are in fp32_contents; send them in raw_input_contents.", One("halves", "FP16", 1, new InferTensorContents { Fp32Contents = { 1 } })),
            (3, "raw_input_contents has 1 entries for 2 inputs", Change(request => request.RawInputContents.RemoveAt(1))),
            (3, "has 'contents' beside raw_input_contents", Change(request => request.Inputs[0].Contents = new InferTensorContents { IntContents = { 1 } })),
            (3, "output 'OUTPUT0' already exists in request", Change(request => request.Outputs.Add([new() { Name = "OUTPUT0" }, new() { Name = "OUTPUT0" }]))),
            (3, "has 65 dimensions; send at most 64", Change(request => request.Inputs[0].Shape.Add(Enumerable.Repeat(1L, 63)))),
            (3, "…", Change(request => request.Inputs[0].Name = new string('x', 100_000))),
            (3, "name a shared memory region", Change(request => request.Inputs[0].Parameters["shared_memory_region"] = new InferParameter { StringParam = "x" })),
        };
        foreach (var (expected, sentence, request) in cases)
        {
            var (status, message, _) = await server.CallAsync("ModelInfer", request, ModelInferResponse.Parser);
            Assert.True(expected == status, $"{status}: {message}");
            Assert.Contains(sentence, message, StringComparison.Ordinal);
        }

        static ModelInferRequest Change(Action<ModelInferRequest> change)
        {
            var request = Simple();
            change(request);
            return request;
        }
    }

    [Fact]
    public async Task Hostile_frames_are_refused_and_the_server_goes_on()
    {
        var message = Simple().ToByteArray();
        var cases = new (int Status, string Sentence, byte[] Body)[]
        {
            (3, "has no message", []),
            (3, "ends inside a message, after 3 of its bytes", [0, 0, 0]),
            (3, "ends inside a message", GrpcServer.Frame(message)[..^7]),
            (8, "A message of 4294967295 bytes", [0, 255, 255, 255, 255, 1, 2, 3]),
            (3, "begins with the byte 7", GrpcServer.Frame(message, flag: 7)),
            (3, "is not a ModelInferRequest", GrpcServer.Frame([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F])),
            (3, "is not a ModelInferRequest", GrpcServer.Frame(Encoding.ASCII.GetBytes(new string('\x2b', 5000)))), // Groups within groups.
            (12, "grpc-encoding '' is not taken here", GrpcServer.Frame(message, flag: 1)),
            (8, "over 10,000 inputs, outputs and parameters", GrpcServer.Frame([.. Enumerable.Repeat<byte[]>([0x2A, 0x00], 10_001).SelectMany(input => input)])),
        };
        foreach (var (expected, sentence, body) in cases)
        {
            var (status, told, _) = await server.SendAsync("ModelInfer", body);
            Assert.True(expected == status, $"{status}: {told} instead of {sentence}");
            Assert.Contains(sentence, told, StringComparison.Ordinal);
        }

        Assert.Equal(0, (await server.CallAsync("ServerLive", new ServerLiveRequest(), ServerLiveResponse.Parser)).Status);
        Assert.Equal(12, (await server.SendAsync("ModelExplain", GrpcServer.Frame([]))).Status);
        Assert.Equal(12, (await server.SendAsync("/grpc.health.v1.Health/Check", GrpcServer.Frame([]))).Status);
        Assert.Equal(3, (await server.SendAsync("ModelInfer", GrpcServer.Frame(message), change: request => request.Content!.Headers.ContentType = new("application/json"))).Status);
        Assert.Equal(3, (await server.SendAsync("ModelInfer", GrpcServer.Frame(message), change: request => request.Headers.Add("grpc-timeout", "5 minutes"))).Status);
    }

    [Fact]
    public async Task What_is_no_http2_at_all_and_callers_who_vanish_leave_the_server_well()
    {
        byte[] preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray();
        var noise = new byte[4000];
        new Random(1).NextBytes(noise);
        foreach (var bytes in new byte[][]
        {
            [.. "GET /inference.GRPCInferenceService/ServerLive HTTP/1.1\r\nHost: x\r\n\r\n"u8], [.. preface, .. noise], noise, preface,
            [.. preface, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 1, 5, 0, 0, 0, 1, .. noise], // A header frame longer than any may be.
        })
        {
            using var socket = new System.Net.Sockets.TcpClient();
            await socket.ConnectAsync(IPAddress.Loopback, server.Grpc.BaseAddress!.Port, Cancel);
            await socket.GetStream().WriteAsync(bytes, Cancel);
            socket.Client.LingerState = new(enable: true, seconds: 0); // Gone without a goodbye.
        }

        for (var i = 0; i < 20; i++)
        {
            using var gone = new CancellationTokenSource(TimeSpan.FromMilliseconds(20 + i));
            using var request = new HttpRequestMessage(HttpMethod.Post, "/inference.GRPCInferenceService/ModelStreamInfer")
            {
                Version = HttpVersion.Version20,
                VersionPolicy = HttpVersionPolicy.RequestVersionExact,
                Content = new EndlessContent(),
            };
            request.Headers.TryAddWithoutValidation("authorization", $"Bearer {server.Token}");
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => server.Grpc.SendAsync(request, gone.Token));
        }

        Assert.Equal(0, (await server.CallAsync("ModelInfer", Simple(), ModelInferResponse.Parser)).Status);
    }

    [Fact]
    public async Task A_silent_stream_ends_when_the_server_stops()
    {
        await using var own = new GrpcServer();
        await own.InitializeAsync();
        using var request = new HttpRequestMessage(HttpMethod.Post, "/inference.GRPCInferenceService/ModelStreamInfer")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new EndlessContent(),
        };
        request.Headers.TryAddWithoutValidation("authorization", $"Bearer {own.Token}");
        var asking = own.Grpc.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancel);
        await Task.Delay(300, Cancel); // The server has read what there is; sooner, the answer is the same.

        // First what a stop begins with: once the connection is closed, HttpClient may forget an answer that it has and nobody has taken yet.
        var started = System.Diagnostics.Stopwatch.GetTimestamp();
        own.App.Services.GetRequiredService<IHostApplicationLifetime>().StopApplication();
        using var answer = await asking;
        await own.App.StopAsync(Cancel);

        Assert.Equal("14", answer.Headers.GetValues("grpc-status").Single());
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(started).TotalSeconds, 0, 25);
    }

    [Fact]
    public async Task A_message_that_begins_and_does_not_go_on_is_given_up()
    {
        await using var own = new GrpcServer();
        await own.InitializeAsync();
        own.App.Services.GetRequiredService<ServingOptions>().MessageWait = TimeSpan.FromMilliseconds(300);
        using var request = new HttpRequestMessage(HttpMethod.Post, "/inference.GRPCInferenceService/ModelStreamInfer")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new EndlessContent(),
        };
        request.Headers.TryAddWithoutValidation("authorization", $"Bearer {own.Token}");

        using var answer = await own.Grpc.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancel);

        Assert.Equal("4", answer.Headers.GetValues("grpc-status").Single());
        Assert.StartsWith("A message began and did not go on", Uri.UnescapeDataString(answer.Headers.GetValues("grpc-message").Single()), StringComparison.Ordinal);

        // One that has not begun may take its time.
        using var silent = new HttpRequestMessage(HttpMethod.Post, "/inference.GRPCInferenceService/ModelStreamInfer")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new EndlessContent(begins: false),
        };
        silent.Headers.TryAddWithoutValidation("authorization", $"Bearer {own.Token}");
        var waiting = own.Grpc.SendAsync(silent, HttpCompletionOption.ResponseHeadersRead, Cancel);
        await Assert.ThrowsAsync<TimeoutException>(() => waiting.WaitAsync(TimeSpan.FromSeconds(1), Cancel));
        await own.App.StopAsync(Cancel);
        await Record.ExceptionAsync(() => waiting); // Ended either way: refused where it had not arrived yet.
    }

    [Fact]
    public async Task A_folder_with_odd_models_is_served_without_them()
    {
        await using var own = new GrpcServer();
        own.Add("twice", TensorModels.Echo(OnnxElementType.Float, -1));
        Directory.CreateDirectory(Path.Combine(own.Repository, "twice", "01"));
        own.Add("huge", TensorModels.Echo(OnnxElementType.Float, 1L << 40, 1L << 40));
        own.Add("large", TensorModels.Echo(OnnxElementType.Float, 1L << 27));
        own.Add("noise", [1, 2, 3]);
        await own.InitializeAsync(ready: false);

        Assert.Equal(0, (await own.CallAsync("ModelInfer", Simple(), ModelInferResponse.Parser)).Status);
        Assert.Equal(HttpStatusCode.OK, (await own.Http.GetAsync("/v2/models/twice/versions/1", Cancel)).StatusCode);
        foreach (var (model, expected) in new (string, HttpStatusCode)[]
        {
            ("twice", HttpStatusCode.OK), ("huge", HttpStatusCode.OK), ("large", HttpStatusCode.OK), ("noise", HttpStatusCode.BadRequest),
        })
        {
            var answer = await own.Http.PostAsync($"/v2/repository/models/{model}/load", null, Cancel);
            Assert.True(expected == answer.StatusCode, $"{model}: {answer.StatusCode} {await answer.Content.ReadAsStringAsync(Cancel)}");
        }
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("deflate")]
    public async Task Compressed_messages_are_read_up_to_the_limit(string encoding)
    {
        byte[] Pack(byte[] plain, int cut = 0)
        {
            var packed = new MemoryStream();
            using (Stream stream = encoding == "gzip" ? new GZipStream(packed, CompressionLevel.Fastest) : new ZLibStream(packed, CompressionLevel.Fastest))
            {
                stream.Write(plain);
            }

            return GrpcServer.Frame([.. packed.ToArray().SkipLast(cut)], flag: 1);
        }

        void Say(HttpRequestMessage request) => request.Headers.Add("grpc-encoding", encoding);
        Assert.Equal(0, (await server.SendAsync("ModelInfer", Pack(Simple().ToByteArray()), change: Say)).Status);
        Assert.Equal(8, (await server.SendAsync("ModelInfer", Pack(new byte[100 << 20]), change: Say)).Status);
        Assert.Equal(3, (await server.SendAsync("ModelInfer", GrpcServer.Frame([1, 2, 3, 4], flag: 1), change: Say)).Status);
        var (status, message, _) = await server.SendAsync("ModelInfer", Pack(Simple().ToByteArray(), cut: 3), change: Say);
        Assert.Equal((3, $"A message ends before its {encoding} data does, as its grpc-encoding says."), (status, message));
    }

    [Fact]
    public async Task A_deadline_that_has_passed_is_told_and_nothing_is_run()
    {
        var before = await CountAsync();
        var (status, message, _) = await server.CallAsync("ModelInfer", Simple(), ModelInferResponse.Parser, change: request => request.Headers.Add("grpc-timeout", "1n"));
        Assert.Equal(4, status);
        Assert.Contains("deadline passed", message, StringComparison.Ordinal);

        // A caller that never ends its message is not waited for beyond its deadline.
        using var request = new HttpRequestMessage(HttpMethod.Post, "/inference.GRPCInferenceService/ModelInfer")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new EndlessContent(),
        };
        request.Headers.TryAddWithoutValidation("authorization", $"Bearer {server.Token}");
        request.Headers.TryAddWithoutValidation("grpc-timeout", "200m");
        using var answer = await server.Grpc.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancel);
        Assert.Equal("4", answer.Headers.GetValues("grpc-status").Single());
        Assert.Equal(before, await CountAsync());

        async Task<ulong> CountAsync() => (await server.CallAsync("ModelStatistics", new ModelStatisticsRequest { Name = "simple" }, ModelStatisticsResponse.Parser)).Answer!.ModelStats.Single().ExecutionCount;
    }

    [Fact]
    public async Task A_stream_answers_each_request_and_a_wrong_one_does_not_end_it()
    {
        var wrong = Simple();
        wrong.Id = "wrong";
        wrong.Inputs[0].Datatype = "FP32";
        byte[] body = [.. GrpcServer.Frame(Simple().ToByteArray()), .. GrpcServer.Frame(wrong.ToByteArray()), .. GrpcServer.Frame(new ModelInferRequest { ModelName = "nothing" }.ToByteArray()), .. GrpcServer.Frame(Simple().ToByteArray())];

        var (status, message, bytes) = await server.SendAsync("ModelStreamInfer", body);

        Assert.True(status == 0, message);
        var answers = new List<ModelStreamInferResponse>();
        for (var rest = bytes.AsSpan(); rest.Length > 0;)
        {
            var length = System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(rest[1..]);
            answers.Add(ModelStreamInferResponse.Parser.ParseFrom(rest.Slice(5, length)));
            rest = rest[(5 + length)..];
        }

        Assert.Equal(["", "inputs[0] 'INPUT0' has datatype FP32; send INT32 [-1, 16].", "Request for unknown model: 'nothing' is not registered; GET /api/slipway/v1/models lists those that are.", ""], answers.Select(answer => answer.ErrorMessage));
        Assert.Equal("wrong", answers[1].InferResponse.Id);
        Assert.Equal(2, answers[0].InferResponse.RawOutputContents.Count);

        // What cannot be read at all ends it.
        (status, message, _) = await server.SendAsync("ModelStreamInfer", [.. GrpcServer.Frame(Simple().ToByteArray()), 9, 0, 0, 0, 0]);
        Assert.Equal(3, status);
        Assert.Contains("begins with the byte 9", message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "SRV-01")]
    public async Task Metadata_configuration_statistics_and_index_tell_the_same_over_both_ports()
    {
        await server.CallAsync("ModelInfer", Simple(rows: 3), ModelInferResponse.Parser);
        Assert.True((await server.CallAsync("ServerReady", new ServerReadyRequest(), ServerReadyResponse.Parser)).Answer!.Ready);
        Assert.True((await server.CallAsync("ModelReady", new ModelReadyRequest { Name = "simple" }, ModelReadyResponse.Parser)).Answer!.Ready);
        var about = (await server.CallAsync("ServerMetadata", new ServerMetadataRequest(), ServerMetadataResponse.Parser)).Answer!;
        var http = await server.Http.GetFromJsonAsync<JsonElement>("/v2", Cancel);
        Assert.Equal(http.GetProperty("extensions").EnumerateArray().Select(extension => extension.GetString()), about.Extensions);

        var metadata = (await server.CallAsync("ModelMetadata", new ModelMetadataRequest { Name = "simple" }, ModelMetadataResponse.Parser)).Answer!;
        Assert.Equal(("INPUT0", "INT32", "-1,16"), (metadata.Inputs[0].Name, metadata.Inputs[0].Datatype, string.Join(',', metadata.Inputs[0].Shape)));
        Assert.Equal(["1"], metadata.Versions);

        var config = (await server.CallAsync("ModelConfig", new ModelConfigRequest { Name = "texts" }, ModelConfigResponse.Parser)).Answer!.Config;
        Assert.Equal((DataType.TypeString, "onnxruntime"), (config.Input[0].DataType, config.Backend));
        Assert.Equal("""[{"name":"IN","data_type":"TYPE_STRING","dims":[-1]}]""", (await server.Http.GetFromJsonAsync<JsonElement>("/v2/models/texts/config", Cancel)).GetProperty("input").GetRawText());

        var served = (await server.CallAsync("ModelStatistics", new ModelStatisticsRequest { Name = "simple" }, ModelStatisticsResponse.Parser)).Answer!.ModelStats.Single();
        var stats = served.InferenceStats;
        Assert.True(served.InferenceCount > served.ExecutionCount && served.LastInference > 0);
        Assert.Equal((served.ExecutionCount, served.ExecutionCount, 0UL), (stats.Success.Count, stats.ComputeInfer.Count, stats.Fail.Count));
        Assert.True(stats.ComputeInfer.Ns > 0 && stats.Success.Ns + 1000 * stats.Success.Count >= stats.ComputeInput.Ns + stats.ComputeInfer.Ns + stats.ComputeOutput.Ns);
        var rest = (await server.Http.GetFromJsonAsync<JsonElement>("/v2/models/simple/stats", Cancel)).GetProperty("model_stats")[0];
        Assert.Equal((served.InferenceCount, stats.Success.Ns), (rest.GetProperty("inference_count").GetUInt64(), rest.GetProperty("inference_stats").GetProperty("success").GetProperty("ns").GetUInt64()));
        Assert.Equal(4, (await server.Http.GetFromJsonAsync<JsonElement>("/v2/models/stats", Cancel)).GetProperty("model_stats").GetArrayLength());
    }

    [Fact]
    public async Task Models_of_the_folder_are_indexed_loaded_and_unloaded_over_both_ports()
    {
        server.Add("versions", TensorModels.Echo(OnnxElementType.Float, -1, 4));
        server.Add("versions", TensorModels.Echo(OnnxElementType.Float, -1, 5), version: 2);
        Assert.Equal(5, (await server.CallAsync("RepositoryModelUnload", new RepositoryModelUnloadRequest { ModelName = "simple/../simple" }, RepositoryModelUnloadResponse.Parser)).Status);
        Assert.Equal(0, (await server.CallAsync("RepositoryModelLoad", new RepositoryModelLoadRequest { ModelName = "versions" }, RepositoryModelLoadResponse.Parser)).Status);
        Assert.Equal("[-1,5]", await ShapeAsync("versions"));
        Assert.Equal(HttpStatusCode.NotFound, (await server.Http.GetAsync("/v2/models/versions/versions/1", Cancel)).StatusCode);

        // Its configuration is read again with it.
        server.Add("versions", TensorModels.Echo(OnnxElementType.Float, -1, 5), version: 2, config:
            """
            # A comment.
            name: "versions" platform: 'onnxruntime_onnx'
            max_batch_size: 8
            input [ { name: "IN", data_type: TYPE_FP32 dims: [ -1 ] } ]
            version_policy: { all { } }
            instance_group < count: 2 kind: KIND_CPU >
            """);
        Assert.Equal(HttpStatusCode.OK, (await server.Http.PostAsync("/v2/repository/models/versions/load", null, Cancel)).StatusCode);
        Assert.Equal("[-1,4]", await ShapeAsync("versions/versions/1"));
        Assert.Equal("""[5]""", (await server.Http.GetFromJsonAsync<JsonElement>("/v2/models/versions/config", Cancel)).GetProperty("input")[0].GetProperty("dims").GetRawText());
        var tooMany = await server.Http.PostAsync("/v2/models/versions/infer", new StringContent(
            $$"""{"inputs":[{"name":"IN","shape":[9,5],"datatype":"FP32","data":[{{string.Join(',', Enumerable.Repeat(1, 45))}}]}]}"""), Cancel);
        Assert.Contains("the batch-size of 'versions' must be <= 8", await tooMany.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);

        Assert.Equal(["versions 1 READY", "versions 2 READY"], await IndexAsync("{\"ready\":true}", "versions"));
        Assert.Equal(HttpStatusCode.OK, (await server.Http.PostAsync("/v2/repository/models/versions/unload", null, Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.Http.GetAsync("/v2/models/versions", Cancel)).StatusCode);
        Assert.Equal(["versions  UNAVAILABLE"], await IndexAsync("", "versions"));
        Assert.Empty(await IndexAsync("{\"ready\":true}", "versions"));

        // What cannot be loaded says why; what cannot be is not built.
        server.Add("declared", TensorModels.Echo(OnnxElementType.Float, 4), serving: "kind: serving\nname: declared\nqueue: {max: -1}\n");
        var declared = await server.Http.PostAsync("/v2/repository/models/declared/load", null, Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, declared.StatusCode);
        Assert.StartsWith("failed to load 'declared': serving.yaml: line 3: 'queue.max' must be a whole number", (await declared.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("error").GetString(), StringComparison.Ordinal);
        Directory.Delete(Path.Combine(server.Repository, "declared"), recursive: true);
        await server.Http.PostAsync("/v2/repository/models/declared/unload", null, Cancel);
        foreach (var (name, config, expected) in new (string, string, string)[]
        {
            ("sequence", "sequence_batching { }", "failed to load 'sequence': config.pbtxt: 'sequence_batching' is not built."),
            ("named", "name: 'other'", "failed to load 'named': config.pbtxt: 'name' is 'other', but the folder is 'named'."),
            ("typed", "input { name: 'IN' data_type: TYPE_INT64 }", "failed to load 'typed': config.pbtxt: input 'IN' has data_type TYPE_INT64, but the graph has TYPE_FP32."),
            ("shaped", "input { name: 'IN' dims: [ 7 ] }", "failed to load 'shaped': config.pbtxt: input 'IN' has [7] with its batch, but the graph has [4]."),
            ("broken", "input [ { name: ", "failed to load 'broken': config.pbtxt: line 1: it ends too early."),
            ("deep", new string('a', 1) + string.Concat(Enumerable.Repeat("{a", 100_000)), "failed to load 'deep': config.pbtxt: line 1: messages are nested deeper than 32."),
            ("path", "default_model_filename: '../../simple/1/model.onnx'", "failed to load 'path': config.pbtxt: 'default_model_filename' is '../../simple/1/model.onnx'; it must be the name of a file in the version's folder."),
        })
        {
            server.Add(name, TensorModels.Echo(OnnxElementType.Float, 4), config: config);
            var answer = await server.Http.PostAsync($"/v2/repository/models/{name}/load", null, Cancel);
            Assert.Equal((HttpStatusCode.BadRequest, expected), (answer.StatusCode, (await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("error").GetString()));
            Directory.Delete(Path.Combine(server.Repository, name), recursive: true);
            Assert.False((await server.CallAsync("ServerReady", new ServerReadyRequest(), ServerReadyResponse.Parser)).Answer!.Ready);
            Assert.Equal(0, (await server.CallAsync("RepositoryModelUnload", new RepositoryModelUnloadRequest { ModelName = name }, RepositoryModelUnloadResponse.Parser)).Status);
        }

        Assert.Contains("it is not in the model repository", (await server.CallAsync("RepositoryModelLoad", new RepositoryModelLoadRequest { ModelName = ".." }, RepositoryModelLoadResponse.Parser)).Message, StringComparison.Ordinal);
        var overridden = new RepositoryModelLoadRequest { ModelName = "simple", Parameters = { ["file:1/model.onnx"] = new ModelRepositoryParameter { BytesParam = ByteString.Empty } } };
        Assert.Equal(12, (await server.CallAsync("RepositoryModelLoad", overridden, RepositoryModelLoadResponse.Parser)).Status);
        Assert.Equal(HttpStatusCode.NotImplemented, (await server.Http.PostAsJsonAsync("/v2/repository/models/simple/load", new { parameters = new { config = "{}" } }, Cancel)).StatusCode);

        var bomb = await server.Http.PostAsync("/v2/repository/index", new StringContent("{\"ready\":" + new string('[', 250_000) + new string(']', 250_000) + "}"), Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, bomb.StatusCode);
        Assert.Contains("Invalid value for 'ready': expected a boolean", await bomb.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);

        async Task<string> ShapeAsync(string model) => (await server.Http.GetFromJsonAsync<JsonElement>($"/v2/models/{model}", Cancel)).GetProperty("inputs")[0].GetProperty("shape").GetRawText();

        async Task<IEnumerable<string>> IndexAsync(string body, string model)
        {
            using var answer = await server.Http.PostAsync("/v2/repository/index", new StringContent(body), Cancel);
            return [.. (await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel)).EnumerateArray().Where(entry => entry.GetProperty("name").GetString() == model)
                .Select(entry => $"{entry.GetProperty("name")} {entry.GetProperty("version")} {entry.GetProperty("state")}")];
        }
    }

    [Fact, Trait("capability", "GOV-01"), Trait("capability", "GOV-07")]
    public async Task A_grant_keeps_a_model_to_itself_over_grpc_as_over_http()
    {
        var users = server.App.Services.GetRequiredService<UserStore>();
        var kept = (await users.CreateAsync("kept-out", Role.MlEngineer, Caller.System("test"), Cancel)).Token;
        await server.App.Services.GetRequiredService<GrantStore>().PutAsync("kept-out", null, Resource.Model("simple"), GrantLevel.NoPermissions, Caller.System("test"), Cancel);
        foreach (var (call, request) in new (string, IMessage)[]
        {
            ("ModelReady", new ModelReadyRequest { Name = "simple" }), ("ModelMetadata", new ModelMetadataRequest { Name = "simple" }), ("ModelConfig", new ModelConfigRequest { Name = "simple" }),
            ("ModelStatistics", new ModelStatisticsRequest { Name = "simple" }), ("ModelInfer", Simple()), ("RepositoryModelLoad", new RepositoryModelLoadRequest { ModelName = "simple" }),
            ("RepositoryModelUnload", new RepositoryModelUnloadRequest { ModelName = "simple" }),
        })
        {
            var (status, message, _) = await server.SendAsync(call, GrpcServer.Frame(request.ToByteArray()), kept);
            Assert.True(status == 7, $"{call} answered {status}: {message}");
        }

        // In a stream it is each message's own matter; in listings the model is left out.
        var (_, _, streamed) = await server.SendAsync("ModelStreamInfer", GrpcServer.Frame(Simple().ToByteArray()), kept);
        Assert.Contains("permission 'predict'", ModelStreamInferResponse.Parser.ParseFrom(streamed.AsSpan(5)).ErrorMessage, StringComparison.Ordinal);
        Assert.DoesNotContain("simple", (await server.CallAsync("RepositoryIndex", new RepositoryIndexRequest(), RepositoryIndexResponse.Parser, kept)).Answer!.Models.Select(model => model.Name));
        Assert.DoesNotContain("simple", (await server.CallAsync("ModelStatistics", new ModelStatisticsRequest(), ModelStatisticsResponse.Parser, kept)).Answer!.ModelStats.Select(model => model.Name));
        Assert.Equal(0, (await server.CallAsync("ModelReady", new ModelReadyRequest { Name = "small" }, ModelReadyResponse.Parser, kept)).Status);

        // A role without the permission is refused whatever the message says.
        var reader = (await users.CreateAsync("reads", Role.Service, Caller.System("test"), Cancel)).Token;
        Assert.Equal(7, (await server.CallAsync("RepositoryModelUnload", new RepositoryModelUnloadRequest { ModelName = "simple" }, RepositoryModelUnloadResponse.Parser, reader)).Status);
    }

    /// <summary>Bytes sent with pauses between them.</summary>
    private sealed class PiecesContent : HttpContent
    {
        private readonly byte[] _bytes;
        private readonly int[] _pieces;

        public PiecesContent(byte[] bytes, int[] pieces)
        {
            (_bytes, _pieces) = (bytes, pieces);
            Headers.ContentType = new("application/grpc");
        }

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            var at = 0;
            foreach (var piece in _pieces)
            {
                await stream.WriteAsync(_bytes.AsMemory(at, piece), Cancel);
                await stream.FlushAsync(Cancel);
                await Task.Delay(50, Cancel);
                at += piece;
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }

    /// <summary>A frame that says more than ever comes.</summary>
    private sealed class EndlessContent : HttpContent
    {
        private readonly bool _begins;

        public EndlessContent(bool begins = true)
        {
            _begins = begins;
            Headers.ContentType = new("application/grpc");
        }

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, Cancel);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            await stream.WriteAsync(_begins ? new byte[] { 0, 0, 0, 1, 0, 1, 2 } : [], cancellationToken);
            await stream.FlushAsync(cancellationToken);
            await Task.Delay(Timeout.Infinite, cancellationToken);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
