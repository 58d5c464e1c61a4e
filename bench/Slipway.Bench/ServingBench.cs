using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using Slipway.Client;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Native.Onnx;
using Slipway.Serving.Grpc;
using Slipway.Tests.Hosting;

namespace Slipway.Bench;

/// <summary>
/// The inference endpoint against Kestrel alone: the same request bodies, the same answer's bytes, in turn. Access checks, arm
/// statistics and the prediction log are on, as they always are.
/// </summary>
internal static class ServingBench
{
    private const string Infer = "/v2/models/" + ServedModel.Name + "/infer";

    public static async Task RunAsync(BenchSettings settings)
    {
        await using var server = await MeasuredProcess.SlipwayAsync(ServedModel.Data, settings.Pin);
        using var client = new SlipwayClient(server.Address, await ServedModel.PrepareAsync(server.Address));
        var rows = await ServedModel.RowsAsync(client);

        Console.WriteLine(
            $"\nInference: {ServedModel.Description}; {settings.Connections} connections, {settings.Rounds} rounds of {settings.Seconds} s each, in turn{(settings.Pin ? ", server and load generator on a processor each" : "")}");
        Console.WriteLine("  request                       req/s   Kestrel   ratio   CPU us/req   Kestrel   ratio   p50 ms  Kestrel   p99 ms  Kestrel");
        var answered = 0L;
        foreach (var (form, bodies) in new (string, IReadOnlyList<string>)[]
        {
            ("features tensor, 1 row", [.. rows.Select(row => row.Features)]),
            ("entity keys, 1 row", [.. rows.Select(row => row.Keys)]),
        })
        {
            answered += await MeasureAsync(form, bodies, server, settings);
        }

        // The log is written a moment after the answer; requests cut off by the end of a load may be more than those counted.
        DeploymentReport report;
        do
        {
            await Task.Delay(100);
            report = await client.GetAsync<DeploymentReport>($"deployments/{ServedModel.Name}", CancellationToken.None);
        }
        while (report.PredictionsLogged + report.PredictionsDropped < answered);
        Console.WriteLine($"  prediction log: {report.PredictionsLogged} rows written, {report.PredictionsDropped} dropped, for {answered} answered requests");
        Console.WriteLine($"  the model's own run, one row, without any server: {RunMicroseconds(await ModelFileAsync(client), [.. rows.Select(row => JsonDocument.Parse(row.Features).RootElement.GetProperty("inputs")[0].GetProperty("data").Deserialize<float[]>()!)]):0.0} us");
        await ServedModel.RequireCanaryAsync(client);
    }

    /// <summary>The gRPC endpoint against Kestrel that answers the same bytes as gRPC does, in turn.</summary>
    public static async Task GrpcAsync(BenchSettings settings)
    {
        var (port, barePort) = (FreePort.Next(), FreePort.Next());
        await using var server = await MeasuredProcess.SlipwayAsync(ServedModel.Data, settings.Pin, grpcPort: port);
        using var client = new SlipwayClient(server.Address, await ServedModel.PrepareAsync(server.Address));
        const string Call = "/inference.GRPCInferenceService/ModelInfer";
        float[] features = [0.1f, 12, 30, 17, 3, 1, 700, .. Enumerable.Range(1, ServedModel.Features - 7).Select(i => 700f / (17 + i))];
        var message = new ModelInferRequest { ModelName = ServedModel.Name, RawInputContents = { ByteString.CopyFrom(MemoryMarshal.AsBytes(features.AsSpan())) } };
        message.Inputs.Add(new ModelInferRequest.Types.InferInputTensor { Name = "features", Datatype = "FP32", Shape = { 1, ServedModel.Features } });
        var bytes = message.ToByteArray();
        var body = Path.Combine(BenchSettings.Folder, "call.bin");
        await File.WriteAllBytesAsync(body, [0, 0, 0, (byte)(bytes.Length >> 8), (byte)bytes.Length, .. bytes]);
        var answerFile = Path.Combine(BenchSettings.Folder, "answer.bin");
        using (var http = new HttpClient { DefaultRequestVersion = System.Net.HttpVersion.Version20, DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact })
        {
            using var content = new ByteArrayContent(await File.ReadAllBytesAsync(body));
            content.Headers.ContentType = new("application/grpc");
            using var answer = await http.PostAsync(new Uri($"http://127.0.0.1:{port.ToString(CultureInfo.InvariantCulture)}{Call}"), content);
            var answered = await answer.Content.ReadAsByteArrayAsync();
            if (answered.Length < 5)
            {
                throw new InvalidOperationException($"The server refuses the benchmark's call: {answer}");
            }

            await File.WriteAllBytesAsync(answerFile, answered);
        }

        await using var bare = await MeasuredProcess.BareKestrelAsync(answerFile, settings.Pin, barePort);
        var (ours, theirs) = await InTurnAsync(
            () => H2Load.GrpcAsync(server, port, Call, body, settings), () => H2Load.GrpcAsync(bare, barePort, Call, body, settings), settings);
        var run = RunMicroseconds(await ModelFileAsync(client), [features]);
        Console.WriteLine($"\ngRPC ModelInfer against bare Kestrel's HTTP/2; {Math.Max(1, settings.Connections / 8)} connections of 8 streams, medians of {settings.Rounds} rounds");
        Console.WriteLine(
            $"  Slipway {ours.PerSecond:0} calls/s, {ours.CpuMicroseconds:0.0} us; bare {theirs.PerSecond:0} calls/s, {theirs.CpuMicroseconds:0.0} us; ratio {ours.PerSecond / theirs.PerSecond:0.00} in calls; processor time over bare and the model's own run ({run:0.0} us): {ours.CpuMicroseconds - theirs.CpuMicroseconds - run:0.0} us");
        await ServedModel.RequireCanaryAsync(client);
    }

    /// <summary>Latency at half of what goes, against bare Kestrel at the same rate, in turn.</summary>
    public static async Task HalfLoadAsync(BenchSettings settings)
    {
        await using var server = await MeasuredProcess.SlipwayAsync(ServedModel.Data, settings.Pin);
        using var client = new SlipwayClient(server.Address, await ServedModel.PrepareAsync(server.Address));
        var bodies = Path.Combine(BenchSettings.Folder, "bodies.jsonl");
        var rows = await ServedModel.RowsAsync(client);
        await File.WriteAllLinesAsync(bodies, rows.Select(row => row.Features));
        var body = Path.Combine(BenchSettings.Folder, "body.json");
        await File.WriteAllTextAsync(body, rows[0].Features);
        var answerFile = Path.Combine(BenchSettings.Folder, "answer.json");
        using (var http = new HttpClient())
        {
            using var content = new StringContent(rows[0].Features, Encoding.UTF8, "application/json");
            await File.WriteAllBytesAsync(answerFile, await (await http.PostAsync(new Uri(server.Address, Infer), content)).Content.ReadAsByteArrayAsync());
        }

        await using var bare = await MeasuredProcess.BareKestrelAsync(answerFile, settings.Pin);
        for (var warmUp = 0; warmUp < settings.WarmUps; warmUp++)
        {
            await Wrk.RunAsync(server, Infer, bodies, settings.Seconds, settings);
        }

        var half = (int)((await Wrk.RunAsync(server, Infer, bodies, settings.Seconds, settings)).PerSecond / 2);
        var (ours, theirs) = await InTurnAsync(() => PacedLoad.RunAsync(server, Infer, body, half, settings), () => PacedLoad.RunAsync(bare, Infer, body, half, settings), settings);
        Console.WriteLine($"\nAt half load, {half} requests/s, evenly spread over {settings.Connections} connections, medians of {settings.Rounds} rounds");
        Console.WriteLine(
            $"  Slipway {ours.PerSecond:0} req/s, p50 {ours.LatencyMsP50:0.00} ms, p99 {ours.LatencyMsP99:0.00} ms; bare Kestrel {theirs.PerSecond:0} req/s, p50 {theirs.LatencyMsP50:0.00} ms, p99 {theirs.LatencyMsP99:0.00} ms; p99 added {ours.LatencyMsP99 - theirs.LatencyMsP99:0.00} ms");
        await ServedModel.RequireCanaryAsync(client);
    }

    /// <summary>Memory of the server at full load, at the end of each minute.</summary>
    public static async Task MemoryAsync(BenchSettings settings)
    {
        await using var server = await MeasuredProcess.SlipwayAsync(ServedModel.Data, settings.Pin);
        using var client = new SlipwayClient(server.Address, await ServedModel.PrepareAsync(server.Address));
        var bodies = Path.Combine(BenchSettings.Folder, "bodies.jsonl");
        await File.WriteAllLinesAsync(bodies, (await ServedModel.RowsAsync(client)).Select(row => row.Features));
        Console.WriteLine($"\nMemory at full load, {settings.Connections} connections");
        Console.WriteLine($"  before:     {Memory()}");
        for (var minute = 1; minute <= settings.Minutes; minute++)
        {
            var load = await Wrk.RunAsync(server, Infer, bodies, seconds: 60, settings);
            Console.WriteLine($"  minute {minute,3}: {Memory()}, {load.PerSecond:0} requests/s");
        }

        await ServedModel.RequireCanaryAsync(client);

        string Memory()
        {
            var (resident, anonymous) = server.MemoryMiB();
            return $"{resident:0} MiB resident, of which {anonymous:0} not backed by files";
        }
    }

    /// <summary>A scikit-learn forest of the same size behind FastAPI, in turn.</summary>
    public static async Task FastApiAsync(BenchSettings settings)
    {
        await using var server = await MeasuredProcess.SlipwayAsync(ServedModel.Data, pin: false);
        using var client = new SlipwayClient(server.Address, await ServedModel.PrepareAsync(server.Address));
        await using var peer = await MeasuredProcess.FastApiAsync();
        var bodies = Path.Combine(BenchSettings.Folder, "bodies.jsonl");
        await File.WriteAllLinesAsync(bodies, (await ServedModel.RowsAsync(client)).Select(row => row.Features));
        var (ours, theirs) = await InTurnAsync((server, Infer), (peer, "/infer"), bodies, settings);
        Console.WriteLine($"\nFastAPI + scikit-learn, a worker to each processor; {settings.Connections} connections, medians of {settings.Rounds} rounds");
        Console.WriteLine($"  Slipway {ours.PerSecond:0} req/s, {ours.CpuMicroseconds:0} us, p99 {ours.LatencyMsP99:0.00} ms; FastAPI {theirs.PerSecond:0} req/s, {theirs.CpuMicroseconds:0} us, p99 {theirs.LatencyMsP99:0.00} ms; ratio {ours.PerSecond / theirs.PerSecond:0} in requests, {theirs.CpuMicroseconds / ours.CpuMicroseconds:0} in processor time");
    }

    /// <summary>The same model behind Fastify and onnxruntime-node, in turn.</summary>
    public static async Task FastifyAsync(BenchSettings settings)
    {
        await using var server = await MeasuredProcess.SlipwayAsync(ServedModel.Data, pin: false);
        using var client = new SlipwayClient(server.Address, await ServedModel.PrepareAsync(server.Address));
        await using var peer = await MeasuredProcess.FastifyAsync(await ModelFileAsync(client));
        var bodies = Path.Combine(BenchSettings.Folder, "bodies.jsonl");
        await File.WriteAllLinesAsync(bodies, (await ServedModel.RowsAsync(client)).Select(row => row.Features));
        var (ours, theirs) = await InTurnAsync((server, Infer), (peer, Infer), bodies, settings);
        Console.WriteLine($"\nFastify + onnxruntime-node, a worker to each processor; {settings.Connections} connections, medians of {settings.Rounds} rounds");
        Console.WriteLine($"  Slipway {ours.PerSecond:0} req/s, {ours.CpuMicroseconds:0} us, p99 {ours.LatencyMsP99:0.00} ms; Fastify {theirs.PerSecond:0} req/s, {theirs.CpuMicroseconds:0} us, p99 {theirs.LatencyMsP99:0.00} ms; ratio {ours.PerSecond / theirs.PerSecond:0.0} in requests, {theirs.CpuMicroseconds / ours.CpuMicroseconds:0.0} in processor time");
    }

    /// <summary>A network whose weights do not fit the nearest cache, with and without dynamic batching.</summary>
    public static async Task BatchingAsync(BenchSettings settings)
    {
        var models = Path.Combine(BenchSettings.Folder, "models");
        foreach (var (name, config) in new[] { ("dense", "max_batch_size: 64"), ("dense-batched", "max_batch_size: 64 dynamic_batching { }") })
        {
            Directory.CreateDirectory(Path.Combine(models, name, "1"));
            await File.WriteAllBytesAsync(Path.Combine(models, name, "1", "model.onnx"), Dense());
            await File.WriteAllTextAsync(Path.Combine(models, name, "config.pbtxt"), config);
        }

        await using var server = await MeasuredProcess.SlipwayAsync(Path.Combine(BenchSettings.Folder, "models-data"), settings.Pin, models: models);
        using (var http = new HttpClient { BaseAddress = server.Address })
        {
            while (!(await http.GetAsync(new Uri("/v2/health/ready", UriKind.Relative))).IsSuccessStatusCode)
            {
                await Task.Delay(50);
            }
        }

        var bodies = Path.Combine(BenchSettings.Folder, "dense.jsonl");
        await File.WriteAllLinesAsync(bodies, Enumerable.Range(0, 256).Select(i =>
            $$"""{"inputs":[{"name":"features","datatype":"FP32","shape":[1,16],"data":[{{string.Join(',', Enumerable.Range(0, 16).Select(j => (i * 31 + j) % 100))}}]}]}"""));
        settings = settings with { Connections = Math.Max(settings.Connections, 64) };
        var (plain, batched) = await InTurnAsync((server, "/v2/models/dense/infer"), (server, "/v2/models/dense-batched/infer"), bodies, settings);
        Console.WriteLine($"\nDynamic batching: network 16-1024-1024-1; {settings.Connections} connections, medians of {settings.Rounds} rounds");
        Console.WriteLine($"  one by one {plain.PerSecond:0} req/s, {plain.CpuMicroseconds:0} us, p99 {plain.LatencyMsP99:0.0} ms; batched {batched.PerSecond:0} req/s, {batched.CpuMicroseconds:0} us, p99 {batched.LatencyMsP99:0.0} ms; ratio {batched.PerSecond / plain.PerSecond:0.00}");
    }

    private static Task<(Load Ours, Load Theirs)> InTurnAsync((MeasuredProcess Server, string Path) ours, (MeasuredProcess Server, string Path) theirs, string bodies, BenchSettings settings) => InTurnAsync(
        () => Wrk.RunAsync(ours.Server, ours.Path, bodies, settings.Seconds, settings), () => Wrk.RunAsync(theirs.Server, theirs.Path, bodies, settings.Seconds, settings), settings);

    private static async Task<(Load Ours, Load Theirs)> InTurnAsync(Func<Task<Load>> ours, Func<Task<Load>> theirs, BenchSettings settings)
    {
        for (var warmUp = 0; warmUp < settings.WarmUps; warmUp++)
        {
            await ours();
            await theirs();
        }

        var (first, second) = (new List<Load>(), new List<Load>());
        for (var round = 0; round < settings.Rounds; round++)
        {
            first.Add(await ours());
            second.Add(await theirs());
        }

        static Load Median(List<Load> loads) => new(
            loads.Sum(load => load.Requests), BenchSettings.Median(loads.Select(load => load.PerSecond)), BenchSettings.Median(loads.Select(load => load.CpuMicroseconds)),
            BenchSettings.Median(loads.Select(load => load.LatencyMsP50)), BenchSettings.Median(loads.Select(load => load.LatencyMsP99)));
        return (Median(first), Median(second));
    }

    private static async Task<string> ModelFileAsync(SlipwayClient client)
    {
        var report = await client.GetAsync<DeploymentReport>($"deployments/{ServedModel.Name}", CancellationToken.None);
        var version = await client.GetAsync<ModelVersionRecord>($"models/{ServedModel.Name}/versions/{report.Now.Arms[0].Version}", CancellationToken.None);
        var sha256 = version.ServedSha256!;
        return Directory.EnumerateFiles(ServedModel.Data, sha256, SearchOption.AllDirectories).First();
    }

    // Over the requests' own rows in turn.
    private static double RunMicroseconds(string model, IReadOnlyList<float[]> inputs)
    {
        using var session = OnnxSession.Load(model);
        var output = new float[1];
        var runs = 0;
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < TimeSpan.FromSeconds(1); runs++)
        {
            session.RunMatrix(inputs[runs % inputs.Count], 1, output);
        }

        runs = 0;
        var measured = Stopwatch.StartNew();
        for (; measured.Elapsed < TimeSpan.FromSeconds(2); runs++)
        {
            session.RunMatrix(inputs[runs % inputs.Count], 1, output);
        }

        return measured.Elapsed.TotalMicroseconds / runs;
    }

    private static byte[] Dense()
    {
        var random = new Random(3);
        float[] Weights(int count) => [.. Enumerable.Range(0, count).Select(_ => (random.NextSingle() - 0.5f) / 16)];
        return new OnnxModelWriter("dense") { VaryingName = "batch" }
            .AddInput("features", OnnxElementType.Float, -1, 16).AddOutput("score", OnnxElementType.Float, -1, 1)
            .AddInitializer("a", Weights(16 * 1024), 16, 1024).AddInitializer("b", Weights(1024 * 1024), 1024, 1024).AddInitializer("c", Weights(1024), 1024, 1)
            .AddNode("MatMul", ["features", "a"], ["x"]).AddNode("Relu", ["x"], ["xr"]).AddNode("MatMul", ["xr", "b"], ["y"]).AddNode("Relu", ["y"], ["yr"])
            .AddNode("MatMul", ["yr", "c"], ["z"]).AddNode("Sigmoid", ["z"], ["score"]).ToBytes();
    }

    private static async Task<long> MeasureAsync(string form, IReadOnlyList<string> bodies, MeasuredProcess server, BenchSettings settings)
    {
        var bodyFile = Path.Combine(BenchSettings.Folder, "bodies.jsonl");
        await File.WriteAllLinesAsync(bodyFile, bodies);
        var answerFile = Path.Combine(BenchSettings.Folder, "answer.json");
        using (var http = new HttpClient())
        {
            using var content = new StringContent(bodies[0], Encoding.UTF8, "application/json");
            using var answer = await http.PostAsync(new Uri(server.Address, Infer), content);
            var bytes = await answer.Content.ReadAsByteArrayAsync();
            if (!answer.IsSuccessStatusCode)
            {
                throw new InvalidOperationException($"The server refuses the benchmark's request: {Encoding.UTF8.GetString(bytes)}");
            }

            await File.WriteAllBytesAsync(answerFile, bytes);
        }

        await using var bare = await MeasuredProcess.BareKestrelAsync(answerFile, settings.Pin);
        var answered = 1L;
        for (var warmUp = 0; warmUp < settings.WarmUps; warmUp++)
        {
            answered += (await Wrk.RunAsync(server, Infer, bodyFile, settings.Seconds, settings)).Requests;
            await Wrk.RunAsync(bare, Infer, bodyFile, settings.Seconds, settings);
        }

        var ours = new List<Load>();
        var theirs = new List<Load>();
        for (var round = 0; round < settings.Rounds; round++)
        {
            ours.Add(await Wrk.RunAsync(server, Infer, bodyFile, settings.Seconds, settings));
            theirs.Add(await Wrk.RunAsync(bare, Infer, bodyFile, settings.Seconds, settings));
        }

        double Median(List<Load> loads, Func<Load, double> figure) => BenchSettings.Median(loads.Select(figure));
        double Ratio(Func<Load, double> figure) => BenchSettings.Median(ours.Zip(theirs, (a, b) => figure(a) / figure(b)));
        Console.WriteLine(
            $"  {form,-24} {Median(ours, load => load.PerSecond),10:0} {Median(theirs, load => load.PerSecond),9:0} {Ratio(load => load.PerSecond),7:0.00} {Median(ours, load => load.CpuMicroseconds),12:0.0} {Median(theirs, load => load.CpuMicroseconds),9:0.0} {Ratio(load => load.CpuMicroseconds),7:0.00} {Median(ours, load => load.LatencyMsP50),8:0.00} {Median(theirs, load => load.LatencyMsP50),8:0.00} {Median(ours, load => load.LatencyMsP99),8:0.00} {Median(theirs, load => load.LatencyMsP99),8:0.00}");
        return answered + ours.Sum(load => load.Requests);
    }
}
