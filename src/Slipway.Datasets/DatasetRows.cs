using System.Buffers;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Slipway.Contracts;
using Slipway.Native.DuckDb;

namespace Slipway.Datasets;

/// <summary>Streams a version's rows as JSON lines, in order of time: previews, exports, replays.</summary>
internal static class DatasetRows
{
    /// <param name="from">Only rows at or after it; null: from the first.</param>
    /// <param name="to">Only rows before it; null: to the last.</param>
    /// <param name="share">Share of the rows, above 0 to 1; which rows depends only on their place in the file.</param>
    public static async Task WriteAsync(
        HttpContext context, string name, int version, DatasetStore store, DuckDbDatabase duckDb, CancellationToken ct,
        DateTimeOffset? from = null, DateTimeOffset? to = null, double share = 1)
    {
        if (share is not (> 0 and <= 1))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'share' must be above 0 and at most 1, not {share}.");
        }

        var record = store.Require(name, version);
        if (store.Definition(name).Definition.TimestampColumn is not { } timestamp)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"Dataset '{name}' declares no 'timestamp' column, so its rows have no order of time; add one to its definition.");
        }

        using var connection = duckDb.Connect();
        using var reader = connection.Query(
            $"""
            SELECT file_row_number AS "row", * EXCLUDE (file_row_number)
              FROM read_parquet({DuckDbLiteral.Quote(store.ParquetPath(record))}, file_row_number = true)
             WHERE {DuckDbIdentifier.Quote(timestamp)} >= ? AND {DuckDbIdentifier.Quote(timestamp)} < ? AND hash(file_row_number) % 1000000 < ?
             ORDER BY {DuckDbIdentifier.Quote(timestamp)}, file_row_number
            """,
            ct, from ?? new DateTimeOffset(1, 1, 2, 0, 0, 0, TimeSpan.Zero), to ?? new DateTimeOffset(9999, 1, 1, 0, 0, 0, TimeSpan.Zero), (long)Math.Round(share * 1_000_000));
        context.Response.ContentType = "application/x-ndjson";
        using var json = new Utf8JsonWriter(context.Response.BodyWriter, new JsonWriterOptions { SkipValidation = true });
        while (reader.NextChunk())
        {
            for (var row = 0; row < reader.RowCount; row++)
            {
                json.WriteStartObject();
                for (var column = 0; column < reader.Columns.Count; column++)
                {
                    json.WritePropertyName(reader.Columns[column].Name);
                    Write(json, reader.Value(column, row));
                }

                json.WriteEndObject();
                await json.FlushAsync(ct);
                json.Reset();
                context.Response.BodyWriter.Write("\n"u8);
            }

            await context.Response.BodyWriter.FlushAsync(ct);
        }
    }

    private static void Write(Utf8JsonWriter json, object? value)
    {
        switch (value)
        {
            case null: json.WriteNullValue(); break;
            case bool flag: json.WriteBooleanValue(flag); break;
            case int number: json.WriteNumberValue(number); break;
            case long number: json.WriteNumberValue(number); break;
            case double number when double.IsFinite(number): json.WriteNumberValue(number); break;
            case float number when float.IsFinite(number): json.WriteNumberValue(number); break;
            case decimal number: json.WriteNumberValue(number); break;
            case DateTimeOffset instant: json.WriteStringValue(instant.ToUniversalTime()); break;
            case var other: json.WriteStringValue(Convert.ToString(other, System.Globalization.CultureInfo.InvariantCulture)); break;
        }
    }
}
