using System.Buffers;
using System.Globalization;
using System.IO.Compression;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace Slipway.Serving.Protocol;

/// <summary>Open Inference over HTTP: the body from the socket's buffer straight to <see cref="Inference"/>, the answer in one piece.</summary>
internal sealed class InferHandler(Inference inference, ServingOptions options)
{
    public const string HeaderLengthName = "Inference-Header-Content-Length";

    /// <summary>Answers <c>POST /v2/models/{model}[/versions/{version}]/infer</c>.</summary>
    public async Task Invoke(HttpContext context)
    {
        var model = (string)context.Request.RouteValues["model"]!;

        // A version named by the caller takes the slow way; the alias of the production version is the ordinary way.
        var named = inference.Named(model, (string?)context.Request.RouteValues["version"]);
        if (context.Request.ContentLength > options.BodyBytesMax)
        {
            Refuse(context, StatusCodes.Status413PayloadTooLarge, TooLarge(options.BodyBytesMax));
            return;
        }

        if (context.Request.ContentLength is null or > 1 << 24 && context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            // The limit in force is the one checked here, so that its message is ours.
            limit.MaxRequestBodySize = null;
        }

        if (context.Request.Headers.ContentEncoding.Count > 0)
        {
            await AnswerAsync(context, model, named, new ReadOnlySequence<byte>(await CompressedBody.ReadAsync(context.Request, options.BodyBytesMax)));
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
                Refuse(context, StatusCodes.Status413PayloadTooLarge, TooLarge(options.BodyBytesMax));
                return;
            }

            if (read.IsCompleted)
            {
                var answering = AnswerAsync(context, model, named, read.Buffer);
                if (!answering.IsCompletedSuccessfully)
                {
                    await answering;
                }

                reader.AdvanceTo(read.Buffer.End);
                return;
            }

            reader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
        }
    }

    public static string TooLarge(long bytesMax) => $"The body is over the limit of {bytesMax.ToString("N0", CultureInfo.InvariantCulture)} bytes; send fewer rows per request.";

    private ValueTask AnswerAsync(HttpContext context, string model, Arm? named, in ReadOnlySequence<byte> body)
    {
        long? headerLength = null;
        if (context.Request.Headers.TryGetValue(HeaderLengthName, out var header))
        {
            if (!long.TryParse(header.ToString(), NumberStyles.None, CultureInfo.InvariantCulture, out var length) || length > body.Length)
            {
                Refuse(context, StatusCodes.Status400BadRequest, $"{HeaderLengthName} is '{header}', but the body has {body.Length} bytes; send the length of the JSON in front of the binary data.");
                return default;
            }

            headerLength = length;
        }

        var mine = InferScratch.Mine;
        var waits = false;
        try
        {
            var outcome = inference.Score(mine, model, named, new RequestBody(body, headerLength, null));
            if (outcome.MustWait)
            {
                waits = true;
                return AnswerLaterAsync(context, outcome, mine);
            }

            // The ordinary way stays on its thread.
            Answer(context, outcome, mine);
            return default;
        }
        finally
        {
            if (!waits)
            {
                mine.Release();
            }
        }
    }

    private async ValueTask AnswerLaterAsync(HttpContext context, Outcome prepared, InferScratch mine)
    {
        var outcome = await inference.WaitAsync(mine, prepared, context.RequestAborted);
        try
        {
            Answer(context, outcome, mine);
        }
        finally
        {
            mine.Release();
        }
    }

    private void Answer(HttpContext context, Outcome outcome, InferScratch mine)
    {
        long? follows = null;
        if (outcome.Message is null)
        {
            if (mine.IsTensors || mine.Tensors is not null || mine.Request.BinaryOutput || mine.Request.WantsAges)
            {
                follows = JsonAnswer.Mine.WriteTensors(mine, outcome.Arm!, out var uncarried);
                if (uncarried is not null)
                {
                    outcome = inference.Uncarried(mine, outcome, uncarried);
                }
            }
            else
            {
                JsonAnswer.Mine.Write(mine, outcome.Arm!);
            }
        }

        if (outcome.Arm is not null)
        {
            inference.Complete(mine, outcome);
        }

        if (outcome.Message is { } fault)
        {
            Refuse(context, outcome.Status, fault, outcome.RetryAfterSeconds);
            return;
        }

        var response = context.Response;
        outcome.Arm!.Model.Notice?.Write(response.Headers);
        response.ContentType = follows is null ? "application/json" : "application/octet-stream";
        if (follows is { } jsonLength)
        {
            response.Headers[HeaderLengthName] = jsonLength.ToString(CultureInfo.InvariantCulture);
        }

        // Only here, and only when asked: several clients cannot read compressed metadata or errors.
        if (context.Request.Headers.AcceptEncoding.Count > 0 && Wanted(context.Request.Headers.AcceptEncoding) is { } encoding)
        {
            var compressed = Compress(mine.Response.Written, encoding);
            response.Headers.ContentEncoding = encoding;
            response.Headers.Vary = "Accept-Encoding";
            response.ContentLength = compressed.Length;
            response.BodyWriter.Write(compressed);
        }
        else
        {
            response.ContentLength = mine.Response.Written.Length;
            response.BodyWriter.Write(mine.Response.Written);
        }
    }

    // "gzip, deflate;q=0.5": the better of the two we have; null when neither is wanted.
    private static string? Wanted(StringValues accepted)
    {
        string? best = null;
        var quality = 0d;
        foreach (var part in accepted.ToString().Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var at = part.IndexOf(';', StringComparison.Ordinal);
            var name = (at < 0 ? part : part[..at]).TrimEnd();
            var q = at < 0 ? 1 : part[(at + 1)..].Trim() is ['q', '=', .. var number] && double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var given) ? given : 0;
            if (name is "gzip" or "deflate" && q > quality)
            {
                (best, quality) = (name, q);
            }
        }

        return best;
    }

    private static ReadOnlySpan<byte> Compress(ReadOnlySpan<byte> answer, string encoding)
    {
        var into = new MemoryStream(answer.Length / 2);
        using (Stream stream = encoding == "gzip" ? new GZipStream(into, CompressionLevel.Fastest, leaveOpen: true) : new ZLibStream(into, CompressionLevel.Fastest, leaveOpen: true))
        {
            stream.Write(answer);
        }

        return into.GetBuffer().AsSpan(0, (int)into.Length);
    }

    private static void Refuse(HttpContext context, int status, string message, int retryAfterSeconds = 0)
    {
        var into = InferScratch.Mine.Response;
        JsonAnswer.Mine.WriteError(into, message);
        context.Response.StatusCode = status;
        if (status is StatusCodes.Status429TooManyRequests or StatusCodes.Status503ServiceUnavailable)
        {
            context.Response.Headers.RetryAfter = Math.Max(1, retryAfterSeconds).ToString(CultureInfo.InvariantCulture);
        }

        context.Response.ContentType = "application/json";
        context.Response.ContentLength = into.Written.Length;
        context.Response.BodyWriter.Write(into.Written);
    }
}
