using System.Buffers;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Web.Pages;

namespace Slipway.Web.Http;

/// <summary>
/// The one place where a failure becomes a reply: the code decides the status, the endpoint's <see cref="ErrorShape"/> the body.
/// </summary>
internal sealed class ErrorMiddleware(RequestDelegate next, ILogger<ErrorMiddleware> logger)
{
    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The caller has gone; there is nobody to answer.
            context.Response.StatusCode = StatusCodes.Status499ClientClosedRequest;
        }
        catch (Exception e)
        {
            if (context.Response.HasStarted)
            {
                logger.LogError(e, "Request {RequestId} failed after its answer had begun", context.TraceIdentifier);
                context.Abort();
                return;
            }

            var (code, message) = Classify(e);
            if (code is null)
            {
                logger.LogError(e, "Request {RequestId} {Method} {Path} failed", context.TraceIdentifier, context.Request.Method, context.Request.Path);
            }

            await WriteAsync(context, code, message);
        }
    }

    /// <summary>Answers with a failure in the endpoint's shape; null code means a fault of ours.</summary>
    internal static Task WriteAsync(HttpContext context, ErrorCode? code, string message)
    {
        if (PageRoute.IsPage(context))
        {
            context.Response.Clear();
            return PageRoute.WriteErrorAsync(context, Status(code), Title(code), message);
        }

        var envelope = context.GetEndpoint()?.Metadata.GetMetadata<ErrorShape>()?.Envelope ?? EnvelopeOfPath(context.Request.Path);
        var status = code is { } coded && envelope is ErrorEnvelope.Mlflow ? MlflowErrorCodes.Of(coded).Status : Status(code);
        var response = context.Response;
        response.Clear();
        response.StatusCode = status;
        if (code is ErrorCode.Unauthenticated)
        {
            response.Headers.WWWAuthenticate = "Bearer";
        }

        var body = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(body, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            switch (envelope)
            {
                case ErrorEnvelope.Mlflow:
                    json.WriteString("error_code", code is { } known ? MlflowErrorCodes.Of(known).Name : "INTERNAL_ERROR");
                    json.WriteString("message", message);
                    break;
                case ErrorEnvelope.OpenInference:
                    json.WriteString("error", message);
                    break;
                default:
                    json.WriteString("type", "about:blank");
                    json.WriteString("title", Title(code));
                    json.WriteNumber("status", status);
                    json.WriteString("detail", message);
                    json.WriteString("code", JsonNamingPolicy.SnakeCaseLower.ConvertName(code?.ToString() ?? "Internal"));
                    json.WriteString("request_id", context.TraceIdentifier);
                    break;
            }

            json.WriteEndObject();
        }

        response.ContentType = envelope is ErrorEnvelope.Problem ? "application/problem+json" : "application/json";
        response.ContentLength = body.WrittenCount;
        return HttpMethods.IsHead(context.Request.Method) ? Task.CompletedTask : response.Body.WriteAsync(body.WrittenMemory).AsTask();
    }

    private static (ErrorCode? Code, string Message) Classify(Exception e) => e switch
    {
        SlipwayException failure => (failure.Code, failure.Message),
        BadHttpRequestException { StatusCode: StatusCodes.Status413PayloadTooLarge } =>
            (ErrorCode.TooLarge, "The request body is over this server's limit; send less at a time, or raise --max-body."),
        BadHttpRequestException { InnerException: JsonException json } => (ErrorCode.InvalidArgument, Sentence(json)),
        BadHttpRequestException bad => (ErrorCode.InvalidArgument, bad.Message),
        JsonException json => (ErrorCode.InvalidArgument, Sentence(json)),
        SqliteException { SqliteErrorCode: 13 } or IOException { HResult: 28 } => (ErrorCode.Unavailable, "The server's disk is full; free some space and try again."),
        _ => (null, "Internal error; the server's log has the details under this request id."),
    };

    private static string Sentence(JsonException json)
    {
        var where = json.Path is { Length: > 1 } path ? $"'{path.TrimStart('$', '.')}'" : "The body";
        return json.InnerException is not null || json.Message.Contains("could not be converted", StringComparison.Ordinal)
            ? $"{where} has a value of the wrong type; see the API reference for what it expects."
            : json.Message.Contains("missing required", StringComparison.Ordinal)
                ? $"The body lacks a required field: {json.Message[(json.Message.LastIndexOf(':') + 1)..].Trim().TrimEnd('.')}."
                : $"{where} is not valid JSON near line {(json.LineNumber ?? 0) + 1}, position {json.BytePositionInLine ?? 0}; check for a missing quote, comma or bracket.";
    }

    private static ErrorEnvelope EnvelopeOfPath(PathString path) =>
        path.StartsWithSegments("/api/2.0/mlflow") || path.StartsWithSegments("/api/3.0/mlflow") || path.StartsWithSegments("/ajax-api") ? ErrorEnvelope.Mlflow
        : path.StartsWithSegments("/v2") ? ErrorEnvelope.OpenInference
        : ErrorEnvelope.Problem;

    private static int Status(ErrorCode? code) => code switch
    {
        ErrorCode.InvalidArgument => 400,
        ErrorCode.NotFound => 404,
        ErrorCode.AlreadyExists or ErrorCode.FailedPrecondition => 409,
        ErrorCode.Unauthenticated => 401,
        ErrorCode.PermissionDenied => 403,
        ErrorCode.TooLarge => 413,
        ErrorCode.ResourceExhausted => 429,
        ErrorCode.Unavailable => 503,
        ErrorCode.NotImplemented => 501,
        _ => 500,
    };

    private static string Title(ErrorCode? code) => code switch
    {
        ErrorCode.InvalidArgument => "The request is wrong",
        ErrorCode.NotFound => "Not found",
        ErrorCode.AlreadyExists => "Already exists",
        ErrorCode.FailedPrecondition => "Not allowed in the present state",
        ErrorCode.Unauthenticated => "Credentials needed",
        ErrorCode.PermissionDenied => "Not permitted",
        ErrorCode.TooLarge => "Too large",
        ErrorCode.ResourceExhausted => "Too many requests",
        ErrorCode.Unavailable => "Not available now",
        ErrorCode.NotImplemented => "Not built",
        _ => "Internal error",
    };
}
