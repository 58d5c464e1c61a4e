using System.Buffers.Binary;

namespace Slipway.Serving.Protocol;

/// <summary>Elements of tensors as numbers.</summary>
internal static class Numbers
{
    /// <summary>The element that begins at a byte; whole numbers beyond 2^53 are rounded.</summary>
    /// <param name="datatype">Any but BYTES.</param>
    /// <param name="data">Little-endian.</param>
    /// <param name="at">In bytes.</param>
    public static double At(Datatype datatype, ReadOnlySpan<byte> data, int at)
    {
        var bytes = data[at..];
        return datatype switch
        {
            Datatype.BOOL or Datatype.UINT8 => bytes[0],
            Datatype.UINT16 => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
            Datatype.UINT32 => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
            Datatype.UINT64 => BinaryPrimitives.ReadUInt64LittleEndian(bytes),
            Datatype.INT8 => (sbyte)bytes[0],
            Datatype.INT16 => BinaryPrimitives.ReadInt16LittleEndian(bytes),
            Datatype.INT32 => BinaryPrimitives.ReadInt32LittleEndian(bytes),
            Datatype.INT64 => BinaryPrimitives.ReadInt64LittleEndian(bytes),
            Datatype.FP16 => (double)BinaryPrimitives.ReadHalfLittleEndian(bytes),
            Datatype.BF16 => BitConverter.Int32BitsToSingle(BinaryPrimitives.ReadUInt16LittleEndian(bytes) << 16),
            Datatype.FP32 => BinaryPrimitives.ReadSingleLittleEndian(bytes),
            _ => BinaryPrimitives.ReadDoubleLittleEndian(bytes),
        };
    }
}
