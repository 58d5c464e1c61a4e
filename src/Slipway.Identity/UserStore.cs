using System.Data.Common;
using System.Text.Json;
using System.Text.RegularExpressions;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Identity.Grants;
using Slipway.Identity.Keys;
using Slipway.Identity.Passwords;
using Slipway.Identity.Sessions;
using Slipway.Storage;

namespace Slipway.Identity;

/// <summary>Owns the <c>users</c> table.</summary>
public sealed partial class UserStore(Database database, IdentityDirectory directory)
{
    /// <summary>
    /// The administrator that a request without credentials acts as, where the host allows that. No stored user may take the name, so
    /// that it never counts as an approver: anyone at the machine could be behind it.
    /// </summary>
    public const string LocalUser = "local";

    /// <summary>The first administrator.</summary>
    public const string FirstAdministrator = "admin";

    private const int GroupsMax = 32;

    private const string Columns =
        """
        id AS Id, name AS Name, role AS Role, groups_json AS Groups, state AS State, password_hash AS PasswordHash,
        provider_subject AS ProviderSubject, created_by AS CreatedBy, created_at_ms AS CreatedAtMs
        """;

    /// <summary>Makes a user and its first API key, which is for everything the user may do.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the name or a group; AlreadyExists.</exception>
    public async Task<(User User, string Token)> CreateAsync(string name, Role role, Caller by, CancellationToken cancellationToken, IReadOnlyList<string?>? groups = null)
    {
        var sorted = CheckGroups(groups ?? []);
        var secret = ApiKey.NewSecret();
        var user = await directory.ChangeAsync(transaction =>
        {
            var made = Insert(transaction, name, role, sorted, null, null, by);
            KeyStore.Insert(transaction, made.Name, ApiKey.FirstName, secret, KeyLimits.None, null, by);
            return made;
        }, cancellationToken);
        return (user, secret);
    }

    /// <summary>Makes a user who comes in with a password.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the name, a group or the password; AlreadyExists.</exception>
    public async Task<User> CreateWithPasswordAsync(string name, Role role, string password, Caller by, CancellationToken cancellationToken, IReadOnlyList<string?>? groups = null)
    {
        var sorted = CheckGroups(groups ?? []);
        CheckName(name);
        PasswordRules.Check(password, name);
        var hash = await PasswordHash.OfAsync(password, cancellationToken);
        return await directory.ChangeAsync(transaction => Insert(transaction, name, role, sorted, hash, null, by), cancellationToken);
    }

    /// <summary>The token's user; null when no user holds it.</summary>
    public User? FindByToken(string token) => directory.FindKey(token)?.User;

    /// <summary>The user of this name who may come in; null when there is none.</summary>
    public User? Find(string name) => FindAny(name) is { State: UserState.Active } user ? user : null;

    /// <summary>The user of this name in any state, deleted ones left out; null when there is none.</summary>
    public User? FindAny(string name) => directory.Now.Users.GetValueOrDefault(name)?.User is { State: not UserState.Deleted } user ? user : null;

    /// <summary>All users by name, deleted ones left out.</summary>
    public IReadOnlyList<User> List() =>
        [.. directory.Now.Users.Values.Select(entry => entry.User).Where(user => user.State is not UserState.Deleted).OrderBy(user => user.Name, StringComparer.Ordinal)];

    /// <summary>Gives a user another role or other groups; null leaves them as they are.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: a group; FailedPrecondition: no administrator would be left.</exception>
    public Task<User> ChangeAsync(string name, Role? role, IReadOnlyList<string?>? groups, Caller by, CancellationToken cancellationToken)
    {
        var sorted = groups is null ? null : CheckGroups(groups);
        return directory.ChangeAsync(transaction =>
        {
            var before = Get(transaction.Connection, name);
            var after = before with { Role = role ?? before.Role, Groups = sorted ?? before.Groups };
            Save(transaction, before, after, "user.changed", new { before.Role, before.Groups }, new { after.Role, after.Groups }, by);
            return after;
        }, cancellationToken);
    }

    /// <summary>Lets a user in, or shuts it out and ends its sessions; its keys stay, and work again when it is let in again.</summary>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: no administrator would be left.</exception>
    public Task<User> SetStateAsync(string name, bool active, Caller by, CancellationToken cancellationToken) => directory.ChangeAsync(transaction =>
    {
        var before = Get(transaction.Connection, name);
        var after = before with { State = active ? UserState.Active : UserState.Disabled };
        if (after.State != before.State)
        {
            Save(transaction, before, after, active ? "user.enabled" : "user.disabled", new { before.State }, new { after.State }, by);
        }

        return after;
    }, cancellationToken);

    /// <summary>Takes a user's keys, sessions, password and grants away for good. The name stays taken, since the records speak of it.</summary>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: no administrator would be left.</exception>
    public Task DeleteAsync(string name, Caller by, CancellationToken cancellationToken) => directory.ChangeAsync(transaction =>
    {
        var before = Get(transaction.Connection, name);
        var keys = KeyStore.RevokeAll(transaction, name, by);
        var grants = GrantStore.RemoveOf(transaction, name);
        var after = before with { State = UserState.Deleted, PasswordHash = null, ProviderSubject = null };
        Save(transaction, before, after, "user.deleted", new { before.Role, before.Groups, before.State, keys, grants }, new { after.State }, by);
        return after;
    }, cancellationToken);

    /// <summary>Gives a user another password, and ends the user's sessions.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: the password.</exception>
    public async Task<User> SetPasswordAsync(string name, string password, Caller by, CancellationToken cancellationToken)
    {
        PasswordRules.Check(password, name);
        var hash = await PasswordHash.OfAsync(password, cancellationToken);
        return await directory.ChangeAsync(transaction => SetPassword(transaction, name, hash, by), cancellationToken);
    }

    /// <summary>The user of an OpenID provider's subject, made on the first sign-in; role and groups follow the provider.</summary>
    /// <param name="name">As the provider calls the user.</param>
    /// <param name="subject">Issuer and subject, which never change.</param>
    /// <param name="role">From the provider's claims.</param>
    /// <param name="groups">From the provider's claims.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    /// <exception cref="SlipwayException">AlreadyExists: another user has the name; PermissionDenied: the user is shut out.</exception>
    public async Task<User> SignInFromProviderAsync(string name, string subject, Role role, IReadOnlyList<string?> groups, CancellationToken cancellationToken)
    {
        var by = Caller.System("openid");
        var sorted = CheckGroups(groups);
        if (directory.Now.Users.Values.FirstOrDefault(entry => entry.User.ProviderSubject == subject)?.User is { State: UserState.Active } same
            && same.Role == role && same.Groups.SequenceEqual(sorted))
        {
            return same;
        }

        return await directory.ChangeAsync(transaction =>
        {
            if (Query(transaction.Connection, "WHERE provider_subject = @subject", new { subject }).SingleOrDefault() is not { } known)
            {
                return Insert(transaction, name, role, sorted, null, subject, by);
            }

            if (known.State is not UserState.Active)
            {
                throw new SlipwayException(ErrorCode.PermissionDenied, $"'{known.Name}' is disabled here; ask an administrator.");
            }

            var after = known with { Role = role, Groups = sorted };
            Save(transaction, known, after, "user.changed", new { known.Role, known.Groups }, new { after.Role, after.Groups }, by);
            return after;
        }, cancellationToken);
    }

    /// <summary>Makes the first administrator on an empty database, and lets one in again when none can come in and a password is given.</summary>
    /// <param name="password">What the host was given for it; null for none.</param>
    /// <param name="providerSignsIn">Whether an OpenID provider could let an administrator in.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    /// <exception cref="SlipwayException">InvalidArgument: the password.</exception>
    public async Task<FirstStart> BootstrapAsync(string? password, bool providerSignsIn, CancellationToken cancellationToken)
    {
        var by = Caller.System("identity");
        if (password is not null)
        {
            PasswordRules.Check(password, FirstAdministrator, "SLIPWAY_ADMIN_PASSWORD");
        }

        // Hashing takes time, which a start in which the password does not count need not spend.
        var hash = password is null || database.Read(connection => SomebodyCanSignIn(connection, directory.NowMs)) ? null : await PasswordHash.OfAsync(password, cancellationToken);
        return await directory.ChangeAsync(transaction =>
        {
            if (transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM users") == 0)
            {
                var secret = ApiKey.NewSecret();
                Insert(transaction, FirstAdministrator, Role.Administrator, [], hash, null, by);
                KeyStore.Insert(transaction, FirstAdministrator, ApiKey.FirstName, secret, KeyLimits.None, null, by);
                return new FirstStart(secret, hash is null ? SignInLinkStore.Insert(transaction, FirstAdministrator, SignInLinkStore.FirstLife, by) : null, SomebodyCanSignIn: true);
            }

            if (SomebodyCanSignIn(transaction.Connection, transaction.NowMs) || providerSignsIn)
            {
                return new FirstStart(null, null, SomebodyCanSignIn: true);
            }

            if (hash is null)
            {
                return new FirstStart(null, null, SomebodyCanSignIn: false);
            }

            // Whoever starts the server could write to its database as well: this gives nobody more than they have.
            var before = Query(transaction.Connection, "WHERE name = @name", new { name = FirstAdministrator }).SingleOrDefault()
                ?? Insert(transaction, FirstAdministrator, Role.Administrator, [], null, null, by);
            var after = before with { Role = Role.Administrator, State = UserState.Active, PasswordHash = hash };
            Save(transaction, before, after, "user.recovered", new { before.Role, before.State }, new { after.Role, after.State }, by);
            return new FirstStart(null, null, SomebodyCanSignIn: true);
        }, cancellationToken);
    }

    internal static User SetPassword(WriteTransaction transaction, string name, string hash, Caller by)
    {
        var before = Get(transaction.Connection, name);
        var after = before with { PasswordHash = hash };
        Save(transaction, before, after, "user.password_changed", new { password_set = before.HasPassword }, new { password_set = true }, by);
        return after;
    }

    internal static IReadOnlyList<User> ReadAll(DbConnection connection) => Query(connection, "", null);

    /// <exception cref="SlipwayException">NotFound.</exception>
    internal static User Get(DbConnection connection, string name) =>
        Query(connection, "WHERE name = @name AND state <> 'deleted'", new { name }).SingleOrDefault() ?? throw NoUser(name);

    internal static SlipwayException NoUser(string name) => new(ErrorCode.NotFound, $"There is no user '{Shown(name)}'.");

    internal static List<string> CheckGroups(IReadOnlyList<string?> groups)
    {
        if (groups.Count > GroupsMax || groups.Any(group => group is null || !GroupPattern().IsMatch(group)))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument,
                $"'groups' must be at most {GroupsMax} names, each 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter or digit, such as ethics.");
        }

        return [.. groups.OfType<string>().Distinct().Order(StringComparer.Ordinal)];
    }

    // Every change of the table ends here: sessions of those who changed their password or may not come in any more end with it.
    private static void Save(WriteTransaction transaction, User before, User after, string action, object was, object becomes, Caller by)
    {
        transaction.Connection.Execute(
            "UPDATE users SET role = @role, groups_json = @groups, state = @state, password_hash = @PasswordHash, provider_subject = @ProviderSubject WHERE name = @Name",
            new { after.Name, role = Roles.Name(after.Role), groups = Json(after.Groups), state = StateName(after.State), after.PasswordHash, after.ProviderSubject });
        if (before.Role is Role.Administrator && before.State is UserState.Active && (after.Role is not Role.Administrator || after.State is not UserState.Active)
            && transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM users WHERE role = 'administrator' AND state = 'active'") == 0)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"'{before.Name}' is the only administrator; make another one first.");
        }

        if (after.State is not UserState.Active || after.PasswordHash != before.PasswordHash)
        {
            SessionStore.EndAll(transaction, after.Name);
            SignInLinkStore.RemoveOf(transaction, after.Name);
        }

        transaction.Audit(by, action, after.Node, before: was, after: becomes);
    }

    private static User Insert(WriteTransaction transaction, string name, Role role, IReadOnlyList<string> groups, string? passwordHash, string? subject, Caller by)
    {
        CheckName(name);
        var id = transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM users") + 1; // Rows are never removed.
        var rows = transaction.Connection.Execute(
            """
            INSERT INTO users (id, name, role, groups_json, state, password_hash, provider_subject, created_by, created_at_ms)
            VALUES (@id, @name, @role, @groups, 'active', @passwordHash, @subject, @by, @now)
            ON CONFLICT (name) DO NOTHING
            """,
            new { id, name, role = Roles.Name(role), groups = Json(groups), passwordHash, subject, by = by.Name, now = transaction.NowMs });
        if (rows == 0)
        {
            var deleted = transaction.Connection.ExecuteScalar<string>("SELECT state FROM users WHERE name = @name", new { name }) == "deleted";
            throw new SlipwayException(ErrorCode.AlreadyExists, deleted
                ? $"A user '{name}' was deleted, and the records still speak of it; choose another name."
                : $"There is a user '{name}' already; choose another name.");
        }

        var user = new User(name, role, groups, by.Name, transaction.NowMs) { Id = id, PasswordHash = passwordHash, ProviderSubject = subject };
        transaction.Audit(by, "user.created", user.Node, after: new { name, role, groups, password_set = user.HasPassword, provider_subject = subject });
        return user;
    }

    private static bool SomebodyCanSignIn(DbConnection connection, long now) => connection.ExecuteScalar<long>(
        """
        SELECT count(*) FROM users
         WHERE role = 'administrator' AND state = 'active'
           AND (password_hash IS NOT NULL
                OR EXISTS (SELECT 1 FROM api_keys WHERE user_name = users.name AND revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > @now))
                OR EXISTS (SELECT 1 FROM sign_in_links WHERE user_name = users.name AND expires_at_ms > @now))
        """, new { now }) > 0;

    private static List<User> Query(DbConnection connection, string where, object? parameters) =>
        connection.Query<(long Id, string Name, string Role, string Groups, string State, string? PasswordHash, string? Subject, string CreatedBy, long CreatedAtMs)>(
                $"SELECT {Columns} FROM users {where}", parameters)
            .Select(row => new User(row.Name, Roles.Parse(row.Role), JsonSerializer.Deserialize<List<string>>(row.Groups)!, row.CreatedBy, row.CreatedAtMs)
            {
                Id = row.Id,
                State = Enum.Parse<UserState>(row.State, ignoreCase: true),
                PasswordHash = row.PasswordHash,
                ProviderSubject = row.Subject,
            }).ToList();

    private static string Json(IReadOnlyList<string> groups) => JsonSerializer.Serialize(groups, JsonDefaults.Options);

    private static string StateName(UserState state) => JsonNamingPolicy.SnakeCaseLower.ConvertName(state.ToString());

    private static string Shown(string name) => name[..Math.Min(name.Length, 80)];

    private static void CheckName(string name)
    {
        if (!NamePattern().IsMatch(name))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument,
                $"'name' must be 1 to 64 of a-z, 0-9, '.', '_', '@' and '-', beginning with a letter or digit, not '{Shown(name)}'.");
        }

        if (name is LocalUser or "anonymous" or "system")
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'name' may not be '{name}', which the server uses itself; choose another.");
        }
    }

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9._@-]{0,63}\z")]
    private static partial Regex NamePattern();

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9_-]{0,63}\z")]
    private static partial Regex GroupPattern();
}

/// <summary>What a start of the server made or found.</summary>
/// <param name="AdministratorKey">The first administrator's API key, on the very first start; else null.</param>
/// <param name="SignInCode">The code of a link that lets the first administrator in once, when no password was given; else null.</param>
/// <param name="SomebodyCanSignIn">Whether any administrator could come in.</param>
public sealed record FirstStart(string? AdministratorKey, string? SignInCode, bool SomebodyCanSignIn);
