using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Slipway.Native;
using Slipway.Serving.Protocol;
using Slipway.Storage;

namespace Slipway.Serving.Predictions;

/// <summary>
/// Every prediction, with its id: the request path drops a row into a bounded ring; one writer takes it to a journal file, which
/// survives a killed process up to the last flush, and journals become Parquet segments.
/// </summary>
/// <remarks>
/// Columns of a segment: <c>prediction_id, at_ms, event_ms, version, arm, entity_key, output, latency_us, status</c> and one
/// DOUBLE per feature, named as in the feature service; where the feature store completed them, <c>age_s:feature</c> for each, how many whole
/// seconds old it was, null when the store knew none; of models of tensors, <c>inputs</c> and <c>outputs</c> as <see cref="LoggedTensors"/> writes
/// them, one row a request. Versions with other features, and rows with and without ages, have segments of their own: read with <c>union_by_name</c>. The writer also counts the live feature histograms, so that they cost the request nothing.
/// </remarks>
public sealed class PredictionLog : IAsyncDisposable
{
    private readonly ServingOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger<PredictionLog> _logger;
    // Entries up to the first size are bounded by the ring's slots; larger ones share the second.
    private const long SmallBytes = 8192;
    private const long LargeBytesMax = 256L << 20;

    // While requests come, often and little: what had gathered for a fifth of a second took a processor from the requests for milliseconds.
    private static readonly TimeSpan BusyInterval = TimeSpan.FromMilliseconds(10);

    private readonly PredictionRing _ring;
    private readonly PredictionSegments _segments;
    private readonly ConcurrentDictionary<string, long> _watermarks = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Journal> _journals = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<TaskCompletionSource> _flushes = new();
    private readonly List<TaskCompletionSource> _due = []; // The writer's: asked for before what it drains.
    private readonly ManualResetEventSlim _wake = new();
    private readonly Thread _writer;
    private readonly LoggedTensors _logged = new();
    private readonly ArrayBufferWriter<byte> _tensors = new();
    private Journal? _lastJournal; // That of the row before, which is that of most rows: looking it up takes a hash of all names of features.
    private string? _lastKey;
    private long _newest; // Of the model of the row before, as it stands among the watermarks.
    private string? _newestOf;
    private Task _converting;
    private long _largeBytes;
    private long _dropped;
    private long _written;
    private volatile bool _stopping;

    /// <summary>Opens the log; journals that an earlier process left become segments in the background.</summary>
    public PredictionLog(StorageOptions storage, ServingOptions options, TimeProvider clock, ILogger<PredictionLog> logger)
    {
        _options = options;
        _clock = clock;
        _logger = logger;
        _ring = new PredictionRing(options.LogRequestsMax);
        _segments = new PredictionSegments(Path.Combine(storage.ColumnsDirectory, "predictions"));
        Journal.CloseLeftovers(_segments.Root);
        _converting = ConvertThen(Task.CompletedTask, []);
        _writer = new Thread(WriteLoop) { IsBackground = true, Name = "prediction log" };
        _writer.Start();
    }

    /// <summary>Sees each row once it is in the journal's buffer, on the writer's thread; must not wait. Null sees none.</summary>
    internal LookAtRow? Look { get; set; }

    /// <summary>Requests answered but not logged, because the ring was full or the disk refused.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    /// <summary>Rows logged since the start.</summary>
    public long Written => Interlocked.Read(ref _written);

    /// <summary>Parquet segments that may hold the model's predictions with event times from <paramref name="from"/> to before <paramref name="to"/>, oldest first. Call <see cref="FlushAsync"/> first to have the newest rows in.</summary>
    public IReadOnlyList<string> Segments(string model, DateTimeOffset from, DateTimeOffset to) =>
        _segments.List(model, from.ToUnixTimeMilliseconds(), to.ToUnixTimeMilliseconds());

    /// <summary>The newest event time seen, never ahead of now; null when the model has no predictions.</summary>
    public DateTimeOffset? Watermark(string model)
    {
        if (!_watermarks.TryGetValue(model, out var newest))
        {
            if (_segments.NewestEventMs(model) is not { } stored)
            {
                return null;
            }

            newest = _watermarks.AddOrUpdate(model, stored, (_, seen) => Math.Max(seen, stored));
        }

        return DateTimeOffset.FromUnixTimeMilliseconds(Math.Min(newest, _clock.GetUtcNow().ToUnixTimeMilliseconds()));
    }

    /// <summary>Brings every prediction answered before the call into segments.</summary>
    public async Task FlushAsync(CancellationToken cancellationToken)
    {
        var flushed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _flushes.Enqueue(flushed);
        _wake.Set();
        await flushed.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Writes what is in the ring to the journals and stops. The journals become segments at the next start.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stopping)
        {
            return;
        }

        _stopping = true;
        _wake.Set();
        _writer.Join();
        await _converting;
        while (_flushes.TryDequeue(out var flush))
        {
            _due.Add(flush);
        }

        _due.ForEach(flush => flush.TrySetCanceled());

        _wake.Dispose();
        _logged.Dispose();
    }

    /// <summary>Puts one request's rows into the ring; never waits.</summary>
    internal void Append(
        Arm arm, ReadOnlySpan<byte> id, ReadOnlySpan<byte> keys, ReadOnlySpan<int> keyEnds, long atMs, ReadOnlySpan<long> eventMs, long latencyUs, int status,
        int rows, ReadOnlySpan<float> features, ReadOnlySpan<float> outputs, ReadOnlySpan<long> ages = default)
    {
        var bytes = keys.Length + ((long)features.Length * sizeof(float)) + ((long)ages.Length * sizeof(long)) + ((long)rows * (sizeof(float) + sizeof(long)));
        if (!arm.Model.Log.Takes(id) || Claim(bytes, out var position) is not { } entry)
        {
            return;
        }

        try
        {
            entry.Set(arm, id, keys, keyEnds, atMs, eventMs, latencyUs, status, rows, features, outputs, ages);
        }
        finally
        {
            Publish(position);
        }
    }

    /// <summary>Puts one request of tensors into the ring; never waits. The tensors' bytes may not change any more.</summary>
    internal void AppendTensors(
        Arm arm, ReadOnlySpan<byte> id, ReadOnlySpan<byte> key, long atMs, long latencyUs, int status, IReadOnlyList<RequestTensor> inputs, IReadOnlyList<AnswerTensor> answers)
    {
        if (!arm.Model.Log.Takes(id))
        {
            return;
        }

        var kept = LoggedTensors.Keep(inputs, answers);
        var bytes = kept.Inputs.Sum(input => (long)input.Data.Count) + kept.Answers.Sum(answer => (long)answer.Data.Length);
        if (Claim(bytes, out var position) is not { } entry)
        {
            return;
        }

        try
        {
            entry.SetTensors(arm, id, key, atMs, latencyUs, status, kept.Inputs, kept.Answers);
        }
        finally
        {
            Publish(position);
        }
    }

    private PredictionEntry? Claim(long bytes, out long position)
    {
        var large = bytes > SmallBytes ? bytes : 0;
        var fits = large == 0 || Interlocked.Add(ref _largeBytes, large) <= LargeBytesMax;
        position = 0;
        if (fits && _ring.TryClaim(out position) is { } entry)
        {
            entry.LargeBytes = large;
            return entry;
        }

        if (large > 0)
        {
            Interlocked.Add(ref _largeBytes, -large);
        }

        Interlocked.Increment(ref _dropped);
        _wake.Set();
        return null;
    }

    private void Publish(long position)
    {
        _ring.Publish(position);

        // Half full: the writer should not sleep out its interval. Looked at now and then only, since it reads the writer's cache line.
        if ((position & 1023) == 0 && _ring.Waiting > _options.LogRequestsMax / 2)
        {
            _wake.Set();
        }
    }

    /// <summary>Deletes a model's segments whose newest prediction is older than a moment; returns how many.</summary>
    internal int Expire(string model, DateTimeOffset before) => _segments.Delete(model, before.ToUnixTimeMilliseconds());

    private void WriteLoop()
    {
        var record = new ArrayBufferWriter<byte>(4096);
        while (true)
        {
            var stopping = _stopping;
            var taken = 0;
            try
            {
                _wake.Reset();
                while (_flushes.TryDequeue(out var asked))
                {
                    _due.Add(asked);
                }

                taken = Drain(record, _due.Count > 0 ? _ring.Tail : 0);
                if (_due.Count > 0)
                {
                    CloseJournals();
                    _converting = ConvertThen(_converting, [.. _due]);
                    _due.Clear();
                }
            }
            catch (Exception e)
            {
                // The log is beside the answers: a full disk costs rows, which are counted, and never a request.
                _logger.LogError(e, "The prediction log could not be written; {Dropped} requests are missing from it so far", Dropped);
            }

            if (stopping)
            {
                break;
            }

            _wake.Wait(taken > 0 && BusyInterval < _options.LogInterval ? BusyInterval : _options.LogInterval);
        }

        CloseJournals();
    }

    /// <param name="record">Scratch.</param>
    /// <param name="until">Goes on until this position has been taken, also past slots that are being filled right now.</param>
    /// <returns>Requests taken.</returns>
    private int Drain(ArrayBufferWriter<byte> record, long until)
    {
        var taken = 0;
        while (true)
        {
            if (_ring.TryTake() is not { } entry)
            {
                if (_ring.Head >= until)
                {
                    break;
                }

                Thread.Yield();
                continue;
            }

            try
            {
                Write(entry, record);
                entry.Trim();
            }
            finally
            {
                if (entry.LargeBytes > 0)
                {
                    Interlocked.Add(ref _largeBytes, -entry.LargeBytes);
                }

                _ring.Release();
            }

            // Not more than a ring's worth between two writes to the files, however fast requests come.
            if (++taken % _options.LogRequestsMax == 0)
            {
                WriteJournals();
            }
        }

        WriteJournals();
        return taken;
    }

    private void Write(PredictionEntry entry, ArrayBufferWriter<byte> record)
    {
        var model = entry.Arm.Model;
        var journal = JournalOf(model, entry.HasAges);
        var policy = model.Log;
        var inputs = 0;
        _tensors.ResetWrittenCount();
        if (entry.Inputs is not null)
        {
            inputs = _logged.Write(entry, policy.Redacted, _tensors);
        }

        var newest = long.MinValue;
        for (var row = 0; row < entry.Rows; row++)
        {
            var length = PredictionRecord.Write(entry, row, policy, _tensors.WrittenSpan, inputs, record.GetSpan(PredictionRecord.SizeMax(entry, _tensors.WrittenCount)));
            journal.Append(record.GetSpan(length)[..length]);
            newest = Math.Max(newest, entry.EventMs(row));
            if (model.Review is not null)
            {
                Look?.Invoke(entry, row, new PredictionRecord(record.GetSpan(length)[..length]).Id);
            }

            if (entry.HasFeatures && entry.Arm.Counts)
            {
                model.Skew.Count(entry.Features(row, model.FeatureNames.Count));
            }
        }

        Interlocked.Add(ref _written, entry.Rows);
        if (newest > _newest || !ReferenceEquals(_newestOf, model.Model))
        {
            (_newest, _newestOf) = (_watermarks.AddOrUpdate(model.Model, static (_, newest) => newest, static (_, seen, newest) => Math.Max(seen, newest), newest), model.Model);
        }
    }

    private Journal JournalOf(LoadedModel model, bool ages)
    {
        var key = ages ? model.AgesJournalKey : model.JournalKey;
        if (_lastJournal is not null && ReferenceEquals(key, _lastKey))
        {
            return _lastJournal;
        }

        if (!_journals.TryGetValue(key, out var journal))
        {
            var name = Guid.CreateVersion7(_clock.GetUtcNow()).ToString("N");
            _journals[key] = journal = Journal.Create(_segments.Folder(model.Model), name, new PredictionJournalHeader(model.Model, model.FeatureNames, model.Tensors is not null, ages));
        }

        (_lastJournal, _lastKey) = (journal, key);
        return journal;
    }

    private void WriteJournals()
    {
        var full = false;
        foreach (var journal in _journals.Values)
        {
            try
            {
                journal.Write();
            }
            catch (IOException e)
            {
                Interlocked.Increment(ref _dropped);
                _logger.LogError(e, "The prediction journal {Path} could not be written", journal.Path);
            }

            full |= journal.Records >= _options.SegmentRows;
        }

        if (full)
        {
            CloseJournals();
            _converting = ConvertThen(_converting, []);
        }
    }

    private void CloseJournals()
    {
        _lastJournal = null;
        Journal.CloseAll(_journals, _logger);
    }

    // Never fails: whoever waits is told, and the next one tries again.
    private async Task ConvertThen(Task before, IReadOnlyList<TaskCompletionSource> waiting)
    {
        await before;
        try
        {
            await Task.Run(() => BackgroundThread.Run(ConvertClosed));
            foreach (var one in waiting)
            {
                one.TrySetResult();
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _logger.LogError(e, "The folder of the prediction log cannot be read");
            foreach (var one in waiting)
            {
                one.TrySetException(e);
            }
        }
    }

    private void ConvertClosed()
    {
        foreach (var journal in Journal.Closed(_segments.Root))
        {
            try
            {
                if (PredictionSegments.Convert(journal) is { } converted)
                {
                    _watermarks.AddOrUpdate(converted.Model, converted.EventMs, (_, seen) => Math.Max(seen, converted.EventMs));
                }
            }
            catch (Exception e)
            {
                // The journal stays and is tried again with the next flush.
                _logger.LogError(e, "The prediction journal {Path} could not be turned into a segment", journal);
            }
        }
    }
}

/// <summary>Sees a logged row.</summary>
/// <param name="entry">The request.</param>
/// <param name="row">From 0.</param>
/// <param name="id">The row's prediction id.</param>
internal delegate void LookAtRow(PredictionEntry entry, int row, ReadOnlySpan<byte> id);
