namespace Slipway.Bench;

/// <summary>From starting the program to the first 200 of <c>/health</c>, and memory five seconds later.</summary>
internal static class StartBench
{
    public static async Task RunAsync(BenchSettings settings)
    {
        var answer = Path.Combine(BenchSettings.Folder, "hello.txt");
        await File.WriteAllTextAsync(answer, "OK");
        var existing = ServedModel.Data;
        var used = Directory.Exists(existing);

        var contestants = new List<(string Name, Func<Task<MeasuredProcess>> Start, List<double> Times, List<(double Resident, double Anonymous)> Memory)>
        {
            ("bare Kestrel", () => MeasuredProcess.BareKestrelAsync(answer, settings.Pin), [], []),
            ("slipway, new data folder", () =>
            {
                var data = Path.Combine(BenchSettings.Folder, "new-data");
                if (Directory.Exists(data))
                {
                    Directory.Delete(data, recursive: true);
                }

                return MeasuredProcess.SlipwayAsync(data, settings.Pin);
            }, [], []),
            ("slipway, that folder again", () => MeasuredProcess.SlipwayAsync(Path.Combine(BenchSettings.Folder, "new-data"), settings.Pin), [], []),
        };
        if (used)
        {
            contestants.Add(("slipway, a model in production", () => MeasuredProcess.SlipwayAsync(existing, settings.Pin), [], []));
        }

        for (var round = 0; round < settings.Rounds; round++)
        {
            foreach (var (_, start, times, memory) in contestants)
            {
                await using var server = await start();
                times.Add(server.FirstAnswerMs);
                await Task.Delay(TimeSpan.FromSeconds(5));
                memory.Add(server.MemoryMiB());
            }
        }

        Console.WriteLine($"\nStart: {settings.Rounds} rounds in turn");
        Console.WriteLine("                                  first 200 ms (best)   ratio   idle MiB   not file-backed");
        foreach (var (name, _, times, memory) in contestants)
        {
            var ratio = BenchSettings.Median(times.Zip(contestants[0].Times, (ours, bare) => ours / bare));
            Console.WriteLine(
                $"  {name,-30} {BenchSettings.Median(times),14:0} {$"({times.Min():0})",6} {ratio,7:0.0} {BenchSettings.Median(memory.Select(sample => sample.Resident)),10:0} {BenchSettings.Median(memory.Select(sample => sample.Anonymous)),17:0}");
        }
    }
}
