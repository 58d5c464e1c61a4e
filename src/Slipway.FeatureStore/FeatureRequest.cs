using System.Globalization;
using System.Text;
using Slipway.Contracts.FeatureStore;

namespace Slipway.FeatureStore;

/// <summary>
/// The input values of one request, by position in the service's inputs. Made once per worker and filled again for each row, so
/// that a prediction allocates nothing here.
/// </summary>
public sealed class FeatureRequest
{
    private enum State : byte
    {
        Unset,
        Null,
        Set,
    }

    private static readonly long InstantMinimumMs = DateTimeOffset.MinValue.ToUnixTimeMilliseconds();
    private static readonly long InstantMaximumMs = DateTimeOffset.MaxValue.ToUnixTimeMilliseconds();

    private readonly State[] _states;
    private readonly double[] _numbers;
    private readonly long[] _integers; // Whole numbers beyond 2^53, and instants in microseconds.
    private readonly char[][] _texts;
    private readonly int[] _textLengths;
    private readonly int _eventTimeInput;

    internal FeatureRequest(IReadOnlyList<FeatureInput> inputs, string? eventTime)
    {
        Inputs = inputs;
        _states = new State[inputs.Count];
        _numbers = new double[inputs.Count];
        _integers = new long[inputs.Count];
        _texts = [.. inputs.Select(input => input.Type == "string" ? new char[32] : [])];
        _textLengths = new int[inputs.Count];
        _eventTimeInput = -1;
        for (var i = 0; i < inputs.Count; i++)
        {
            if (inputs[i].Name == eventTime)
            {
                _eventTimeInput = i;
            }
        }
    }

    /// <summary>The inputs; positions in this list are the argument of every setter.</summary>
    public IReadOnlyList<FeatureInput> Inputs { get; }

    /// <summary>The event time for services that declare no input for it: Unix milliseconds. Set it to the server's time.</summary>
    public long ReceivedAtMs { get; set; }

    /// <summary>When the event happens, Unix milliseconds: the declared input, else <see cref="ReceivedAtMs"/>.</summary>
    public long EventTimeMs => _eventTimeInput >= 0 && _states[_eventTimeInput] == State.Set
        ? Math.DivRem(_integers[_eventTimeInput], 1000, out var rest) - (rest < 0 ? 1 : 0)
        : ReceivedAtMs;

    /// <summary>The position of an input; -1 when there is none of that name.</summary>
    public int IndexOf(string name)
    {
        for (var i = 0; i < Inputs.Count; i++)
        {
            if (Inputs[i].Name == name)
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>Forgets all values before the next row.</summary>
    public void Clear() => Array.Clear(_states);

    /// <summary>The caller said that there is no value.</summary>
    public void SetNull(int input) => _states[input] = State.Null;

    /// <summary>Sets a number; a boolean (0 is false); or a timestamp in Unix milliseconds.</summary>
    /// <returns>False when the input's type cannot hold it: a string input, a fraction for a whole number, an instant outside the years 1 to 9999.</returns>
    public bool TrySet(int input, double value)
    {
        switch (Inputs[input].Type)
        {
            case "string": return false;
            case "int32" or "int64" or "timestamp":
                // 2^63 itself is a double but not a long.
                return Math.Floor(value) == value && value >= long.MinValue && value < 9223372036854775808.0 && TrySet(input, (long)value);
            default:
                _numbers[input] = value;
                _states[input] = State.Set;
                return true;
        }
    }

    /// <summary>Sets a whole number, exactly; a boolean (0 is false); or a timestamp in Unix milliseconds.</summary>
    /// <returns>False when the input's type cannot hold it.</returns>
    public bool TrySet(int input, long value)
    {
        switch (Inputs[input].Type)
        {
            case "string": return false;
            case "timestamp":
                if (value < InstantMinimumMs || value > InstantMaximumMs)
                {
                    return false;
                }

                _integers[input] = value * 1000;
                break;
            case "int32" when value != (int)value: return false;
            default:
                _integers[input] = value;
                _numbers[input] = value;
                break;
        }

        _states[input] = State.Set;
        return true;
    }

    /// <summary>Sets a text; for other types the text is read as a number, as true or false, or as an instant in ISO 8601 (UTC without offset).</summary>
    /// <returns>False when the text cannot be read as the input's type.</returns>
    public bool TrySet(int input, ReadOnlySpan<char> value)
    {
        switch (Inputs[input].Type)
        {
            case "string":
                if (_texts[input].Length < value.Length)
                {
                    _texts[input] = new char[value.Length * 2];
                }

                value.CopyTo(_texts[input]);
                _textLengths[input] = value.Length;
                _states[input] = State.Set;
                return true;
            case "timestamp":
                if (!DateTimeOffset.TryParse(value, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var instant))
                {
                    return false;
                }

                _integers[input] = (instant.UtcTicks - DateTimeOffset.UnixEpoch.UtcTicks) / TimeSpan.TicksPerMicrosecond;
                _states[input] = State.Set;
                return true;
            case "boolean" when bool.TryParse(value, out var flag): return TrySet(input, flag ? 1L : 0L);
            case "int32" or "int64": return long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole) && TrySet(input, whole);
            default: return double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && TrySet(input, number);
        }
    }

    /// <summary>As the other overload, for bytes as they come from the wire.</summary>
    public bool TrySet(int input, ReadOnlySpan<byte> utf8)
    {
        if (Inputs[input].Type == "string")
        {
            if (_texts[input].Length < utf8.Length)
            {
                _texts[input] = new char[utf8.Length * 2];
            }

            _textLengths[input] = Encoding.UTF8.GetChars(utf8, _texts[input]);
            _states[input] = State.Set;
            return true;
        }

        Span<char> text = stackalloc char[64];
        return utf8.Length <= text.Length && TrySet(input, text[..Encoding.UTF8.GetChars(utf8, text)]);
    }

    internal bool IsUnset(int input) => _states[input] == State.Unset;

    internal bool IsNull(int input) => _states[input] != State.Set;

    internal double Number(int input) => _numbers[input];

    internal long Micros(int input) => _integers[input];

    internal ReadOnlySpan<char> Text(int input) => _texts[input].AsSpan(0, _textLengths[input]);

    /// <summary>Writes the value as part of a key, in the spelling of DuckDB's cast to text; false when it does not fit.</summary>
    internal bool TryFormatKey(int input, Span<char> destination, out int written)
    {
        switch (Inputs[input].Type)
        {
            case "string":
                written = _textLengths[input];
                return Text(input).TryCopyTo(destination);
            case "boolean":
                var name = _numbers[input] != 0 ? "true" : "false";
                written = name.Length;
                return name.TryCopyTo(destination);
            default:
                return _integers[input].TryFormat(destination, out written, default, CultureInfo.InvariantCulture);
        }
    }
}
