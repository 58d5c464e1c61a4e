using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Tracking;

/// <summary>
/// Reads metric points from JSON lines as they arrive. A line is one point, <c>{"key":"loss","value":0.3,"timestamp":1700000000000,"step":5}</c>,
/// or many of one metric, <c>{"key":"loss","points":[[step, timestamp, value], …]}</c>; NaN and infinities are texts.
/// </summary>
internal static class MetricLines
{
    private const int LineBytesMax = 8 * 1024 * 1024;

    /// <summary>The points in batches of at most <paramref name="batch"/>, or a line's worth more; the list is reused.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: a line, named by its number.</exception>
    public static async IAsyncEnumerable<List<MetricPoint>> ReadAsync(PipeReader body, int batch, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var points = new List<MetricPoint>(batch);
        var line = 0;
        string? lastKey = null;
        while (true)
        {
            var read = await body.ReadAsync(cancellationToken);
            var buffer = read.Buffer;
            while (TryTakeLine(ref buffer, read.IsCompleted, out var text))
            {
                line++;
                ParseLine(text, line, points, ref lastKey);
                if (points.Count >= batch)
                {
                    yield return points;
                    points.Clear();
                }
            }

            if (buffer.Length > LineBytesMax)
            {
                throw RunLimits.Invalid($"Line {line + 1} of the body has more than {LineBytesMax} bytes; send its points in several lines.");
            }

            body.AdvanceTo(buffer.Start, buffer.End);
            if (read.IsCompleted)
            {
                break;
            }
        }

        if (points.Count > 0)
        {
            yield return points;
        }
    }

    private static bool TryTakeLine(ref ReadOnlySequence<byte> buffer, bool last, out ReadOnlySequence<byte> line)
    {
        if (buffer.PositionOf((byte)'\n') is { } end)
        {
            line = buffer.Slice(0, end);
            buffer = buffer.Slice(buffer.GetPosition(1, end));
            return true;
        }

        line = buffer;
        if (!last || buffer.IsEmpty)
        {
            return false;
        }

        buffer = buffer.Slice(buffer.End);
        return true;
    }

    private static void ParseLine(in ReadOnlySequence<byte> text, int line, List<MetricPoint> points, ref string? lastKey)
    {
        var first = points.Count;
        var reader = new Utf8JsonReader(text);
        try
        {
            if (!reader.Read())
            {
                return;
            }

            ParseObject(ref reader, line, points, ref lastKey);
        }
        catch (JsonException) when (IsBlank(text))
        {
            points.RemoveRange(first, points.Count - first);
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Line {line} of the body is not valid JSON near byte {e.BytePositionInLine ?? 0}; each line is one JSON object.", e);
        }
    }

    private static void ParseObject(ref Utf8JsonReader reader, int line, List<MetricPoint> points, ref string? lastKey)
    {
        if (reader.TokenType is not JsonTokenType.StartObject)
        {
            throw RunLimits.Invalid($"Line {line} of the body must be a JSON object with 'key' and either 'value' and 'timestamp' or 'points'.");
        }

        string? key = null;
        double? value = null;
        long? timestamp = null, step = null;
        var many = -1;
        while (reader.Read() && reader.TokenType is JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("key"u8))
            {
                reader.Read();
                key = reader.TokenType is not JsonTokenType.String ? throw Wrong(line, "key", "a text")
                    : lastKey is not null && reader.ValueTextEquals(lastKey) ? lastKey : reader.GetString();
                lastKey = key;
            }
            else if (reader.ValueTextEquals("value"u8))
            {
                reader.Read();
                value = Number(ref reader, line);
            }
            else if (reader.ValueTextEquals("timestamp"u8))
            {
                reader.Read();
                timestamp = Whole(ref reader, line, "timestamp");
            }
            else if (reader.ValueTextEquals("step"u8))
            {
                reader.Read();
                step = Whole(ref reader, line, "step");
            }
            else if (reader.ValueTextEquals("points"u8))
            {
                many = many < 0 ? points.Count : many;
                ParsePoints(ref reader, line, points);
            }
            else
            {
                throw RunLimits.Invalid($"Line {line} of the body has the unknown field '{reader.GetString()}'; the fields are key, value, timestamp, step and points.");
            }
        }

        if (string.IsNullOrEmpty(key))
        {
            throw RunLimits.Invalid($"Line {line} of the body lacks 'key'.");
        }

        reader.Read(); // Throws when the line goes on after its object.

        if (many < 0)
        {
            points.Add(new MetricPoint(key, value ?? throw RunLimits.Invalid($"Line {line} of the body lacks 'value'."), timestamp ?? throw RunLimits.Invalid($"Line {line} of the body lacks 'timestamp'."), step ?? 0));
            return;
        }

        // The key may come after its points.
        for (var i = many; i < points.Count; i++)
        {
            points[i] = points[i] with { Key = key };
        }
    }

    private static void ParsePoints(ref Utf8JsonReader reader, int line, List<MetricPoint> points)
    {
        reader.Read();
        if (reader.TokenType is not JsonTokenType.StartArray)
        {
            throw Wrong(line, "points", "a list of [step, timestamp, value]");
        }

        while (reader.Read() && reader.TokenType is not JsonTokenType.EndArray)
        {
            if (reader.TokenType is not JsonTokenType.StartArray)
            {
                throw Wrong(line, "points", "a list of [step, timestamp, value]");
            }

            reader.Read();
            var step = Whole(ref reader, line, "step");
            reader.Read();
            var timestamp = Whole(ref reader, line, "timestamp");
            reader.Read();
            points.Add(new MetricPoint("", Number(ref reader, line), timestamp, step));
            if (!reader.Read() || reader.TokenType is not JsonTokenType.EndArray)
            {
                throw Wrong(line, "points", "a list of [step, timestamp, value]");
            }
        }
    }

    private static long Whole(ref Utf8JsonReader reader, int line, string field) =>
        reader.TokenType is JsonTokenType.Number && reader.TryGetInt64(out var whole) ? whole : throw Wrong(line, field, "a whole number");

    private static double Number(ref Utf8JsonReader reader, int line)
    {
        if (reader.TokenType is JsonTokenType.Number && reader.TryGetDouble(out var number))
        {
            return number;
        }

        if (reader.TokenType is JsonTokenType.String)
        {
            if (reader.ValueTextEquals("NaN"u8))
            {
                return double.NaN;
            }

            if (reader.ValueTextEquals("Infinity"u8))
            {
                return double.PositiveInfinity;
            }

            if (reader.ValueTextEquals("-Infinity"u8))
            {
                return double.NegativeInfinity;
            }
        }

        throw Wrong(line, "value", "a number or one of the texts NaN, Infinity and -Infinity");
    }

    private static bool IsBlank(in ReadOnlySequence<byte> text)
    {
        foreach (var part in text)
        {
            if (part.Span.ContainsAnyExcept((byte)' ', (byte)'\t', (byte)'\r'))
            {
                return false;
            }
        }

        return true;
    }

    private static SlipwayException Wrong(int line, string field, string expected) => RunLimits.Invalid($"'{field}' in line {line} of the body must be {expected}.");
}
