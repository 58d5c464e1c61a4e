using System.Text.Json;

namespace Slipway.Cli.Scoring;

/// <summary>Rows that are sent together, already in the form of the request's tensors.</summary>
internal sealed class RowBlock(IReadOnlyList<TensorColumns> tensors)
{
    private readonly ByteList[] _data = [.. tensors.Select(_ => new ByteList())];

    // Where each row begins, for tensors whose values vary in length.
    private readonly List<int>[] _starts = [.. tensors.Select(_ => new List<int>())];

    /// <summary>The rows' positions in their part.</summary>
    public List<int> Rows { get; } = [];

    /// <summary>Bytes of all tensors.</summary>
    public long SizeBytes => _data.Sum(data => (long)data.Length);

    public ByteList Data(int tensor) => _data[tensor];

    /// <summary>Keeps what was written for a row.</summary>
    public void EndRow(int row, ReadOnlySpan<int> starts)
    {
        Rows.Add(row);
        for (var i = 0; i < starts.Length; i++)
        {
            _starts[i].Add(starts[i]);
        }
    }

    /// <summary>The request for some of its rows, in one body: JSON and then the tensors.</summary>
    public (byte[] Body, int JsonLength) Request(int from, int count)
    {
        var slices = new (int Start, int End)[tensors.Count];
        using var body = new MemoryStream();
        using (var json = new Utf8JsonWriter(body))
        {
            json.WriteStartObject();
            json.WriteStartObject("parameters");
            json.WriteBoolean("binary_data_output", true);
            json.WriteEndObject();
            json.WriteStartArray("inputs");
            for (var i = 0; i < tensors.Count; i++)
            {
                slices[i] = (_starts[i][from], from + count < Rows.Count ? _starts[i][from + count] : _data[i].Length);
                json.WriteStartObject();
                json.WriteString("name", tensors[i].Name);
                json.WriteString("datatype", tensors[i].Datatype);
                json.WriteStartArray("shape");
                json.WriteNumberValue(count);
                if (!tensors[i].IsFlat)
                {
                    json.WriteNumberValue(tensors[i].Columns.Count);
                }

                json.WriteEndArray();
                json.WriteStartObject("parameters");
                json.WriteNumber("binary_data_size", slices[i].End - slices[i].Start);
                json.WriteEndObject();
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        var jsonLength = (int)body.Length;
        for (var i = 0; i < tensors.Count; i++)
        {
            body.Write(_data[i].Span[slices[i].Start..slices[i].End]);
        }

        return (body.ToArray(), jsonLength);
    }
}
