using System.Buffers.Text;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Contracts.Identity;

namespace Slipway.Identity.OpenId;

/// <summary>A sign-in under way: what the browser keeps until the provider sends it back.</summary>
/// <param name="State">Comes back in the address: the answer belongs to this browser's question.</param>
/// <param name="Nonce">Comes back in the token: the token was made for this question.</param>
/// <param name="Verifier">Shown to the provider with the code: nobody else can use the code (PKCE, RFC 7636).</param>
/// <param name="Back">The page to go on to.</param>
public sealed record OpenIdQuestion(string State, string Nonce, string Verifier, string Back)
{
    /// <summary>Whether an answer with this state belongs to the question.</summary>
    public bool Belongs(string state) => CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(state), Encoding.UTF8.GetBytes(State));
}

/// <summary>
/// Signs users in at an OpenID provider (authorization code with PKCE), and takes its tokens from programs. Addresses and keys come
/// from the provider's discovery document and are kept for an hour; a token by an unknown key has them fetched again.
/// </summary>
public sealed partial class OpenIdProvider : IDisposable
{
    private static readonly TimeSpan KeptFor = TimeSpan.FromHours(1);
    private static readonly TimeSpan AskedAgainAfter = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ClockSkew = TimeSpan.FromMinutes(1);

    // The first that a user has: one user has one role here.
    private static readonly Role[] Precedence = [Role.Administrator, Role.MlEngineer, Role.DataScientist, Role.Approver, Role.Auditor, Role.Service, Role.Viewer];

    private readonly OpenIdOptions _options;
    private readonly UserStore _users;
    private readonly TimeProvider _clock;
    private readonly ILogger<OpenIdProvider> _logger;
    private readonly SemaphoreSlim _fetching = new(1);
    private readonly HttpClient _http = new(new SocketsHttpHandler { AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(5), PooledConnectionLifetime = TimeSpan.FromMinutes(5) })
    {
        Timeout = TimeSpan.FromSeconds(10),
        MaxResponseContentBufferSize = 1 << 20,
    };

    private volatile Metadata? _metadata;

    /// <summary>Asks nothing of the provider before somebody signs in.</summary>
    public OpenIdProvider(OpenIdOptions options, UserStore users, TimeProvider clock, ILogger<OpenIdProvider> logger) =>
        (_options, _users, _clock, _logger) = (options, users, clock, logger);

    /// <summary>Whether users can sign in at a provider.</summary>
    public bool IsOn => _options.IsOn;

    /// <summary>Whether programs may send the provider's tokens.</summary>
    public bool TakesTokens => _options is { IsOn: true, Audience: not null };

    /// <summary>Whether the claims can make somebody an administrator.</summary>
    public bool MakesAdministrators => IsOn && (_options.RoleMap.Count == 0 || _options.RoleMap.Values.Contains(Role.Administrator) || _options.DefaultRole is Role.Administrator);

    /// <summary>Where to send a browser, and what it has to keep meanwhile.</summary>
    /// <exception cref="SlipwayException">Unavailable: the provider does not answer.</exception>
    public async Task<(Uri Address, OpenIdQuestion Question)> AskAsync(Uri callback, string back, CancellationToken cancellationToken)
    {
        var metadata = await MetadataAsync(fresh: false, cancellationToken);
        var question = new OpenIdQuestion(Random(), Random(), Random(), back);
        var challenge = Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(question.Verifier)));
        var query = Form(
            ("response_type", "code"), ("client_id", _options.ClientId!), ("redirect_uri", callback.ToString()), ("scope", _options.Scopes), ("state", question.State),
            ("nonce", question.Nonce), ("code_challenge", challenge), ("code_challenge_method", "S256"));
        var sign = metadata.Authorization.Contains('?', StringComparison.Ordinal) ? '&' : '?';
        return (new Uri($"{metadata.Authorization}{sign}{query}"), question);
    }

    /// <summary>The user behind the code with which the browser has come back.</summary>
    /// <exception cref="SlipwayException">Unauthenticated: the code or the token is not in order; PermissionDenied: the user has no role here; Unavailable: the provider does not answer.</exception>
    public async Task<User> AnswerAsync(OpenIdQuestion question, string code, Uri callback, CancellationToken cancellationToken)
    {
        var metadata = await MetadataAsync(fresh: false, cancellationToken);
        var answer = await ExchangeAsync(metadata, question, code, callback, cancellationToken);
        var idToken = answer.TryGetProperty("id_token", out var value) ? value.GetString() : null;
        if (idToken is null || await VerifyAsync(idToken, _options.ClientId!, cancellationToken) is not { } token)
        {
            throw Refused("its token is not in order");
        }

        if (token.Text("nonce") is not { } nonce || !CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(nonce), Encoding.UTF8.GetBytes(question.Nonce)))
        {
            throw Refused("its token was made for another sign-in");
        }

        return await UserOfAsync(token, cancellationToken);
    }

    /// <summary>The user of a token that a program has sent, and until when it holds; a fault when it is not in order.</summary>
    internal async Task<(User? User, DateTimeOffset Expires, string? Fault)> FindUserAsync(string text, CancellationToken cancellationToken)
    {
        try
        {
            return await VerifyAsync(text, _options.Audience!, cancellationToken) is { } token
                ? (await UserOfAsync(token, cancellationToken), token.Instant("exp")!.Value, null)
                : (null, default, Authenticator.Wrong);
        }
        catch (SlipwayException e)
        {
            return (null, default, e.Message);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _http.Dispose();
        _fetching.Dispose();
    }

    private async Task<User> UserOfAsync(JsonWebToken token, CancellationToken cancellationToken)
    {
        var subject = token.Text("sub") ?? throw Refused("its token names nobody");
        var name = NameOf(token.Text(_options.NameClaim) ?? token.Text("email") ?? token.Text("client_id") ?? subject);
        var claimed = token.Texts(_options.RoleClaim).Select(value => _options.RoleMap.Count == 0 ? Roles.Find(value) : _options.RoleMap.TryGetValue(value, out var role) ? role : null).ToHashSet();
        var its = Precedence.Where(role => claimed.Contains(role)).Select(role => (Role?)role).FirstOrDefault() ?? _options.DefaultRole
            ?? throw new SlipwayException(ErrorCode.PermissionDenied, $"'{name}' has no role here: the claim '{_options.RoleClaim}' holds none that this server knows; ask an administrator.");
        var groups = token.Texts(_options.GroupsClaim).Select(group => Unfit().Replace(group.ToLowerInvariant(), "-").Trim('-', '_', '.', '@').Replace('.', '-').Replace('@', '-'))
            .Where(group => group.Length is > 0 and <= 64).Distinct().Take(32).ToList();
        return await _users.SignInFromProviderAsync(name, $"{_options.Issuer}|{subject}", its, groups, cancellationToken);
    }

    // Names here are written into paths, tables and shells.
    private static string NameOf(string claim)
    {
        var name = Unfit().Replace(claim.ToLowerInvariant(), "-").TrimStart('-', '_', '.', '@');
        return name.Length == 0 ? throw Refused("its token names nobody") : name[..Math.Min(name.Length, 64)];
    }

    private async Task<JsonElement> ExchangeAsync(Metadata metadata, OpenIdQuestion question, string code, Uri callback, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, metadata.Token);
        var fields = new List<(string, string)> { ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", callback.ToString()), ("code_verifier", question.Verifier) };
        if (_options.ClientSecret is { } secret && metadata.TakesBasic)
        {
            // RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            request.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{Uri.EscapeDataString(_options.ClientId!)}:{Uri.EscapeDataString(secret)}")));
        }
        else
        {
            fields.Add(("client_id", _options.ClientId!));
            if (_options.ClientSecret is { } posted)
            {
                fields.Add(("client_secret", posted));
            }
        }

        request.Content = new StringContent(Form([.. fields]), Encoding.UTF8, "application/x-www-form-urlencoded");
        try
        {
            using var response = await _http.SendAsync(request, cancellationToken);
            var body = await response.Content.ReadAsStringAsync(cancellationToken);
            if (response.IsSuccessStatusCode)
            {
                return JsonDocument.Parse(body).RootElement.Clone();
            }

            LogRefused((int)response.StatusCode, ErrorName(body));
            throw Refused("it does not accept the code");
        }
        catch (Exception e) when (e is HttpRequestException or JsonException || (e is TaskCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw Unavailable(e);
        }
    }

    // Signature, issuer, audience and times; null when any of them is not in order.
    private async Task<JsonWebToken?> VerifyAsync(string text, string audience, CancellationToken cancellationToken)
    {
        if (JsonWebToken.TryParse(text) is not { } token)
        {
            return null;
        }

        var metadata = await MetadataAsync(fresh: false, cancellationToken);
        if (!IsSigned(token, metadata))
        {
            // The provider may have changed its keys. Asked for at most every few seconds, however many such tokens come.
            metadata = await MetadataAsync(fresh: true, cancellationToken);
            if (!IsSigned(token, metadata))
            {
                return null;
            }
        }

        var now = _clock.GetUtcNow();
        var audiences = token.Texts("aud");
        return token.Text("iss") == _options.Issuer && audiences.Contains(audience) && (audiences.Count == 1 || token.Text("azp") is null || token.Text("azp") == audience)
            && token.Instant("exp") is { } expires && expires + ClockSkew > now
            && (token.Instant("nbf") is not { } from || from - ClockSkew <= now) && (token.Instant("iat") is not { } made || made - ClockSkew <= now)
            ? token
            : null;
    }

    private static bool IsSigned(JsonWebToken token, Metadata metadata) =>
        metadata.Keys.Where(key => token.KeyId is null || (key.TryGetProperty("kid", out var id) && id.ValueEquals(token.KeyId))).Any(token.IsSignedBy);

    private async Task<Metadata> MetadataAsync(bool fresh, CancellationToken cancellationToken)
    {
        if (_metadata is { } kept && IsGoodEnough(kept, fresh))
        {
            return kept;
        }

        await _fetching.WaitAsync(cancellationToken);
        try
        {
            return _metadata is { } meanwhile && IsGoodEnough(meanwhile, fresh) ? meanwhile : _metadata = await FetchAsync(cancellationToken);
        }
        catch (Exception e) when (e is HttpRequestException or JsonException or InvalidOperationException or UriFormatException || (e is TaskCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw Unavailable(e);
        }
        finally
        {
            _fetching.Release();
        }
    }

    private bool IsGoodEnough(Metadata metadata, bool fresh) => _clock.GetUtcNow() - metadata.At < (fresh ? AskedAgainAfter : KeptFor);

    private async Task<Metadata> FetchAsync(CancellationToken cancellationToken)
    {
        var document = await GetAsync($"{_options.Issuer!.TrimEnd('/')}/.well-known/openid-configuration", cancellationToken);
        if (Address(document, "issuer") != _options.Issuer)
        {
            throw new SlipwayException(ErrorCode.Unavailable, $"The OpenID provider calls itself '{Address(document, "issuer")}', not '{_options.Issuer}'; give --oidc-issuer exactly as it does.");
        }

        var keys = await GetAsync(Address(document, "jwks_uri"), cancellationToken);
        var methods = document.TryGetProperty("token_endpoint_auth_methods_supported", out var listed) ? listed.EnumerateArray().Select(method => method.GetString()).ToList() : ["client_secret_basic"];
        return new Metadata(
            Address(document, "authorization_endpoint"), Address(document, "token_endpoint"), methods.Contains("client_secret_basic"),
            [.. keys.GetProperty("keys").EnumerateArray().Select(key => key.Clone())], _clock.GetUtcNow());
    }

    private async Task<JsonElement> GetAsync(string address, CancellationToken cancellationToken)
    {
        using var response = await _http.GetAsync(new Uri(address), cancellationToken);
        response.EnsureSuccessStatusCode();
        return JsonDocument.Parse(await response.Content.ReadAsStringAsync(cancellationToken)).RootElement.Clone();
    }

    private static string Address(JsonElement document, string name) =>
        document.TryGetProperty(name, out var value) && value.GetString() is { Length: > 0 } text ? text : throw new JsonException($"The discovery document has no '{name}'.");

    private static string ErrorName(string body)
    {
        try
        {
            return JsonDocument.Parse(body).RootElement.TryGetProperty("error", out var error) && error.GetString() is { Length: < 64 } name ? name : "";
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return "";
        }
    }

    private SlipwayException Unavailable(Exception e)
    {
        LogUnreachable(e.Message);
        return new SlipwayException(ErrorCode.Unavailable, $"The OpenID provider {_options.Issuer} does not answer as it should; try again, or sign in with a password or token.", e);
    }

    private static SlipwayException Refused(string why) => new(ErrorCode.Unauthenticated, $"The OpenID provider did not sign you in: {why}; try again.");

    private static string Random() => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));

    private static string Form(params (string Name, string Value)[] fields) =>
        string.Join('&', fields.Select(field => $"{field.Name}={Uri.EscapeDataString(field.Value)}"));

    [GeneratedRegex("[^a-z0-9._@-]+")]
    private static partial Regex Unfit();

    [LoggerMessage(LogLevel.Warning, "The OpenID provider refused a code with {Status} {Error}")]
    private partial void LogRefused(int status, string error);

    [LoggerMessage(LogLevel.Warning, "The OpenID provider cannot be used: {Fault}")]
    private partial void LogUnreachable(string fault);

    private sealed record Metadata(string Authorization, string Token, bool TakesBasic, IReadOnlyList<JsonElement> Keys, DateTimeOffset At);
}
