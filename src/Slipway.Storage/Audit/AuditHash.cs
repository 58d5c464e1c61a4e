using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Slipway.Storage.Audit;

/// <summary>The bytes that a row's hash covers: length-prefixed fields, so that no two rows share an encoding; a null differs from an empty text.</summary>
internal sealed class AuditHash
{
    /// <summary>Characters of a hash.</summary>
    public const int HexLength = 64;

    private byte[] _buffer = new byte[1024];
    private int _length;

    /// <summary>The hash of a whole row.</summary>
    public static string Of(AuditEvent row)
    {
        var hash = new AuditHash();
        hash.Add(row.Seq);
        hash.Add(row.AtMs);
        foreach (var text in (ReadOnlySpan<string?>)[row.Actor, row.Action, row.SubjectKind, row.SubjectId, row.Reason, row.BeforeJson, row.AfterJson, row.RequestId, row.PreviousHash])
        {
            if (text is null)
            {
                hash.AddNull();
                continue;
            }

            var length = Encoding.UTF8.GetByteCount(text);
            hash.Add(length);
            hash._length += Encoding.UTF8.GetBytes(text, hash.Room(length));
        }

        Span<byte> hex = stackalloc byte[HexLength];
        hash.Finish(hex);
        return Encoding.ASCII.GetString(hex);
    }

    public void Add(long number)
    {
        BinaryPrimitives.WriteInt64BigEndian(Room(sizeof(long)), number);
        _length += sizeof(long);
    }

    public void Add(ReadOnlySpan<byte> utf8)
    {
        Add(utf8.Length);
        utf8.CopyTo(Room(utf8.Length));
        _length += utf8.Length;
    }

    public void AddNull() => Add(-1L);

    /// <summary>Writes the hash as <see cref="HexLength"/> lower-case digits and begins the next row.</summary>
    public void Finish(Span<byte> hex)
    {
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(_buffer.AsSpan(0, _length), digest);
        _length = 0;
        Convert.TryToHexStringLower(digest, hex, out _);
    }

    private Span<byte> Room(int bytes)
    {
        if (_buffer.Length - _length < bytes)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + bytes));
        }

        return _buffer.AsSpan(_length);
    }
}
