using System.Buffers.Binary;
using System.Text;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Native.DuckDb;
using Slipway.Storage;

namespace Slipway.Serving.Labels;

/// <summary>
/// Outcomes of predictions. An acknowledged label is on disk: all appends that wait share one flush. Journals become Parquet
/// segments with the columns <c>prediction_id, label, observed_ms, received_ms</c>.
/// </summary>
/// <remarks>
/// A label may come before its prediction's row is in a segment, much later, or twice: the join is by id when somebody asks, and
/// of several labels for one prediction the one received last counts.
/// </remarks>
public sealed class LabelLog : IAsyncDisposable
{
    private const string ParquetExtension = ".parquet";
    private const int SegmentRows = 200_000;

    private readonly string _root;
    private readonly TimeProvider _clock;
    private readonly ILogger<LabelLog> _logger;
    private readonly Channel<Request> _requests = Channel.CreateBounded<Request>(new BoundedChannelOptions(1024) { SingleReader = true });
    private readonly Dictionary<string, Journal> _journals = new(StringComparer.Ordinal);
    private readonly Task _loop;

    /// <summary>Opens the log and turns the journals of an earlier process into segments.</summary>
    public LabelLog(StorageOptions storage, TimeProvider clock, ILogger<LabelLog> logger)
    {
        _root = Path.Combine(storage.ColumnsDirectory, "labels");
        _clock = clock;
        _logger = logger;
        Journal.CloseLeftovers(_root);
        _loop = Task.Run(LoopAsync);
    }

    /// <summary>Stores labels; returns how many once they are on disk.</summary>
    /// <exception cref="SlipwayException">Unavailable: the disk refused; nothing of this call counts as stored.</exception>
    public async Task<int> AppendAsync(string model, IReadOnlyList<Label> labels, CancellationToken cancellationToken)
    {
        if (labels.Count > 0)
        {
            await SendAsync(new Request(model, labels), cancellationToken);
        }

        return labels.Count;
    }

    /// <summary>Brings every acknowledged label into segments.</summary>
    public Task FlushAsync(CancellationToken cancellationToken) => SendAsync(new Request(null, []), cancellationToken);

    /// <summary>The model's Parquet segments, oldest first. Call <see cref="FlushAsync"/> first to have the newest labels in.</summary>
    public IReadOnlyList<string> Segments(string model)
    {
        var folder = Path.Combine(_root, Journal.FolderName(model));
        return Directory.Exists(folder) ? [.. Directory.EnumerateFiles(folder, "*" + ParquetExtension).Order(StringComparer.Ordinal)] : [];
    }

    /// <summary>Ends the journals; they become segments at the next start.</summary>
    public async ValueTask DisposeAsync()
    {
        _requests.Writer.TryComplete();
        await _loop;
    }

    private async Task SendAsync(Request request, CancellationToken cancellationToken)
    {
        await _requests.Writer.WriteAsync(request, cancellationToken);
        await request.Done.Task.WaitAsync(cancellationToken);
    }

    private async Task LoopAsync()
    {
        ConvertClosed();
        var group = new List<Request>();
        while (await _requests.Reader.WaitToReadAsync())
        {
            group.Clear();
            while (group.Count < 256 && _requests.Reader.TryRead(out var request))
            {
                group.Add(request);
            }

            Exception? failure = null;
            try
            {
                WriteGroup(group);
            }
            catch (Exception e)
            {
                _logger.LogError(e, "A group of {Count} label requests could not be stored", group.Count);
                failure = new SlipwayException(ErrorCode.Unavailable, "The labels could not be written to disk; nothing was stored. See the server's log, then send them again.", e);
            }

            foreach (var request in group)
            {
                if (failure is null)
                {
                    request.Done.TrySetResult();
                }
                else
                {
                    request.Done.TrySetException(failure);
                }
            }
        }

        CloseJournals();
    }

    private void WriteGroup(List<Request> group)
    {
        var receivedMs = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        var touched = new HashSet<Journal>();
        var flush = false;
        try
        {
            foreach (var request in group)
            {
                if (request.Model is null)
                {
                    flush = true;
                    continue;
                }

                var journal = JournalOf(request.Model);
                touched.Add(journal);
                foreach (var label in request.Labels)
                {
                    Append(journal, label, receivedMs);
                }
            }

            foreach (var journal in touched)
            {
                journal.Write(toDisk: true);
            }
        }
        catch
        {
            // What a failed write left in a journal is unknown; the next group starts a new one.
            CloseJournals();
            throw;
        }

        if (flush || touched.Any(journal => journal.Records >= SegmentRows))
        {
            CloseJournals();
            ConvertClosed();
        }
    }

    private Journal JournalOf(string model)
    {
        if (!_journals.TryGetValue(model, out var journal))
        {
            var folder = Path.Combine(_root, Journal.FolderName(model));
            _journals[model] = journal = Journal.Create(folder, Guid.CreateVersion7(_clock.GetUtcNow()).ToString("N"), new Header(model));
            Journal.FlushFolder(folder);
        }

        return journal;
    }

    private static void Append(Journal journal, Label label, long receivedMs)
    {
        var record = new byte[24 + Encoding.UTF8.GetByteCount(label.PredictionId)];
        BinaryPrimitives.WriteDoubleLittleEndian(record, label.Value);
        BinaryPrimitives.WriteInt64LittleEndian(record.AsSpan(8), label.ObservedAt.ToUnixTimeMilliseconds());
        BinaryPrimitives.WriteInt64LittleEndian(record.AsSpan(16), receivedMs);
        Encoding.UTF8.GetBytes(label.PredictionId, record.AsSpan(24));
        journal.Append(record);
    }

    private void CloseJournals() => Journal.CloseAll(_journals, _logger);

    private void ConvertClosed()
    {
        IReadOnlyList<string> closed = [];
        try
        {
            closed = Journal.Closed(_root);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // They stay, and are tried again with the next flush.
            _logger.LogError(e, "The folder of the labels cannot be read");
        }

        foreach (var journal in closed)
        {
            try
            {
                Convert(journal);
            }
            catch (Exception e)
            {
                // The labels stay in the journal and are tried again with the next flush.
                _logger.LogError(e, "The label journal {Path} could not be turned into a segment", journal);
            }
        }
    }

    private static void Convert(string journal)
    {
        var segment = Path.ChangeExtension(journal, ParquetExtension);
        if (!File.Exists(segment))
        {
            using var database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 1, MemoryLimit = "256MB" });
            using var connection = database.Connect();
            using var reader = new JournalReader<Header>(journal);
            var labels = connection.RegisterSource(
                [("prediction_id", DuckDbType.Varchar), ("label", DuckDbType.Double), ("observed_ms", DuckDbType.BigInt), ("received_ms", DuckDbType.BigInt)],
                rows => Append(reader, rows));
            var temporary = Path.ChangeExtension(journal, ".tmp");
            connection.Execute($"COPY (FROM {labels}()) TO {DuckDbLiteral.Quote(temporary)} (FORMAT parquet, COMPRESSION zstd)");
            Journal.Publish(temporary, segment);
        }

        File.Delete(journal);
    }

    private static bool Append(JournalReader<Header> reader, DuckDbRows rows)
    {
        if (reader.Header is null || !reader.Next())
        {
            return false;
        }

        var record = reader.Record;
        rows.AppendUtf8(record[24..]);
        rows.AppendDouble(BinaryPrimitives.ReadDoubleLittleEndian(record));
        rows.AppendInt64(BinaryPrimitives.ReadInt64LittleEndian(record[8..]));
        rows.AppendInt64(BinaryPrimitives.ReadInt64LittleEndian(record[16..]));
        rows.EndRow();
        return true;
    }

    private sealed record Header(string Model);

    private sealed record Request(string? Model, IReadOnlyList<Label> Labels)
    {
        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
