using System.Buffers;
using System.Net;
using System.Net.Http.Headers;
using Slipway.Contracts.Tracking;

namespace Slipway.Client.Runs;

/// <summary>Points as JSON lines, written while they are read: neighbours of one metric share a line.</summary>
internal sealed class MetricContent : HttpContent
{
    private const int SendBytes = 48 * 1024;

    private readonly IAsyncEnumerable<MetricPoint> _points;

    public MetricContent(IAsyncEnumerable<MetricPoint> points)
    {
        _points = points;
        Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
    }

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        var buffer = new ArrayBufferWriter<byte>(SendBytes * 2);
        using var lines = new MetricLineWriter(buffer);
        await foreach (var point in _points.WithCancellation(cancellationToken))
        {
            lines.Add(point.Key, point.Step, point.TimestampMs, point.Value);
            if (buffer.WrittenCount > SendBytes)
            {
                lines.EndLine(); // The writer of an open line goes on writing where it stands in the buffer.
                await stream.WriteAsync(buffer.WrittenMemory, cancellationToken);
                buffer.ResetWrittenCount();
            }
        }

        lines.EndLine();
        await stream.WriteAsync(buffer.WrittenMemory, cancellationToken);
    }
}
