using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Identity;

namespace Slipway.Registry.Stages;

/// <summary>Roles as policies and messages write them.</summary>
internal static class RoleNames
{
    /// <summary>The roles that may approve.</summary>
    public static IReadOnlyList<Role> Approvers { get; } = [.. Enum.GetValues<Role>().Where(role => Roles.Allows(role, Permission.Approve))];

    public static string Of(IEnumerable<Role> roles) => string.Join(" or ", roles.Select(Roles.Name));
}
