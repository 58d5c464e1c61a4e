using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Slipway.Serving.Protocol;

/// <summary>The id that a label is later joined by.</summary>
internal static class PredictionId
{
    public const int Length = 36;
    private const int BatchBytes = 1024;

    [ThreadStatic]
    private static byte[]? random;

    [ThreadStatic]
    private static int used;

    /// <summary>Whether a request's own id can stand for its prediction: 12 to 128 printable ASCII characters without <c>#</c>. Shorter ids such as <c>1</c> or <c>test</c> come again and again.</summary>
    public static bool IsUniqueLooking(ReadOnlySpan<byte> id) =>
        id.Length is >= 12 and <= 128 && !id.ContainsAnyExceptInRange((byte)0x21, (byte)0x7E) && !id.Contains((byte)'#');

    /// <summary>Writes a new UUID version 7. Random bytes are drawn from the system in batches: a system call for each id would show in the latency.</summary>
    /// <returns>A number from 0 to below 1, of the id's own random bits.</returns>
    public static double Create(long nowMs, Span<byte> utf8)
    {
        if (random is null || used + 10 > BatchBytes)
        {
            random ??= new byte[BatchBytes];
            RandomNumberGenerator.Fill(random);
            used = 0;
        }

        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteInt64BigEndian(bytes, nowMs << 16);
        random.AsSpan(used, 10).CopyTo(bytes[6..]);
        used += 10;
        bytes[6] = (byte)((bytes[6] & 0x0F) | 0x70);
        bytes[8] = (byte)((bytes[8] & 0x3F) | 0x80);
        new Guid(bytes, bigEndian: true).TryFormat(utf8, out _);
        return (BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]) & ((1UL << 53) - 1)) * (1.0 / (1UL << 53));
    }
}
