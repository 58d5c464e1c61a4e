using System.Security.Claims;
using Slipway.Contracts;
using Slipway.Contracts.Identity;

namespace Slipway.Identity;

/// <summary>The one table of who may do what.</summary>
public static class Roles
{
    /// <summary>Whether the role holds the permission.</summary>
    public static bool Allows(Role role, Permission permission) => permission switch
    {
        Permission.None or Permission.Read => true,
        Permission.Predict => role is not Role.Viewer,
        Permission.Write => role is Role.Engineer or Role.Approver or Role.Admin,
        Permission.Approve => role is Role.Approver or Role.Admin,
        Permission.Admin => role is Role.Admin,
        _ => false, // A permission that this table does not know is refused.
    };

    /// <summary>What the role may do, least first.</summary>
    public static IReadOnlyList<Permission> Of(Role role) =>
        [.. Enum.GetValues<Permission>().Where(permission => permission is not Permission.None && Allows(role, permission))];

    /// <summary>Reads a role as users write it, such as <c>engineer</c>.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: not one of the five.</exception>
    public static Role Parse(string? text) =>
        Array.IndexOf(Names, text) is >= 0 and var index
            ? (Role)index
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"'role' must be one of {string.Join(", ", Names)}, not '{text}'.");

    /// <summary>The authenticated caller, for the host to set on the request.</summary>
    public static ClaimsPrincipal Principal(string name, Role role) =>
        new(new ClaimsIdentity([new Claim(ClaimTypes.Name, name), new Claim(ClaimTypes.Role, Names[(int)role])], "slipway"));

    /// <summary>The role set by <see cref="Principal"/>; null for a caller without credentials.</summary>
    public static Role? RoleOf(ClaimsPrincipal principal) =>
        principal.FindFirst(ClaimTypes.Role) is { } claim ? Parse(claim.Value) : null;

    private static readonly string[] Names = ["viewer", "service", "engineer", "approver", "admin"];
}
