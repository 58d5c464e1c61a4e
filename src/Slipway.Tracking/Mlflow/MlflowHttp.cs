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

        if (request.ContentLength > bytesMax)
        {
            throw new SlipwayException(ErrorCode.TooLarge, $"The request body may have at most {bytesMax} bytes, not {request.ContentLength}; send less at once.");
        }

        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = bytesMax; // For bodies that do not say their length.
        }

        try
        {
            return await JsonSerializer.DeserializeAsync<T>(request.Body, MlflowJson.Options, cancellationToken)
                ?? throw RunLimits.Invalid("The request body must be a JSON object, not null.");
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, e.Path is { Length: > 2 } path
                ? $"Invalid value for parameter '{path[2..]}' supplied: it has the wrong type."
                : "The request body is not a JSON object.", e);
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

    public static string? Query(HttpContext context, string name) => (string?)context.Request.Query[name];

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

    /// <summary>A list is left out when empty, as protobuf's JSON does.</summary>
    public static IReadOnlyList<T>? OrNull<T>(IEnumerable<T> items)
    {
        var list = items.ToList();
        return list.Count == 0 ? null : list;
    }

    public static LifecycleView View(string? text, string name) => text switch
    {
        null or "" or "ACTIVE_ONLY" => LifecycleView.Active,
        "DELETED_ONLY" => LifecycleView.Deleted,
        "ALL" => LifecycleView.All,
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
