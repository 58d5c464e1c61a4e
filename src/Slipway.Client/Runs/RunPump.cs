using System.Buffers;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Client.Runs;

/// <summary>
/// Carries what a run logs from memory to its journal and from there to the server. A thread of its own writes the journal, so
/// that neither a slow server nor a busy thread pool keeps points in memory; the sending reads the journal and knows nothing else.
/// </summary>
internal sealed class RunPump : IDisposable
{
    private const int UnwrittenBytesMax = 64 * 1024 * 1024;
    private static readonly TimeSpan BackoffMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan RetryAfterMax = TimeSpan.FromMinutes(5);

    private readonly RunJournal _journal;
    private readonly JournalSender _sender;
    private readonly RunOptions _options;
    private readonly MetricBuffer _metrics = new();
    private readonly Lock _lock = new();
    private readonly Lock _flushLock = new();
    private readonly HashSet<string> _told = new(StringComparer.Ordinal);
    private readonly ManualResetEventSlim _wake = new();
    private readonly SemaphoreSlim _toSend = new(1, 1);
    private readonly CancellationTokenSource _stop = new();
    private readonly Thread _flusher;
    private Dictionary<string, string> _tags = new(StringComparer.Ordinal);
    private Dictionary<string, string> _parameters = new(StringComparer.Ordinal);
    private List<RunInput> _inputs = [];
    private List<JournalLine> _lines = [];
    private ArrayBufferWriter<byte> _unwritten = new(64 * 1024);
    private Task _sending = Task.CompletedTask;
    private int _files;
    private long _dropped;
    private volatile bool _closed;
    private volatile bool _troubled;
    private bool _unflushed;

    private RunPump(RunJournal journal, JournalSender sender, RunOptions options)
    {
        _journal = journal;
        _sender = sender;
        _options = options;
        _flusher = new Thread(FlushLoop) { IsBackground = true, Name = "slipway journal" };
    }

    public string JournalPath => _journal.Path;

    public long DroppedPoints => Interlocked.Read(ref _dropped);

    /// <summary>Opens the journal, writes the run's beginning to it, and makes the run on the server.</summary>
    /// <exception cref="SlipwayException">The server refuses the run, or the journal cannot be written.</exception>
    /// <exception cref="ServerUnreachableException">Nobody answers and the options say that somebody must.</exception>
    public static async Task<RunPump> StartAsync(SlipwayClient client, string runId, PutRun first, RunOptions options, CancellationToken cancellationToken)
    {
        var journal = RunJournal.Open(options.JournalDirectory ?? RunJournal.DefaultDirectory, runId);
        RunPump? pump = null;
        try
        {
            var isNew = journal.Length == 0;
            var sender = new JournalSender(client, journal.Path, message => pump?.Tell(message));
            pump = new RunPump(journal, sender, options);
            var line = new JournalLine { Run = first }.ToBytes();
            journal.Append(line);
            journal.FlushToDisk();
            if (options.Offline is not OfflineMode.Always)
            {
                await pump.IntroduceAsync(client, runId, first, isNew ? line.Length : 0, cancellationToken);
                pump._sending = Task.Run(pump.SendLoopAsync, CancellationToken.None);
            }

            pump._flusher.Start();
            return pump;
        }
        catch
        {
            if (pump is null)
            {
                journal.Dispose();
            }

            pump?.Dispose();
            throw;
        }
    }

    public void AddMetric(string key, double value, long timestampMs, long step)
    {
        int waiting;
        while ((waiting = _metrics.TryAdd(key, value, timestampMs, step)) < 0)
        {
            // Points come faster than they are written: this call writes some itself. It waits for the disk, never for the network.
            if (!Flush(toDisk: false))
            {
                Interlocked.Increment(ref _dropped);
                Tell($"The disk of '{JournalPath}' takes nothing and memory is full: points are being dropped. Free some space.");
                return;
            }
        }

        if (waiting == MetricBuffer.Capacity / 2)
        {
            _wake.Set();
        }
    }

    public void AddParameter(string key, string value) => Add(() => _parameters[key] = value);

    public void AddTag(string key, string value) => Add(() => _tags[key] = value);

    public void AddInput(RunInput input) => Add(() => _inputs.Add(input));

    public void AddLine(JournalLine line) => Add(() => _lines.Add(line));

    /// <summary>Copies a file beside the journal and adds it; false when it is over the limit.</summary>
    public async Task<bool> AddFileAsync(string path, Stream content, long? bytesMax, CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_closed, typeof(ActiveRun));
        if (content.CanSeek && content.Length - content.Position > bytesMax)
        {
            return false;
        }

        Directory.CreateDirectory(_journal.FilesDirectory);
        // Another process may have written to this journal before.
        var name = $"{Environment.ProcessId}-{Interlocked.Increment(ref _files)}";
        var copy = Path.Combine(_journal.FilesDirectory, name);
        var whole = false;
        try
        {
            await using var file = new FileStream(copy, FileMode.CreateNew, FileAccess.Write, FileShare.Read, 1, FileOptions.Asynchronous);
            whole = await CopyAsync(content, file, bytesMax ?? long.MaxValue, cancellationToken);
            if (whole)
            {
                file.Flush(flushToDisk: true);
            }
        }
        finally
        {
            if (!whole)
            {
                File.Delete(copy);
            }
        }

        if (whole)
        {
            AddLine(new JournalLine { Artifact = new JournalArtifact(path, name) });
            _wake.Set();
        }

        return whole;
    }

    /// <summary>Writes to the journal all that was logged before the call.</summary>
    /// <returns>Whether there is room for more: false when the disk has refused so long that what waits for it fills its part of memory.</returns>
    public bool Flush(bool toDisk)
    {
        bool room;
        lock (_flushLock)
        {
            room = _unwritten.WrittenCount < UnwrittenBytesMax;
            if (room)
            {
                Collect();
            }

            try
            {
                if (_unwritten.WrittenCount > 0)
                {
                    _journal.Append(_unwritten.WrittenSpan);
                    _unflushed = true;
                    if (_unwritten.Capacity > 4 * 1024 * 1024)
                    {
                        _unwritten = new ArrayBufferWriter<byte>(64 * 1024);
                    }

                    _unwritten.ResetWrittenCount();
                }

                if (toDisk && _unflushed)
                {
                    _journal.FlushToDisk();
                    _unflushed = false;
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ObjectDisposedException)
            {
                // It waits in memory and is tried again with the next flush.
                Tell($"The journal '{JournalPath}' cannot be written: {e.Message}");
            }
        }

        SignalSender();
        return room;
    }

    /// <summary>Takes nothing more and writes the run's end to the journal.</summary>
    public void Close(PutRun end)
    {
        lock (_lock)
        {
            if (_closed)
            {
                return;
            }

            _closed = true;
        }

        _metrics.Close();
        Flush(toDisk: false);
        lock (_flushLock)
        {
            _unwritten.Write(new JournalLine { Run = end }.ToBytes());
        }

        Flush(toDisk: true);
        _wake.Set();
    }

    /// <summary>Ends the run; waits for the server as long as it goes on taking things, and for <paramref name="limit"/> when it takes nothing.</summary>
    /// <returns>Whether the server has all of it; the journal has gone then.</returns>
    public async Task<bool> EndAsync(PutRun end, TimeSpan limit)
    {
        await Task.Run(() => Close(end));
        await _stop.CancelAsync();
        await _sending;
        _flusher.Join();
        var all = _options.Offline is not OfflineMode.Always && await SendRestAsync(limit) && _unwritten.WrittenCount == 0;
        if (all)
        {
            RunJournal.Delete(_journal.Path);
        }
        else
        {
            Tell($"What the server does not have of this run is kept in '{JournalPath}'; send it with: slipway sync '{Path.GetDirectoryName(JournalPath)}'");
        }

        Dispose();
        return all;
    }

    public void Dispose()
    {
        _journal.Dispose();
        _stop.Dispose();
        _wake.Dispose();
        _toSend.Dispose();
    }

    /// <summary>Reports a problem, each text once.</summary>
    public void Tell(string message)
    {
        lock (_told)
        {
            if (!_told.Add(message))
            {
                return;
            }
        }

        try
        {
            _options.OnProblem(message);
        }
        catch (Exception)
        {
            // The listener is not ours, and no fault of it may end the thread that saves points.
            return;
        }
    }

    private void Add(Action add)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_closed, typeof(ActiveRun));
            add();
        }
    }

    private async Task IntroduceAsync(SlipwayClient client, string runId, PutRun first, int bytes, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_options.StartTimeout);
        SendResult result;
        try
        {
            result = await client.TrySendAsync(HttpMethod.Put, $"runs/{runId}", System.Net.Http.Json.JsonContent.Create(first, options: JsonDefaults.Options), limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            result = new SendResult(null, $"The server at {client.Server} did not answer within {_options.StartTimeout.TotalSeconds:0.#} seconds.");
        }

        if (result.Ok)
        {
            if (bytes > 0)
            {
                _sender.Advance(bytes);
            }

            return;
        }

        if (result.Refusal is null && _options.Offline is OfflineMode.WhenNeeded)
        {
            _troubled = true;
            Tell($"{result.Trouble} The run is written to '{JournalPath}' until it does.");
            return;
        }

        if (bytes > 0)
        {
            RunJournal.Delete(_journal.Path); // The run has not begun.
        }

        throw result.Refusal ?? (Exception)new ServerUnreachableException(result.Trouble!, new TimeoutException(result.Trouble));
    }

    private void FlushLoop()
    {
        while (!_closed)
        {
            _wake.Wait(_options.FlushInterval);
            _wake.Reset();
            Flush(toDisk: true);
        }
    }

    // Called under the flush lock.
    private void Collect()
    {
        List<JournalLine> lines;
        lock (_lock)
        {
            lines = _lines;
            _lines = [];
            if (_tags.Count + _parameters.Count > 0)
            {
                lines.Add(new JournalLine { Run = new PutRun { Tags = _tags.Count > 0 ? _tags : null, Parameters = _parameters.Count > 0 ? _parameters : null } });
                (_tags, _parameters) = (new Dictionary<string, string>(StringComparer.Ordinal), new Dictionary<string, string>(StringComparer.Ordinal));
            }

            if (_inputs.Count > 0)
            {
                lines.Add(new JournalLine { Inputs = _inputs });
                _inputs = [];
            }
        }

        foreach (var line in lines)
        {
            _unwritten.Write(line.ToBytes());
        }

        WriteMetrics(_metrics.Take(out var keys), keys);
    }

    // By key, so that a curve's points share a line; in the order they came within it.
    private void WriteMetrics(ReadOnlySpan<MetricBuffer.Entry> entries, int keys)
    {
        if (entries.IsEmpty)
        {
            return;
        }

        var next = ArrayPool<int>.Shared.Rent(keys);
        var order = ArrayPool<int>.Shared.Rent(entries.Length);
        Array.Clear(next, 0, keys);
        foreach (ref readonly var entry in entries)
        {
            next[entry.Key]++;
        }

        var start = 0;
        for (var key = 0; key < keys; key++)
        {
            (next[key], start) = (start, start + next[key]);
        }

        for (var i = 0; i < entries.Length; i++)
        {
            order[next[entries[i].Key]++] = i;
        }

        using (var lines = new MetricLineWriter(_unwritten))
        {
            var key = -1;
            var name = "";
            for (var i = 0; i < entries.Length; i++)
            {
                ref readonly var entry = ref entries[order[i]];
                if (entry.Key != key)
                {
                    name = _metrics.Name(key = entry.Key);
                }

                lines.Add(name, entry.Step, entry.TimestampMs, entry.Value);
            }

            lines.EndLine();
        }

        ArrayPool<int>.Shared.Return(next);
        ArrayPool<int>.Shared.Return(order);
    }

    private void SignalSender()
    {
        if (_toSend.CurrentCount == 0)
        {
            try
            {
                _toSend.Release();
            }
            catch (Exception e) when (e is SemaphoreFullException or ObjectDisposedException)
            {
                // Another flush has signalled in between, or the run has ended.
                return;
            }
        }
    }

    private async Task SendLoopAsync()
    {
        var failures = 0;
        try
        {
            while (true)
            {
                await _toSend.WaitAsync(_stop.Token);
                if (_sender.Offset >= _journal.Length)
                {
                    continue;
                }

                var result = await _sender.SendAsync(_journal.Length, null, _stop.Token);
                _troubled = !result.Ok;
                if (result.Ok)
                {
                    failures = 0;
                    continue;
                }

                if (result.Refusal is { } refusal)
                {
                    Tell($"The server refuses this run: {refusal.Message} It is written to '{JournalPath}' from here on.");
                    return;
                }

                Tell($"{result.Trouble} The run is written to '{JournalPath}' until it does.");
                await Task.Delay(Backoff(result, failures++), _options.Clock, _stop.Token);
                SignalSender();
            }
        }
        catch (OperationCanceledException)
        {
            // The run ends; what is left is sent by the end itself.
            return;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _troubled = true;
            Tell($"The journal '{JournalPath}' cannot be read for sending: {e.Message}");
        }
    }

    private async Task<bool> SendRestAsync(TimeSpan limit)
    {
        using var patience = new CancellationTokenSource(limit);
        var progress = new Patience(() => patience.CancelAfter(limit));
        try
        {
            for (var failures = 0; _sender.Offset < _journal.Length; failures++)
            {
                var result = await _sender.SendAsync(_journal.Length, progress, patience.Token);
                if (result.Refusal is { } refusal)
                {
                    Tell($"The server refuses this run: {refusal.Message}");
                    return false;
                }

                if (!result.Ok)
                {
                    Tell(result.Trouble!);
                    if (_troubled)
                    {
                        return false; // It was away before; whoever works offline does not want to wait for it.
                    }

                    await Task.Delay(Backoff(result, failures), patience.Token);
                }
            }

            return true;
        }
        catch (OperationCanceledException)
        {
            Tell($"The server took nothing for {limit.TotalSeconds:0.#} seconds.");
            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Tell($"The journal '{JournalPath}' cannot be read for sending: {e.Message}");
            return false;
        }
    }

    // Twice as long each time, and not all clients at the same moment.
    private static TimeSpan Backoff(SendResult result, int failures)
    {
        if (result.RetryAfter is { } asked)
        {
            return asked < RetryAfterMax ? asked : RetryAfterMax;
        }

        var seconds = Math.Min(BackoffMax.TotalSeconds, 0.25 * Math.Pow(2, failures));
        return TimeSpan.FromSeconds(seconds * (0.75 + (Random.Shared.NextDouble() / 2)));
    }

    private static async Task<bool> CopyAsync(Stream from, Stream to, long bytesMax, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(128 * 1024);
        try
        {
            var copied = 0L;
            int read;
            while ((read = await from.ReadAsync(buffer, cancellationToken)) > 0)
            {
                if ((copied += read) > bytesMax)
                {
                    return false;
                }

                await to.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
            }

            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    // Progress<T> reports on the thread pool, too late.
    private sealed class Patience(Action progressed) : IProgress<long>
    {
        public void Report(long value) => progressed();
    }
}
