using System.Text;
using Slipway.Client;
using Slipway.Contracts.Serving;

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
        var data = Path.Combine(BenchSettings.Folder, "data");
        await using var server = await MeasuredProcess.SlipwayAsync(data, settings.Pin);
        using var client = new SlipwayClient(server.Address, await ServedModel.PrepareAsync(server.Address, data));
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
        // Until the code is compiled for good.
        var answered = 1 + (await Wrk.RunAsync(server, Infer, bodyFile, settings.Seconds, settings)).Requests;
        await Wrk.RunAsync(bare, Infer, bodyFile, settings.Seconds, settings);

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
