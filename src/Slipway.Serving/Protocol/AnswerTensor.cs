using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Unicode;

namespace Slipway.Serving.Protocol;

/// <summary>One output of a run.</summary>
/// <param name="Name">As the model names it.</param>
/// <param name="Datatype">Its elements.</param>
/// <param name="Shape">Of this run.</param>
/// <param name="Data">As in <see cref="RequestTensor"/>.</param>
/// <param name="Binary">Whether the caller asked for bytes; null as the request says for all.</param>
internal sealed record AnswerTensor(string Name, Datatype Datatype, long[] Shape, byte[] Data, bool? Binary)
{
    /// <summary>Why JSON cannot carry it, without the way out; null when it can.</summary>
    public string? CheckJson()
    {
        var fault = Datatype switch
        {
            Datatype.FP16 or Datatype.BF16 => $"is {Datatype.Name()}, which JSON has no numbers for",
            Datatype.FP32 when !AreFinite<float>(Data) => "holds a value that is not a finite number, which JSON cannot carry",
            Datatype.FP64 when !AreFinite<double>(Data) => "holds a value that is not a finite number, which JSON cannot carry",
            Datatype.BYTES when !TextsAreUtf8() => "holds bytes that are not text, which JSON cannot carry",
            _ => null,
        };
        return fault is null ? null : $"Output '{Name}' {fault}";
    }

    /// <summary>Why nested lists cannot carry it, without the way out; null when they can. Where it has no values, a few bytes of shape may stand for any number of lists.</summary>
    /// <param name="listsMax">Most lists without a value in any of them.</param>
    public string? CheckLists(long listsMax)
    {
        if (!Shape.Contains(0))
        {
            return null;
        }

        var (lists, all) = (1L, 1L);
        for (var i = 0; Shape[i] != 0 && all <= listsMax; i++)
        {
            lists = Shape[i] > listsMax ? listsMax + 1 : lists * Shape[i];
            all += lists;
        }

        return all <= listsMax ? null : $"Output '{Name}' has the shape {TensorReader.Shown(Shape)}: more than {listsMax.ToString("N0", CultureInfo.InvariantCulture)} lists without a value in any of them";
    }

    /// <summary>Writes the element at <paramref name="at"/>, and moves it to the next.</summary>
    public void Write(Utf8JsonWriter json, ref int at)
    {
        var rest = Data.AsSpan(at);
        at += Datatype.Size();
        switch (Datatype)
        {
            case Datatype.BOOL:
                json.WriteBooleanValue(rest[0] != 0);
                break;
            case Datatype.UINT8:
                json.WriteNumberValue(rest[0]);
                break;
            case Datatype.UINT16:
                json.WriteNumberValue(BinaryPrimitives.ReadUInt16LittleEndian(rest));
                break;
            case Datatype.UINT32:
                json.WriteNumberValue(BinaryPrimitives.ReadUInt32LittleEndian(rest));
                break;
            case Datatype.UINT64:
                json.WriteNumberValue(BinaryPrimitives.ReadUInt64LittleEndian(rest));
                break;
            case Datatype.INT8:
                json.WriteNumberValue((sbyte)rest[0]);
                break;
            case Datatype.INT16:
                json.WriteNumberValue(BinaryPrimitives.ReadInt16LittleEndian(rest));
                break;
            case Datatype.INT32:
                json.WriteNumberValue(BinaryPrimitives.ReadInt32LittleEndian(rest));
                break;
            case Datatype.INT64:
                json.WriteNumberValue(BinaryPrimitives.ReadInt64LittleEndian(rest));
                break;
            case Datatype.FP32:
                json.WriteNumberValue(BinaryPrimitives.ReadSingleLittleEndian(rest));
                break;
            case Datatype.FP64:
                json.WriteNumberValue(BinaryPrimitives.ReadDoubleLittleEndian(rest));
                break;
            default:
                var length = BinaryPrimitives.ReadInt32LittleEndian(rest);
                json.WriteStringValue(rest.Slice(sizeof(int), length));
                at += sizeof(int) + length;
                break;
        }
    }

    /// <summary>The one number it is; false when it is more than one, or text.</summary>
    public bool TryNumber(out double number)
    {
        number = double.NaN;
        if (Datatype == Datatype.BYTES || Data.Length != Datatype.Size())
        {
            return false;
        }

        number = Numbers.At(Datatype, Data, 0);
        return true;
    }

    /// <summary>Whether all are numbers.</summary>
    public static bool AreFinite<T>(ReadOnlySpan<byte> data)
        where T : unmanaged, INumberBase<T>
    {
        foreach (var value in MemoryMarshal.Cast<byte, T>(data))
        {
            if (!T.IsFinite(value))
            {
                return false;
            }
        }

        return true;
    }

    private bool TextsAreUtf8()
    {
        ReadOnlySpan<byte> rest = Data;
        while (!rest.IsEmpty)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(rest);
            if (!Utf8.IsValid(rest.Slice(sizeof(int), length)))
            {
                return false;
            }

            rest = rest[(sizeof(int) + length)..];
        }

        return true;
    }
}
