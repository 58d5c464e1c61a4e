using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;

namespace Slipway.Identity.Keys;

/// <summary>Owns the <c>api_keys</c> table. Of a secret only its SHA-256 is kept, and it is shown once.</summary>
public sealed class KeyStore(Database database, IdentityDirectory directory)
{
    private const int ListMax = 50;

    private const string Columns =
        """
        id AS Id, user_name AS UserName, name AS Name, limits_json AS Limits, created_by AS CreatedBy, created_at_ms AS CreatedAtMs, expires_at_ms AS ExpiresAtMs,
        last_used_at_ms AS LastUsedAtMs, revoked_at_ms AS RevokedAtMs, secret_sha256 AS Secret
        """;

    /// <summary>Makes a key.</summary>
    /// <param name="user">Whose.</param>
    /// <param name="name">Unique among the user's keys that are in force.</param>
    /// <param name="limits">What it is for.</param>
    /// <param name="life">How long it works; null for ever.</param>
    /// <param name="by">Who makes it: an administrator, or the user.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    /// <returns>The key and its secret, which nobody can be told again.</returns>
    /// <exception cref="SlipwayException">NotFound: the user; InvalidArgument; AlreadyExists: the name; PermissionDenied: it would be for more than its maker may.</exception>
    public async Task<(ApiKey Key, string Secret)> CreateAsync(string user, string name, KeyLimits limits, TimeSpan? life, Caller by, CancellationToken cancellationToken)
    {
        CheckName(name);
        CheckList(limits.Models, "models");
        CheckList(limits.Experiments, "experiments");
        CheckList(limits.Environments, "environments");
        if (life is { } span && (span <= TimeSpan.Zero || span.TotalDays > 3660))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'expires_in' must be from one second to ten years, such as 90d.");
        }

        var secret = ApiKey.NewSecret();
        var key = await directory.ChangeAsync(transaction =>
        {
            var owner = UserStore.Get(transaction.Connection, user);
            CheckPermissions(limits.Permissions, owner, by);
            long? expires = life is { } lasting ? transaction.NowMs + (long)lasting.TotalMilliseconds : null;
            return Insert(transaction, owner.Name, name, secret, limits, expires, by);
        }, cancellationToken);
        return (key, secret);
    }

    /// <summary>The keys of a user, or of all, newest first; those no longer in force included.</summary>
    public IReadOnlyList<ApiKey> List(string? user) =>
        [.. database.Read(connection => Query(connection, user is null ? "" : "WHERE user_name = @user", new { user })).Select(row => WithUse(row.Key))
            .OrderByDescending(key => key.CreatedAtMs).ThenByDescending(key => key.Id, StringComparer.Ordinal)];

    /// <summary>The key of this id; null when there is none.</summary>
    public ApiKey? Find(string id) => database.Read(connection => Query(connection, "WHERE id = @id", new { id })).Select(row => WithUse(row.Key)).SingleOrDefault();

    /// <summary>Withdraws a key: the next request with it is refused.</summary>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: it was withdrawn before.</exception>
    public Task<ApiKey> RevokeAsync(string id, Caller by, CancellationToken cancellationToken) => directory.ChangeAsync(transaction =>
    {
        var key = Query(transaction.Connection, "WHERE id = @id", new { id }).Select(row => row.Key).SingleOrDefault()
            ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no key '{id}'.");
        if (key.RevokedAtMs is not null)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"{id} was withdrawn before.");
        }

        Revoke(transaction, key, by);
        return key with { RevokedAtMs = transaction.NowMs };
    }, cancellationToken);

    internal static ApiKey Insert(WriteTransaction transaction, string user, string name, string secret, KeyLimits limits, long? expiresAtMs, Caller by)
    {
        if (transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM api_keys WHERE user_name = @user AND name = @name AND revoked_at_ms IS NULL", new { user, name }) > 0)
        {
            throw new SlipwayException(ErrorCode.AlreadyExists, $"'{user}' has a key '{name}' already; choose another name, or withdraw that one first.");
        }

        var id = $"key-{transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM api_keys") + 1}"; // Rows are never removed.
        transaction.Connection.Execute(
            """
            INSERT INTO api_keys (id, user_name, name, secret_sha256, limits_json, created_by, created_at_ms, expires_at_ms)
            VALUES (@id, @user, @name, @digest, @limits, @by, @now, @expiresAtMs)
            """,
            new
            {
                id,
                user,
                name,
                digest = SecretDigest.Of(secret).ToString(),
                limits = JsonSerializer.Serialize(limits, JsonDefaults.Options),
                by = by.Name,
                now = transaction.NowMs,
                expiresAtMs,
            });
        var key = new ApiKey(id, user, name, limits, by.Name, transaction.NowMs, expiresAtMs, null, null);
        transaction.Audit(by, "api_key.created", new NodeRef(NodeKinds.User, user), after: new { key = id, name, limits, expires_at_ms = expiresAtMs });
        return key;
    }

    internal static IReadOnlyList<string> RevokeAll(WriteTransaction transaction, string user, Caller by)
    {
        var keys = Query(transaction.Connection, "WHERE user_name = @user AND revoked_at_ms IS NULL", new { user }).ConvertAll(row => row.Key);
        keys.ForEach(key => Revoke(transaction, key, by));
        return keys.ConvertAll(key => key.Id);
    }

    /// <summary>The keys in force, with their digests.</summary>
    internal static IEnumerable<(ApiKey Key, SecretDigest Secret)> ReadInForce(DbConnection connection) =>
        Query(connection, "WHERE revoked_at_ms IS NULL", null).Select(row => (row.Key, SecretDigest.Parse(row.Secret)));

    /// <summary>Notes when keys were last used; data, not a change of state.</summary>
    internal static void SaveUse(WriteTransaction transaction, IReadOnlyCollection<(string Id, long AtMs)> uses) => transaction.Connection.Execute(
        "UPDATE api_keys SET last_used_at_ms = @AtMs WHERE id = @Id AND (last_used_at_ms IS NULL OR last_used_at_ms < @AtMs)",
        uses.Select(use => new { use.Id, use.AtMs }));

    private static void Revoke(WriteTransaction transaction, ApiKey key, Caller by)
    {
        transaction.Connection.Execute("UPDATE api_keys SET revoked_by = @by, revoked_at_ms = @now WHERE id = @Id", new { by = by.Name, now = transaction.NowMs, key.Id });
        transaction.Audit(by, "api_key.revoked", new NodeRef(NodeKinds.User, key.User), before: new { key = key.Id, key.Name, key.Limits }, after: new { key = key.Id, revoked = true });
    }

    private ApiKey WithUse(ApiKey key) => directory.LastUse(key.Id) is { } use && use > (key.LastUsedAtMs ?? 0) ? key with { LastUsedAtMs = use } : key;

    // A service account holds little by itself; an administrator widens it key by key, for as long as the key lives.
    private static void CheckPermissions(IReadOnlyList<Permission>? permissions, User owner, Caller by)
    {
        if (by.Access.IsLimited || by.Access.Limits.Permissions is not null)
        {
            throw new SlipwayException(ErrorCode.PermissionDenied, "A limited key may not make other keys; sign in as the user instead.");
        }

        if (permissions is { Count: 0 })
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'permissions' is empty; leave it out for all that the user may do.");
        }

        foreach (var permission in permissions ?? [])
        {
            if (!Roles.Allows(owner.Role, permission) && !(owner.Role is Role.Service && Roles.ServiceKeyMayAdd(permission)))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument,
                    $"'permissions' holds {Name(permission)}, which '{owner.Name}' ({Roles.Name(owner.Role)}) does not have; it may hold {string.Join(", ", Roles.KeyPermissions(owner.Role).Select(Name))}.");
            }

            if (!by.Access.May(permission) || (!Roles.Allows(owner.Role, permission) && !by.Access.May(Permission.Admin)))
            {
                throw new SlipwayException(ErrorCode.PermissionDenied, $"A key that may {Name(permission)} has to be made by someone who may too; ask an administrator.");
            }
        }

    }

    private static string Name(Permission permission) => permission.ToString().ToLowerInvariant();

    private static void CheckName(string name)
    {
        if (name.Length is < 1 or > 64 || name.Any(char.IsControl) || name.Trim() != name)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'name' must be 1 to 64 characters that say what the key is for, such as nightly-build.");
        }
    }

    private static void CheckList(IReadOnlyList<string>? names, string field)
    {
        if (names is { } given && (given.Count is 0 or > ListMax || given.Any(name => name is not { Length: > 0 and <= 256 } || name == "*")))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' must name 1 to {ListMax}, each by its whole name; leave it out for all.");
        }
    }

    private static List<(ApiKey Key, string Secret)> Query(DbConnection connection, string where, object? parameters) =>
        connection.Query<KeyRow>($"SELECT {Columns} FROM api_keys {where}", parameters).Select(row => (new ApiKey(
            row.Id, row.UserName, row.Name, JsonSerializer.Deserialize<KeyLimits>(row.Limits, JsonDefaults.Options)!, row.CreatedBy, row.CreatedAtMs, row.ExpiresAtMs, row.LastUsedAtMs, row.RevokedAtMs),
            row.Secret)).ToList();

    private sealed class KeyRow
    {
        public string Id { get; init; } = "";

        public string UserName { get; init; } = "";

        public string Name { get; init; } = "";

        public string Limits { get; init; } = "";

        public string CreatedBy { get; init; } = "";

        public long CreatedAtMs { get; init; }

        public long? ExpiresAtMs { get; init; }

        public long? LastUsedAtMs { get; init; }

        public long? RevokedAtMs { get; init; }

        public string Secret { get; init; } = "";
    }
}
