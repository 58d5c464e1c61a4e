using System.Diagnostics;
using Slipway.Client;
using Slipway.Client.Registry;
using Slipway.Contracts.Registry;

namespace Slipway.Bench;

/// <summary>Registering a model of 100 MB over loopback, against copying the file and waiting for the disk.</summary>
internal static class RegistrationBench
{
    private const int SizeBytes = 100_000_000;

    public static async Task RunAsync(BenchSettings settings)
    {
        var folder = Directory.CreateDirectory(Path.Combine(BenchSettings.Folder, "registration"));
        var data = Path.Combine(folder.FullName, "data");
        if (Directory.Exists(data))
        {
            Directory.Delete(data, recursive: true);
        }

        await using var server = await MeasuredProcess.SlipwayAsync(data, settings.Pin);
        using var client = new SlipwayClient(server.Address);
        var source = Path.Combine(folder.FullName, "weights.bin");
        var copies = new List<double>();
        var registrations = new List<double>();
        for (var round = 0; round <= settings.Rounds; round++)
        {
            // New content each time, else nothing would be stored; it is in memory for both, as after training.
            await File.WriteAllBytesAsync(source, RandomBytes(round));
            var copied = Copy(source, Path.Combine(folder.FullName, "copy.bin"));
            var registered = await RegisterAsync(client, source, folder.FullName);
            if (round > 0)
            {
                copies.Add(copied);
                registrations.Add(registered);
            }
        }

        Console.WriteLine($"\nRegistration of {SizeBytes / 1e6:0} MB: {settings.Rounds} rounds in turn, medians");
        Console.WriteLine($"  copy and fsync          {BenchSettings.Median(copies),8:0} ms");
        Console.WriteLine($"  send and register       {BenchSettings.Median(registrations),8:0} ms");
        Console.WriteLine($"  share of the copy's speed {BenchSettings.Median(copies.Zip(registrations, (copy, registration) => copy / registration)),6:0.00}");
    }

    private static byte[] RandomBytes(int seed)
    {
        var bytes = new byte[SizeBytes];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static double Copy(string from, string to)
    {
        var started = Stopwatch.GetTimestamp();
        File.Copy(from, to, overwrite: true);
        using (var file = new FileStream(to, FileMode.Open, FileAccess.Write))
        {
            file.Flush(flushToDisk: true);
        }

        var elapsed = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        File.Delete(to);
        return elapsed;
    }

    private static async Task<double> RegisterAsync(SlipwayClient client, string path, string cache)
    {
        var started = Stopwatch.GetTimestamp();
        var files = await client.UploadFilesAsync(ModelFiles.List(path), null, CancellationToken.None, cache);
        await client.PostAsync<ModelVersionRecord>("models/large/versions", new RegisterVersion("large", "auto", null, files, null, null, null, null, null, null, []), CancellationToken.None);
        return Stopwatch.GetElapsedTime(started).TotalMilliseconds;
    }
}
