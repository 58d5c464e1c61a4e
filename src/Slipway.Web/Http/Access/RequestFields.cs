using System.Text.Json;
using Slipway.Contracts;
using Slipway.Tracking.Mlflow;

namespace Slipway.Web.Http.Access;

/// <summary>
/// The parts of a request that say what it is about, read before its handler runs. The body is kept for the handler. Names are compared
/// without regard to case, and every value of a repeated name counts: a handler may read fewer of them, never others.
/// </summary>
internal sealed class RequestFields
{
    private const int BodyBytesMax = 20 << 20;
    private const int DepthMax = 16;

    private readonly HttpContext _context;
    private readonly JsonElement _body;

    private RequestFields(HttpContext context, JsonElement body) => (_context, _body) = (context, body);

    public HttpRequest Request => _context.Request;

    /// <exception cref="SlipwayException">InvalidArgument: the body is no JSON, so that nobody can say what the request is about; TooLarge.</exception>
    public static async Task<RequestFields> ReadAsync(HttpContext context, bool withBody)
    {
        var request = context.Request;
        if (!withBody || HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method) || request.ContentLength is 0)
        {
            return new RequestFields(context, default);
        }

        request.EnableBuffering(64 * 1024, BodyBytesMax);
        using var bytes = new MemoryStream();
        try
        {
            await request.Body.CopyToAsync(bytes, context.RequestAborted);
        }
        catch (IOException e) when (e is not BadHttpRequestException && bytes.Length + 64 * 1024 >= BodyBytesMax)
        {
            throw new SlipwayException(ErrorCode.TooLarge, $"The request body may have at most {BodyBytesMax} bytes; send less at once.", e);
        }

        request.Body.Position = 0;
        return new RequestFields(context, Parse(bytes.GetBuffer().AsMemory(0, (int)bytes.Length)));
    }

    /// <summary>A part of the path.</summary>
    public IEnumerable<string> Route(string name) => _context.Request.RouteValues[name] is string { Length: > 0 } value ? [value] : [];

    /// <summary>Values of the query.</summary>
    public IEnumerable<string> Query(params ReadOnlySpan<string> names)
    {
        var values = new List<string>();
        foreach (var name in names)
        {
            values.AddRange(_context.Request.Query[name].OfType<string>().Where(value => value.Length > 0));
        }

        return values;
    }

    /// <summary>Values of the body's own fields, lists taken apart.</summary>
    public IEnumerable<string> Body(params ReadOnlySpan<string> names)
    {
        var values = new List<string>();
        if (_body.ValueKind is JsonValueKind.Object)
        {
            foreach (var property in _body.EnumerateObject())
            {
                if (Contains(names, property.Name))
                {
                    Add(property.Value, values);
                }
            }
        }

        return values;
    }

    /// <summary>Values of fields of this name wherever in the body they are.</summary>
    public IEnumerable<string> Anywhere(string name)
    {
        var values = new List<string>();
        Search(_body, name, values, 0);
        return values;
    }

    /// <summary>Values of the query of a GET, of the body of anything else: as MLflow's handlers read them.</summary>
    public IEnumerable<string> Fields(params ReadOnlySpan<string> names) => HttpMethods.IsGet(_context.Request.Method) ? Query(names) : [.. Body(names), .. Query(names)];

    private static JsonElement Parse(ReadOnlyMemory<byte> body, bool asGiven = true)
    {
        var json = body.Span.StartsWith("\uFEFF"u8) ? body[3..] : body;
        try
        {
            if (json.Span.Trim(" \t\r\n"u8).Length == 0)
            {
                return default;
            }

            // Clients of old send a text that holds the JSON.
            using var document = JsonDocument.Parse(json);
            if (document.RootElement is { ValueKind: JsonValueKind.String } text && asGiven)
            {
                return Parse(System.Text.Encoding.UTF8.GetBytes(text.GetString()!), asGiven: false);
            }

            DemandText(document.RootElement);
            return document.RootElement.Clone();
        }
        catch (InvalidOperationException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The request body holds half a surrogate pair, which is no text.", e);
        }
        catch (JsonException) when (asGiven && BareNumbers.Quote(json.Span) is { } quoted)
        {
            return Parse(quoted, asGiven: false);
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"The request body is not valid JSON near line {e.LineNumber + 1}, byte {e.BytePositionInLine}.", e);
        }
    }

    // Half a surrogate pair is valid JSON, and found out only when it is read.
    private static void DemandText(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                foreach (var property in element.EnumerateObject())
                {
                    _ = property.Name;
                    DemandText(property.Value);
                }

                break;
            case JsonValueKind.Array:
                foreach (var item in element.EnumerateArray())
                {
                    DemandText(item);
                }

                break;
            case JsonValueKind.String:
                _ = element.GetString();
                break;
        }
    }

    private static void Search(JsonElement element, string name, List<string> values, int depth)
    {
        if (depth > DepthMax)
        {
            return;
        }

        if (element.ValueKind is JsonValueKind.Object)
        {
            foreach (var property in element.EnumerateObject())
            {
                if (property.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
                {
                    Add(property.Value, values);
                }

                Search(property.Value, name, values, depth + 1);
            }
        }
        else if (element.ValueKind is JsonValueKind.Array)
        {
            foreach (var item in element.EnumerateArray())
            {
                Search(item, name, values, depth + 1);
            }
        }
    }

    private static void Add(JsonElement value, List<string> values)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.String when value.GetString() is { Length: > 0 } text:
                values.Add(text);
                break;
            case JsonValueKind.Number:
                values.Add(value.GetRawText());
                break;
            case JsonValueKind.Array:
                foreach (var item in value.EnumerateArray())
                {
                    Add(item, values);
                }

                break;
        }
    }

    private static bool Contains(ReadOnlySpan<string> names, string name)
    {
        foreach (var each in names)
        {
            if (each.Equals(name, StringComparison.OrdinalIgnoreCase))
            {
                return true;
            }
        }

        return false;
    }
}
