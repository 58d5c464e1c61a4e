using System.Security.Claims;

namespace Slipway.Contracts.Identity;

/// <summary>
/// What one caller may do: the permissions of the role, changed for single models and experiments by grants, cut down by the limits
/// of the API key that was used. Immutable, and made once for each user and key, not for each request.
/// </summary>
/// <remarks>
/// A grant takes the place of the role's permissions on what it names, upwards and downwards. Of several that apply, an exact name comes
/// before <c>*</c>, a grant for the environment in question before one for all, the user's own before a group's, and among those of
/// groups the widest. Grants change nothing for administrators, who may do everything, and for auditors, who see everything and
/// change nothing. Approving needs the role as well: a grant alone makes nobody an approver.
/// </remarks>
public sealed class CallerAccess
{
    private readonly bool[] _role = new bool[Enum.GetValues<Permission>().Length];
    private readonly GrantedLevel[] _grants;
    private readonly KeyLimits _limits;

    /// <summary>Puts the three together.</summary>
    /// <param name="role">The caller's role.</param>
    /// <param name="permissions">What the role allows.</param>
    /// <param name="groups">The caller's groups.</param>
    /// <param name="grants">Those that speak of the caller or of its groups.</param>
    /// <param name="limits">Of the key that was used.</param>
    public CallerAccess(Role role, IEnumerable<Permission> permissions, IReadOnlyList<string>? groups = null, IEnumerable<GrantedLevel>? grants = null, KeyLimits? limits = null)
    {
        (Role, Groups, _limits) = (role, groups ?? [], limits ?? KeyLimits.None);
        foreach (var permission in permissions)
        {
            _role[(int)permission] = true;
        }

        _grants = role is Role.Administrator or Role.Auditor ? [] : [.. grants ?? []];
        IsLimited = _limits is not { Models: null, Experiments: null, Environments: null };
    }

    /// <summary>The server's own work.</summary>
    public static CallerAccess Everything { get; } = new(Role.Administrator, Enum.GetValues<Permission>());

    /// <summary>The caller's role.</summary>
    public Role Role { get; }

    /// <summary>On whose behalf the caller may approve.</summary>
    public IReadOnlyList<string> Groups { get; }

    /// <summary>The limits of the key that was used.</summary>
    public KeyLimits Limits => _limits;

    /// <summary>Whether the key that was used is for certain models, experiments or environments only.</summary>
    public bool IsLimited { get; }

    /// <summary>Whether it can matter which model or experiment a request is about: the caller has grants, or a limited key.</summary>
    public bool DependsOnResource => IsLimited || _grants.Length > 0;

    /// <summary>What the caller may do where no grant says otherwise, least first.</summary>
    public IReadOnlyList<Permission> Permissions =>
        [.. Enum.GetValues<Permission>().Where(permission => permission is not Permission.None && Holds(permission) && LimitAllows(permission))];

    /// <summary>Whether the caller may do this.</summary>
    /// <param name="permission">What is asked for.</param>
    /// <param name="resource">What it is about; null when it is about no one model or experiment.</param>
    /// <param name="removes">Whether it deletes; under a grant that takes <see cref="GrantLevel.Manage"/>.</param>
    public bool May(Permission permission, Resource? resource = null, bool removes = false)
    {
        if (permission is Permission.None)
        {
            return true;
        }

        if (!LimitAllows(permission) || (IsLimited && !LimitAllows(permission, resource)))
        {
            return false;
        }

        return resource is { } about && Granted(about) is { } level ? LevelAllows(level, permission, removes) : Holds(permission);
    }

    /// <summary>Whether the caller may say who else may use this: administrators, and those with MANAGE on it.</summary>
    public bool MayShare(Resource resource) => May(Permission.Admin) || (!IsLimited && LimitAllows(Permission.Admin) && Granted(resource) is GrantLevel.Manage);

    /// <summary>Refuses what the caller may not do.</summary>
    /// <exception cref="SlipwayException">PermissionDenied.</exception>
    public void Require(Permission permission, Resource? resource = null, bool removes = false)
    {
        if (!May(permission, resource, removes))
        {
            throw new SlipwayException(ErrorCode.PermissionDenied,
                $"This needs the permission '{permission.ToString().ToLowerInvariant()}'{(resource is { } about ? $" on {about}" : "")}, which you do not have; ask an administrator for a grant.");
        }
    }

    /// <summary>What listings may show of a kind; null for everything.</summary>
    public ResourceFilter? Filter(ResourceKind kind)
    {
        if (!DependsOnResource)
        {
            return null;
        }

        if ((kind is ResourceKind.Model ? _limits.Models : _limits.Experiments) is { } named)
        {
            return new ResourceFilter(Only: true, named.Where(name => May(Permission.Read, new Resource(kind, name))).ToHashSet(StringComparer.Ordinal));
        }

        var seesOthers = May(Permission.Read, new Resource(kind, ""));
        var exceptions = _grants.Where(grant => grant.Kind == kind && grant.Name != "*").Select(grant => grant.Name).Distinct()
            .Where(name => May(Permission.Read, new Resource(kind, name)) != seesOthers).ToHashSet(StringComparer.Ordinal);
        return seesOthers && exceptions.Count == 0 ? null : new ResourceFilter(Only: !seesOthers, exceptions);
    }

    /// <summary>A whole listing without what the caller may not see. Listings in pages take <see cref="Filter"/> into their query instead, so that no page has a gap.</summary>
    public IReadOnlyList<T> Visible<T>(ResourceKind kind, IReadOnlyList<T> items, Func<T, string> nameOf) =>
        Filter(kind) is { } filter ? [.. items.Where(item => filter.Shows(nameOf(item)))] : items;

    private bool Holds(Permission permission) => (uint)permission < (uint)_role.Length && _role[(int)permission];

    private GrantLevel? Granted(Resource resource)
    {
        var (best, rank) = ((GrantLevel?)null, -1);
        foreach (var grant in _grants)
        {
            if (grant.Kind != resource.Kind || (grant.Name != "*" && grant.Name != resource.Name) || (grant.Environment is { } only && only != resource.Environment))
            {
                continue;
            }

            var its = (grant.Name == "*" ? 0 : 4) + (grant.Environment is null ? 0 : 2) + (grant.ForGroup ? 0 : 1);
            if (its > rank || (its == rank && grant.Level > best))
            {
                (best, rank) = (grant.Level, its);
            }
        }

        return best;
    }

    private bool LevelAllows(GrantLevel level, Permission permission, bool removes) => permission switch
    {
        Permission.Read => level >= GrantLevel.Read,
        Permission.Predict => level >= GrantLevel.Use,
        Permission.Write => level >= (removes ? GrantLevel.Manage : GrantLevel.Edit),
        Permission.Operate => level >= GrantLevel.Manage,
        _ => level >= GrantLevel.Read && Holds(permission),
    };

    private bool LimitAllows(Permission permission) => _limits.Permissions is not { } only || only.Contains(permission);

    // A limited key changes only what it names, and reads what nobody needs to name.
    private bool LimitAllows(Permission permission, Resource? resource)
    {
        if (_limits.Environments is { } environments
            && (resource?.Environment is { } environment ? !environments.Contains(environment) : permission is Permission.Operate or Permission.Approve))
        {
            return false;
        }

        if (_limits is { Models: null, Experiments: null } || permission is Permission.Read && resource is null)
        {
            return true;
        }

        return resource is { } about
            && ((about.Kind is ResourceKind.Model ? _limits.Models : _limits.Experiments) is { } named ? named.Contains(about.Name) : permission is Permission.Read);
    }
}

/// <summary>Who a request comes from, as the host sets it on the request: the name and role as claims, and what they add up to.</summary>
/// <param name="name">The user's name.</param>
/// <param name="access">What the caller may do.</param>
public sealed class CallerIdentity(string name, CallerAccess access)
    : ClaimsIdentity([new Claim(ClaimTypes.Name, name)], "slipway")
{
    /// <summary>What the caller may do.</summary>
    public CallerAccess Access { get; } = access;

    /// <summary>The identity of a request's user; null for a stranger.</summary>
    public static CallerIdentity? Of(ClaimsPrincipal user) => user.Identity as CallerIdentity;
}
