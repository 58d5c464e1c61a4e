using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace Slipway.Serving.Protocol;

/// <summary>Lists of JSON numbers as FP32, which most requests consist of, read in one go: without a token for each number, in a third of the time.</summary>
internal static class FloatList
{
    // Exact as doubles.
    private static readonly double[] PowersOfTen = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];

    /// <summary>Reads a flat list of exactly so many numbers that FP32 can hold.</summary>
    /// <param name="json">From behind the list's bracket on.</param>
    /// <param name="count">Numbers.</param>
    /// <param name="into">Where they go: the first at 0, each further one <paramref name="stride"/> on.</param>
    /// <param name="stride">1 or more.</param>
    /// <returns>Where the closing bracket stands; -1 for all else, of which the ordinary reader says what is wrong with it, or reads it. Then some numbers may have been written.</returns>
    public static int Read(ReadOnlySpan<byte> json, int count, Span<float> into, int stride)
    {
        var at = 0;
        for (var i = 0; i < count; i++)
        {
            if (i > 0)
            {
                SkipSpace(json, ref at);
                if ((uint)at >= (uint)json.Length || json[at] != ',')
                {
                    return -1;
                }

                at++;
            }

            SkipSpace(json, ref at);
            if (!TryRead(json, ref at, out into[i * stride]))
            {
                return -1;
            }
        }

        SkipSpace(json, ref at);
        return (uint)at < (uint)json.Length && json[at] == ']' ? at : -1;
    }

    private static void SkipSpace(ReadOnlySpan<byte> json, ref int at)
    {
        while ((uint)at < (uint)json.Length && json[at] is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t')
        {
            at++;
        }
    }

    // A number by JSON's grammar. What comes behind it is its caller's.
    private static bool TryRead(ReadOnlySpan<byte> json, ref int at, out float value)
    {
        value = 0;
        var start = at;
        var isNegative = (uint)at < (uint)json.Length && json[at] == '-';
        if (isNegative)
        {
            at++;
        }

        var first = at;
        var mantissa = 0UL; // Of more than 19 digits it is wrong, and not used.
        TakeDigits(json, ref at, ref mantissa);
        var digits = at - first;
        if (digits == 0 || (digits > 1 && json[first] == '0'))
        {
            return false;
        }

        var exponent = 0;
        if ((uint)at < (uint)json.Length && json[at] == '.')
        {
            first = ++at;
            TakeDigits(json, ref at, ref mantissa);
            exponent = first - at;
            digits -= exponent;
            if (exponent == 0)
            {
                return false;
            }
        }

        if ((uint)at < (uint)json.Length && (json[at] | 0x20) == 'e')
        {
            at++;
            var isSmall = (uint)at < (uint)json.Length && json[at] == '-';
            if (isSmall || ((uint)at < (uint)json.Length && json[at] == '+'))
            {
                at++;
            }

            first = at;
            var power = 0UL;
            TakeDigits(json, ref at, ref power);
            if (at == first)
            {
                return false;
            }

            // So that a long one does not overflow: it goes the other way below, like all beyond 22.
            exponent = at - first > 4 ? int.MaxValue : exponent + (isSmall ? -(int)power : (int)power);
        }

        // A product or quotient of two exact doubles is rounded once. Rounding it again to FP32 gives what rounding the number itself would, unless it lies
        // just between two of them, or is too small to have all bits.
        if (digits <= 19 && mantissa < 1UL << 53 && exponent is >= -22 and <= 22)
        {
            var exact = exponent < 0 ? mantissa / PowersOfTen[-exponent] : mantissa * PowersOfTen[exponent];
            if ((BitConverter.DoubleToUInt64Bits(exact) & 0x1FFF_FFFF) != 0x1000_0000 && (exact is >= 1.2e-38 and <= 3.4e38 || mantissa == 0))
            {
                value = (float)(isNegative ? -exact : exact);
                return true;
            }
        }

        return Utf8Parser.TryParse(json[start..at], out value, out var taken) && taken == at - start && float.IsFinite(value);
    }

    private static void TakeDigits(ReadOnlySpan<byte> json, ref int at, ref ulong number)
    {
        var (i, sum) = (at, number);
        for (uint digit; (uint)i < (uint)json.Length && (digit = json[i] - (uint)'0') <= 9; i++)
        {
            sum = (sum * 10) + digit;
        }

        (at, number) = (i, sum);
    }
}

/// <summary>A body in one piece, past whose lists of numbers its reader is led: it goes on behind one as if it had met an empty list.</summary>
/// <param name="json">The whole body; empty where it is in several pieces, and then every list is the reader's own.</param>
internal ref struct NumberLists(ReadOnlySpan<byte> json)
{
    private readonly ReadOnlySpan<byte> _json = json;
    private int _start; // Of the present reader.

    /// <summary>Reads the list that the reader stands at the beginning of, as <see cref="FloatList.Read"/> does, and leads the reader to its end.</summary>
    /// <returns>False for all else; the reader is where it was.</returns>
    public bool TryRead(ref Utf8JsonReader reader, int count, Span<float> into, int stride)
    {
        if (_json.IsEmpty || reader.TokenType != JsonTokenType.StartArray)
        {
            return false;
        }

        var begin = _start + (int)reader.BytesConsumed;
        var length = FloatList.Read(_json[begin..], count, into, stride);
        if (length < 0)
        {
            return false;
        }

        _start = begin + length;
        reader = new Utf8JsonReader(_json[_start..], isFinalBlock: true, reader.CurrentState);
        return reader.Read();
    }

    /// <summary>The same, into bytes of its own; null for all else. A count that so short a list cannot hold takes no memory, however often it is named.</summary>
    public byte[]? TryRead(ref Utf8JsonReader reader, int count)
    {
        if (_json.IsEmpty || reader.TokenType != JsonTokenType.StartArray || count > (_json[(_start + (int)reader.BytesConsumed)..].IndexOf((byte)']') + 1) / 2)
        {
            return null;
        }

        var bytes = new byte[count * sizeof(float)];
        return TryRead(ref reader, count, MemoryMarshal.Cast<byte, float>(bytes.AsSpan()), 1) ? bytes : null;
    }

    /// <summary>Where the body is no JSON: a reader that went on behind a list counts the places from there. Null when it did not.</summary>
    public readonly string? Explain(JsonReaderOptions options)
    {
        if (_start == 0)
        {
            return null;
        }

        var whole = new Utf8JsonReader(_json, options);
        try
        {
            while (whole.Read())
            {
            }

            return null;
        }
        catch (JsonException e)
        {
            return TensorReader.Explain(e, whole.CurrentDepth);
        }
    }
}
