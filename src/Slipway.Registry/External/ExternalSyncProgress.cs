using Slipway.Contracts.Registry;

namespace Slipway.Registry.External;

/// <summary>Counts what a pass does, readable while it runs.</summary>
internal sealed class ExternalSyncProgress(TimeProvider clock)
{
    private readonly long _startedAt = clock.GetTimestamp();
    private long _seen;
    private long _added;
    private long _changes;
    private long _runs;
    private long _files;
    private long _bytes;
    private long _durationMs = -1;

    public bool Full { get; set; }

    public void Seen(int count) => Interlocked.Add(ref _seen, count);

    public void Added() => Interlocked.Increment(ref _added);

    public void Changed(int count) => Interlocked.Add(ref _changes, count);

    public void RunCopied() => Interlocked.Increment(ref _runs);

    public void FileCopied(long bytes)
    {
        Interlocked.Increment(ref _files);
        Interlocked.Add(ref _bytes, bytes);
    }

    public void End() => Interlocked.Exchange(ref _durationMs, (long)clock.GetElapsedTime(_startedAt).TotalMilliseconds);

    public ExternalSyncReport Report(long writesSent)
    {
        var ended = Interlocked.Read(ref _durationMs);
        return new ExternalSyncReport(
            Full, Interlocked.Read(ref _seen), Interlocked.Read(ref _added), Interlocked.Read(ref _changes), Interlocked.Read(ref _runs), Interlocked.Read(ref _files),
            Interlocked.Read(ref _bytes), writesSent, ended >= 0 ? ended : (long)clock.GetElapsedTime(_startedAt).TotalMilliseconds);
    }
}
