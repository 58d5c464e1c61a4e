using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Slipway.Identity;

/// <summary>
/// Slows guessing down: after a few wrong passwords for a user, or from an address, each further one doubles the time in which no more
/// are looked at. Bounded: whoever is remembered longest ago is forgotten first.
/// </summary>
public sealed class LoginThrottle(TimeProvider clock)
{
    /// <summary>Wrong passwords in a row that cost nothing.</summary>
    public const int FreeAttempts = 5;

    private const int RememberedMax = 10_000;

    // An attacker can lock a user's password, though not the user's keys and sessions, so that this stays short; one address is the attacker's own.
    private static readonly TimeSpan UserWaitMax = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan AddressWaitMax = TimeSpan.FromMinutes(15);
    private static readonly TimeSpan Memory = TimeSpan.FromHours(1);

    private readonly Lock _beginning = new();
    private readonly ConcurrentDictionary<string, Attempts> _attempts = new(StringComparer.Ordinal);

    /// <summary>How many users and addresses are remembered.</summary>
    public int Remembered => _attempts.Count;

    /// <summary>How long the caller has to wait before another password is looked at; null for not at all.</summary>
    public TimeSpan? Wait(string user, IPAddress? address)
    {
        var now = clock.GetUtcNow();
        var until = new[] { UserKey(user), AddressKey(address) }.Max(key => _attempts.TryGetValue(key, out var attempts) ? attempts.Until : default);
        return until > now ? until - now : null;
    }

    /// <summary>Notes an attempt as wrong before its password is looked at, so that many at once count as many; or says how long to wait instead.</summary>
    public TimeSpan? Begin(string user, IPAddress? address)
    {
        lock (_beginning)
        {
            if (Wait(user, address) is { } wait)
            {
                return wait;
            }

            Count(UserKey(user), UserWaitMax);
            Count(AddressKey(address), AddressWaitMax);
            return null;
        }
    }

    /// <summary>The password was right: the user's wrong ones are forgotten, and of the address this one. The others stay, or an account of the attacker's own would wash it clean.</summary>
    public void Succeed(string user, IPAddress? address)
    {
        _attempts.TryRemove(UserKey(user), out _);
        var key = AddressKey(address);
        if (_attempts.TryGetValue(key, out var attempts))
        {
            _attempts.TryUpdate(key, attempts with { Count = attempts.Count - 1, Until = default }, attempts);
        }
    }

    private void Count(string key, TimeSpan waitMax)
    {
        var now = clock.GetUtcNow();
        if (_attempts.Count >= RememberedMax)
        {
            Forget(now);
        }

        _attempts.AddOrUpdate(key, static (_, at) => new Attempts(1, at.now, default), static (_, before, at) =>
        {
            var count = at.now - before.Last > Memory ? 1 : before.Count + 1;
            var wait = count < FreeAttempts ? TimeSpan.Zero : TimeSpan.FromSeconds(Math.Min(Math.Pow(2, Math.Min(count - FreeAttempts, 20)), at.waitMax.TotalSeconds));
            return new Attempts(count, at.now, at.now + wait);
        }, (now, waitMax));
    }

    private void Forget(DateTimeOffset now)
    {
        foreach (var (key, _) in _attempts.Where(pair => now - pair.Value.Last > Memory).Concat(_attempts.OrderBy(pair => pair.Value.Last).Take(RememberedMax / 10)))
        {
            _attempts.TryRemove(key, out _);
        }
    }

    private static string UserKey(string user) => "user " + user[..Math.Min(user.Length, 64)];

    // Who holds an IPv6 address holds its /64.
    private static string AddressKey(IPAddress? address)
    {
        if (address is { AddressFamily: AddressFamily.InterNetworkV6, IsIPv4MappedToIPv6: false })
        {
            return "net " + Convert.ToHexString(address.GetAddressBytes().AsSpan(0, 8));
        }

        return "address " + (address?.MapToIPv4().ToString() ?? "");
    }

    private readonly record struct Attempts(int Count, DateTimeOffset Last, DateTimeOffset Until);
}
