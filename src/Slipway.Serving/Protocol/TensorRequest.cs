using System.Buffers.Binary;
using System.Text;
using Slipway.Serving.Grpc;

namespace Slipway.Serving.Protocol;

/// <summary>A request as tensors, whatever protocol it came by: read without knowing the version that will answer it.</summary>
internal sealed class TensorRequest
{
    /// <summary>The caller's own id; empty when it gave none.</summary>
    public string Id { get; set; } = "";

    /// <summary>Keeps a user on one version; empty when it was not given.</summary>
    public string EntityKey { get; set; } = "";

    /// <summary>Whether answers are wanted as bytes behind the JSON, unless an output says otherwise.</summary>
    public bool BinaryOutput { get; set; }

    /// <summary>A flag's value, which may choose the version; empty when it was not given.</summary>
    public string Flag { get; set; } = "";

    /// <summary>Whether the answer shall say how old each feature of the feature store is.</summary>
    public bool WantsAges { get; set; }

    /// <summary>How long it may wait for its run, in microseconds; 0 when the caller did not say.</summary>
    public long TimeoutUs { get; set; }

    /// <summary>Lower numbers run first, of those that wait; 0, when the caller did not say, comes last.</summary>
    public ulong Priority { get; set; }

    public List<RequestTensor> Inputs { get; } = [];

    /// <summary>The outputs asked for; all when it is empty.</summary>
    public List<RequestedOutput> Outputs { get; } = [];

    /// <summary>The same as objects.</summary>
    public static TensorRequest Of(in OneTensorMessage message) => new()
    {
        Id = Encoding.ASCII.GetString(message.Id),
        Inputs = { new RequestTensor(Encoding.ASCII.GetString(message.Name), Datatype.FP32, message.Rank == 1 ? [message.Rows] : [message.Rows, message.Columns], message.Data.ToArray()) },
    };

    /// <summary>Whether all its floating-point values of 32 and 64 bits are numbers.</summary>
    public bool IsFinite => Inputs.TrueForAll(input => input.Datatype switch
    {
        Datatype.FP32 => AnswerTensor.AreFinite<float>(input.Data),
        Datatype.FP64 => AnswerTensor.AreFinite<double>(input.Data),
        _ => true,
    });
}

/// <summary>An output asked for.</summary>
/// <param name="Name">As the model names it.</param>
/// <param name="Binary">As bytes behind the JSON; null as the request says for all.</param>
internal sealed record RequestedOutput(string Name, bool? Binary);

/// <summary>One tensor of a request.</summary>
/// <param name="Name">As it was sent.</param>
/// <param name="Datatype">Its elements.</param>
/// <param name="Shape">No size is negative.</param>
/// <param name="Data">Little-endian, row by row, at a multiple of the element's size. BYTES have each element's length before it, in four bytes.</param>
internal sealed record RequestTensor(string Name, Datatype Datatype, long[] Shape, ArraySegment<byte> Data)
{
    /// <summary>Elements of a shape.</summary>
    /// <returns>False when they are more than any tensor may have.</returns>
    public static bool TryCount(ReadOnlySpan<long> shape, Datatype datatype, out int count)
    {
        // Beyond two gigabytes there is no array; a zero must not hide that the other sizes overflow.
        const long Max = int.MaxValue / 2;
        long product = 1;
        var empty = false;
        count = 0;
        foreach (var size in shape)
        {
            empty |= size == 0;
            if (size > Max || product * Math.Max(size, 1) * Math.Max(datatype.Size(), 1) > Max)
            {
                return false;
            }

            product *= Math.Max(size, 1);
        }

        count = empty ? 0 : (int)product;
        return true;
    }

    /// <summary>What is wrong with bytes that should be so many elements; null when nothing is.</summary>
    public static string? CheckBytes(string what, Datatype datatype, int count, ReadOnlySpan<byte> bytes)
    {
        if (datatype.Size() is > 0 and var size)
        {
            return bytes.Length != (long)count * size
                ? $"{what} has {bytes.Length} bytes, but {count} values of {datatype.Name()} take {(long)count * size}; send as many as the shape says."
                : CheckFlags(what, datatype, bytes);
        }

        var rest = bytes;
        for (var i = 0; i < count; i++)
        {
            if (rest.Length < sizeof(uint) || BinaryPrimitives.ReadUInt32LittleEndian(rest) > rest.Length - sizeof(uint))
            {
                return $"{what} ends inside its element {i} of {count}; send each BYTES element as its length in four bytes, little-endian, and then its bytes.";
            }

            var length = BinaryPrimitives.ReadInt32LittleEndian(rest);
            if (rest.Slice(sizeof(uint), length).Contains((byte)0))
            {
                return $"{what} holds a zero byte in its element {i}, which models end a text at; send it without.";
            }

            rest = rest[(sizeof(uint) + length)..];
        }

        return rest.IsEmpty ? null : $"{what} has {rest.Length} bytes after its {count} elements; send as many as the shape says.";
    }

    /// <summary>What is wrong with the bytes of a BOOL tensor; null when nothing is, or it is none.</summary>
    public static string? CheckFlags(string what, Datatype datatype, ReadOnlySpan<byte> bytes) =>
        datatype == Datatype.BOOL && bytes.IndexOfAnyExceptInRange((byte)0, (byte)1) is >= 0 and var at // A model compiled for bool may do anything with another.
            ? $"{what} has the byte {bytes[at]} as its element {at}; send 0 for false or 1 for true."
            : null;
}
