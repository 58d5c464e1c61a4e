using System.Collections.Concurrent;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;

namespace Slipway.Identity.Sessions;

/// <summary>Owns the <c>web_sessions</c> table: who is signed in with a browser. The browser holds 256 random bits, and the table their digest.</summary>
public sealed class SessionStore(Database database, IdentityDirectory directory, TimeProvider clock)
{
    /// <summary>How long a session lasts without a request.</summary>
    public static readonly TimeSpan IdleMax = TimeSpan.FromHours(12);

    /// <summary>How long a session lasts at most.</summary>
    public static readonly TimeSpan LifeMax = TimeSpan.FromDays(7);

    private const int CachedMax = 10_000;
    private const int IdLengthMax = 64;

    // Only sessions that were found are kept, so that guesses cannot fill the memory; dropped whenever anybody's rights change.
    private readonly ConcurrentDictionary<SecretDigest, Session> _known = new();

    /// <summary>Signs a browser in.</summary>
    /// <param name="user">Who.</param>
    /// <param name="method">How it was shown: password, key, openid or link.</param>
    /// <param name="by">Who asks, with the request's id.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    /// <returns>The id for the browser's cookie.</returns>
    /// <exception cref="SlipwayException">NotFound: the user has been deleted meanwhile; PermissionDenied: disabled.</exception>
    public async Task<string> StartAsync(string user, string method, Caller by, CancellationToken cancellationToken)
    {
        var id = SecretDigest.NewSecret("");
        await database.WriteAsync(transaction =>
        {
            if (UserStore.Get(transaction.Connection, user).State is not UserState.Active)
            {
                throw new SlipwayException(ErrorCode.PermissionDenied, $"'{user}' is disabled; ask an administrator.");
            }

            transaction.Connection.Execute("DELETE FROM web_sessions WHERE expires_at_ms <= @now OR last_seen_at_ms <= @idle",
                new { now = transaction.NowMs, idle = transaction.NowMs - (long)IdleMax.TotalMilliseconds });
            transaction.Connection.Execute(
                """
                INSERT INTO web_sessions (id_sha256, user_name, method, created_at_ms, last_seen_at_ms, expires_at_ms)
                VALUES (@digest, @user, @method, @now, @now, @expires)
                """,
                new { digest = SecretDigest.Of(id).ToString(), user, method, now = transaction.NowMs, expires = transaction.NowMs + (long)LifeMax.TotalMilliseconds });
            transaction.Audit(by with { Name = user }, "user.signed_in", new NodeRef(NodeKinds.User, user), after: new { method });
        }, cancellationToken);
        return id;
    }

    /// <summary>Signs a browser out.</summary>
    public async Task EndAsync(string id, Caller by, CancellationToken cancellationToken)
    {
        var digest = SecretDigest.Of(id);
        // Anyone may ask to be signed out, with any cookie: what is no session costs no write.
        if (id.Length > IdLengthMax || Read(digest, revision: 0) is null)
        {
            return;
        }

        await directory.ChangeAsync(transaction =>
        {
            var user = transaction.Connection.ExecuteScalar<string?>("SELECT user_name FROM web_sessions WHERE id_sha256 = @digest", new { digest = digest.ToString() });
            if (user is not null)
            {
                transaction.Connection.Execute("DELETE FROM web_sessions WHERE id_sha256 = @digest", new { digest = digest.ToString() });
                transaction.Audit(by with { Name = user }, "user.signed_out", new NodeRef(NodeKinds.User, user));
            }

            return user;
        }, cancellationToken);
        _known.TryRemove(digest, out _);
    }

    /// <summary>Signs all of a user's browsers out.</summary>
    /// <exception cref="SlipwayException">NotFound: the user.</exception>
    public Task EndAllAsync(string user, Caller by, CancellationToken cancellationToken) => directory.ChangeAsync(transaction =>
    {
        var node = UserStore.Get(transaction.Connection, user).Node;
        var ended = EndAll(transaction, user);
        transaction.Audit(by, "user.signed_out", node, after: new { sessions = ended });
        return ended;
    }, cancellationToken);

    /// <summary>How many browsers are signed in as the user.</summary>
    public long Count(string user) => database.Read(connection => connection.ExecuteScalar<long>(
        "SELECT count(*) FROM web_sessions WHERE user_name = @user AND expires_at_ms > @now AND last_seen_at_ms > @idle",
        new { user, now = NowMs, idle = NowMs - (long)IdleMax.TotalMilliseconds }));

    /// <summary>The user whose browser holds the id; null when the session has ended.</summary>
    internal UserEntry? Find(string id)
    {
        if (id.Length > IdLengthMax)
        {
            return null;
        }

        var snapshot = directory.Now;
        var digest = SecretDigest.Of(id);
        if (!_known.TryGetValue(digest, out var session) || session.Revision != snapshot.Revision)
        {
            if (Read(digest, snapshot.Revision) is not { } read)
            {
                return null;
            }

            read.SeenAtMs = Math.Max(read.SeenAtMs, session?.SeenAtMs ?? 0);
            if (_known.Count >= CachedMax)
            {
                _known.Clear();
            }

            session = _known[digest] = read;
        }

        var now = NowMs;
        if (now >= session.ExpiresAtMs || now - session.SeenAtMs >= (long)IdleMax.TotalMilliseconds)
        {
            return null;
        }

        session.SeenAtMs = now;
        return snapshot.Users.GetValueOrDefault(session.User) is { User.State: UserState.Active } user ? user : null;
    }

    internal static int EndAll(WriteTransaction transaction, string user) =>
        transaction.Connection.Execute("DELETE FROM web_sessions WHERE user_name = @user", new { user });

    /// <summary>The sessions that were seen since the last call, with when.</summary>
    internal List<(string Digest, long AtMs)> TakeSeen()
    {
        var seen = new List<(string, long)>();
        foreach (var (digest, session) in _known)
        {
            if (session.SeenAtMs > session.SavedAtMs)
            {
                seen.Add((digest.ToString(), session.SavedAtMs = session.SeenAtMs));
            }
        }

        return seen;
    }

    /// <summary>Notes when sessions were last seen; data, not a change of state.</summary>
    internal static void SaveSeen(WriteTransaction transaction, IReadOnlyCollection<(string Digest, long AtMs)> seen) => transaction.Connection.Execute(
        "UPDATE web_sessions SET last_seen_at_ms = @AtMs WHERE id_sha256 = @Digest AND last_seen_at_ms < @AtMs", seen.Select(session => new { session.Digest, session.AtMs }));

    private long NowMs => clock.GetUtcNow().ToUnixTimeMilliseconds();

    private Session? Read(SecretDigest digest, long revision) => database.Read(connection => connection.Query<(string User, long SeenAtMs, long ExpiresAtMs)>(
        "SELECT user_name, last_seen_at_ms, expires_at_ms FROM web_sessions WHERE id_sha256 = @digest", new { digest = digest.ToString() })
        .Select(row => new Session(row.User, row.ExpiresAtMs, revision) { SeenAtMs = row.SeenAtMs, SavedAtMs = row.SeenAtMs }).SingleOrDefault());

    private sealed class Session(string user, long expiresAtMs, long revision)
    {
        private long _seenAtMs;

        public string User { get; } = user;

        public long ExpiresAtMs { get; } = expiresAtMs;

        /// <summary>Of the rights under which the row was read.</summary>
        public long Revision { get; } = revision;

        public long SeenAtMs { get => Volatile.Read(ref _seenAtMs); set => Volatile.Write(ref _seenAtMs, value); }

        public long SavedAtMs { get; set; }
    }
}
