using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Slipway.Contracts;

namespace Slipway.Registry.Webhooks;

/// <summary>What came of one attempt.</summary>
/// <param name="Status">HTTP status; null when there was no answer.</param>
/// <param name="Body">The beginning of the answer; null when there was none.</param>
/// <param name="Error">Why there was no answer; null when there was one.</param>
internal sealed record WebhookAnswer(int? Status, string? Body, string? Error)
{
    public bool IsSuccess => Status is >= 200 and < 300;

    /// <summary>Whether trying again may help: the statuses at which MLflow's sender does, and a receiver that did not answer.</summary>
    public bool MayPass => Status is null or 429 or 500 or 502 or 503 or 504;
}

/// <summary>Sends signed events, and lets nobody use this server to reach into its network: the address is judged when the connection is made, so that no name can change in between.</summary>
internal sealed class WebhookSender : IDisposable
{
    private const int UrlLengthMax = 2048;
    private const int AnswerBytesMax = 16 * 1024;

    private readonly HashSet<string> _trusted;
    private readonly TimeProvider _clock;
    private readonly HttpClient _client;

    public WebhookSender(WebhookOptions options, TimeProvider clock)
    {
        _trusted = new HashSet<string>(options.TrustedHosts, StringComparer.OrdinalIgnoreCase);
        _clock = clock;
        _client = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false, // A proxy would resolve the name out of our sight.
            UseCookies = false,
            ConnectCallback = ConnectAsync,
            ConnectTimeout = options.Timeout,
            MaxResponseHeadersLength = 16,
        })
        {
            Timeout = options.Timeout,
        };
    }

    /// <summary>Refuses an address that no event may be sent to.</summary>
    /// <exception cref="SlipwayException">InvalidArgument.</exception>
    public void Check(string url)
    {
        if (url.Length > UrlLengthMax || url.Any(char.IsControl) || !Uri.TryCreate(url, UriKind.Absolute, out var address) || address.Scheme is not ("https" or "http") || address.Host.Length == 0)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Invalid value for parameter 'url' supplied: it must be an https address of at most {UrlLengthMax} characters.");
        }

        if (address.UserInfo.Length > 0)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "Invalid value for parameter 'url' supplied: it may not hold a user or password; give the webhook a secret instead.");
        }

        if (IsTrusted(address.Host, address.Port))
        {
            return;
        }

        if (address.Scheme is not "https")
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Invalid value for parameter 'url' supplied: it must begin with https://, or the server be started with --webhook-host {address.Authority}.");
        }

        if ((IPAddress.TryParse(address.DnsSafeHost, out var ip) && !PublicAddress.Is(ip)) || address.IsLoopback)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Invalid value for parameter 'url' supplied: {NotPublic(address.Host)}");
        }
    }

    /// <summary>Sends one event.</summary>
    /// <param name="url">Where to.</param>
    /// <param name="secret">Signs it; null leaves it unsigned.</param>
    /// <param name="deliveryId">The same in all attempts, so that a receiver can tell a second one.</param>
    /// <param name="body">JSON.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async Task<WebhookAnswer> SendAsync(string url, string? secret, string deliveryId, string body, CancellationToken cancellationToken)
    {
        try
        {
            Check(url); // Also what was stored while other hosts were trusted.
            var timestamp = _clock.GetUtcNow().ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
            using var request = new HttpRequestMessage(HttpMethod.Post, url) { Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body)) };
            request.Content.Headers.TryAddWithoutValidation("Content-Type", "application/json");
            request.Headers.Add("X-MLflow-Delivery-Id", deliveryId);
            request.Headers.Add("X-MLflow-Timestamp", timestamp);
            if (secret is not null)
            {
                request.Headers.Add("X-MLflow-Signature", Signature(secret, deliveryId, timestamp, body));
            }

            using var answer = await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            return new WebhookAnswer((int)answer.StatusCode, await BeginningAsync(answer, cancellationToken), null);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested && e is HttpRequestException or IOException or OperationCanceledException or SlipwayException)
        {
            // What lies in the network behind us is nobody's to learn from how an attempt failed.
            return new WebhookAnswer(null, null, e switch
            {
                SlipwayException refused => refused.Message,
                HttpRequestException { InnerException: SlipwayException refused } => refused.Message,
                OperationCanceledException => "The receiver did not answer in time.",
                _ => "The receiver could not be reached.",
            });
        }
    }

    /// <summary>MLflow's signature: over the delivery, the time and the body, in base64.</summary>
    public static string Signature(string secret, string deliveryId, string timestamp, string body) =>
        "v1," + Convert.ToBase64String(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes($"{deliveryId}.{timestamp}.{body}")));

    public void Dispose() => _client.Dispose();

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var (host, port) = (context.DnsEndPoint.Host, context.DnsEndPoint.Port);
        var addresses = IPAddress.TryParse(host.Trim('[', ']'), out var literal) ? [literal] : await Dns.GetHostAddressesAsync(host, cancellationToken);
        // One private address among several is enough to refuse: which of them answers is not ours to choose.
        if (addresses.Length == 0 || (!IsTrusted(host, port) && !addresses.All(PublicAddress.Is)))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, NotPublic(host));
        }

        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(addresses, port, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static async Task<string> BeginningAsync(HttpResponseMessage answer, CancellationToken cancellationToken)
    {
        await using var content = await answer.Content.ReadAsStreamAsync(cancellationToken);
        var bytes = new byte[AnswerBytesMax];
        var length = await content.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancellationToken);
        return Encoding.UTF8.GetString(bytes, 0, length).Replace("\0", "", StringComparison.Ordinal);
    }

    private bool IsTrusted(string host, int port) =>
        _trusted.Contains(host) || _trusted.Contains(string.Create(CultureInfo.InvariantCulture, $"{host}:{port}"));

    private static string NotPublic(string host) => $"'{host}' does not lie in the public internet; start the server with --webhook-host {host} if events may go there.";
}
