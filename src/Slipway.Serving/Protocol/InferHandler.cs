using System.Buffers;
using System.Diagnostics;
using System.IO.Compression;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging;
using Slipway.Serving.Predictions;

namespace Slipway.Serving.Protocol;

/// <summary>
/// The request path: body from the socket's buffer into the model's input, one table lookup for the version, score, answer.
/// Logging and mirroring copy and return; nothing here waits for them.
/// </summary>
internal sealed class InferHandler(
    ModelRouter router, PinnedVersions pinned, PredictionLog log, ShadowMirror mirror, ServingOptions options, TimeProvider clock, ILogger<InferHandler> logger)
{
    private static readonly JsonEncodedText ModelName = JsonEncodedText.Encode("model_name");
    private static readonly JsonEncodedText ModelVersion = JsonEncodedText.Encode("model_version");
    private static readonly JsonEncodedText Id = JsonEncodedText.Encode("id");
    private static readonly JsonEncodedText OutputsName = JsonEncodedText.Encode("outputs");
    private static readonly JsonEncodedText Name = JsonEncodedText.Encode("name");
    private static readonly JsonEncodedText DatatypeName = JsonEncodedText.Encode("datatype");
    private static readonly JsonEncodedText Fp32 = JsonEncodedText.Encode("FP32");
    private static readonly JsonEncodedText Shape = JsonEncodedText.Encode("shape");
    private static readonly JsonEncodedText Data = JsonEncodedText.Encode("data");
    private static readonly JsonEncodedText Parameters = JsonEncodedText.Encode("parameters");
    private static readonly JsonEncodedText PredictionIdName = JsonEncodedText.Encode("prediction_id");
    private static readonly JsonEncodedText ArmName = JsonEncodedText.Encode("arm");
    private static readonly JsonEncodedText ErrorName = JsonEncodedText.Encode("error");
    private static readonly JsonEncodedText[] ArmNames = [.. Enum.GetValues<ArmRole>().Select(role => JsonEncodedText.Encode(Arm.NameOf(role)))];

    [ThreadStatic]
    private static Scratch? scratch;

    /// <summary>Answers <c>POST /v2/models/{model}[/versions/{version}]/infer</c>.</summary>
    public async Task Invoke(HttpContext context)
    {
        var model = (string)context.Request.RouteValues["model"]!;
        var version = (string?)context.Request.RouteValues["version"];

        // A version named by the caller takes the slow way; the alias of the production version is the ordinary way.
        Arm? named = null;
        if (version is not null && !string.Equals(version, "production", StringComparison.OrdinalIgnoreCase))
        {
            named = pinned.Get(model, version);
        }

        if (context.Request.ContentLength > options.BodyBytesMax)
        {
            Refuse(context, StatusCodes.Status413PayloadTooLarge, TooLarge());
            return;
        }

        if (context.Request.ContentLength is null or > 1 << 24 && context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            // The limit in force is the one checked here, so that its message is ours.
            limit.MaxRequestBodySize = null;
        }

        if (context.Request.Headers.ContentEncoding.Count > 0)
        {
            await InvokeCompressed(context, model, named);
            return;
        }

        var reader = context.Request.BodyReader;
        while (true)
        {
            // A body that came with its headers is here already; only waiting for more needs the token, which costs an object.
            if (!reader.TryRead(out var read))
            {
                read = await reader.ReadAsync(context.RequestAborted);
            }

            if (read.Buffer.Length > options.BodyBytesMax)
            {
                reader.AdvanceTo(read.Buffer.End);
                Refuse(context, StatusCodes.Status413PayloadTooLarge, TooLarge());
                return;
            }

            if (read.IsCompleted)
            {
                Answer(context, model, named, read.Buffer);
                reader.AdvanceTo(read.Buffer.End);
                return;
            }

            reader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
        }
    }

    private async Task InvokeCompressed(HttpContext context, string model, Arm? named)
    {
        var encoding = context.Request.Headers.ContentEncoding.ToString();
        await using Stream? body = encoding switch
        {
            "gzip" => new GZipStream(context.Request.Body, CompressionMode.Decompress),
            "deflate" => new ZLibStream(context.Request.Body, CompressionMode.Decompress),
            _ => null,
        };
        if (body is null)
        {
            Refuse(context, StatusCodes.Status400BadRequest, $"Content-Encoding '{encoding}' is not taken here; send gzip, deflate or no encoding.");
            return;
        }

        var bytes = new ArrayBufferWriter<byte>(16 * 1024);
        try
        {
            int read;
            while ((read = await body.ReadAsync(bytes.GetMemory(16 * 1024), context.RequestAborted)) > 0)
            {
                bytes.Advance(read);
                if (bytes.WrittenCount > options.BodyBytesMax)
                {
                    Refuse(context, StatusCodes.Status413PayloadTooLarge, TooLarge());
                    return;
                }
            }
        }
        catch (InvalidDataException)
        {
            Refuse(context, StatusCodes.Status400BadRequest, $"The body is not {encoding} data, as its Content-Encoding says; send it whole, or without the header.");
            return;
        }

        Answer(context, model, named, new ReadOnlySequence<byte>(bytes.WrittenMemory));
    }

    private void Answer(HttpContext context, string model, Arm? named, in ReadOnlySequence<byte> body)
    {
        var started = Stopwatch.GetTimestamp();
        var table = router.Find(model);
        var expected = named ?? table?.Stable ?? table?.Candidate;
        if (expected is null)
        {
            var (status, message) = pinned.WhyNotServed(model);
            Refuse(context, status, message);
            return;
        }

        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var mine = scratch ??= new Scratch();
        var request = mine.Request;
        if (request.Read(body, expected.Model, nowMs) is { } fault)
        {
            Refuse(context, StatusCodes.Status400BadRequest, Explain(context, fault));
            return;
        }

        Span<byte> newId = stackalloc byte[PredictionId.Length];
        scoped var id = request.Id;
        if (!PredictionId.IsUniqueLooking(id))
        {
            PredictionId.Create(nowMs, newId);
            id = newId;
        }

        // The key says which version answers. A version with other inputs than the one assumed so far reads the request again.
        var arm = named ?? (table!.Splits ? table.Choose(table.Sticky && !request.FirstKey.IsEmpty ? request.FirstKey : id)! : table.Choose(default)!);
        if (arm.Model.InputKey != expected.Model.InputKey && request.Read(body, arm.Model, nowMs) is { } otherFault)
        {
            Refuse(context, StatusCodes.Status400BadRequest, otherFault);
            return;
        }

        if (request.NeedsFeatures && request.BuildFeatures(arm.Model) is { } unbuilt)
        {
            Refuse(context, StatusCodes.Status400BadRequest, unbuilt);
            return;
        }

        var failure = Score(arm, request);
        if (failure is null)
        {
            WriteAnswer(mine, arm, request, id);
        }

        var latencyUs = (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds;
        if (arm.Role != ArmRole.Direct)
        {
            arm.Model.Statistics.Record(latencyUs, request.Rows, failed: failure is not null);
        }

        log.Append(
            arm, id, request.Keys, request.KeyEnds, nowMs, request.EventMs, latencyUs, failure is null ? 200 : 500, request.Rows, request.Features,
            failure is null ? request.Outputs : default);
        if (failure is not null)
        {
            Refuse(context, StatusCodes.Status500InternalServerError, failure);
            return;
        }

        if (arm.Role == ArmRole.Stable && table?.Shadow is not null)
        {
            mirror.Mirror(table, arm.Model, request, id, nowMs);
        }

        arm.Model.Notice?.Write(context.Response.Headers);
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = mine.Response.Written.Length;
        context.Response.BodyWriter.Write(mine.Response.Written);
        request.Trim();
    }

    /// <summary>Null, or what the caller is told when the version itself fails.</summary>
    private string? Score(Arm arm, InferRequest request)
    {
        var outputs = request.Outputs;
        try
        {
            arm.Model.Score(request.Features, request.Rows, outputs);
        }
        catch (Exception e)
        {
            logger.LogError(e, "Version {Version} of {Model} failed a request", arm.Version, arm.Model.Model);
            return $"Model '{arm.Model.Model}' version {arm.Version} failed on this request; the server's log says why.";
        }

        foreach (var output in outputs)
        {
            if (!float.IsFinite(output))
            {
                return $"Model '{arm.Model.Model}' version {arm.Version} gave an output that is not a finite number.";
            }
        }

        return null;
    }

    private static void WriteAnswer(Scratch mine, Arm arm, InferRequest request, ReadOnlySpan<byte> predictionId)
    {
        mine.Response.Clear();
        var json = mine.Writer;
        json.Reset(mine.Response);
        json.WriteStartObject();
        json.WriteString(ModelName, arm.Model.EncodedModel);
        json.WriteString(ModelVersion, arm.Model.EncodedVersion);
        json.WriteString(Id, request.Id.IsEmpty ? predictionId : request.Id);
        json.WriteStartArray(OutputsName);
        json.WriteStartObject();
        json.WriteString(Name, arm.Model.EncodedOutputName);
        json.WriteString(DatatypeName, Fp32);
        json.WriteStartArray(Shape);
        json.WriteNumberValue(request.Rows);
        json.WriteNumberValue(1);
        json.WriteEndArray();
        json.WriteStartArray(Data);
        foreach (var output in request.Outputs)
        {
            json.WriteNumberValue(output);
        }

        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteStartObject(Parameters);
        json.WriteString(PredictionIdName, predictionId);
        json.WriteString(ArmName, ArmNames[(int)arm.Role]);
        json.WriteEndObject();
        json.WriteEndObject();
        json.Flush();
    }

    private static void Refuse(HttpContext context, int status, string message)
    {
        var mine = scratch ??= new Scratch();
        mine.Response.Clear();
        mine.Writer.Reset(mine.Response);
        mine.Writer.WriteStartObject();
        mine.Writer.WriteString(ErrorName, message);
        mine.Writer.WriteEndObject();
        mine.Writer.Flush();
        context.Response.StatusCode = status;
        if (status == StatusCodes.Status503ServiceUnavailable)
        {
            context.Response.Headers.RetryAfter = "1";
        }

        context.Response.ContentType = "application/json";
        context.Response.ContentLength = mine.Response.Written.Length;
        context.Response.BodyWriter.Write(mine.Response.Written);
    }

    private string TooLarge() => $"The body is over the limit of {options.BodyBytesMax.ToString("N0", System.Globalization.CultureInfo.InvariantCulture)} bytes; send fewer rows per request.";

    private static string Explain(HttpContext context, string fault) =>
        context.Request.Headers.ContainsKey("Inference-Header-Content-Length")
            ? "The request uses the binary tensor extension, which this server does not read; send 'data' as JSON and leave the Inference-Header-Content-Length header out."
            : fault;

    private sealed class Scratch
    {
        public InferRequest Request { get; } = new();

        public ResponseBuffer Response { get; } = new();

        public Utf8JsonWriter Writer { get; } = new(Stream.Null, new JsonWriterOptions { SkipValidation = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
    }
}
