using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;
using Microsoft.AspNetCore.Http;
using Slipway.Contracts;

namespace Slipway.Serving.Protocol;

/// <summary>Bodies and messages that came compressed, as they were before.</summary>
/// <remarks>
/// .NET's streams take data that is cut off for data that has ended, and so a body that lost its second half for a shorter one. Each format is made to show its end:
/// gzip may have several members, so a member of ours is read behind the caller's and must come out last; zlib ends with the Adler-32 of what comes out.
/// </remarks>
internal static class CompressedBody
{
    private const int PartBytes = 16 * 1024;

    private static readonly byte[] Mark = "slipway-was-here"u8.ToArray();
    private static readonly byte[] MarkMember = Gzip(Mark);

    /// <summary>A request's body: inflated, or as it is where its encoding is <c>identity</c>. Never more of it than may be sent uncompressed.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: it is not what its header says, or not all of it; TooLarge.</exception>
    public static async Task<ReadOnlyMemory<byte>> ReadAsync(HttpRequest request, long bytesMax)
    {
        var named = request.Headers.ContentEncoding.ToString();
        var encoding = named.ToLowerInvariant();
        if (encoding is not ("gzip" or "deflate" or "identity" or ""))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Content-Encoding '{Quoted.Short(named)}' is not taken here; send gzip, deflate or no encoding.");
        }

        var (bytes, fault) = await ReadAsync(request.Body, encoding, bytesMax, request.HttpContext.RequestAborted);
        return fault switch
        {
            InflateFault.None => bytes,
            InflateFault.TooLarge => throw new SlipwayException(ErrorCode.TooLarge, InferHandler.TooLarge(bytesMax)),
            _ => throw new SlipwayException(ErrorCode.InvalidArgument, $"The body {Words(fault, encoding)}, as its Content-Encoding says; send it whole, or without the header."),
        };
    }

    /// <summary>What is inside, or why it cannot be told.</summary>
    /// <param name="source">Compressed.</param>
    /// <param name="encoding"><c>gzip</c> or <c>deflate</c>; all else is read as it is.</param>
    /// <param name="bytesMax">Most bytes inside.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public static async Task<(ReadOnlyMemory<byte> Bytes, InflateFault Fault)> ReadAsync(Stream source, string encoding, long bytesMax, CancellationToken cancellationToken)
    {
        var isGzip = encoding == "gzip";
        var isZlib = encoding == "deflate";
        await using var watched = new WatchedStream(source, isGzip ? MarkMember : []);
        await using Stream body = isGzip ? new GZipStream(watched, CompressionMode.Decompress) : isZlib ? new ZLibStream(watched, CompressionMode.Decompress) : watched;
        var bytes = new ArrayBufferWriter<byte>(PartBytes);
        var markBytes = isGzip ? Mark.Length : 0;
        var sum = Adler32.Start;
        try
        {
            int read;
            while ((read = await body.ReadAsync(bytes.GetMemory(PartBytes), cancellationToken)) > 0)
            {
                bytes.Advance(read);
                if (bytes.WrittenCount - markBytes > bytesMax)
                {
                    return (default, InflateFault.TooLarge);
                }

                sum = isZlib ? Adler32.Add(sum, bytes.WrittenSpan[^read..]) : sum;
            }
        }
        catch (InvalidDataException)
        {
            return (default, watched.HasEnded ? InflateFault.EndsEarly : InflateFault.IsOtherData);
        }

        var isWhole = isGzip ? bytes.WrittenSpan.EndsWith(Mark) : !isZlib || (await watched.EndsAsync(cancellationToken) && watched.Last == sum);
        return isWhole ? (bytes.WrittenMemory[..^markBytes], InflateFault.None) : (default, watched.HasEnded ? InflateFault.EndsEarly : InflateFault.GoesOn);
    }

    /// <summary>What a body does that is not whole, to be followed by what said that it were.</summary>
    public static string Words(InflateFault fault, string encoding) => fault switch
    {
        InflateFault.EndsEarly => $"ends before its {encoding} data does",
        InflateFault.GoesOn => $"goes on behind the end of its {encoding} data",
        _ => $"is not {encoding} data",
    };

    private static byte[] Gzip(byte[] bytes)
    {
        using var into = new MemoryStream();
        using (var gzip = new GZipStream(into, CompressionLevel.Fastest, leaveOpen: true))
        {
            gzip.Write(bytes);
        }

        return into.ToArray();
    }

    /// <summary>A stream and what is put behind it. Knows whether the stream was read to its end, and what its last bytes were.</summary>
    private sealed class WatchedStream(Stream source, byte[] behind) : Stream
    {
        private int _behindRead;

        /// <summary>Whether more was asked for than there was.</summary>
        public bool HasEnded { get; private set; }

        /// <summary>The last four bytes, as a big-endian number.</summary>
        public uint Last { get; private set; }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (!HasEnded)
            {
                var read = await source.ReadAsync(buffer, cancellationToken);
                Remember(buffer.Span[..read]);
                HasEnded = read == 0 && buffer.Length > 0;
                if (!HasEnded)
                {
                    return read;
                }
            }

            var next = behind.AsSpan(_behindRead);
            next = next[..Math.Min(next.Length, buffer.Length)];
            next.CopyTo(buffer.Span);
            _behindRead += next.Length;
            return next.Length;
        }

        /// <summary>Whether nothing follows. Without it, what came in a packet of its own behind the end would not be looked at.</summary>
        public async Task<bool> EndsAsync(CancellationToken cancellationToken) => HasEnded || await source.ReadAsync(new byte[1], cancellationToken) == 0;

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Flush() => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        private void Remember(ReadOnlySpan<byte> read)
        {
            if (read.Length >= sizeof(uint))
            {
                Last = BinaryPrimitives.ReadUInt32BigEndian(read[^sizeof(uint)..]);
                return;
            }

            foreach (var value in read)
            {
                Last = (Last << 8) | value;
            }
        }
    }

    /// <summary>The check sum at the end of zlib data, RFC 1950.</summary>
    private static class Adler32
    {
        public const uint Start = 1;

        private const uint Modulus = 65521;
        private const int SafeBytes = 5552; // As many can be added before the larger sum overflows.

        public static uint Add(uint sum, ReadOnlySpan<byte> bytes)
        {
            var (a, b) = (sum & 0xFFFF, sum >> 16);
            while (!bytes.IsEmpty)
            {
                var part = bytes[..Math.Min(bytes.Length, SafeBytes)];
                foreach (var value in part)
                {
                    a += value;
                    b += a;
                }

                (a, b) = (a % Modulus, b % Modulus);
                bytes = bytes[part.Length..];
            }

            return (b << 16) | a;
        }
    }
}

/// <summary>Why compressed data could not be read.</summary>
internal enum InflateFault
{
    None,
    IsOtherData,
    EndsEarly,
    GoesOn,
    TooLarge,
}
