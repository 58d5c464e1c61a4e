using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace Slipway.Tracking.Mlflow;

/// <summary>An answer written as JSON text straight away, part after part, so that a long one never lies in memory as a whole.</summary>
/// <param name="write">Writes the next part; returns whether another follows.</param>
internal sealed class MlflowAnswer(Func<Utf8JsonWriter, bool> write) : IResult
{
    private static readonly JsonWriterOptions Writing = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    public async Task ExecuteAsync(HttpContext httpContext)
    {
        var response = httpContext.Response;
        using var buffer = new PooledBuffer();
        using var json = new Utf8JsonWriter(buffer, Writing);
        // The first part is made before anything is sent: what it throws can still become an error's answer.
        var more = write(json);
        json.Flush();
        response.ContentType = "application/json; charset=utf-8";
        if (!more)
        {
            response.ContentLength = buffer.Written.Length;
        }

        while (true)
        {
            await response.BodyWriter.WriteAsync(buffer.Written, httpContext.RequestAborted);
            if (!more)
            {
                return;
            }

            buffer.Clear();
            more = write(json);
            json.Flush();
        }
    }

    /// <summary>A growing buffer whose memory goes back to the pool.</summary>
    private sealed class PooledBuffer : IBufferWriter<byte>, IDisposable
    {
        private byte[] _bytes = ArrayPool<byte>.Shared.Rent(16 * 1024);
        private int _length;

        public ReadOnlyMemory<byte> Written => _bytes.AsMemory(0, _length);

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

        public void Clear() => _length = 0;

        public void Dispose() => ArrayPool<byte>.Shared.Return(_bytes);

        private void Reserve(int count)
        {
            if (_bytes.Length - _length >= Math.Max(count, 1))
            {
                return;
            }

            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(_bytes.Length * 2, _length + count));
            _bytes.AsSpan(0, _length).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_bytes);
            _bytes = larger;
        }
    }
}
