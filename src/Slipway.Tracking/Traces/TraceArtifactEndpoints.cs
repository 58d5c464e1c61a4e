using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Tracking.Mlflow;

namespace Slipway.Tracking.Traces;

/// <summary>
/// The spans of a trace as one file. Clients that do not speak OTLP upload them so, through the artifact proxy, to the place that the tag
/// mlflow.artifactLocation names; here they become rows like any others, so that a search finds them.
/// </summary>
internal static class TraceArtifactEndpoints
{
    private const int BytesMax = 64 * 1024 * 1024;
    private const string File = "/artifacts/{experiment_id}/traces/{trace_id}/artifacts/traces.json";

    /// <summary>Maps what lies below <c>/2.0/mlflow</c> and <c>/3.0/mlflow</c>.</summary>
    public static void MapDownload(RouteGroupBuilder group) => group.MapGet("/get-trace-artifact", Download).May(Permission.Read);

    /// <summary>Maps what lies below <c>/2.0/mlflow-artifacts</c>.</summary>
    public static void MapFile(RouteGroupBuilder group)
    {
        group.MapPut(File, Upload).May(Permission.Write);
        group.MapGet(File, Get).May(Permission.Read);
    }

    private static IResult Download(HttpContext context, TraceStore traces)
    {
        var id = MlflowHttp.Required(MlflowHttp.Query(context, "request_id") ?? MlflowHttp.Query(context, "trace_id"), "request_id");
        return Send(context, traces.Spans(null, id));
    }

    private static IResult Get(HttpContext context, [FromRoute(Name = "experiment_id")] string experimentId, [FromRoute(Name = "trace_id")] string traceId, TraceStore traces) =>
        Send(context, traces.Spans(experimentId, traceId));

    private static async Task<IResult> Upload(
        HttpContext context, [FromRoute(Name = "experiment_id")] string experimentId, [FromRoute(Name = "trace_id")] string traceId, TraceStore traces, CancellationToken cancellationToken)
    {
        if (context.Request.ContentLength > BytesMax)
        {
            throw new SlipwayException(ErrorCode.TooLarge, $"The spans of a trace may have at most {BytesMax} bytes in one file, not {context.Request.ContentLength}; send them by OTLP.");
        }

        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = BytesMax;
        }

        var spans = new List<Span>();
        try
        {
            using var document = await JsonDocument.ParseAsync(context.Request.Body, cancellationToken: cancellationToken);
            if (document.RootElement.ValueKind is not JsonValueKind.Object || !document.RootElement.TryGetProperty("spans", out var list) || list.ValueKind is not JsonValueKind.Array)
            {
                throw RunLimits.Invalid("Invalid value for parameter 'spans' supplied: traces.json must be an object with a list of spans.");
            }

            foreach (var (index, span) in list.EnumerateArray().Index())
            {
                spans.Add(SpanJson.Read(span, $"spans[{index}]"));
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "traces.json is not JSON.", e);
        }

        if (spans.Count > TraceLimits.SpansPerRequestMax)
        {
            throw new SlipwayException(ErrorCode.TooLarge, $"One file may hold at most {TraceLimits.SpansPerRequestMax} spans, not {spans.Count}; send them by OTLP.");
        }

        await traces.UploadSpansAsync(experimentId, traceId, spans, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static IResult Send(HttpContext context, IReadOnlyList<JsonElement> spans)
    {
        var buffer = new ArrayBufferWriter<byte>(4096);
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteStartArray("spans");
            foreach (var span in spans)
            {
                span.WriteTo(json);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        // What a span holds is its sender's; no browser may take it for a page.
        context.Response.Headers.XContentTypeOptions = "nosniff";
        return Results.File(buffer.WrittenSpan.ToArray(), "application/json", "traces.json");
    }
}
