using System.Buffers;

namespace Slipway.Serving.Protocol;

/// <summary>Bytes of one answer, kept for the thread's next one: with its length known, the answer goes out in one piece and unchunked.</summary>
internal sealed class ResponseBuffer : IBufferWriter<byte>
{
    private byte[] _bytes = new byte[1024];
    private int _length;

    public ReadOnlySpan<byte> Written => _bytes.AsSpan(0, _length);

    public void Clear()
    {
        _length = 0;
        if (_bytes.Length > 1 << 20)
        {
            _bytes = new byte[1024];
        }
    }

    public void Write(ReadOnlySpan<byte> bytes)
    {
        Reserve(bytes.Length);
        bytes.CopyTo(_bytes.AsSpan(_length));
        _length += bytes.Length;
    }

    public void Advance(int count) => _length += count;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _bytes.AsMemory(_length);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _bytes.AsSpan(_length);
    }

    private void Reserve(int size)
    {
        if (_bytes.Length - _length < Math.Max(size, 1))
        {
            Array.Resize(ref _bytes, Math.Max(_length + size, _bytes.Length * 2));
        }
    }
}
