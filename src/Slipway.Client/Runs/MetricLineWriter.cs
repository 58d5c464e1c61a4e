using System.Buffers;
using System.Text.Json;

namespace Slipway.Client.Runs;

/// <summary>
/// Writes points as the JSON lines that the server's metric route takes, <c>{"key":"loss","points":[[step,timestamp,value],…]}</c>:
/// the journal holds them as they will be sent.
/// </summary>
internal sealed class MetricLineWriter(IBufferWriter<byte> output) : IDisposable
{
    private const int PointsPerLine = 1000;

    private readonly Utf8JsonWriter _json = new(output, new JsonWriterOptions { SkipValidation = true });
    private string? _key;
    private int _count;

    /// <summary>Adds a point to the line of its key, ending the line of another.</summary>
    public void Add(string key, long step, long timestampMs, double value)
    {
        if (_key is not null && (_count == PointsPerLine || !string.Equals(_key, key, StringComparison.Ordinal)))
        {
            EndLine();
        }

        if (_key is null)
        {
            _key = key;
            _count = 0;
            _json.WriteStartObject();
            _json.WriteString("key"u8, key);
            _json.WriteStartArray("points"u8);
        }

        _count++;
        _json.WriteStartArray();
        _json.WriteNumberValue(step);
        _json.WriteNumberValue(timestampMs);
        if (double.IsFinite(value))
        {
            _json.WriteNumberValue(value);
        }
        else
        {
            _json.WriteStringValue(double.IsNaN(value) ? "NaN"u8 : value > 0 ? "Infinity"u8 : "-Infinity"u8);
        }

        _json.WriteEndArray();
    }

    /// <summary>Ends the open line, so that the output holds whole lines only.</summary>
    public void EndLine()
    {
        if (_key is null)
        {
            return;
        }

        _json.WriteEndArray();
        _json.WriteEndObject();
        _json.Flush();
        _json.Reset();
        output.Write("\n"u8);
        _key = null;
    }

    public void Dispose() => _json.Dispose();
}
