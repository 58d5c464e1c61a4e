using System.Collections.Frozen;
using System.Globalization;
using Slipway.Contracts;

namespace Slipway.Serving.Remote;

/// <summary>
/// The hosts that models may be run on, as the server was told: whoever may register a model could otherwise have this server call anything in its
/// network. What proves who asks belongs to the host and not to a model's file, which many may read and which could name another host.
/// </summary>
public sealed class RemoteHosts
{
    private readonly FrozenDictionary<string, string?> _tokens;

    private RemoteHosts(Dictionary<string, string?> tokens) => _tokens = tokens.ToFrozenDictionary(StringComparer.OrdinalIgnoreCase);

    /// <summary>None.</summary>
    public static RemoteHosts None { get; } = new([]);

    /// <summary>Reads the server's setting.</summary>
    /// <param name="hosts">Each <c>host:port</c>, and perhaps <c>=VARIABLE</c>: the environment's variable that holds the token sent as <c>Authorization: Bearer</c>.</param>
    /// <param name="variable">The value of an environment variable; null when it is not set.</param>
    /// <exception cref="SlipwayException">InvalidArgument: a host without a port, or a variable that is not set.</exception>
    public static RemoteHosts Parse(IEnumerable<string> hosts, Func<string, string?> variable)
    {
        var tokens = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        foreach (var given in hosts)
        {
            var parts = given.Split('=', 2);
            if (!Uri.TryCreate($"http://{parts[0]}/", UriKind.Absolute, out var address) || !string.Equals(Key(address), parts[0], StringComparison.OrdinalIgnoreCase))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"--remote-host '{given}' must be a host and a port, such as models.internal:8000, perhaps with =VARIABLE for the variable that holds its token.");
            }

            var token = parts.Length == 1 ? null : variable(parts[1]) is { Length: > 0 } found && !found.Any(char.IsControl) ? found
                : throw new SlipwayException(ErrorCode.InvalidArgument, $"--remote-host '{given}' names the environment variable {parts[1]}, which is not set or holds no token; set it before the server starts.");
            tokens[Key(address)] = token;
        }

        return new RemoteHosts(tokens);
    }

    /// <summary>Whether models may be run there.</summary>
    /// <param name="url">The address.</param>
    /// <param name="token">What proves who asks; null for nothing.</param>
    public bool TryFind(Uri url, out string? token) => _tokens.TryGetValue(Key(url), out token);

    private static string Key(Uri url) => string.Create(CultureInfo.InvariantCulture, $"{url.Host}:{url.Port}");
}
