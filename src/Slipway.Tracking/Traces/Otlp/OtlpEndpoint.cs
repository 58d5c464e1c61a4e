using System.IO.Compression;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Tracking.Mlflow;

namespace Slipway.Tracking.Traces.Otlp;

/// <summary><c>POST /v1/traces</c>: any OpenTelemetry exporter may send spans here, saying in a header to which experiment.</summary>
internal static class OtlpEndpoint
{
    private const string ExperimentHeader = "x-mlflow-experiment-id";
    private const string Protobuf = "application/x-protobuf";
    private const string Json = "application/json";
    private const int SentBytesMax = 16 * 1024 * 1024;
    private const int InflatedBytesMax = 64 * 1024 * 1024;

    public static void MapOtlp(IEndpointRouteBuilder app) =>
        app.MapPost("/v1/traces", Export).May(Permission.Write).WithMetadata(new ErrorShape(ErrorEnvelope.Mlflow));

    private static async Task<IResult> Export(HttpContext context, TraceStore traces, CancellationToken cancellationToken)
    {
        var request = context.Request;
        var experiment = MlflowHttp.Required((string?)request.Headers[ExperimentHeader], ExperimentHeader);
        var type = request.ContentType?.Split(';')[0].Trim().ToLowerInvariant();
        if (type is not (Protobuf or Json))
        {
            throw RunLimits.Invalid($"Invalid Content-Type: '{request.ContentType}'. Expected: {Protobuf} or {Json}.");
        }

        var body = await ReadAsync(context, cancellationToken);
        var batch = type is Protobuf ? OtlpProtobuf.Read(body.Span) : OtlpJson.Read(body);
        if (batch.Spans.Count > 0)
        {
            await traces.LogSpansAsync(experiment, batch.Spans, cancellationToken);
        }

        return Results.Bytes(type is Protobuf ? OtlpProtobuf.Response(batch.Rejected, batch.Reason) : OtlpJson.Response(batch.Rejected, batch.Reason), type);
    }

    private static async Task<ReadOnlyMemory<byte>> ReadAsync(HttpContext context, CancellationToken cancellationToken)
    {
        var request = context.Request;
        if (request.ContentLength > SentBytesMax)
        {
            throw TooLarge(SentBytesMax, "as sent");
        }

        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = SentBytesMax;
        }

        var sent = await UpToAsync(request.Body, SentBytesMax, "as sent", cancellationToken);
        Stream? inflater = ((string?)request.Headers.ContentEncoding)?.Trim().ToLowerInvariant() switch
        {
            null or "" or "identity" => null,
            "gzip" => new GZipStream(sent, CompressionMode.Decompress),
            // HTTP means zlib by this name; some senders leave out zlib's two bytes of head.
            "deflate" => IsZlib(sent) ? new ZLibStream(sent, CompressionMode.Decompress) : new DeflateStream(sent, CompressionMode.Decompress),
            var other => throw RunLimits.Invalid($"Invalid Content-Encoding: '{other}'. Expected: gzip, deflate or none."),
        };
        if (inflater is null)
        {
            return sent.GetBuffer().AsMemory(0, (int)sent.Length);
        }

        await using (inflater)
        {
            try
            {
                var inflated = await UpToAsync(inflater, InflatedBytesMax, "once inflated", cancellationToken);
                return inflated.GetBuffer().AsMemory(0, (int)inflated.Length);
            }
            catch (InvalidDataException e)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"The request body is not what its Content-Encoding '{request.Headers.ContentEncoding}' says.", e);
            }
        }
    }

    private static async Task<MemoryStream> UpToAsync(Stream source, int max, string how, CancellationToken cancellationToken)
    {
        var target = new MemoryStream();
        var buffer = new byte[64 * 1024];
        for (int read; (read = await source.ReadAsync(buffer, cancellationToken)) > 0;)
        {
            if (target.Length + read > max)
            {
                throw TooLarge(max, how);
            }

            target.Write(buffer, 0, read);
        }

        target.Position = 0;
        return target;
    }

    private static bool IsZlib(MemoryStream sent)
    {
        var bytes = sent.GetBuffer().AsSpan(0, (int)sent.Length);
        return bytes.Length >= 2 && (bytes[0] & 0x0F) == 8 && ((bytes[0] << 8) | bytes[1]) % 31 == 0;
    }

    private static SlipwayException TooLarge(int max, string how) =>
        new(ErrorCode.TooLarge, $"The request body may have at most {max} bytes {how}; send smaller batches.");
}
