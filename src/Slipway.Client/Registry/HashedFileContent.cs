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
        // While one block is hashed on another core and written to the wire, nothing waits but the next read.
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[BlockBytes];
        int read;
        while ((read = await _file.ReadAsync(buffer, cancellationToken)) > 0)
        {
            var length = read;
            var hashing = Task.Run(() => hash.AppendData(buffer, 0, length), CancellationToken.None);
            try
            {
                await stream.WriteAsync(buffer.AsMemory(0, length), cancellationToken);
            }
            finally
            {
                await hashing;
            }

            _sent(length);
        }

        Sha256 = Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    protected override bool TryComputeLength(out long length)
    {
        length = _file.Length;
        return true;
    }
}
