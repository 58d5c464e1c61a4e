using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;

namespace Slipway.Identity.Grants;

/// <summary>One line of who may do what with which model or experiment.</summary>
/// <param name="Id">Its number.</param>
/// <param name="User">To whom; null for a group's.</param>
/// <param name="Group">To which group; null for a user's.</param>
/// <param name="Kind">Model or experiment.</param>
/// <param name="Name">The model's name or the experiment's id; <c>*</c> for all.</param>
/// <param name="Environment">The only environment it speaks of; null for all.</param>
/// <param name="Level">How far it goes.</param>
/// <param name="CreatedBy">Who gave it.</param>
/// <param name="CreatedAtMs">When.</param>
public sealed record Grant(long Id, string? User, string? Group, ResourceKind Kind, string Name, string? Environment, GrantLevel Level, string CreatedBy, long CreatedAtMs)
{
    /// <summary>Whom it was given to, in the audit trail.</summary>
    public NodeRef Subject => User is not null ? new NodeRef(NodeKinds.User, User) : new NodeRef("group", Group!);
}

/// <summary>Owns the <c>grants</c> table.</summary>
public sealed class GrantStore(Database database, IdentityDirectory directory)
{
    /// <summary>The name that stands for all models, or all experiments.</summary>
    public const string All = "*";

    private const string Columns =
        """
        id AS Id, subject_kind AS SubjectKind, subject AS Subject, resource_kind AS ResourceKind, resource AS Resource, environment AS Environment, level AS Level,
        created_by AS CreatedBy, created_at_ms AS CreatedAtMs
        """;

    /// <summary>Gives a user or a group a level on a model or experiment; one that it had there before is replaced.</summary>
    /// <param name="user">To whom; null for a group.</param>
    /// <param name="group">To which group; null for a user.</param>
    /// <param name="resource">On what, <see cref="All"/> for all of the kind; its environment is the only one the grant speaks of.</param>
    /// <param name="level">How far it goes.</param>
    /// <param name="by">Who gives it.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    /// <param name="mustBe">True: it must be new; false: it must exist; null: either.</param>
    /// <exception cref="SlipwayException">PermissionDenied: neither administrator nor MANAGE; NotFound: the user; AlreadyExists, NotFound as <paramref name="mustBe"/> says.</exception>
    public Task<Grant> PutAsync(string? user, string? group, Resource resource, GrantLevel level, Caller by, CancellationToken cancellationToken, bool? mustBe = null)
    {
        Check(user, group, resource);
        DemandMayShare(resource, by);
        return directory.ChangeAsync(transaction =>
        {
            if (user is not null)
            {
                _ = UserStore.Get(transaction.Connection, user);
            }

            var before = Find(transaction.Connection, user, group, resource);
            if (before is not null && mustBe is true)
            {
                throw new SlipwayException(ErrorCode.AlreadyExists, $"'{user ?? group}' has {LevelName(before.Level)} on {resource} already; update it instead.");
            }

            if (before is null && mustBe is false)
            {
                throw NoGrant(user ?? group!, resource);
            }

            var id = transaction.Connection.ExecuteScalar<long>(
                """
                INSERT INTO grants (subject_kind, subject, resource_kind, resource, environment, level, created_by, created_at_ms)
                VALUES (@subjectKind, @subject, @kind, @name, @environment, @level, @by, @now)
                ON CONFLICT (subject_kind, subject, resource_kind, resource, environment)
                DO UPDATE SET level = excluded.level, created_by = excluded.created_by, created_at_ms = excluded.created_at_ms
                RETURNING id
                """,
                new
                {
                    subjectKind = user is null ? "group" : "user",
                    subject = user ?? group,
                    kind = KindName(resource.Kind),
                    name = resource.Name,
                    environment = resource.Environment ?? All,
                    level = LevelName(level),
                    by = by.Name,
                    now = transaction.NowMs,
                });
            var grant = new Grant(id, user, group, resource.Kind, resource.Name, resource.Environment, level, by.Name, transaction.NowMs);
            transaction.Audit(by, before is null ? "grant.given" : "grant.changed", grant.Subject, before: before is null ? null : Shown(before), after: Shown(grant));
            return grant;
        }, cancellationToken);
    }

    /// <summary>Takes a grant back; the role's permissions count again.</summary>
    /// <exception cref="SlipwayException">NotFound; PermissionDenied: neither administrator nor MANAGE.</exception>
    public Task<Grant> RemoveAsync(long id, Caller by, CancellationToken cancellationToken) => directory.ChangeAsync(transaction =>
        Remove(transaction, Query(transaction.Connection, "WHERE id = @id", new { id }).SingleOrDefault()
            ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no grant {id}."), by), cancellationToken);

    /// <summary>Takes a user's or group's grant on exactly this back.</summary>
    /// <exception cref="SlipwayException">NotFound; PermissionDenied: neither administrator nor MANAGE.</exception>
    public Task<Grant> RemoveAsync(string? user, string? group, Resource resource, Caller by, CancellationToken cancellationToken) => directory.ChangeAsync(transaction =>
        Remove(transaction, Find(transaction.Connection, user, group, resource) ?? throw NoGrant((user ?? group)!, resource), by), cancellationToken);

    /// <summary>The user's or group's grant on exactly this; null when there is none.</summary>
    public Grant? Find(string? user, string? group, Resource resource) => database.Read(connection => Find(connection, user, group, resource));

    /// <summary>All grants, or those of a user (its groups' left out), a group, or on one thing.</summary>
    public IReadOnlyList<Grant> List(string? user = null, string? group = null, ResourceKind? kind = null, string? name = null) => database.Read(connection => Query(connection,
        """
        WHERE (@user IS NULL OR (subject_kind = 'user' AND subject = @user)) AND (@group IS NULL OR (subject_kind = 'group' AND subject = @group))
          AND (@kind IS NULL OR resource_kind = @kind) AND (@name IS NULL OR resource = @name)
        ORDER BY resource_kind, resource, environment, subject_kind, subject
        """,
        new { user, group, kind = kind is { } known ? KindName(known) : null, name }));

    /// <summary>The level as MLflow writes it, such as <c>NO_PERMISSIONS</c>.</summary>
    public static string LevelName(GrantLevel level) => JsonNamingPolicy.SnakeCaseUpper.ConvertName(level.ToString());

    /// <summary>Reads a level in MLflow's words, in capitals or not.</summary>
    /// <exception cref="SlipwayException">InvalidArgument.</exception>
    public static GrantLevel ParseLevel(string? text) =>
        Enum.GetValues<GrantLevel>().Where(level => LevelName(level).Equals(text, StringComparison.OrdinalIgnoreCase)).Select(level => (GrantLevel?)level).FirstOrDefault()
        ?? throw new SlipwayException(ErrorCode.InvalidArgument, $"'permission' must be one of NO_PERMISSIONS, READ, USE, EDIT, MANAGE, not '{text}'.");

    internal static IReadOnlyList<Grant> ReadAll(DbConnection connection) => Query(connection, "", null);

    internal static IReadOnlyList<object> RemoveOf(WriteTransaction transaction, string user)
    {
        var grants = Query(transaction.Connection, "WHERE subject_kind = 'user' AND subject = @user", new { user });
        transaction.Connection.Execute("DELETE FROM grants WHERE subject_kind = 'user' AND subject = @user", new { user });
        return grants.ConvertAll(Shown);
    }

    private static Grant Remove(WriteTransaction transaction, Grant grant, Caller by)
    {
        DemandMayShare(new Resource(grant.Kind, grant.Name, grant.Environment), by);
        transaction.Connection.Execute("DELETE FROM grants WHERE id = @Id", new { grant.Id });
        transaction.Audit(by, "grant.taken_back", grant.Subject, before: Shown(grant));
        return grant;
    }

    private static void DemandMayShare(Resource resource, Caller by)
    {
        if (!by.Access.MayShare(resource))
        {
            throw new SlipwayException(ErrorCode.PermissionDenied, $"Who may use {resource} is said by administrators and by those with MANAGE on it; you are neither.");
        }
    }

    private static void Check(string? user, string? group, Resource resource)
    {
        if (user is null == group is null)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "Give either 'user' or 'group'.");
        }

        if (group is not null)
        {
            UserStore.CheckGroups([group]);
        }

        if (resource.Name.Length is < 1 or > 256 || resource.Name.Any(char.IsControl))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{KindName(resource.Kind)}' must be a {(resource.Kind is ResourceKind.Model ? "model's name" : "experiment's id")}, or * for all.");
        }

        if (resource.Environment is { } environment && (environment.Length is < 1 or > 64 || environment == All || resource.Kind is not ResourceKind.Model))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'environment' must be one of a model's stages or environments, such as production; leave it out for all.");
        }
    }

    private static SlipwayException NoGrant(string subject, Resource resource) => new(ErrorCode.NotFound, $"'{subject}' has no grant on {resource}.");

    private static object Shown(Grant grant) => new { grant = grant.Id, resource_kind = grant.Kind, resource = grant.Name, grant.Environment, level = LevelName(grant.Level) };

    private static string KindName(ResourceKind kind) => JsonNamingPolicy.SnakeCaseLower.ConvertName(kind.ToString());

    private static Grant? Find(DbConnection connection, string? user, string? group, Resource resource) => Query(connection,
        "WHERE subject_kind = @subjectKind AND subject = @subject AND resource_kind = @kind AND resource = @name AND environment = @environment",
        new { subjectKind = user is null ? "group" : "user", subject = user ?? group, kind = KindName(resource.Kind), name = resource.Name, environment = resource.Environment ?? All })
        .SingleOrDefault();

    private static List<Grant> Query(DbConnection connection, string where, object? parameters) =>
        connection.Query<GrantRow>($"SELECT {Columns} FROM grants {where}", parameters).Select(row => new Grant(
            row.Id, row.SubjectKind == "user" ? row.Subject : null, row.SubjectKind == "group" ? row.Subject : null, Enum.Parse<ResourceKind>(row.ResourceKind, ignoreCase: true),
            row.Resource, row.Environment == All ? null : row.Environment, ParseLevel(row.Level), row.CreatedBy, row.CreatedAtMs)).ToList();

    private sealed class GrantRow
    {
        public long Id { get; init; }

        public string SubjectKind { get; init; } = "";

        public string Subject { get; init; } = "";

        public string ResourceKind { get; init; } = "";

        public string Resource { get; init; } = "";

        public string Environment { get; init; } = "";

        public string Level { get; init; } = "";

        public string CreatedBy { get; init; } = "";

        public long CreatedAtMs { get; init; }
    }
}
