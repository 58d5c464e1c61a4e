using System.Diagnostics;
using System.Globalization;
using System.Net.NetworkInformation;

namespace Slipway.Client.Runs;

/// <summary>
/// Samples processor, memory, disk, network and GPUs under the names that MLflow gives them (<c>system/…</c>), and this process's own
/// share, which MLflow does not have. The machine's processor and memory are read from <c>/proc</c> and are left out elsewhere.
/// </summary>
internal sealed class SystemMetrics : IAsyncDisposable
{
    private const double Megabyte = 1e6; // As MLflow counts.

    private readonly Action<string, double, long> _log;
    private readonly TimeProvider _clock;
    private readonly NvidiaSmi _gpus;
    private readonly Process _process = Process.GetCurrentProcess();
    private readonly (long Received, long Sent) _networkAtStart = Network();
    private readonly ITimer _timer;
    private readonly Lock _lock = new();
    private (long Busy, long All)? _machine = Machine();
    private TimeSpan _processor;
    private long _at;
    private long _step;

    public SystemMetrics(Action<string, double, long> log, TimeSpan interval, TimeProvider clock, string gpuTool = "nvidia-smi")
    {
        _log = log;
        _clock = clock;
        _gpus = new NvidiaSmi(gpuTool);
        _processor = _process.TotalProcessorTime;
        _at = clock.GetTimestamp();
        _timer = clock.CreateTimer(_ => Sample(), null, interval, interval);
    }

    /// <summary>Stops after one last sample, so that a short run has one too.</summary>
    public async ValueTask DisposeAsync()
    {
        await _timer.DisposeAsync();
        Sample();
        _process.Dispose();
    }

    private void Sample()
    {
        // A slow sample is not joined by a second one.
        if (!_lock.TryEnter())
        {
            return;
        }

        try
        {
            foreach (var (name, value) in Processors().Concat(Memory()).Concat(Disk()).Concat(Transfers()).Concat(_gpus.Read()))
            {
                _log($"system/{name}", value, _step);
            }

            _step++;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ObjectDisposedException or InvalidOperationException or NetworkInformationException)
        {
            // A figure that the system does not give now may be there at the next sample; training does not hang on it.
            return;
        }
        finally
        {
            _lock.Exit();
        }
    }

    private IEnumerable<(string, double)> Processors()
    {
        var machine = Machine();
        if (machine is { } now && _machine is { } before && now.All > before.All)
        {
            yield return ("cpu_utilization_percentage", 100.0 * (now.Busy - before.Busy) / (now.All - before.All));
        }

        _machine = machine;
        _process.Refresh();
        var (processor, at) = (_process.TotalProcessorTime, _clock.GetTimestamp());
        if (_clock.GetElapsedTime(_at, at) is { Ticks: > 0 } elapsed)
        {
            // Of all processors, so that 100 is the most there is; the system counts a thread's time in ticks, and may add one late.
            yield return ("process_cpu_utilization_percentage", Math.Min(100, 100.0 * (processor - _processor) / elapsed / Environment.ProcessorCount));
        }

        (_processor, _at) = (processor, at);
    }

    private IEnumerable<(string, double)> Memory()
    {
        yield return ("process_memory_usage_megabytes", _process.WorkingSet64 / Megabyte);
        if (!File.Exists("/proc/meminfo"))
        {
            yield break;
        }

        long total = 0, available = 0;
        foreach (var line in File.ReadLines("/proc/meminfo"))
        {
            if (line.StartsWith("MemTotal:", StringComparison.Ordinal))
            {
                total = Kilobytes(line);
            }
            else if (line.StartsWith("MemAvailable:", StringComparison.Ordinal))
            {
                available = Kilobytes(line);
                break;
            }
        }

        yield return ("system_memory_usage_megabytes", (total - available) * 1024 / Megabyte);
        yield return ("system_memory_usage_percentage", 100.0 * (total - available) / total);

        static long Kilobytes(string line) => long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }

    private static IEnumerable<(string, double)> Disk()
    {
        var disk = new DriveInfo(Path.GetPathRoot(Environment.CurrentDirectory)!);
        var used = disk.TotalSize - disk.TotalFreeSpace;
        yield return ("disk_usage_megabytes", used / Megabyte);
        yield return ("disk_available_megabytes", disk.AvailableFreeSpace / Megabyte);
        yield return ("disk_usage_percentage", 100.0 * used / (used + disk.AvailableFreeSpace));
    }

    // Since the run began.
    private IEnumerable<(string, double)> Transfers()
    {
        var (received, sent) = Network();
        yield return ("network_receive_megabytes", (received - _networkAtStart.Received) / Megabyte);
        yield return ("network_transmit_megabytes", (sent - _networkAtStart.Sent) / Megabyte);
    }

    private static (long Received, long Sent) Network()
    {
        long received = 0, sent = 0;
        foreach (var statistics in NetworkInterface.GetAllNetworkInterfaces().Select(card => card.GetIPStatistics()))
        {
            received += statistics.BytesReceived;
            sent += statistics.BytesSent;
        }

        return (received, sent);
    }

    // Null where there is no /proc.
    private static (long Busy, long All)? Machine()
    {
        if (!File.Exists("/proc/stat") || File.ReadLines("/proc/stat").FirstOrDefault() is not { } line)
        {
            return null;
        }

        // cpu user nice system idle iowait irq softirq steal …
        var ticks = line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Skip(1).Take(8).Select(text => long.Parse(text, CultureInfo.InvariantCulture)).ToArray();
        var all = ticks.Sum();
        return (all - ticks[3] - ticks[4], all);
    }
}
