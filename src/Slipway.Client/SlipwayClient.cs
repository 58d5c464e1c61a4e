using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Client;

/// <summary>The .NET client: one server, over HTTP.</summary>
/// <remarks>Failures arrive as the <see cref="SlipwayException"/> the server meant, built from its code.</remarks>
public sealed partial class SlipwayClient : IDisposable
{
    private readonly HttpClient _http;

    /// <summary>Connects to a server.</summary>
    /// <param name="server">Such as <c>http://127.0.0.1:5000</c>.</param>
    /// <param name="token">A user's token; null acts as the local user, where the server allows it.</param>
    public SlipwayClient(Uri server, string? token = null)
    {
        _http = new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5), UseProxy = false })
        {
            BaseAddress = server,
            Timeout = TimeSpan.FromMinutes(10),
        };
        _http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("slipway-client", typeof(SlipwayClient).Assembly.GetName().Version!.ToString(3)));
        if (token is not null)
        {
            _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }
    }

    /// <summary>The server's address.</summary>
    public Uri Server => _http.BaseAddress!;

    /// <summary>Whether the server answers; never throws for a server that is down.</summary>
    public async Task<bool> IsHealthyAsync(CancellationToken cancellationToken)
    {
        try
        {
            using var response = await _http.GetAsync(new Uri("/health", UriKind.Relative), cancellationToken);
            return response.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    /// <summary>GET of a path below <c>/api/slipway/v1</c>.</summary>
    /// <exception cref="SlipwayException">The server's refusal; Unavailable when it cannot be reached.</exception>
    public Task<T> GetAsync<T>(string path, CancellationToken cancellationToken) => SendAsync<T>(HttpMethod.Get, path, null, cancellationToken);

    /// <summary>POST of a JSON body to a path below <c>/api/slipway/v1</c>.</summary>
    /// <exception cref="SlipwayException">The server's refusal; Unavailable when it cannot be reached.</exception>
    public Task<T> PostAsync<T>(string path, object? body, CancellationToken cancellationToken) =>
        SendAsync<T>(HttpMethod.Post, path, body is null ? null : JsonContent.Create(body, body.GetType(), options: JsonDefaults.Options), cancellationToken);

    /// <summary>PUT of a JSON body to a path below <c>/api/slipway/v1</c>.</summary>
    /// <exception cref="SlipwayException">The server's refusal; Unavailable when it cannot be reached.</exception>
    public Task<T> PutAsync<T>(string path, object body, CancellationToken cancellationToken) =>
        SendAsync<T>(HttpMethod.Put, path, JsonContent.Create(body, body.GetType(), options: JsonDefaults.Options), cancellationToken);

    /// <summary>PATCH of a JSON body to a path below <c>/api/slipway/v1</c>.</summary>
    /// <exception cref="SlipwayException">The server's refusal; Unavailable when it cannot be reached.</exception>
    public Task<T> PatchAsync<T>(string path, object body, CancellationToken cancellationToken) =>
        SendAsync<T>(HttpMethod.Patch, path, JsonContent.Create(body, body.GetType(), options: JsonDefaults.Options), cancellationToken);

    /// <summary>DELETE of a path below <c>/api/slipway/v1</c>.</summary>
    /// <exception cref="SlipwayException">The server's refusal; Unavailable when it cannot be reached.</exception>
    public Task DeleteAsync(string path, CancellationToken cancellationToken) => SendAsync<object?>(HttpMethod.Delete, path, null, cancellationToken);

    /// <summary>POST of a stream to a path below <c>/api/slipway/v1</c>, reporting the bytes sent so far.</summary>
    /// <exception cref="SlipwayException">The server's refusal; Unavailable when it cannot be reached.</exception>
    public Task<T> UploadAsync<T>(string path, Stream content, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        var body = new StreamContent(progress is null ? content : new ProgressStream(content, progress), 128 * 1024);
        body.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        return SendAsync<T>(HttpMethod.Post, path, body, cancellationToken);
    }

    /// <summary>GET of a path below <c>/api/slipway/v1</c> that answers in lines; streamed.</summary>
    /// <exception cref="SlipwayException">The server's refusal.</exception>
    public async IAsyncEnumerable<string> LinesAsync(string path, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var response = await _http.GetAsync(new Uri($"/api/slipway/v1/{path}", UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (!response.IsSuccessStatusCode)
        {
            throw await FailureAsync(response, cancellationToken);
        }

        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(cancellationToken));
        while (await reader.ReadLineAsync(cancellationToken) is { } line)
        {
            yield return line;
        }
    }

    /// <summary>POST of a JSON body to a path below <c>/api/slipway/v1</c> that answers in lines of JSON; streamed.</summary>
    /// <exception cref="SlipwayException">The server's refusal; Unavailable when it cannot be reached.</exception>
    public async IAsyncEnumerable<T> PostLinesAsync<T>(string path, object body, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var response = await StartAsync(HttpMethod.Post, path, JsonContent.Create(body, body.GetType(), options: JsonDefaults.Options), cancellationToken);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(cancellationToken));
        while (await reader.ReadLineAsync(cancellationToken) is { } line)
        {
            yield return JsonSerializer.Deserialize<T>(line, JsonDefaults.Options)!;
        }
    }

    /// <summary>GET of a path below <c>/api/slipway/v1</c> that answers a text, such as Markdown; as the server sent it.</summary>
    /// <exception cref="SlipwayException">The server's refusal; Unavailable when it cannot be reached.</exception>
    public async Task<string> GetTextAsync(string path, CancellationToken cancellationToken)
    {
        using var response = await StartAsync(HttpMethod.Get, path, null, cancellationToken);
        return await response.Content.ReadAsStringAsync(cancellationToken);
    }

    /// <summary>Whether a model answers requests now.</summary>
    public async Task<bool> IsModelReadyAsync(string model, CancellationToken cancellationToken)
    {
        using var response = await _http.GetAsync(new Uri($"/v2/models/{Uri.EscapeDataString(model)}/ready", UriKind.Relative), cancellationToken);
        return response.IsSuccessStatusCode;
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    private async Task<T> SendAsync<T>(HttpMethod method, string path, HttpContent? content, CancellationToken cancellationToken)
    {
        using var response = await StartAsync(method, path, content, cancellationToken);
        return response.StatusCode is HttpStatusCode.NoContent ? default! : (await response.Content.ReadFromJsonAsync<T>(JsonDefaults.Options, cancellationToken))!;
    }

    // The answer's body is still to be read; a refusal is thrown.
    private async Task<HttpResponseMessage> StartAsync(HttpMethod method, string path, HttpContent? content, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(method, new Uri(path.StartsWith('/') ? path : $"/api/slipway/v1/{path}", UriKind.Relative)) { Content = content };
        HttpResponseMessage response;
        try
        {
            response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        }
        catch (HttpRequestException e)
        {
            throw new ServerUnreachableException($"No Slipway server answers at {Server}; start one with 'slipway server' or name it with --server.", e);
        }

        if (response.IsSuccessStatusCode)
        {
            return response;
        }

        using (response)
        {
            throw await FailureAsync(response, cancellationToken);
        }
    }

    private static async Task<SlipwayException> FailureAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        var text = await response.Content.ReadAsStringAsync(cancellationToken);
        try
        {
            using var json = JsonDocument.Parse(text);
            var root = json.RootElement;
            var message = Property(root, "detail") ?? Property(root, "message") ?? Property(root, "error");
            if (message is not null)
            {
                var code = Enum.TryParse<ErrorCode>(Property(root, "code")?.Replace("_", "", StringComparison.Ordinal), ignoreCase: true, out var named) ? named : CodeOf((int)response.StatusCode);
                return new SlipwayException(code, message);
            }
        }
        catch (JsonException)
        {
            // Not one of our bodies: a proxy's page, say. The status says what is known.
        }

        return new SlipwayException(CodeOf((int)response.StatusCode), $"The server answered {(int)response.StatusCode} {response.ReasonPhrase}.");

        static string? Property(JsonElement root, string name) =>
            root.ValueKind is JsonValueKind.Object && root.TryGetProperty(name, out var value) && value.ValueKind is JsonValueKind.String ? value.GetString() : null;
    }

    private static ErrorCode CodeOf(int status) => status switch
    {
        400 or 422 => ErrorCode.InvalidArgument,
        401 => ErrorCode.Unauthenticated,
        403 => ErrorCode.PermissionDenied,
        404 => ErrorCode.NotFound,
        409 => ErrorCode.FailedPrecondition,
        413 => ErrorCode.TooLarge,
        429 => ErrorCode.ResourceExhausted,
        501 => ErrorCode.NotImplemented,
        _ => ErrorCode.Unavailable,
    };

    private sealed class ProgressStream(Stream inner, IProgress<long> progress) : Stream
    {
        private long _sent;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => inner.Length;

        public override long Position { get => inner.Position; set => throw new NotSupportedException("An upload is read once, from its beginning to its end."); }

        public override int Read(byte[] buffer, int offset, int count) => Report(inner.Read(buffer, offset, count));

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            Report(await inner.ReadAsync(buffer, cancellationToken));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException("An upload is read once, from its beginning to its end.");

        public override void SetLength(long value) => throw new NotSupportedException("An upload is only read.");

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("An upload is only read.");

        private int Report(int read)
        {
            _sent += read;
            progress.Report(_sent);
            return read;
        }
    }
}

/// <summary>No server answers at the address.</summary>
public sealed class ServerUnreachableException : Exception
{
    /// <summary>Creates the failure; the message names the address and the way out.</summary>
    public ServerUnreachableException(string message, Exception inner) : base(message, inner)
    {
    }
}
