using System.Diagnostics;
using System.Text.Json;
using Slipway.Native.Onnx;
using Slipway.Tests.Serving;

namespace Slipway.EndToEnd.Clients;

/// <summary>Clients of the Open Inference Protocol that know nothing of Slipway, against a folder of models in Triton's layout.</summary>
public sealed class InferenceClientsTests
{
    [Fact, Trait("capability", "SRV-01"), Trait("capability", "INT-01")]
    public async Task Grpcs_own_client_for_node_works_unchanged()
    {
        var ct = TestContext.Current.CancellationToken;
        var data = SlipwayProgram.NewDataFolder();
        try
        {
            var models = Path.Combine(data, "models");
            Add("simple", TensorModels.SumAndDifference());
            Add("texts", TensorModels.Echo(OnnxElementType.String, -1));
            var port = SlipwayProgram.FreePort();
            await using var server = await RunningServer.StartAsync(data, ct, "--grpc-port", $"{port}", "--model-repository", models);
            using var client = new HttpClient { BaseAddress = server.Address };
            while (!(await client.GetAsync(new Uri("/v2/health/ready", UriKind.Relative), ct)).IsSuccessStatusCode)
            {
                await Task.Delay(20, ct);
            }

            var root = SlipwayProgram.Root;
            using var node = Process.Start(new ProcessStartInfo("node",
                [Path.Combine(root, "tests", "clients", "inference-grpc.cjs"), $"127.0.0.1:{port}", Path.Combine(root, "src", "Slipway.Serving", "Grpc", "inference.proto")])
            { RedirectStandardOutput = true, RedirectStandardError = true })!;
            var output = node.StandardOutput.ReadToEndAsync(ct);
            var errors = node.StandardError.ReadToEndAsync(ct);
            await node.WaitForExitAsync(ct);
            Assert.True(node.ExitCode == 0, $"{await errors}\n{server.Said}");
            var saw = JsonDocument.Parse(await output).RootElement;

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
            Assert.Equal(["simple 1 READY", "texts 1 READY"], saw.GetProperty("index").EnumerateArray().Select(entry => $"{entry.GetProperty("name")} {entry.GetProperty("version")} {entry.GetProperty("state")}"));
            Assert.False(saw.GetProperty("unloaded").GetProperty("ready").GetBoolean());
            Assert.True(saw.GetProperty("loaded").GetProperty("ready").GetBoolean());
            Assert.Equal(5, saw.GetProperty("unknown").GetProperty("code").GetInt32());
            Assert.Equal((3, "'INPUT1' has 63 bytes, but 16 values of INT32 take 64; send as many as the shape says."),
                (saw.GetProperty("wrong").GetProperty("code").GetInt32(), saw.GetProperty("wrong").GetProperty("details").GetString()));
            Assert.Equal(4, saw.GetProperty("expired").GetProperty("code").GetInt32());
            Assert.Equal(200, saw.GetProperty("parallel").GetInt32());

            int[][] Tensors(string name) => saw.GetProperty(name).Deserialize<int[][]>()!;

            void Add(string name, byte[] onnx) => File.WriteAllBytes(Path.Combine(Directory.CreateDirectory(Path.Combine(models, name, "1")).FullName, "model.onnx"), onnx);
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }

        // By number or by name, as the loader is told.
        static string Enum(JsonElement value) => value.ValueKind == JsonValueKind.Number && value.GetInt32() == 8 ? "TYPE_INT32" : value.ToString();
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
}
