using System.Diagnostics;

namespace Slipway.Tests.Hosting;

/// <summary>What a busy machine takes away from a test that measures time: by how much a thread of its own, which sleeps for ten milliseconds again and again, woke too late.</summary>
internal sealed class Stalls : IDisposable
{
    private static readonly TimeSpan Sleep = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan Usual = TimeSpan.FromMilliseconds(13); // What it takes on a quiet machine.

    private readonly Thread _thread;
    private long _taken;
    private volatile bool _stop;

    public Stalls()
    {
        _thread = new Thread(Loop) { IsBackground = true };
        _thread.Start();
    }

    /// <summary>The time taken away so far.</summary>
    public TimeSpan Taken => TimeSpan.FromTicks(Interlocked.Read(ref _taken));

    public void Dispose()
    {
        _stop = true;
        _thread.Join();
    }

    private void Loop()
    {
        while (!_stop)
        {
            var start = Stopwatch.GetTimestamp();
            Thread.Sleep(Sleep);
            Interlocked.Add(ref _taken, Math.Max(0, (Stopwatch.GetElapsedTime(start) - Usual).Ticks));
        }
    }
}
