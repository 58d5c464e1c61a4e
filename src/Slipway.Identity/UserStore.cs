using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;

namespace Slipway.Identity;

/// <summary>A user.</summary>
/// <param name="Name">Unique.</param>
/// <param name="Role">What the user may do.</param>
/// <param name="CreatedBy">Who made it.</param>
/// <param name="CreatedAtMs">When, Unix milliseconds.</param>
public sealed record User(string Name, Role Role, string CreatedBy, long CreatedAtMs)
{
    /// <summary>The user in lineage and audit.</summary>
    public NodeRef Node => new(NodeKinds.User, Name);
}

/// <summary>Owns the <c>users</c> table. A token is 256 random bits; only its SHA-256 is stored, and it is shown once.</summary>
public sealed partial class UserStore(Database database)
{
    /// <summary>What every token begins with, so that secret scanners can find one.</summary>
    public const string TokenPrefix = "slw_";

    /// <summary>The user a request without credentials acts as, where the host allows that; no stored user may take the name.</summary>
    public const string LocalUser = "local";

    private const string Columns = "name AS Name, role AS Role, created_by AS CreatedBy, created_at_ms AS CreatedAtMs";

    // Only tokens that were found are kept, so that guesses cannot fill the memory.
    private readonly ConcurrentDictionary<string, User> _byDigest = new(StringComparer.Ordinal);

    /// <summary>Makes a user and its token.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the name; AlreadyExists.</exception>
    public async Task<(User User, string Token)> CreateAsync(string name, Role role, Caller by, CancellationToken cancellationToken)
    {
        CheckName(name);
        var token = NewToken();
        var user = await database.WriteAsync(transaction => Insert(transaction, name, role, token, by), cancellationToken);
        return (user, token);
    }

    /// <summary>The token's user; null when no user holds it.</summary>
    public User? FindByToken(string token)
    {
        if (!token.StartsWith(TokenPrefix, StringComparison.Ordinal) || token.Length > 128)
        {
            return null;
        }

        // Compared by digest: how long a lookup takes tells nothing about the token behind it.
        var digest = Digest(token);
        if (_byDigest.TryGetValue(digest, out var known))
        {
            return known;
        }

        var user = Query("WHERE token_sha256 = @digest", new { digest }).SingleOrDefault();
        return user is null ? null : _byDigest.GetOrAdd(digest, user);
    }

    /// <summary>The user of this name; null when there is none.</summary>
    public User? Find(string name) => Query("WHERE name = @name", new { name }).SingleOrDefault();

    /// <summary>All users by name.</summary>
    public IReadOnlyList<User> List() => Query("ORDER BY name", null);

    /// <summary>On the first start, makes the user <c>admin</c> and returns its token; null when there are users already.</summary>
    public Task<string?> BootstrapAdminAsync(CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            if (transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM users") > 0)
            {
                return null;
            }

            var token = NewToken();
            Insert(transaction, "admin", Role.Admin, token, Caller.System("identity"));
            return token;
        }, cancellationToken);

    private static User Insert(WriteTransaction transaction, string name, Role role, string token, Caller by)
    {
        var user = new User(name, role, by.Name, transaction.NowMs);
        var rows = transaction.Connection.Execute(
            """
            INSERT INTO users (name, role, token_sha256, created_by, created_at_ms) VALUES (@name, @role, @digest, @by, @now)
            ON CONFLICT (name) DO NOTHING
            """,
            new { name, role = role.ToString(), digest = Digest(token), by = by.Name, now = transaction.NowMs });
        if (rows == 0)
        {
            throw new SlipwayException(ErrorCode.AlreadyExists, $"There is a user '{name}' already; choose another name.");
        }

        transaction.Audit(by, "user.created", user.Node, after: new { name, role });
        return user;
    }

    private List<User> Query(string where, object? parameters) =>
        database.Read(connection => connection.Query<(string Name, string Role, string CreatedBy, long CreatedAtMs)>($"SELECT {Columns} FROM users {where}", parameters))
            .Select(row => new User(row.Name, Enum.Parse<Role>(row.Role), row.CreatedBy, row.CreatedAtMs)).ToList();

    private static void CheckName(string name)
    {
        if (!NamePattern().IsMatch(name))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument,
                $"'name' must be 1 to 64 of a-z, 0-9, '.', '_', '@' and '-', beginning with a letter or digit, not '{name[..Math.Min(name.Length, 80)]}'.");
        }

        if (name is LocalUser or "anonymous" or "system")
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'name' may not be '{name}', which the server uses itself; choose another.");
        }
    }

    private static string NewToken() => TokenPrefix + Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));

    private static string Digest(string token) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(token)));

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9._@-]{0,63}\z")]
    private static partial Regex NamePattern();
}
