using System.Text;

namespace Slipway.Serving;

/// <summary>One value of a request input, as it was sent.</summary>
public readonly struct InputValue
{
    private readonly bool _isInteger;
    private readonly long _bits;

    internal InputValue(string text) => Text = text;

    internal InputValue(long integer) => (_isInteger, _bits) = (true, integer);

    internal InputValue(double number) => _bits = BitConverter.DoubleToInt64Bits(number);

    /// <summary>For BYTES; null otherwise.</summary>
    public string? Text { get; }

    /// <summary>Whether it is a whole number or BOOL (0 or 1), held exactly.</summary>
    public bool IsInteger => _isInteger;

    /// <summary>The whole number; cut off when it is not one.</summary>
    public long Integer => _isInteger ? _bits : (long)Number;

    /// <summary>The number; not one for BYTES.</summary>
    public double Number => Text is not null ? double.NaN : _isInteger ? _bits : BitConverter.Int64BitsToDouble(_bits);
}

/// <summary>An input that a caller may send in place of features.</summary>
/// <param name="Name">As requests name it.</param>
/// <param name="Datatypes">Open Inference datatypes that are taken, the preferred one first: <c>BYTES</c>, <c>INT64</c>, <c>INT32</c>, <c>FP32</c>, <c>FP64</c> or <c>BOOL</c>.</param>
/// <param name="IsKey">Part of the entity key, which keeps a caller on one version.</param>
/// <param name="IsEventTime">Says when the predicted event happens: Unix milliseconds, or ISO 8601 text.</param>
public sealed record RequestInput(string Name, IReadOnlyList<string> Datatypes, bool IsKey = false, bool IsEventTime = false)
{
    internal byte[] Utf8Name { get; } = Encoding.UTF8.GetBytes(Name);
}

/// <summary>Makes one row's features of its inputs, with the online store's help.</summary>
/// <param name="values">In the order of the inputs.</param>
/// <param name="eventMs">The row's event time, Unix milliseconds.</param>
/// <param name="vector">The features in the model's order; NaN is a missing value.</param>
/// <param name="ageMs">How old each is at the event time, milliseconds; 0 when it is made of the request itself, -1 when the store knows no value.</param>
/// <returns>Null, or one sentence that says which input is wrong and what to send.</returns>
public delegate string? BuildVector(ReadOnlySpan<InputValue> values, long eventMs, Span<float> vector, Span<long> ageMs);

/// <summary>What a caller may send when it leaves the features to the feature store.</summary>
/// <param name="Inputs">In the feature service's order.</param>
/// <param name="Build">Safe to call from several threads.</param>
public sealed record RequestInputs(IReadOnlyList<RequestInput> Inputs, BuildVector Build);
