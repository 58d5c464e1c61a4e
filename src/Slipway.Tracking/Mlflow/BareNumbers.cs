namespace Slipway.Tracking.Mlflow;

/// <summary>Python writes NaN and infinities into JSON as bare words, and MLflow's server, written in it, reads them.</summary>
public static class BareNumbers
{
    /// <summary>The text with each bare <c>NaN</c>, <c>Infinity</c> and <c>-Infinity</c> in quotes; null when it holds none.</summary>
    public static byte[]? Quote(ReadOnlySpan<byte> json)
    {
        List<byte>? quoted = null;
        var copied = 0;
        var inText = false;
        for (var at = 0; at < json.Length; at++)
        {
            if (json[at] == '"')
            {
                inText = !inText;
            }
            else if (inText)
            {
                at += json[at] == '\\' ? 1 : 0;
            }
            else if (Length(json[at..]) is > 0 and var length)
            {
                quoted ??= new List<byte>(json.Length + 16);
                quoted.AddRange(json[copied..at]);
                quoted.Add((byte)'"');
                quoted.AddRange(json.Slice(at, length));
                quoted.Add((byte)'"');
                copied = at + length;
                at = copied - 1;
            }
        }

        quoted?.AddRange(json[copied..]);
        return quoted?.ToArray();
    }

    private static int Length(ReadOnlySpan<byte> rest) => rest switch
    {
        _ when rest.StartsWith("NaN"u8) => 3,
        _ when rest.StartsWith("Infinity"u8) => 8,
        _ when rest.StartsWith("-Infinity"u8) => 9,
        _ => 0,
    };
}
