using System.Text;

namespace Slipway.Serving.Grpc;

/// <summary>
/// The ordinary ModelInfer message, read in place: one FP32 tensor of one or two dimensions, its values as raw bytes, and nothing else but the names of
/// model, version and request. All others, and all that is wrong, is for the general reader.
/// </summary>
internal readonly ref struct OneTensorMessage
{
    private const int IdMax = 256;

    /// <summary>ASCII, as the other texts are.</summary>
    public ReadOnlySpan<byte> Model { get; private init; }

    /// <summary>Empty when the caller named none.</summary>
    public ReadOnlySpan<byte> Version { get; private init; }

    /// <summary>Empty when the caller gave none.</summary>
    public ReadOnlySpan<byte> Id { get; private init; }

    /// <summary>The tensor's.</summary>
    public ReadOnlySpan<byte> Name { get; private init; }

    /// <summary>1 or 2.</summary>
    public int Rank { get; private init; }

    /// <summary>At least 1.</summary>
    public int Rows { get; private init; }

    /// <summary>At least 1; 0 of one dimension.</summary>
    public int Columns { get; private init; }

    /// <summary>As many values as the shape says.</summary>
    public ReadOnlySpan<byte> Data { get; private init; }

    /// <summary>Reads a message; false when it is another than the ordinary one.</summary>
    public static bool TryRead(ReadOnlySpan<byte> message, out OneTensorMessage read)
    {
        read = default;
        ReadOnlySpan<byte> model = default, version = default, id = default, input = default, data = default;
        var seen = 0;
        var at = 0;
        while (at < message.Length)
        {
            // Fields 1 to 7 have tags of one byte; each comes once, and here all have lengths.
            var tag = message[at++];
            if ((tag & 0x87) != 2 || !TryTake(message, ref at, out var part) || (seen & (1 << (tag >> 3))) != 0)
            {
                return false;
            }

            seen |= 1 << (tag >> 3);
            switch (tag >> 3)
            {
                case 1:
                    model = part;
                    break;
                case 2:
                    version = part;
                    break;
                case 3:
                    id = part;
                    break;
                case 5:
                    input = part;
                    break;
                case 7:
                    data = part;
                    break;
                default:
                    return false;
            }
        }

        const int Needed = (1 << 1) | (1 << 5) | (1 << 7);
        if ((seen & Needed) != Needed || id.Length > IdMax || !Ascii.IsValid(model) || !Ascii.IsValid(version) || !Ascii.IsValid(id)
            || !TryReadInput(input, out var name, out var rank, out var rows, out var columns) || data.Length != (long)rows * Math.Max(columns, 1) * sizeof(float))
        {
            return false;
        }

        read = new OneTensorMessage { Model = model, Version = version, Id = id, Name = name, Rank = rank, Rows = rows, Columns = columns, Data = data };
        return true;
    }

    // 1 name, 2 datatype, 3 sizes packed; with parameters or contents it is not the ordinary one.
    private static bool TryReadInput(ReadOnlySpan<byte> input, out ReadOnlySpan<byte> name, out int rank, out int rows, out int columns)
    {
        name = default;
        (rank, rows, columns) = (0, 0, 0);
        var isFp32 = false;
        var at = 0;
        while (at < input.Length)
        {
            var tag = input[at++];
            if (!TryTake(input, ref at, out var part))
            {
                return false;
            }

            switch (tag)
            {
                case (1 << 3) | 2 when name.IsEmpty:
                    name = part;
                    break;
                case (2 << 3) | 2:
                    isFp32 = part.SequenceEqual("FP32"u8);
                    break;
                case (3 << 3) | 2 when rank == 0:
                    for (var size = 0; size < part.Length;)
                    {
                        if (rank == 2 || !TryVarint(part, ref size, out var value) || value is 0 or > int.MaxValue)
                        {
                            return false;
                        }

                        (rows, columns) = rank++ == 0 ? ((int)value, 0) : (rows, (int)value);
                    }

                    break;
                default:
                    return false;
            }
        }

        return isFp32 && rank > 0 && !name.IsEmpty && Ascii.IsValid(name);
    }

    private static bool TryTake(ReadOnlySpan<byte> bytes, scoped ref int at, out ReadOnlySpan<byte> part)
    {
        part = default;
        if (!TryVarint(bytes, ref at, out var length) || length > (ulong)(bytes.Length - at))
        {
            return false;
        }

        part = bytes.Slice(at, (int)length);
        at += (int)length;
        return true;
    }

    private static bool TryVarint(ReadOnlySpan<byte> bytes, scoped ref int at, out ulong value)
    {
        value = 0;
        for (var shift = 0; shift < 63 && at < bytes.Length; shift += 7)
        {
            var octet = bytes[at++];
            value |= (ulong)(octet & 0x7F) << shift;
            if (octet < 0x80)
            {
                return true;
            }
        }

        return false;
    }
}
