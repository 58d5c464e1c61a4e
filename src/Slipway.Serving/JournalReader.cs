using System.Buffers.Binary;
using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Serving;

/// <summary>Reads a finished <see cref="Journal"/> up to its torn end, record by record, in place.</summary>
internal sealed class JournalReader<THeader> : IDisposable
    where THeader : class
{
    private readonly FileStream _file;
    private byte[] _buffer = new byte[256 * 1024];
    private int _start;
    private int _end;
    private int _length;
    private long _left; // Of the file, not yet in the buffer.

    public JournalReader(string path)
    {
        _file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        try
        {
            _left = _file.Length;
            Header = Next() ? JsonSerializer.Deserialize<THeader>(Record, JsonDefaults.Options) : null;
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    /// <summary>Null when not even that is whole.</summary>
    public THeader? Header { get; }

    /// <summary>The present record, until the next.</summary>
    public ReadOnlySpan<byte> Record => _buffer.AsSpan(_start - _length, _length);

    /// <summary>Goes to the next record; false when none that is whole follows.</summary>
    public bool Next()
    {
        if (!Fill(Journal.FrameBytes))
        {
            return false;
        }

        var length = BinaryPrimitives.ReadInt32LittleEndian(_buffer.AsSpan(_start));
        if (length < 0 || length > _left + (_end - _start) - Journal.FrameBytes || !Fill(Journal.FrameBytes + length))
        {
            return false;
        }

        var checksum = BinaryPrimitives.ReadUInt32LittleEndian(_buffer.AsSpan(_start + sizeof(int)));
        if (Journal.Checksum(_buffer.AsSpan(_start + Journal.FrameBytes, length)) != checksum)
        {
            return false;
        }

        _start += Journal.FrameBytes + length;
        _length = length;
        return true;
    }

    public void Dispose() => _file.Dispose();

    private bool Fill(int bytes)
    {
        if (_end - _start >= bytes)
        {
            return true;
        }

        var rest = _buffer.AsSpan(_start, _end - _start);
        if (_buffer.Length < bytes)
        {
            var larger = new byte[bytes];
            rest.CopyTo(larger);
            _buffer = larger;
        }
        else
        {
            rest.CopyTo(_buffer);
        }

        _end = rest.Length;
        _start = 0;
        var read = _file.ReadAtLeast(_buffer.AsSpan(_end), bytes - _end, throwOnEndOfStream: false);
        _end += read;
        _left -= read;
        return _end >= bytes;
    }
}
