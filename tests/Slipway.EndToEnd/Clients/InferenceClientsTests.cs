using System.Diagnostics;
using System.Text.Json;
using Slipway.Native.Onnx;
using Slipway.Tests.Hosting;
using Slipway.Tests.Serving;

namespace Slipway.EndToEnd.Clients;

/// <summary>Clients of the Open Inference Protocol that know nothing of Slipway, against a folder of models in Triton's layout.</summary>
public sealed class InferenceClientsTests
{
    [Fact, Trait("capability", "SRV-01"), Trait("capability", "INT-01")]
    public async Task Grpcs_own_client_for_node_works_unchanged()
    {
        await OnServerAsync(async (_, port) =>
        {
            var root = SlipwayProgram.Root;
            var saw = JsonDocument.Parse(await RunAsync(
                "node", Path.Combine(root, "tests", "clients", "inference-grpc.cjs"), $"127.0.0.1:{port}", Path.Combine(root, "src", "Slipway.Serving", "Grpc", "inference.proto"))).RootElement;

            Assert.True(saw.GetProperty("live").GetProperty("live").GetBoolean() && saw.GetProperty("ready").GetProperty("ready").GetBoolean());
            Assert.Equal("slipway", saw.GetProperty("server").GetProperty("name").GetString());
            Assert.Equal("[-1,16]", saw.GetProperty("metadata").GetProperty("inputs")[0].GetProperty("shape").GetRawText());
            var doubled = Enumerable.Range(0, 16).Select(i => 2 * i).ToArray();
            Assert.Equal([doubled, new int[16]], Tensors("raw"));
            Assert.Equal([new int[16]], Tensors("contents"));
            Assert.Equal([doubled, new int[16]], Tensors("compressed"));
            Assert.Equal("080000006772c3b6c39f657200000000", saw.GetProperty("texts")[0].GetString());
            var streamed = saw.GetProperty("stream");
            Assert.Equal((3, 30, 30), (streamed.GetArrayLength(), streamed[0].GetInt32(), streamed[2].GetInt32()));
            Assert.StartsWith("Request for unknown model: 'nothing'", streamed[1].GetString(), StringComparison.Ordinal);
            Assert.Equal("TYPE_INT32", Enum(saw.GetProperty("config").GetProperty("config").GetProperty("input")[0].GetProperty("data_type")));
            Assert.Equal(saw.GetProperty("statistics").GetProperty("inference_stats").GetProperty("success").GetProperty("count").GetInt64(), saw.GetProperty("statistics").GetProperty("execution_count").GetInt64());
            Assert.Equal(["halves 1 READY", "simple 1 READY", "texts 1 READY"], saw.GetProperty("index").EnumerateArray().Select(entry => $"{entry.GetProperty("name")} {entry.GetProperty("version")} {entry.GetProperty("state")}"));
            Assert.False(saw.GetProperty("unloaded").GetProperty("ready").GetBoolean());
            Assert.True(saw.GetProperty("loaded").GetProperty("ready").GetBoolean());
            Assert.Equal(5, saw.GetProperty("unknown").GetProperty("code").GetInt32());
            Assert.Equal((3, "'INPUT1' has 63 bytes, but 16 values of INT32 take 64; send as many as the shape says."),
                (saw.GetProperty("wrong").GetProperty("code").GetInt32(), saw.GetProperty("wrong").GetProperty("details").GetString()));
            Assert.Equal(4, saw.GetProperty("expired").GetProperty("code").GetInt32());
            Assert.Equal(200, saw.GetProperty("parallel").GetInt32());

            int[][] Tensors(string name) => saw.GetProperty(name).Deserialize<int[][]>()!;
        });

        // By number or by name, as the loader is told.
        static string Enum(JsonElement value) => value.ValueKind == JsonValueKind.Number && value.GetInt32() == 8 ? "TYPE_INT32" : value.ToString();
    }

    [Fact, Trait("capability", "SRV-01"), Trait("capability", "INT-01")]
    public async Task Pythons_requests_and_numpy_work_as_tritons_client_uses_them()
    {
        Assert.SkipUnless(File.Exists("/usr/lib/python3/dist-packages/requests/__init__.py"), "Debian's python3-requests is not installed.");
        await OnServerAsync(async (server, _) =>
        {
            var saw = JsonDocument.Parse(await RunAsync("/usr/bin/python3", Path.Combine(SlipwayProgram.Root, "tests", "clients", "inference-requests.py"), server.Address.ToString().TrimEnd('/'))).RootElement;
            int Status(string name) => saw.GetProperty(name).GetProperty("status").GetInt32();

            Assert.Equal((200, 200, 200, 200, 503, 200), (Status("live"), Status("ready"), Status("unload"), Status("load"), saw.GetProperty("unloaded").GetInt32(), saw.GetProperty("loaded").GetInt32()));
            Assert.Equal([-1, 16], saw.GetProperty("metadata").GetProperty("body").GetProperty("inputs")[0].GetProperty("shape").Deserialize<int[]>()!);
            Assert.Equal("TYPE_INT32", saw.GetProperty("config").GetProperty("body").GetProperty("input")[0].GetProperty("data_type").GetString());
            int[][] doubled = [[.. Enumerable.Range(0, 16).Select(i => 2 * i)]];
            Assert.Equal([doubled, [new int[16]]], saw.GetProperty("both").Deserialize<int[][][]>()!);
            Assert.Equal("gzip", saw.GetProperty("compressed answer").GetString());
            Assert.Equal(["OUTPUT1"], saw.GetProperty("one").Deserialize<string[]>()!);
            Assert.Equal(doubled, saw.GetProperty("gzip").Deserialize<int[][]>()!);
            Assert.Equal(doubled, saw.GetProperty("deflate").Deserialize<int[][]>()!);
            Assert.Equal(["größer", ""], saw.GetProperty("texts").Deserialize<string[]>()!);
            Assert.Equal([0.5, -2, 65504], saw.GetProperty("halves").Deserialize<double[]>()!);
            Assert.Equal("json-1", saw.GetProperty("json").GetProperty("id").GetString());
            Assert.Equal(doubled[0], saw.GetProperty("json").GetProperty("outputs")[0].GetProperty("data").Deserialize<int[]>()!);
            Assert.True(saw.GetProperty("statistics").GetProperty("body").GetProperty("model_stats")[0].GetProperty("inference_count").GetInt32() >= 5);
            Assert.Equal(3, saw.GetProperty("index").GetProperty("body").GetArrayLength());
            Assert.Equal((404, 400), (Status("unknown"), Status("short")));
            Assert.Contains("'INPUT1' has shape [1, 15]", saw.GetProperty("short").GetProperty("error").GetString(), StringComparison.Ordinal);
            Assert.Equal(200, saw.GetProperty("keys").GetInt32());
        });
    }

    [Fact]
    public async Task Load_generators_of_others_get_an_answer_to_every_request()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/wrk") && File.Exists("/usr/bin/h2load"), "Debian's wrk and nghttp2-client are not installed.");
        await OnServerAsync(async (server, grpcPort) =>
        {
            var folder = Directory.CreateTempSubdirectory("slipway-load-").FullName;
            var numbers = string.Join(',', Enumerable.Range(0, 16));
            var json = $$"""{"inputs":[{"name":"INPUT0","shape":[1,16],"datatype":"INT32","data":[{{numbers}}]},{"name":"INPUT1","shape":[1,16],"datatype":"INT32","data":[{{numbers}}]}]}""";
            await File.WriteAllTextAsync(Path.Combine(folder, "body.json"), json);
            await File.WriteAllTextAsync(Path.Combine(folder, "post.lua"), $"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [[{json}]]\n");
            // ModelInferRequest: 1 model_name, 5 inputs (1 name, 2 datatype, 3 shape), 7 raw_input_contents.
            static byte[] Field(int number, byte[] value) => [(byte)(number << 3 | 2), (byte)value.Length, .. value];
            byte[] raw = [.. Enumerable.Range(0, 16).SelectMany(BitConverter.GetBytes)];
            byte[] message =
            [
                .. Field(1, "simple"u8.ToArray()), .. Field(5, [.. Field(1, "INPUT0"u8.ToArray()), .. Field(2, "INT32"u8.ToArray()), .. Field(3, [1, 16])]),
                .. Field(5, [.. Field(1, "INPUT1"u8.ToArray()), .. Field(2, "INT32"u8.ToArray()), .. Field(3, [1, 16])]), .. Field(7, raw), .. Field(7, raw),
            ];
            await File.WriteAllBytesAsync(Path.Combine(folder, "message"), [0, 0, 0, (byte)(message.Length >> 8), (byte)message.Length, .. message]);

            var wrk = await RunAsync("wrk", "-t1", "-c16", "-d2s", "--timeout", "60s", "-s", Path.Combine(folder, "post.lua"), $"{server.Address}v2/models/simple/infer");
            var http = await RunAsync("h2load", "--h1", "-n3000", "-c8", "-d", Path.Combine(folder, "body.json"), "-H", "Content-Type: application/json", $"{server.Address}v2/models/simple/infer");
            var grpc = await RunAsync("h2load", "-n3000", "-c4", "-m8", "-d", Path.Combine(folder, "message"), "-H", "content-type: application/grpc", "-H", "te: trailers", $"http://127.0.0.1:{grpcPort}/inference.GRPCInferenceService/ModelInfer");
            Directory.Delete(folder, recursive: true);

            Assert.DoesNotContain("Non-2xx", wrk, StringComparison.Ordinal);
            Assert.DoesNotContain("Socket errors", wrk, StringComparison.Ordinal);
            foreach (var load in new[] { http, grpc })
            {
                Assert.Contains("3000 succeeded, 0 failed, 0 errored, 0 timeout", load, StringComparison.Ordinal);
                Assert.Contains("3000 2xx, 0 3xx, 0 4xx, 0 5xx", load, StringComparison.Ordinal);
            }

            // What the generators cannot see: that the answers were answers.
            using var client = new HttpClient { BaseAddress = server.Address };
            var stats = JsonDocument.Parse(await client.GetStringAsync(new Uri("/v2/models/simple/stats", UriKind.Relative))).RootElement.GetProperty("model_stats")[0];
            Assert.Equal(0, stats.GetProperty("inference_stats").GetProperty("fail").GetProperty("count").GetInt64());
            Assert.True(stats.GetProperty("inference_count").GetInt64() > 6000, stats.ToString());
        });
    }

    [Fact]
    public async Task A_model_repository_that_is_not_there_stops_the_start_with_one_sentence()
    {
        var data = SlipwayProgram.NewDataFolder();
        var (exit, _, error) = await SlipwayProgram.RunAsync(TestContext.Current.CancellationToken, "server", "--data", data, "--model-repository", "/nowhere/models");
        Directory.Delete(data, recursive: true);

        Assert.Equal(2, exit);
        Assert.StartsWith("--model-repository '/nowhere/models' is not a folder", error, StringComparison.Ordinal);
    }

    /// <summary>Runs on a server with a folder of three models, once they answer.</summary>
    private static async Task OnServerAsync(Func<RunningServer, int, Task> run)
    {
        var ct = TestContext.Current.CancellationToken;
        var data = SlipwayProgram.NewDataFolder();
        try
        {
            var models = Path.Combine(data, "models");
            foreach (var (name, onnx) in new[] { ("simple", TensorModels.SumAndDifference()), ("texts", TensorModels.Echo(OnnxElementType.String, -1)), ("halves", TensorModels.Echo(OnnxElementType.Float16, -1)) })
            {
                await File.WriteAllBytesAsync(Path.Combine(Directory.CreateDirectory(Path.Combine(models, name, "1")).FullName, "model.onnx"), onnx, ct);
            }

            var port = FreePort.Next();
            await using var server = await RunningServer.StartAsync(data, ct, "--grpc-port", $"{port}", "--model-repository", models);
            using var client = new HttpClient { BaseAddress = server.Address };
            while (!(await client.GetAsync(new Uri("/v2/health/ready", UriKind.Relative), ct)).IsSuccessStatusCode)
            {
                await Task.Delay(20, ct);
            }

            await run(server, port);
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    private static async Task<string> RunAsync(string program, params string[] arguments)
    {
        var ct = TestContext.Current.CancellationToken;
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var output = process.StandardOutput.ReadToEndAsync(ct);
        var errors = process.StandardError.ReadToEndAsync(ct);
        await process.WaitForExitAsync(ct);
        Assert.True(process.ExitCode == 0, $"{program} ended with {process.ExitCode}: {await output}\n{await errors}");
        return await output;
    }
}
