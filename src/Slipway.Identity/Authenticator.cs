using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;
using Slipway.Contracts.Identity;
using Slipway.Identity.Keys;
using Slipway.Identity.OpenId;
using Slipway.Identity.Passwords;
using Slipway.Identity.Sessions;

namespace Slipway.Identity;

/// <summary>What came of looking at a request's credentials.</summary>
/// <param name="Principal">Who it is; null when it has none, or wrong ones.</param>
/// <param name="BySession">Whether a browser sent them by itself, so that another site's page may be behind the request.</param>
/// <param name="Fault">What is wrong with them; null when nothing is, or when there are none.</param>
/// <param name="Wait">How long the caller has to wait before its password is looked at; null for not at all.</param>
public readonly record struct Authentication(CallerPrincipal? Principal, bool BySession = false, string? Fault = null, TimeSpan? Wait = null);

/// <summary>
/// Finds out who is calling: by API key (Bearer, or as the password of Basic), by name and password (Basic, as MLflow's clients send
/// them), by a token of the OpenID provider (Bearer), or by the session of a browser.
/// </summary>
public sealed partial class Authenticator(
    IdentityDirectory directory, SessionStore sessions, LoginThrottle throttle, OpenIdProvider openId, TimeProvider clock, ILogger<Authenticator> logger)
{
    /// <summary>Said of every wrong credential alike, so that it tells nothing about which part was wrong.</summary>
    public const string Wrong = "The token or password is not valid; ask an administrator for one (slipway user add NAME), or check whether yours has expired.";

    private const int HeaderMax = 8192;
    private const int BasicMax = 1024;
    private const int VerifiedMax = 4096;

    // How long a password that was right is not hashed again: hashing takes as long as thousands of requests.
    private static readonly TimeSpan VerifiedLife = TimeSpan.FromMinutes(5);

    private readonly byte[] _digestKey = RandomNumberGenerator.GetBytes(32);
    private readonly ConcurrentDictionary<SecretDigest, Verified> _verified = new();
    private readonly ConcurrentDictionary<SecretDigest, Lazy<Task<Authentication>>> _underWay = new();

    /// <summary>Looks at a request's credentials. Ends at once unless a password or a provider's token is seen for the first time.</summary>
    /// <param name="authorization">The header; it comes before the session.</param>
    /// <param name="session">The session id of the cookie.</param>
    /// <param name="address">Where the request comes from.</param>
    /// <param name="cancellationToken">Cancels waiting for a turn to hash.</param>
    public ValueTask<Authentication> AuthenticateAsync(string? authorization, string? session, IPAddress? address, CancellationToken cancellationToken)
    {
        if (string.IsNullOrWhiteSpace(authorization))
        {
            return new(session is null ? default
                : sessions.Find(session) is { } user ? new Authentication(user.Principal, BySession: true)
                : new Authentication(null, BySession: true, Fault: "Your session has ended; sign in again."));
        }

        if (authorization.Length > HeaderMax)
        {
            return new(Refused);
        }

        var header = authorization.AsSpan().Trim();
        if (header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase))
        {
            var token = header["Bearer ".Length..].Trim();
            return directory.FindKey(token) is { } key ? new(new Authentication(key.Principal))
                : openId.TakesTokens && token.Count('.') == 2 ? ByProviderTokenAsync(token.ToString(), cancellationToken)
                : new(Refused);
        }

        return header.StartsWith("Basic ", StringComparison.OrdinalIgnoreCase) && header.Length <= BasicMax
            ? ByBasic(header["Basic ".Length..].Trim(), address, cancellationToken)
            : new(Refused);
    }

    /// <summary>Checks a user's password, unless there were too many wrong ones lately.</summary>
    public async Task<Authentication> ByPasswordAsync(string user, string password, IPAddress? address, CancellationToken cancellationToken)
    {
        if (throttle.Begin(user, address) is { } wait)
        {
            return new Authentication(null, Fault: $"Too many wrong passwords; try again in {Math.Ceiling(wait.TotalSeconds)} seconds.", Wait: wait);
        }

        var entry = directory.Now.Users.GetValueOrDefault(user);
        var hash = entry?.User is { State: UserState.Active } active ? active.PasswordHash : null;
        if (password.Length <= PasswordRules.LengthMax * 4 && await PasswordHash.VerifyAsync(password, hash, cancellationToken))
        {
            throttle.Succeed(user, address);
            return new Authentication(entry!.Principal);
        }

        // What was typed as a name may be a password.
        LogWrongPassword(entry is null ? "(unknown)" : user, address);
        return Refused;
    }

    /// <summary>The password of a Basic header, unchecked; null when there is none.</summary>
    internal static string? BasicPassword(string? authorization) =>
        AuthenticationHeaderValue.TryParse(authorization, out var header) && header is { Parameter.Length: <= BasicMax } && header.Scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase)
            && Base64.IsValid(header.Parameter) && Encoding.UTF8.GetString(Convert.FromBase64String(header.Parameter)).Split(':', 2) is [_, var password]
            ? password
            : null;

    private static Authentication Refused => new(null, Fault: Wrong);

    private ValueTask<Authentication> ByBasic(ReadOnlySpan<char> encoded, IPAddress? address, CancellationToken cancellationToken)
    {
        var digest = KeyedDigest(encoded);
        if (FindVerified(digest) is { } known)
        {
            return new(new Authentication(known));
        }

        Span<byte> decoded = stackalloc byte[BasicMax];
        if (!Convert.TryFromBase64Chars(encoded, decoded, out var length))
        {
            return new(Refused);
        }

        var text = Encoding.UTF8.GetString(decoded[..length]);
        CryptographicOperations.ZeroMemory(decoded);
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        if (colon < 0)
        {
            return new(Refused);
        }

        // A key names its user by itself, whatever is written before the colon.
        var password = text.AsSpan(colon + 1);
        return password.StartsWith(ApiKey.Prefix, StringComparison.Ordinal) && directory.FindKey(password) is { } key ? new(new Authentication(key.Principal))
            : colon == 0 ? new(Refused)
            : ByNewPasswordAsync(text[..colon], text[(colon + 1)..], digest, address, cancellationToken);
    }

    // A client that begins with many requests at once is one attempt, not many.
    private async ValueTask<Authentication> ByNewPasswordAsync(string user, string password, SecretDigest digest, IPAddress? address, CancellationToken cancellationToken)
    {
        var attempt = _underWay.GetOrAdd(digest, _ => new Lazy<Task<Authentication>>(() => VerifyAsync(user, password, digest, address)));
        return await attempt.Value.WaitAsync(cancellationToken);
    }

    private async Task<Authentication> VerifyAsync(string user, string password, SecretDigest digest, IPAddress? address)
    {
        try
        {
            var hash = directory.Now.Users.GetValueOrDefault(user)?.User.PasswordHash;
            // Not cancelled with one request, since others may wait for it too.
            var result = await ByPasswordAsync(user, password, address, CancellationToken.None);
            if (result.Principal is not null)
            {
                Remember(digest, new Verified(user, hash, clock.GetUtcNow() + VerifiedLife));
            }

            return result;
        }
        finally
        {
            _underWay.TryRemove(digest, out _);
        }
    }

    private async ValueTask<Authentication> ByProviderTokenAsync(string token, CancellationToken cancellationToken)
    {
        var digest = KeyedDigest(token);
        if (FindVerified(digest) is { } known)
        {
            return new Authentication(known);
        }

        var (user, expires, fault) = await openId.FindUserAsync(token, cancellationToken);
        if (user is null)
        {
            return new Authentication(null, Fault: fault);
        }

        var until = clock.GetUtcNow() + VerifiedLife;
        Remember(digest, new Verified(user.Name, user.PasswordHash, expires < until ? expires : until));
        return directory.Now.Users.GetValueOrDefault(user.Name) is { User.State: UserState.Active } entry ? new Authentication(entry.Principal) : Refused;
    }

    // The hash is compared as well, so that a changed password counts from the next request on.
    private CallerPrincipal? FindVerified(SecretDigest digest) =>
        _verified.TryGetValue(digest, out var verified) && verified.Until > clock.GetUtcNow()
            && directory.Now.Users.GetValueOrDefault(verified.User) is { User.State: UserState.Active } entry && entry.User.PasswordHash == verified.PasswordHash
            ? entry.Principal
            : null;

    private void Remember(SecretDigest digest, Verified verified)
    {
        if (_verified.Count >= VerifiedMax)
        {
            _verified.Clear();
        }

        _verified[digest] = verified;
    }

    // Passwords are short: a plain digest of one, found in a memory dump, could be guessed.
    private SecretDigest KeyedDigest(ReadOnlySpan<char> secret)
    {
        Span<byte> utf8 = secret.Length <= BasicMax ? stackalloc byte[BasicMax * 3] : new byte[Encoding.UTF8.GetMaxByteCount(secret.Length)];
        Span<byte> hash = stackalloc byte[32];
        HMACSHA256.HashData(_digestKey, utf8[..Encoding.UTF8.GetBytes(secret, utf8)], hash);
        return SecretDigest.From(hash);
    }

    [LoggerMessage(LogLevel.Warning, "Wrong password for user {User} from {Address}")]
    private partial void LogWrongPassword(string user, IPAddress? address);

    private sealed record Verified(string User, string? PasswordHash, DateTimeOffset Until);
}
