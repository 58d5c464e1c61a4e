using System.Globalization;
using System.Text;
using Slipway.Contracts.Tracking;
using Slipway.Native.DuckDb;
using Slipway.Storage.Blobs;

namespace Slipway.Web.Pages.Experiments;

/// <summary>The beginning of a file, as text, table or picture. What could run in a browser (HTML, SVG) is shown as its source.</summary>
public sealed record ArtifactPreview
{
    /// <summary>Bytes of text shown.</summary>
    public const int TextBytesMax = 64 * 1024;

    /// <summary>Rows of a table shown.</summary>
    public const int RowsMax = 50;

    private const int ColumnsMax = 50;
    private const int CellMax = 120;
    private const long ImageBytesMax = 20_000_000;
    private static readonly TimeSpan TableTimeMax = TimeSpan.FromSeconds(5);

    /// <summary>The text; null when the file is none.</summary>
    public string? Text { get; init; }

    /// <summary>Whether the browser may be given the file as a picture.</summary>
    public bool Picture { get; init; }

    /// <summary>Names of the columns; empty when the file is no table.</summary>
    public IReadOnlyList<string> Columns { get; init; } = [];

    /// <summary>First rows of the table.</summary>
    public IReadOnlyList<IReadOnlyList<string>> Rows { get; init; } = [];

    /// <summary>What is left out, or why there is nothing to see; null when all is shown.</summary>
    public string? Note { get; init; }

    /// <summary>Reads the beginning of a file.</summary>
    public static async Task<ArtifactPreview> ReadAsync(RunArtifact file, BlobStore blobs, DuckDbDatabase duckDb, CancellationToken ct)
    {
        var head = await HeadAsync(file, blobs, ct);
        if (PictureType(head) is not null)
        {
            return file.SizeBytes <= ImageBytesMax
                ? new ArtifactPreview { Picture = true }
                : new ArtifactPreview { Note = $"A picture of {Shared.Format.Bytes(file.SizeBytes)}; download it to see it." };
        }

        var parquet = head.AsSpan().StartsWith("PAR1"u8);
        if (parquet || file.Path.EndsWith(".csv", StringComparison.OrdinalIgnoreCase) || file.Path.EndsWith(".tsv", StringComparison.OrdinalIgnoreCase))
        {
            try
            {
                return Table(blobs.PathOf(file.Sha256), parquet, duckDb, ct);
            }
            catch (Exception e) when (e is DuckDbException || (e is OperationCanceledException && !ct.IsCancellationRequested))
            {
                // Not the table its name says; as text it may still tell something.
                if (parquet)
                {
                    return new ArtifactPreview { Note = "The file begins like Parquet, but cannot be read as such." };
                }
            }
        }

        return TextOf(head) is { } text
            ? new ArtifactPreview { Text = text, Note = file.SizeBytes > TextBytesMax ? $"The first {Shared.Format.Bytes(TextBytesMax)} of {Shared.Format.Bytes(file.SizeBytes)}." : null }
            : new ArtifactPreview { Note = $"{Shared.Format.Bytes(file.SizeBytes)} that are neither text, picture nor table; download the file to use it." };
    }

    /// <summary>The first bytes of a file.</summary>
    public static async Task<byte[]> HeadAsync(RunArtifact file, BlobStore blobs, CancellationToken ct)
    {
        await using var stream = await blobs.OpenReadAsync(file.Sha256, ct);
        var head = new byte[(int)Math.Min(file.SizeBytes, TextBytesMax)];
        var read = await stream.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, ct);
        return head[..read];
    }

    /// <summary>
    /// The content type of a picture, by its first bytes and never by its name; null for all else. SVG is none: it can hold scripts.
    /// </summary>
    public static string? PictureType(ReadOnlySpan<byte> head) =>
        head.StartsWith((ReadOnlySpan<byte>)[0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) ? "image/png"
        : head.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]) ? "image/jpeg"
        : head.StartsWith("GIF87a"u8) || head.StartsWith("GIF89a"u8) ? "image/gif"
        : head.Length >= 12 && head.StartsWith("RIFF"u8) && head[8..].StartsWith("WEBP"u8) ? "image/webp"
        : null;

    // Cut at 64 kB, a character of several bytes may be cut too.
    private static string? TextOf(byte[] head)
    {
        for (var cut = 0; cut < 4 && cut <= head.Length; cut++)
        {
            try
            {
                var text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(head, 0, head.Length - cut);
                return text.Contains('\0', StringComparison.Ordinal) ? null : text;
            }
            catch (DecoderFallbackException)
            {
                if (head.Length < TextBytesMax)
                {
                    return null;
                }
            }
        }

        return null;
    }

    private static ArtifactPreview Table(string path, bool parquet, DuckDbDatabase duckDb, CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(TableTimeMax);
        using var connection = duckDb.Connect();
        var file = DuckDbLiteral.Quote(path);
        var source = parquet ? $"read_parquet({file})" : $"read_csv({file}, all_varchar = true, sample_size = 2000, ignore_errors = true, compression = 'none')";
        using var reader = connection.Query($"SELECT * FROM {source} LIMIT {RowsMax + 1}", limit.Token);
        var columns = reader.Columns.Take(ColumnsMax).Select(column => column.Name).ToList();
        var rows = new List<IReadOnlyList<string>>();
        while (rows.Count <= RowsMax && reader.NextChunk())
        {
            for (var row = 0; row < reader.RowCount && rows.Count <= RowsMax; row++)
            {
                rows.Add([.. Enumerable.Range(0, columns.Count).Select(column => Cell(reader, column, row))]);
            }
        }

        var notes = new List<string>();
        if (rows.Count > RowsMax)
        {
            rows.RemoveAt(RowsMax);
            notes.Add($"The first {RowsMax} rows.");
        }

        if (reader.Columns.Count > ColumnsMax)
        {
            notes.Add($"The first {ColumnsMax} of {reader.Columns.Count} columns.");
        }

        return new ArtifactPreview { Columns = columns, Rows = rows, Note = notes.Count == 0 ? null : string.Join(' ', notes) };
    }

    private static string Cell(DuckDbReader reader, int column, int row)
    {
        string text;
        try
        {
            text = CellText(reader.Value(column, row));
        }
        catch (DuckDbException)
        {
            text = "(not shown)"; // A type the reader does not know, such as a map.
        }

        return text.Length > CellMax ? text[..(CellMax - 1)] + "…" : text;
    }

    private static string CellText(object? value) => value switch
    {
        null => "–",
        string text => text,
        byte[] bytes => $"0x{Convert.ToHexStringLower(bytes.AsSpan(0, Math.Min(bytes.Length, CellMax / 2)))}",
        DateTimeOffset at => at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture),
        DateTime at => at.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture),
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        System.Collections.IEnumerable items => $"[{string.Join(", ", items.Cast<object?>().Take(CellMax).Select(CellText))}]",
        _ => value.ToString() ?? "",
    };
}
