using System.Collections.Concurrent;
using System.Collections.Frozen;
using Dapper;
using Slipway.Contracts.Identity;
using Slipway.Identity.Grants;
using Slipway.Identity.Keys;
using Slipway.Storage;

namespace Slipway.Identity;

/// <summary>
/// Everyone who may come in, held in memory: a request costs a look-up in an immutable table, no lock and no query. A change by this
/// server counts from the next request on; one by another server that shares the database within a second (<see cref="Refresh"/>).
/// </summary>
public sealed class IdentityDirectory(Database database, TimeProvider clock)
{
    private readonly Lock _loading = new();
    private readonly ConcurrentDictionary<string, KeyUse> _uses = new(StringComparer.Ordinal);
    private volatile IdentitySnapshot? _now;
    private long _changes;

    /// <summary>The latest snapshot; read afresh after a change.</summary>
    internal IdentitySnapshot Now => _now ?? Load();

    internal long NowMs => clock.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>The key in force with this secret; null when there is none.</summary>
    internal KeyEntry? FindKey(ReadOnlySpan<char> secret)
    {
        if (secret.Length is < 8 or > 128 || !secret.StartsWith(ApiKey.Prefix, StringComparison.Ordinal))
        {
            return null;
        }

        var now = NowMs;
        if (!Now.Keys.TryGetValue(SecretDigest.Of(secret), out var entry) || entry.Key.ExpiresAtMs <= now)
        {
            return null;
        }

        entry.Use.Note(now);
        return entry;
    }

    /// <summary>When a key was last used, as far as this server knows; null when not since its start.</summary>
    internal long? LastUse(string key) => _uses.TryGetValue(key, out var use) && use.AtMs > 0 ? use.AtMs : null;

    /// <summary>Makes a change of users, keys or grants, whose effect every request from its end on sees.</summary>
    internal async Task<T> ChangeAsync<T>(Func<WriteTransaction, T> work, CancellationToken cancellationToken)
    {
        try
        {
            return await database.WriteAsync(transaction =>
            {
                var result = work(transaction);
                transaction.Connection.Execute("UPDATE identity_revision SET revision = revision + 1");
                return result;
            }, cancellationToken);
        }
        finally
        {
            // Also after a failure: a cancelled wait does not tell whether the change was made.
            Interlocked.Increment(ref _changes);
            _now = null;
        }
    }

    /// <summary>Looks whether another server has changed anything.</summary>
    internal void Refresh()
    {
        if (_now is { } now && database.Read(connection => connection.ExecuteScalar<long>("SELECT revision FROM identity_revision")) != now.Revision)
        {
            Interlocked.Increment(ref _changes);
            _now = null;
        }
    }

    /// <summary>The keys that were used since the last call, with when.</summary>
    internal List<(string Id, long AtMs)> TakeUses()
    {
        var used = new List<(string, long)>();
        foreach (var (key, use) in _uses)
        {
            if (use.AtMs > use.SavedAtMs)
            {
                used.Add((key, use.SavedAtMs = use.AtMs));
            }
        }

        return used;
    }

    private IdentitySnapshot Load()
    {
        lock (_loading)
        {
            while (true)
            {
                if (_now is { } known)
                {
                    return known;
                }

                var before = Interlocked.Read(ref _changes);
                var snapshot = Read();
                _now = snapshot;
                // A change that ended while this was read may have been missed: then what was just set must go again.
                if (Interlocked.Read(ref _changes) == before)
                {
                    return snapshot;
                }

                _now = null;
            }
        }
    }

    private IdentitySnapshot Read()
    {
        // The revision first: a change between two of these reads is then noticed as one that came later.
        var (revision, users, keys, grants) = database.Read(connection => (
            connection.ExecuteScalar<long>("SELECT revision FROM identity_revision"), UserStore.ReadAll(connection), KeyStore.ReadInForce(connection).ToList(), GrantStore.ReadAll(connection)));
        var byUser = grants.Where(grant => grant.User is not null).ToLookup(grant => grant.User!, StringComparer.Ordinal);
        var byGroup = grants.Where(grant => grant.Group is not null).ToLookup(grant => grant.Group!, StringComparer.Ordinal);
        var entries = users.ToFrozenDictionary(user => user.Name, user =>
        {
            GrantedLevel[] granted =
            [
                .. byUser[user.Name].Select(grant => new GrantedLevel(grant.Kind, grant.Name, grant.Environment, grant.Level, ForGroup: false)),
                .. user.Groups.SelectMany(group => byGroup[group]).Select(grant => new GrantedLevel(grant.Kind, grant.Name, grant.Environment, grant.Level, ForGroup: true)),
            ];
            return new UserEntry(user, granted, Roles.Principal(user.Name, Roles.Access(user.Role, user.Groups, granted, KeyLimits.None)));
        }, StringComparer.Ordinal);
        return new IdentitySnapshot(revision, entries, keys
            .Where(key => entries.GetValueOrDefault(key.Key.User) is { User.State: UserState.Active })
            .ToFrozenDictionary(key => key.Secret, key =>
            {
                var owner = entries[key.Key.User];
                return new KeyEntry(key.Key, owner.User, PrincipalOf(key.Key, owner), _uses.GetOrAdd(key.Key.Id, _ => new KeyUse { SavedAtMs = key.Key.LastUsedAtMs ?? 0 }));
            }));
    }

    private static CallerPrincipal PrincipalOf(ApiKey key, UserEntry owner) => key.Limits == KeyLimits.None
        ? owner.Principal
        : Roles.Principal(owner.User.Name, Roles.Access(owner.User.Role, owner.User.Groups, owner.Grants, key.Limits));
}

/// <summary>Everyone and everything that may come in, as of one revision. Immutable.</summary>
/// <param name="Revision">Counts changes.</param>
/// <param name="Users">By name, in any state.</param>
/// <param name="Keys">Those in force of active users, by digest.</param>
internal sealed record IdentitySnapshot(long Revision, FrozenDictionary<string, UserEntry> Users, FrozenDictionary<SecretDigest, KeyEntry> Keys);

/// <summary>A user with all that a request of its needs to know.</summary>
/// <param name="User">The user.</param>
/// <param name="Grants">Those that speak of the user or of its groups.</param>
/// <param name="Principal">For requests by password or session.</param>
internal sealed record UserEntry(User User, IReadOnlyList<GrantedLevel> Grants, CallerPrincipal Principal);

/// <summary>A key in force with all that a request with it needs to know.</summary>
/// <param name="Key">The key.</param>
/// <param name="User">Whose.</param>
/// <param name="Principal">For requests with it.</param>
/// <param name="Use">When it was last used.</param>
internal sealed record KeyEntry(ApiKey Key, User User, CallerPrincipal Principal, KeyUse Use);

/// <summary>When a key was last used, to a minute: a note in memory, written now and then, so that a request costs no write.</summary>
internal sealed class KeyUse
{
    private long _atMs;

    /// <summary>Unix milliseconds; 0 for never since the start.</summary>
    public long AtMs => Volatile.Read(ref _atMs);

    /// <summary>What the table holds.</summary>
    public long SavedAtMs { get; set; }

    public void Note(long nowMs)
    {
        // Read far more often than written: cores do not fight over the line.
        if (nowMs - AtMs >= 60_000)
        {
            Volatile.Write(ref _atMs, nowMs);
        }
    }
}
