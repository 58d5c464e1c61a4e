using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;

namespace Slipway.Client.Registry;

/// <summary>A file as a request body, hashed while it is sent, so that it is read once.</summary>
internal sealed class HashedFileContent : HttpContent
{
    private const int BlockBytes = 1 << 20;

    private readonly FileStream _file;
    private readonly Action<int> _sent;

    public HashedFileContent(FileStream file, Action<int> sent)
    {
        (_file, _sent) = (file, sent);
        Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
    }

    /// <summary>Digest of what was sent, once it was.</summary>
    public string? Sha256 { get; private set; }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        // While one block is hashed on another core and written to the wire, the next is read.
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var (sending, reading) = (new byte[BlockBytes], new byte[BlockBytes]);
        var length = await _file.ReadAsync(sending, cancellationToken);
        while (length > 0)
        {
            var (block, bytes) = (sending, length);
            var hashing = Task.Run(() => hash.AppendData(block, 0, bytes), CancellationToken.None);
            var next = _file.ReadAsync(reading, CancellationToken.None).AsTask();
            try
            {
                await stream.WriteAsync(block.AsMemory(0, bytes), cancellationToken);
            }
            finally
            {
                await hashing;
                await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // Not after the file is closed.
            }

            _sent(bytes);
            length = await next;
            (sending, reading) = (reading, sending);
        }

        Sha256 = Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    protected override bool TryComputeLength(out long length)
    {
        length = _file.Length;
        return true;
    }
}
