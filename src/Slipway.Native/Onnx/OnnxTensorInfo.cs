namespace Slipway.Native.Onnx;

/// <summary>Element types, numbered as in ONNX's TensorProto.</summary>
public enum OnnxElementType
{
    /// <summary>Not a tensor: a sequence, map or optional, which Slipway neither feeds nor reads.</summary>
    None = 0,
#pragma warning disable CS1591 // The names are ONNX's own.
    Float = 1,
    UInt8 = 2,
    Int8 = 3,
    UInt16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    String = 8,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    UInt32 = 12,
    UInt64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    BFloat16 = 16,
#pragma warning restore CS1591
}

/// <summary>An input or output of a model.</summary>
/// <param name="Name">As the model names it.</param>
/// <param name="ElementType">None for what is not a tensor.</param>
/// <param name="Shape">-1 stands for a dimension that varies.</param>
public sealed record OnnxTensorInfo(string Name, OnnxElementType ElementType, IReadOnlyList<long> Shape)
{
    /// <summary>The model's names of the dimensions, such as <c>batch</c>: those of one name have one size in a run. Empty where a dimension has none, and for a file that was not loaded.</summary>
    public IReadOnlyList<string> Symbols { get; init; } = [];
}
