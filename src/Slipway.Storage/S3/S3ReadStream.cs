namespace Slipway.Storage.S3;

/// <summary>An object read from any position. A request is made at the first read and after each move; a body broken off is taken up where it ended.</summary>
internal sealed class S3ReadStream(S3Bucket bucket, S3Entry entry) : Stream
{
    private const int RetriesMax = 3;

    private Stream? _body;
    private long _position;

    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length => entry.SizeBytes;

    public override long Position
    {
        get => _position;
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            if (value != _position)
            {
                Drop();
                _position = value;
            }
        }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_position >= entry.SizeBytes || buffer.Length == 0)
        {
            return 0;
        }

        for (var retries = 0; ; retries++)
        {
            _body ??= await bucket.OpenFromAsync(entry, _position, cancellationToken);
            try
            {
                var read = await _body.ReadAsync(buffer, cancellationToken);
                if (read > 0)
                {
                    _position += read;
                    return read;
                }

                throw new EndOfStreamException($"The store ended object '{entry.Key}' early.");
            }
            catch (Exception e) when (e is IOException or HttpRequestException && retries < RetriesMax)
            {
                Drop();
            }
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("An object is read over the network: use ReadAsync.");

    public override long Seek(long offset, SeekOrigin origin) => Position = origin switch
    {
        SeekOrigin.Begin => offset,
        SeekOrigin.Current => _position + offset,
        _ => entry.SizeBytes + offset,
    };

    public override void Flush()
    {
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        Drop();
        base.Dispose(disposing);
    }

    private void Drop()
    {
        _body?.Dispose();
        _body = null;
    }
}
