using System.Text.Json;
using Slipway.Native.Onnx;

namespace Slipway.Serving.Protocol;

/// <summary>Open Inference's element types, and Triton's BF16.</summary>
internal enum Datatype
{
    None,
    BOOL,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    INT8,
    INT16,
    INT32,
    INT64,
    FP16,
    BF16,
    FP32,
    FP64,
    BYTES,
}

/// <summary>Names and sizes of the element types.</summary>
internal static class Datatypes
{
    private static readonly string[] Names = Enum.GetNames<Datatype>();

    public static string All { get; } = string.Join(", ", Names[1..]);

    public static string Name(this Datatype datatype) => Names[(int)datatype];

    /// <summary>Bytes of one element; 0 for BYTES, whose elements each carry their length.</summary>
    public static int Size(this Datatype datatype) => OnnxInput.SizeOf(datatype.ToOnnx());

    /// <summary>Whether JSON has numbers for it: half floats come and go as bytes only.</summary>
    public static bool HasJson(this Datatype datatype) => datatype is not (Datatype.FP16 or Datatype.BF16);

    public static Datatype Parse(string name) => Array.IndexOf(Names, name) is > 0 and var index ? (Datatype)index : Datatype.None;

    public static Datatype Parse(ref Utf8JsonReader reader)
    {
        if (reader.ValueTextEquals("FP32"u8))
        {
            return Datatype.FP32;
        }

        for (var i = 1; i < Names.Length; i++)
        {
            if (reader.ValueTextEquals(Names[i]))
            {
                return (Datatype)i;
            }
        }

        return Datatype.None;
    }

    public static Datatype Of(OnnxElementType type) => type switch
    {
        OnnxElementType.Bool => Datatype.BOOL,
        OnnxElementType.UInt8 => Datatype.UINT8,
        OnnxElementType.UInt16 => Datatype.UINT16,
        OnnxElementType.UInt32 => Datatype.UINT32,
        OnnxElementType.UInt64 => Datatype.UINT64,
        OnnxElementType.Int8 => Datatype.INT8,
        OnnxElementType.Int16 => Datatype.INT16,
        OnnxElementType.Int32 => Datatype.INT32,
        OnnxElementType.Int64 => Datatype.INT64,
        OnnxElementType.Float16 => Datatype.FP16,
        OnnxElementType.BFloat16 => Datatype.BF16,
        OnnxElementType.Float => Datatype.FP32,
        OnnxElementType.Double => Datatype.FP64,
        OnnxElementType.String => Datatype.BYTES,
        _ => Datatype.None,
    };

    public static OnnxElementType ToOnnx(this Datatype datatype) => datatype switch
    {
        Datatype.BOOL => OnnxElementType.Bool,
        Datatype.UINT8 => OnnxElementType.UInt8,
        Datatype.UINT16 => OnnxElementType.UInt16,
        Datatype.UINT32 => OnnxElementType.UInt32,
        Datatype.UINT64 => OnnxElementType.UInt64,
        Datatype.INT8 => OnnxElementType.Int8,
        Datatype.INT16 => OnnxElementType.Int16,
        Datatype.INT32 => OnnxElementType.Int32,
        Datatype.INT64 => OnnxElementType.Int64,
        Datatype.FP16 => OnnxElementType.Float16,
        Datatype.BF16 => OnnxElementType.BFloat16,
        Datatype.FP32 => OnnxElementType.Float,
        Datatype.FP64 => OnnxElementType.Double,
        Datatype.BYTES => OnnxElementType.String,
        _ => OnnxElementType.None,
    };
}
