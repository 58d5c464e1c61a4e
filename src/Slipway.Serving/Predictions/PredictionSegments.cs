using System.Globalization;
using Slipway.Native.DuckDb;

namespace Slipway.Serving.Predictions;

/// <summary>Closed journals turned into Parquet files: one folder per model, the span of event time in the file's name.</summary>
/// <remarks>A segment carries its journal's id, so that a stop between writing the segment and deleting the journal never counts a row twice.</remarks>
internal sealed class PredictionSegments(string root)
{
    private const string ParquetExtension = ".parquet";

    public string Root { get; } = root;

    public string Folder(string model) => Path.Combine(Root, Journal.FolderName(model));

    /// <summary>The model's segments that may hold event times from <paramref name="fromMs"/> to before <paramref name="toMs"/>, oldest first.</summary>
    public IReadOnlyList<string> List(string model, long fromMs, long toMs)
    {
        var folder = Folder(model);
        return !Directory.Exists(folder) ? [] :
        [
            .. Directory.EnumerateFiles(folder, "*" + ParquetExtension)
                .Select(path => (Path: path, Span: SpanOf(path)))
                .Where(file => file.Span.MinMs < toMs && file.Span.MaxMs >= fromMs)
                .OrderBy(file => file.Span.MinMs).ThenBy(file => file.Path, StringComparer.Ordinal)
                .Select(file => file.Path),
        ];
    }

    /// <summary>The newest event time of a model's segments; null when there are none.</summary>
    public long? NewestEventMs(string model)
    {
        var folder = Folder(model);
        long? newest = null;
        foreach (var path in Directory.Exists(folder) ? Directory.EnumerateFiles(folder, "*" + ParquetExtension) : [])
        {
            newest = Math.Max(newest ?? long.MinValue, SpanOf(path).MaxMs);
        }

        return newest;
    }

    /// <summary>
    /// Deletes the model's segments whose newest event time is before <paramref name="beforeMs"/>, or that were written before it, as a caller may send an
    /// event time far ahead; returns how many.
    /// </summary>
    public int Delete(string model, long beforeMs)
    {
        var deleted = 0;
        foreach (var path in List(model, long.MinValue, long.MaxValue).Where(path => Math.Min(SpanOf(path).MaxMs, new DateTimeOffset(File.GetLastWriteTimeUtc(path)).ToUnixTimeMilliseconds()) < beforeMs))
        {
            File.Delete(path);
            deleted++;
        }

        return deleted;
    }

    /// <summary>Writes the journal's rows as a segment and removes the journal.</summary>
    /// <returns>The newest event time in it; null when it held no row.</returns>
    public static (string Model, long EventMs)? Convert(string journal)
    {
        var folder = Path.GetDirectoryName(journal)!;
        var id = Path.GetFileNameWithoutExtension(journal);
        (string, long)? newest = null;
        if (!Directory.EnumerateFiles(folder, $"*_{id}{ParquetExtension}").Any())
        {
            newest = WriteSegment(journal, folder, id);
        }

        File.Delete(journal);
        return newest;
    }

    private static (string Model, long EventMs)? WriteSegment(string journal, string folder, string id)
    {
        using var reader = new JournalReader<PredictionJournalHeader>(journal);
        if (reader.Header is not { } header || !reader.Next())
        {
            return null;
        }

        using var database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 1, MemoryLimit = "256MB" });
        using var connection = database.Connect();
        long min = long.MaxValue, max = long.MinValue;
        var more = true;
        var predictions = connection.RegisterSource(Columns(header), rows =>
        {
            if (!more)
            {
                return false;
            }

            var row = new PredictionRecord(reader.Record);
            min = Math.Min(min, row.EventMs);
            max = Math.Max(max, row.EventMs);
            Append(rows, row, header);
            more = reader.Next();
            return true;
        });
        var temporary = Path.Combine(folder, id + ".tmp");
        connection.Execute($"COPY (FROM {predictions}()) TO {DuckDbLiteral.Quote(temporary)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 20480)");
        Journal.Publish(temporary, Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{min}_{max}_{id}{ParquetExtension}")));
        return (header.Model, max);
    }

    private static List<(string Name, DuckDbType Type)> Columns(PredictionJournalHeader header) =>
    [
        ("prediction_id", DuckDbType.Varchar),
        ("at_ms", DuckDbType.BigInt),
        ("event_ms", DuckDbType.BigInt),
        ("version", DuckDbType.Varchar),
        ("arm", DuckDbType.Varchar),
        ("entity_key", DuckDbType.Varchar),
        ("output", DuckDbType.Double),
        ("latency_us", DuckDbType.BigInt),
        ("status", DuckDbType.Integer),
        .. header.Features.Select(feature => (feature, DuckDbType.Double)),
        .. header.Ages ? header.Features.Select(feature => ($"age_s:{feature}", DuckDbType.Integer)) : [],
        .. header.Tensors ? [("inputs", DuckDbType.Varchar), ("outputs", DuckDbType.Varchar)] : Array.Empty<(string, DuckDbType)>(),
    ];

    private static void Append(DuckDbRows rows, PredictionRecord row, PredictionJournalHeader header)
    {
        rows.AppendUtf8(row.Id);
        rows.AppendInt64(row.AtMs);
        rows.AppendInt64(row.EventMs);
        rows.AppendUtf8(row.Version);
        rows.AppendString(Arm.NameOf(row.Role));
        if (row.Key.IsEmpty)
        {
            rows.AppendNull();
        }
        else
        {
            rows.AppendUtf8(row.Key);
        }

        rows.AppendDoubles([row.Output]);
        rows.AppendInt64(row.LatencyUs);
        rows.AppendInt64(row.Status);
        if (header.Tensors)
        {
            rows.AppendUtf8(row.Inputs);
            rows.AppendUtf8(row.Outputs);
        }
        else
        {
            var features = row.Features(header.Features.Count);
            if (features.IsEmpty)
            {
                rows.AppendNulls(header.Features.Count);
            }
            else
            {
                rows.AppendDoubles(features);
            }

            var ages = header.Ages ? row.Ages(header.Features.Count) : default;
            for (var i = 0; header.Ages && i < header.Features.Count; i++)
            {
                if (i < ages.Length && ages[i] >= 0)
                {
                    rows.AppendInt64(ages[i]);
                }
                else
                {
                    rows.AppendNull();
                }
            }
        }

        rows.EndRow();
    }

    private static (long MinMs, long MaxMs) SpanOf(string path)
    {
        // A file put here by hand has no span in its name; it is then listed always.
        var parts = Path.GetFileNameWithoutExtension(path).Split('_');
        return parts.Length == 3 && long.TryParse(parts[0], CultureInfo.InvariantCulture, out var min) && long.TryParse(parts[1], CultureInfo.InvariantCulture, out var max)
            ? (min, max)
            : (long.MinValue, long.MaxValue);
    }
}
