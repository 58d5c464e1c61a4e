using System.Globalization;
using Slipway.Contracts;

namespace Slipway.Storage.Redis;

/// <summary>Where a Redis server is, and who asks.</summary>
/// <param name="Host">Name or address.</param>
/// <param name="Port">TCP port.</param>
/// <param name="User">Null for Redis' default user.</param>
/// <param name="Password">Null for none; never print it.</param>
/// <param name="Database">Number, from 0.</param>
/// <param name="IsEncrypted">Whether TLS is spoken, with a certificate that this machine trusts for the host.</param>
public sealed record RedisAddress(string Host, int Port, string? User, string? Password, int Database, bool IsEncrypted)
{
    /// <summary>Reads <c>redis://[user[:password]@]host[:port][/database]</c>, or <c>rediss://</c> for TLS.</summary>
    /// <exception cref="SlipwayException">InvalidArgument; its sentence does not hold the password.</exception>
    public static RedisAddress Parse(string text)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out var uri) || uri.Scheme is not ("redis" or "rediss") || uri.Host.Length == 0 || uri.Query.Length > 0 || uri.Fragment.Length > 0)
        {
            throw Invalid();
        }

        var database = 0;
        if (uri.AbsolutePath.Trim('/') is { Length: > 0 } path && !int.TryParse(path, NumberStyles.None, CultureInfo.InvariantCulture, out database))
        {
            throw Invalid();
        }

        var parts = uri.UserInfo.Split(':', 2);
        return new RedisAddress(
            uri.DnsSafeHost, uri.IsDefaultPort || uri.Port <= 0 ? 6379 : uri.Port, Text(parts[0]), parts.Length == 2 ? Text(parts[1]) : null, database, uri.Scheme == "rediss");

        static string? Text(string part) => part.Length == 0 ? null : Uri.UnescapeDataString(part);
        static SlipwayException Invalid() => new(ErrorCode.InvalidArgument, "--redis must be an address such as redis://:password@127.0.0.1:6379/0, or rediss:// for TLS.");
    }

    /// <summary>Without the password.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{(IsEncrypted ? "rediss" : "redis")}://{Host}:{Port}/{Database}");
}
