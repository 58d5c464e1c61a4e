using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using Slipway.Native.Onnx;

namespace Slipway.Native.Trees;

/// <summary>Universal Binary JSON as text JSON. https://ubjson.org/type-reference, with the typed arrays XGBoost writes.</summary>
internal static class UbjReader
{
    private const int DepthMax = 64;

    internal static ReadOnlyMemory<byte> ToJson(ReadOnlySpan<byte> ubj)
    {
        var buffer = new ArrayBufferWriter<byte>(ubj.Length * 2 + 256);
        using var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { SkipValidation = true });
        var cursor = new Cursor(ubj);
        Value(ref cursor, cursor.Marker(), writer, 0);
        writer.Flush();
        return buffer.WrittenMemory;
    }

    private static void Value(ref Cursor cursor, byte marker, Utf8JsonWriter writer, int depth)
    {
        if (depth > DepthMax)
        {
            throw Malformed("it is nested too deeply");
        }

        switch (marker)
        {
            case (byte)'{': Object(ref cursor, writer, depth); break;
            case (byte)'[': Array(ref cursor, writer, depth); break;
            case (byte)'S': writer.WriteStringValue(cursor.Text(cursor.Length())); break;
            case (byte)'C': writer.WriteStringValue(((char)cursor.Take(1)[0]).ToString()); break;
            case (byte)'H': writer.WriteStringValue(cursor.Text(cursor.Length())); break;
            case (byte)'Z': writer.WriteNullValue(); break;
            case (byte)'T': writer.WriteBooleanValue(true); break;
            case (byte)'F': writer.WriteBooleanValue(false); break;
            case (byte)'d': Number(writer, BinaryPrimitives.ReadSingleBigEndian(cursor.Take(4))); break;
            case (byte)'D': Number(writer, BinaryPrimitives.ReadDoubleBigEndian(cursor.Take(8))); break;
            default: writer.WriteNumberValue(cursor.Integer(marker)); break;
        }
    }

    private static void Number(Utf8JsonWriter writer, float value)
    {
        if (float.IsFinite(value))
        {
            writer.WriteNumberValue(value); // Shortest text that reads back as the same float.
        }
        else
        {
            writer.WriteNullValue();
        }
    }

    private static void Number(Utf8JsonWriter writer, double value)
    {
        if (double.IsFinite(value))
        {
            writer.WriteNumberValue(value);
        }
        else
        {
            writer.WriteNullValue();
        }
    }

    private static void Object(ref Cursor cursor, Utf8JsonWriter writer, int depth)
    {
        var (type, count) = Header(ref cursor);
        writer.WriteStartObject();
        for (long i = 0; count < 0 ? !cursor.Skip((byte)'}') : i < count; i++)
        {
            writer.WritePropertyName(cursor.Text(cursor.Length()));
            Value(ref cursor, type ?? cursor.Marker(), writer, depth + 1);
        }

        writer.WriteEndObject();
    }

    private static void Array(ref Cursor cursor, Utf8JsonWriter writer, int depth)
    {
        var (type, count) = Header(ref cursor);
        if (type is (byte)'Z' or (byte)'T' or (byte)'F' or (byte)'N' && count > 0)
        {
            throw Malformed("it counts values that take no room"); // A few bytes would stand for any number of them.
        }

        writer.WriteStartArray();
        for (long i = 0; count < 0 ? !cursor.Skip((byte)']') : i < count; i++)
        {
            Value(ref cursor, type ?? cursor.Marker(), writer, depth + 1);
        }

        writer.WriteEndArray();
    }

    private static (byte? Type, long Count) Header(ref Cursor cursor)
    {
        byte? type = cursor.Skip((byte)'$') ? cursor.Take(1)[0] : null;
        if (cursor.Skip((byte)'#'))
        {
            return (type, cursor.Length());
        }

        return type is null ? (null, -1) : throw Malformed("a typed container has no count");
    }

    private static OnnxException Malformed(string what) => new($"The bytes are not Universal Binary JSON: {what}.");

    private ref struct Cursor(ReadOnlySpan<byte> bytes)
    {
        private ReadOnlySpan<byte> _rest = bytes;

        public ReadOnlySpan<byte> Take(int count)
        {
            if ((uint)count > (uint)_rest.Length)
            {
                throw Malformed("it ends early");
            }

            var taken = _rest[..count];
            _rest = _rest[count..];
            return taken;
        }

        public bool Skip(byte marker)
        {
            if (_rest.IsEmpty)
            {
                throw Malformed("it ends early");
            }

            var found = _rest[0] == marker;
            _rest = found ? _rest[1..] : _rest;
            return found;
        }

        /// <summary>The next marker; no-operations are passed over.</summary>
        public byte Marker()
        {
            byte marker;
            do
            {
                marker = Take(1)[0];
            }
            while (marker == (byte)'N');
            return marker;
        }

        public long Length()
        {
            var length = Integer(Take(1)[0]);
            return length >= 0 && length <= _rest.Length ? length : throw Malformed("a length is beyond its end");
        }

        public long Integer(byte marker) => marker switch
        {
            (byte)'i' => (sbyte)Take(1)[0],
            (byte)'U' => Take(1)[0],
            (byte)'I' => BinaryPrimitives.ReadInt16BigEndian(Take(2)),
            (byte)'l' => BinaryPrimitives.ReadInt32BigEndian(Take(4)),
            (byte)'L' => BinaryPrimitives.ReadInt64BigEndian(Take(8)),
            _ => throw Malformed($"0x{marker:x2} is no marker of a value"),
        };

        public string Text(long length) => Encoding.UTF8.GetString(Take((int)length));
    }
}
