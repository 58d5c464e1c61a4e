using System.Diagnostics;

namespace Slipway.Tests.Hosting;

/// <summary>What a busy machine takes away from a test that measures time: by how much waits of ten milliseconds, one after the other, came back too late.</summary>
internal sealed class Stalls
{
    private static readonly TimeSpan Wait = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan Usual = TimeSpan.FromMilliseconds(13); // What such a wait takes on a quiet machine.

    private readonly CancellationTokenSource _stop = new();
    private readonly Task<TimeSpan> _loop;

    private Stalls() => _loop = Task.Run(LoopAsync);

    public static Stalls Start() => new();

    /// <summary>The time taken away since the start.</summary>
    public async Task<TimeSpan> StopAsync()
    {
        await _stop.CancelAsync();
        var taken = await _loop;
        _stop.Dispose();
        return taken;
    }

    private async Task<TimeSpan> LoopAsync()
    {
        var taken = TimeSpan.Zero;
        while (!_stop.IsCancellationRequested)
        {
            var start = Stopwatch.GetTimestamp();
            await Task.Delay(Wait);
            var late = Stopwatch.GetElapsedTime(start) - Usual;
            taken += late > TimeSpan.Zero ? late : TimeSpan.Zero;
        }

        return taken;
    }
}
