using System.Buffers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Tracking.Mlflow;

/// <summary>Reads requests and writes answers in MLflow's dialect.</summary>
internal static class MlflowHttp
{
    private const int BodyBytesMax = 20 * 1024 * 1024; // A dataset's profile alone may have 16 MB.

    /// <summary>The route groups of one MLflow API: its own prefix and the twin its web page uses.</summary>
    public static IEnumerable<RouteGroupBuilder> Groups(IEndpointRouteBuilder app, string path)
    {
        foreach (var prefix in (string[])["/api", "/ajax-api"])
        {
            var group = app.MapGroup(prefix + path);
            group.WithMetadata(new ErrorShape(ErrorEnvelope.Mlflow));
            yield return group;
        }
    }

    public static TBuilder May<TBuilder>(this TBuilder builder, Permission permission) where TBuilder : IEndpointConventionBuilder =>
        builder.WithMetadata(new RequiredAccess(permission));

    /// <summary>The JSON body.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: not JSON, or a field has the wrong type; TooLarge.</exception>
    public static async Task<T> ReadAsync<T>(HttpContext context, CancellationToken cancellationToken, int bytesMax = BodyBytesMax) where T : class
    {
        var request = context.Request;
        // A page of another site can make a browser post text/plain, but not this, without asking first.
        if (!request.HasJsonContentType())
        {
            throw RunLimits.Invalid($"Bad Request. Content-Type must be application/json, not '{request.ContentType}'.");
        }

        var (bytes, length) = await ReadBodyAsync(context, bytesMax, cancellationToken);
        try
        {
            return Parse<T>(bytes.AsSpan(0, length));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    // The whole body: a fault in it may call for a second reading.
    private static async Task<(byte[] Bytes, int Length)> ReadBodyAsync(HttpContext context, int bytesMax, CancellationToken cancellationToken)
    {
        var request = context.Request;
        if (request.ContentLength > bytesMax)
        {
            throw TooLong(bytesMax, $"{request.ContentLength}");
        }

        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = bytesMax + 1024L * 1024; // A body that does not say its length is refused here below.
        }

        // What a caller announces is not believed before it has come.
        var bytes = ArrayPool<byte>.Shared.Rent((int)Math.Min(request.ContentLength ?? 4096, 64 * 1024) + 1);
        var length = 0;
        while (length != request.ContentLength)
        {
            if (length == bytes.Length)
            {
                var larger = ArrayPool<byte>.Shared.Rent(bytes.Length * 2);
                bytes.AsSpan().CopyTo(larger);
                ArrayPool<byte>.Shared.Return(bytes);
                bytes = larger;
            }

            var read = await request.Body.ReadAsync(bytes.AsMemory(length), cancellationToken);
            length += read;
            if (read == 0)
            {
                break;
            }

            if (length > bytesMax)
            {
                throw TooLong(bytesMax, $"more than {bytesMax}");
            }
        }

        return (bytes, length);
    }

    // MLflow's own limit is a faulty parameter to it; the other is ours.
    private static SlipwayException TooLong(int bytesMax, string size) => bytesMax == RunLimits.BatchBytesMax
        ? RunLimits.Invalid($"Batched logging API requests must be at most {bytesMax} bytes, got a request of size {size}.")
        : new SlipwayException(ErrorCode.TooLarge, $"The request body may have at most {bytesMax} bytes, not {size}; send less at once.");

    private static T Parse<T>(ReadOnlySpan<byte> json, bool asGiven = true) where T : class
    {
        json = json.StartsWith("\uFEFF"u8) ? json[3..] : json;
        try
        {
            // No body is an empty one; an old client's is a text that holds the JSON.
            return json.Trim(" \t\r\n"u8) switch
            {
                [] => Parse<T>("{}"u8),
                [(byte)'"', ..] when asGiven => Parse<T>(Encoding.UTF8.GetBytes(JsonSerializer.Deserialize<string>(json, MlflowJson.Options)!), asGiven: false),
                _ => JsonSerializer.Deserialize<T>(json, MlflowJson.Options) ?? Parse<T>("{}"u8),
            };
        }
        catch (JsonException) when (asGiven && BareNumbers.Quote(json) is { } quoted)
        {
            return Parse<T>(quoted, asGiven: false);
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, e switch
            {
                { InnerException: JsonException } => $"The request body is not valid JSON near line {e.LineNumber + 1}, byte {e.BytePositionInLine}.",
                { Path: ['$', '.', .. var path] } => $"Invalid value for parameter '{path}' supplied: it has the wrong type, or is a text that holds NUL.",
                _ => "The request body is not a JSON object.",
            }, e);
        }
    }

    public static IResult Answer<T>(T value) => Results.Json(value, MlflowJson.Options);

    public static IResult Nothing() => Results.Text("{}", "application/json");

    /// <summary>A field that must be there.</summary>
    public static string Required(string? value, string name) =>
        string.IsNullOrEmpty(value) ? throw RunLimits.Invalid($"Missing value for required parameter '{name}'.") : value;

    /// <summary>A field that must be there; zero is a value.</summary>
    public static T Required<T>(T? value, string name) where T : struct =>
        value ?? throw RunLimits.Invalid($"Missing value for required parameter '{name}'.");

    public static string? Query(HttpContext context, string name) => WithoutNul((string?)context.Request.Query[name], name);

    /// <summary>A repeated field.</summary>
    public static List<string> QueryAll(HttpContext context, string name) =>
        [.. context.Request.Query[name].Where(text => !string.IsNullOrEmpty(text)).Select(text => WithoutNul(text, name)!)];

    // PostgreSQL cannot compare with such a text.
    private static string? WithoutNul(string? text, string name) => text?.Contains('\0', StringComparison.Ordinal) is true
        ? throw RunLimits.Invalid($"Invalid value for parameter '{name}' supplied: it may not hold NUL.")
        : text;

    /// <summary>A part of the path, such as <c>{model_id}</c>.</summary>
    public static string Route(HttpContext context, string name) => (string)context.Request.RouteValues[name]!;

    public static int? QueryNumber(HttpContext context, string name)
    {
        var text = Query(context, name);
        if (string.IsNullOrEmpty(text))
        {
            return null;
        }

        return int.TryParse(text, System.Globalization.NumberStyles.AllowLeadingSign, System.Globalization.CultureInfo.InvariantCulture, out var number)
            ? number
            : throw RunLimits.Invalid($"Invalid value for parameter '{name}' supplied: it must be a whole number.");
    }

    public static long? QueryLong(HttpContext context, string name)
    {
        var text = Query(context, name);
        return string.IsNullOrEmpty(text) ? null
            : long.TryParse(text, System.Globalization.NumberStyles.AllowLeadingSign, System.Globalization.CultureInfo.InvariantCulture, out var number) ? number
            : throw RunLimits.Invalid($"Invalid value for parameter '{name}' supplied: it must be a whole number.");
    }

    /// <summary>A list is left out when empty, as protobuf's JSON does.</summary>
    public static IReadOnlyList<T>? OrNull<T>(IEnumerable<T> items)
    {
        var list = items.ToList();
        return list.Count == 0 ? null : list;
    }

    public static LifecycleView View(string? text, string name) => text switch
    {
        null or "" or "ACTIVE_ONLY" or "1" => LifecycleView.Active,
        "DELETED_ONLY" or "2" => LifecycleView.Deleted,
        "ALL" or "3" => LifecycleView.All,
        _ => throw RunLimits.Invalid($"Invalid value '{text}' for parameter '{name}' supplied: it must be ACTIVE_ONLY, DELETED_ONLY or ALL."),
    };

    public static Dictionary<string, string> Tags(IReadOnlyList<MlflowTag>? tags)
    {
        var all = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var tag in tags ?? [])
        {
            all[Required(tag?.Key, "tags.key")] = tag!.Value ?? "";
        }

        return all;
    }

    public static IReadOnlyList<MlflowTag>? Tags(IReadOnlyDictionary<string, string> tags) => OrNull(tags.Select(tag => new MlflowTag(tag.Key, tag.Value)));
}
