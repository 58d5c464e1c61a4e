using System.Diagnostics;
using System.Security.Cryptography;
using Slipway.Client;
using Slipway.Client.Registry;
using Slipway.Contracts.Registry;

namespace Slipway.Bench;

/// <summary>
/// Registering a model of 100 MB over loopback, against copying the file so that it is as safe afterwards: content and name on disk. Beside
/// them the copy that nothing waits for, and the hashing alone, which the client and the server each do once.
/// </summary>
internal static class RegistrationBench
{
    private const int SizeBytes = 100_000_000;

    // A server compiles again, and better, what it has run some thirty times: the first registrations show that and not the rest of its life.
    private const int WarmUps = 5;

    public static async Task RunAsync(BenchSettings settings)
    {
        var folder = Directory.CreateDirectory(Path.Combine(BenchSettings.Folder, "registration"));
        folder.Delete(recursive: true);
        folder.Create();
        var data = Path.Combine(folder.FullName, "data");
        await using var server = await MeasuredProcess.SlipwayAsync(data, settings.Pin);
        using var client = new SlipwayClient(server.Address);
        using var process = Process.GetCurrentProcess();
        var source = Path.Combine(folder.FullName, "weights.bin");
        var blobs = new DirectoryInfo(Path.Combine(data, "blobs"));
        var rounds = new List<Round>();
        for (var i = 0; i < WarmUps + settings.Rounds; i++)
        {
            // New content each time, else nothing would be stored; it is in memory for both, as after training.
            var bytes = RandomBytes(i);
            await File.WriteAllBytesAsync(source, bytes);
            var hashed = Time(() => SHA256.HashData(bytes));
            var copied = Copy(source, Path.Combine(folder.FullName, "copy.bin"), durable: false);
            var safe = Copy(source, Path.Combine(folder.FullName, "safe-copy.bin"), durable: true);
            var (serverCpu, clientCpu) = (server.CpuMicroseconds(), ClientCpu(process));
            var (sent, registered) = await RegisterAsync(client, source, folder.FullName);
            // All of it, so that all write into memory that was in use before: a virtual machine is given fresh memory page by page, which takes
            // longer than the copy, and would go at the expense of the one that keeps what it wrote.
            foreach (var written in folder.EnumerateFiles("*copy.bin").Concat(blobs.EnumerateFiles("*", SearchOption.AllDirectories).Where(blob => blob.Length == SizeBytes)))
            {
                written.Delete();
            }

            if (i >= WarmUps)
            {
                rounds.Add(new Round(hashed, copied, safe, sent, registered, (server.CpuMicroseconds() - serverCpu) / 1000, ClientCpu(process) - clientCpu));
            }
        }

        Console.WriteLine($"\nRegistration of {SizeBytes / 1e6:0} MB: {settings.Rounds} rounds in turn, medians; load average {(await File.ReadAllTextAsync("/proc/loadavg")).Split(' ')[0]}");
        Line("SHA-256 in memory, once", round => round.Hash);
        Line("copy, nothing waits for the disk", round => round.Copy);
        Line("copy, then fsync of file and folder", round => round.SafeCopy);
        Line("send and register", round => round.Total);
        Line("  of which after the last byte", round => round.Register);
        Line("  processor time of the server", round => round.ServerCpu);
        Line("  processor time of the client", round => round.ClientCpu);
        Console.WriteLine($"  share of the safe copy's speed      {BenchSettings.Median(rounds.Select(round => round.SafeCopy / round.Total)),8:0.00}");
        Console.WriteLine($"  share of the other copy's speed     {BenchSettings.Median(rounds.Select(round => round.Copy / round.Total)),8:0.00}");

        void Line(string name, Func<Round, double> value) => Console.WriteLine($"  {name,-36}{BenchSettings.Median(rounds.Select(value)),8:0} ms   best {rounds.Min(value),6:0}");
    }

    private static byte[] RandomBytes(int seed)
    {
        var bytes = new byte[SizeBytes];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static double Copy(string from, string to, bool durable) => Time(() =>
    {
        File.Copy(from, to);
        if (durable)
        {
            using var file = new FileStream(to, FileMode.Open, FileAccess.Write);
            file.Flush(flushToDisk: true);
            Native.Files.DirectoryFlush.Flush(Path.GetDirectoryName(to)!);
        }
    });

    private static async Task<(double Sent, double Registered)> RegisterAsync(SlipwayClient client, string path, string cache)
    {
        var started = Stopwatch.GetTimestamp();
        var files = await client.UploadFilesAsync(ModelFiles.List(path), null, CancellationToken.None, cache);
        var sent = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        await client.PostAsync<ModelVersionRecord>("models/large/versions", new RegisterVersion("large", "auto", null, files, null, null, null, null, null, null, []), CancellationToken.None);
        return (sent, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
    }

    private static double Time(Action work)
    {
        var started = Stopwatch.GetTimestamp();
        work();
        return Stopwatch.GetElapsedTime(started).TotalMilliseconds;
    }

    private static double ClientCpu(Process process)
    {
        process.Refresh();
        return process.TotalProcessorTime.TotalMilliseconds;
    }

    private sealed record Round(double Hash, double Copy, double SafeCopy, double Sent, double Total, double ServerCpu, double ClientCpu)
    {
        public double Register => Total - Sent;
    }
}
