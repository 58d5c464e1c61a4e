using System.Buffers.Binary;

namespace Slipway.FeatureStore;

/// <summary>The bytes of one entity's online value: event time in Unix milliseconds, then one double per feature of the view.</summary>
internal static class OnlineValue
{
    // A NaN of its own: NULL and NaN are the same to a model, but not to a person who asks.
    private const long NullBits = unchecked((long)0xFFF8_0000_0000_0001);

    public static int Size(int features) => 8 + (8 * features);

    public static void WriteEventTime(Span<byte> value, long eventTimeMs) => BinaryPrimitives.WriteInt64LittleEndian(value, eventTimeMs);

    public static void Write(Span<byte> value, int feature, double? number) =>
        BinaryPrimitives.WriteInt64LittleEndian(value[Size(feature)..], number is { } known ? BitConverter.DoubleToInt64Bits(known) : NullBits);

    public static long EventTimeMs(ReadOnlySpan<byte> value) => BinaryPrimitives.ReadInt64LittleEndian(value);

    public static double Number(ReadOnlySpan<byte> value, int feature) => BinaryPrimitives.ReadDoubleLittleEndian(value[Size(feature)..]);

    public static bool IsNull(ReadOnlySpan<byte> value, int feature) => BinaryPrimitives.ReadInt64LittleEndian(value[Size(feature)..]) == NullBits;
}
