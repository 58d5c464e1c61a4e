using System.Security.Claims;
using Microsoft.AspNetCore.Http.Features.Authentication;
using Slipway.Contracts;
using Slipway.Contracts.Identity;

namespace Slipway.Identity;

/// <summary>The one table of who may do what.</summary>
public static class Roles
{
    private static readonly string[] Names = ["viewer", "service", "data_scientist", "ml_engineer", "approver", "auditor", "administrator"];

    /// <summary>Whether the role holds the permission.</summary>
    public static bool Allows(Role role, Permission permission) => permission switch
    {
        Permission.None or Permission.Read => true,
        Permission.Predict => role is Role.Service or Role.DataScientist or Role.MlEngineer or Role.Administrator,
        Permission.Write => role is Role.DataScientist or Role.MlEngineer or Role.Administrator,
        Permission.Operate => role is Role.MlEngineer or Role.Administrator,
        Permission.Approve => role is Role.Approver or Role.Administrator,
        // Whoever decides on a change or answers for what runs must see who did what.
        Permission.Audit => role is Role.MlEngineer or Role.Approver or Role.Auditor or Role.Administrator,
        Permission.Admin => role is Role.Administrator,
        _ => false, // A permission that this table does not know is refused.
    };

    /// <summary>What the role may do, least first.</summary>
    public static IReadOnlyList<Permission> Of(Role role) =>
        [.. Enum.GetValues<Permission>().Where(permission => permission is not Permission.None && Allows(role, permission))];

    /// <summary>The role as it is written everywhere, such as <c>ml_engineer</c>.</summary>
    public static string Name(Role role) => Names[(int)role];

    /// <summary>The role of that name; null when there is none. The names of before, <c>engineer</c> and <c>admin</c>, are still understood.</summary>
    public static Role? Find(string? text) => text switch
    {
        "engineer" => Role.MlEngineer,
        "admin" => Role.Administrator,
        _ => Array.IndexOf(Names, text) is >= 0 and var index ? (Role)index : null,
    };

    /// <summary>Reads a role as users write it, such as <c>ml_engineer</c>.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: not one of the seven.</exception>
    public static Role Parse(string? text) =>
        Find(text) ?? throw new SlipwayException(ErrorCode.InvalidArgument, $"'role' must be one of {string.Join(", ", Names)}, not '{text}'.");

    /// <summary>What a key of a user with this role may be for.</summary>
    public static IEnumerable<Permission> KeyPermissions(Role role) =>
        Enum.GetValues<Permission>().Where(permission => permission is not Permission.None && (Allows(role, permission) || (role is Role.Service && ServiceKeyMayAdd(permission))));

    /// <summary>Whether an administrator may give it to a key of a service account, which by itself may read and predict only.</summary>
    public static bool ServiceKeyMayAdd(Permission permission) => permission is Permission.Write or Permission.Operate or Permission.Audit;

    /// <summary>Role, grants and the limits of a key put together.</summary>
    public static CallerAccess Access(Role role, IReadOnlyList<string> groups, IEnumerable<GrantedLevel> grants, KeyLimits limits) => new(
        role, role is Role.Service ? Of(role).Concat((limits.Permissions ?? []).Where(ServiceKeyMayAdd)) : Of(role), groups, grants, limits);

    /// <summary>The authenticated caller, for the host to set on the request.</summary>
    public static CallerPrincipal Principal(string name, CallerAccess access) => new(new CallerIdentity(name, access));

    /// <summary>A caller with nothing but a role.</summary>
    public static CallerPrincipal Principal(string name, Role role) => Principal(name, Access(role, [], [], KeyLimits.None));
}

/// <summary>An authenticated caller, and what the host sets on a request to say so: other hosts' features would be made for each request, this one is made once for each user and key.</summary>
public sealed class CallerPrincipal : ClaimsPrincipal, IHttpAuthenticationFeature
{
    internal CallerPrincipal(CallerIdentity identity)
        : base(identity)
    {
    }

    ClaimsPrincipal? IHttpAuthenticationFeature.User
    {
        get => this;
        set => throw new NotSupportedException("Who a request comes from is said once.");
    }
}
