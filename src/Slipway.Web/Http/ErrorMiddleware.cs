using System.Buffers;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Serving.Grpc;
using Slipway.Web.Pages;

namespace Slipway.Web.Http;

/// <summary>
/// The one place where a failure becomes a reply: the code decides the status, the endpoint's <see cref="ErrorShape"/> the body.
/// </summary>
internal sealed partial class ErrorMiddleware(RequestDelegate next, ILogger<ErrorMiddleware> logger)
{
    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context);
            if (context.Response is { HasStarted: false, StatusCode: 400 or 404 or 405 or 413 or 415, ContentType: null, ContentLength: null or 0 })
            {
                await ExplainAsync(context);
            }
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
    /// <param name="context">The request.</param>
    /// <param name="code">The kind of failure.</param>
    /// <param name="message">One sentence.</param>
    /// <param name="exactStatus">A status that no code stands for, such as 405; else the code decides.</param>
    /// <param name="mlflowName">MLflow's name for it where the code has another; null for the code's.</param>
    internal static Task WriteAsync(HttpContext context, ErrorCode? code, string message, int? exactStatus = null, string? mlflowName = null)
    {
        if (code is ErrorCode.Unavailable)
        {
            context.Response.OnStarting(() =>
            {
                context.Response.Headers.RetryAfter = "1";
                return Task.CompletedTask;
            });
        }

        if (PageRoute.IsPage(context))
        {
            context.Response.Clear();
            return PageRoute.WriteErrorAsync(context, exactStatus ?? Status(code), Title(code), message);
        }

        var envelope = context.GetEndpoint()?.Metadata.GetMetadata<ErrorShape>()?.Envelope ?? EnvelopeOfPath(context.Request.Path);
        if (envelope is ErrorEnvelope.Grpc)
        {
            context.Response.Clear();
            GrpcStatus.Write(context.Response, GrpcStatus.Of(code), message);
            return Task.CompletedTask;
        }

        var status = exactStatus ?? (code is { } coded && envelope is ErrorEnvelope.Mlflow ? MlflowErrorCodes.Of(coded).Status : Status(code));
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
                    json.WriteString("error_code", mlflowName ?? (code is { } known ? MlflowErrorCodes.Of(known).Name : "INTERNAL_ERROR"));
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
            (ErrorCode.TooLarge, TooLarge),
        BadHttpRequestException { InnerException: JsonException json } => (ErrorCode.InvalidArgument, Sentence(json)),
        BadHttpRequestException bad => (ErrorCode.InvalidArgument, Sentence(bad)),
        JsonException json => (ErrorCode.InvalidArgument, Sentence(json)),
        SqliteException { SqliteErrorCode: 13 } or IOException { HResult: 28 } => (ErrorCode.Unavailable, "The server's disk is full; free some space and try again."),
        _ => (null, "Internal error; the server's log has the details under this request id."),
    };

    // Routing and binding refuse some requests with a bare status: nothing at the path, a verb or a content type that the route
    // does not take, a body that went over the limit while it was read.
    private static Task ExplainAsync(HttpContext context)
    {
        var request = context.Request;
        var status = context.Response.StatusCode;
        switch (status)
        {
            case StatusCodes.Status404NotFound:
                // By this name MLflow's clients learn that a server is older than they are, and fall back.
                return WriteAsync(context, ErrorCode.NotFound, $"There is nothing at {request.Method} {request.Path}.", mlflowName: "ENDPOINT_NOT_FOUND");
            case StatusCodes.Status405MethodNotAllowed:
                var allowed = context.Response.Headers.Allow.ToString();
                context.Response.OnStarting(() =>
                {
                    context.Response.Headers.Allow = allowed;
                    return Task.CompletedTask;
                });
                return WriteAsync(context, ErrorCode.InvalidArgument, $"{request.Path} takes {allowed}, not {request.Method}.", status);
            case StatusCodes.Status413PayloadTooLarge:
                return WriteAsync(context, ErrorCode.TooLarge, TooLarge);
            case StatusCodes.Status415UnsupportedMediaType:
                return WriteAsync(context, ErrorCode.InvalidArgument, string.IsNullOrEmpty(request.ContentType)
                    ? "The body is missing or does not say what it is; send a JSON object with the header Content-Type: application/json."
                    : $"The Content-Type '{request.ContentType}' is not taken here; send a JSON object with the header Content-Type: application/json.", status);
            default:
                return WriteAsync(context, ErrorCode.InvalidArgument, UnreadableValue(context) ?? "The request cannot be read; see the API reference for what this route takes.");
        }
    }

    // Handlers written by the compiler refuse a value that does not parse with a bare 400; it is looked for again, to name it.
    private static string? UnreadableValue(HttpContext context)
    {
        foreach (var parameter in context.GetEndpoint()?.Metadata.GetOrderedMetadata<IParameterBindingMetadata>() ?? [])
        {
            var type = Nullable.GetUnderlyingType(parameter.ParameterInfo.ParameterType) ?? parameter.ParameterInfo.ParameterType;
            if (parameter.HasTryParse && (context.GetRouteValue(parameter.Name)?.ToString() ?? (string?)context.Request.Query[parameter.Name]) is { } value && !Parses(type, value))
            {
                return MustBe(parameter.Name, type.Name, value);
            }
        }

        return null;
    }

    // As the handlers parse: a type that is not here is one that takes any text.
    private static bool Parses(Type type, string value) => type switch
    {
        _ when type == typeof(int) => int.TryParse(value, NumberStyles.Integer, CultureInfo.InvariantCulture, out _),
        _ when type == typeof(long) => long.TryParse(value, NumberStyles.Integer, CultureInfo.InvariantCulture, out _),
        _ when type == typeof(double) => double.TryParse(value, NumberStyles.Float | NumberStyles.AllowThousands, CultureInfo.InvariantCulture, out _),
        _ when type == typeof(bool) => bool.TryParse(value, out _),
        _ when type == typeof(DateTimeOffset) => DateTimeOffset.TryParse(value, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out _),
        { IsEnum: true } => Enum.TryParse(type, value, ignoreCase: true, out _),
        _ => true,
    };

    private static string MustBe(string name, string type, string value)
    {
        var expected = type switch
        {
            "int" or "long" or "Int32" or "Int64" => "a whole number",
            "double" or "Double" => "a number",
            "bool" or "Boolean" => "true or false",
            "DateTimeOffset" => "an instant such as 2001-05-31T06:00:00Z",
            _ => "of another type",
        };
        return $"'{name}' must be {expected}, not '{value}'.";
    }

    private const string TooLarge = "The request body is over this server's limit; send less at a time, or raise --max-body.";

    // The framework speaks of the method's parameters: Failed to bind parameter "Nullable<DateTimeOffset> from" from "x".
    private static string Sentence(BadHttpRequestException bad)
    {
        if (UnreadableParameter().Match(bad.Message) is { Success: true } unreadable)
        {
            return MustBe(unreadable.Groups["name"].Value, unreadable.Groups["type"].Value, unreadable.Groups["value"].Value);
        }

        return MissingParameter().Match(bad.Message) is { Success: true } missing
            ? $"'{missing.Groups["name"].Value}' is missing from the {missing.Groups["place"].Value}."
            : bad.Message.Contains("body", StringComparison.Ordinal)
                ? "The body is missing or null; send a JSON object with the header Content-Type: application/json."
                : bad.Message;
    }

    [GeneratedRegex("""^Failed to bind parameter "(Nullable<)?(?<type>\w+)>? (?<name>\w+)" from "(?<value>.*)"\.$""", RegexOptions.Singleline | RegexOptions.ExplicitCapture)]
    private static partial Regex UnreadableParameter();

    [GeneratedRegex("""^Required parameter "\S+ (?<name>\w+)" was not provided from (?<place>query string|route)""", RegexOptions.ExplicitCapture)]
    private static partial Regex MissingParameter();

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
