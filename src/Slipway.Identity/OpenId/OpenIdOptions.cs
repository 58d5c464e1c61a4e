using Slipway.Contracts;
using Slipway.Contracts.Identity;

namespace Slipway.Identity.OpenId;

/// <summary>How users sign in at an OpenID provider.</summary>
public sealed record OpenIdOptions
{
    /// <summary>The provider's address, exactly as its tokens name it; null switches it off.</summary>
    public string? Issuer { get; init; }

    /// <summary>This server's name at the provider.</summary>
    public string? ClientId { get; init; }

    /// <summary>This server's password at the provider; null for a public client.</summary>
    public string? ClientSecret { get; init; }

    /// <summary>What is asked for.</summary>
    public string Scopes { get; init; } = "openid profile email";

    /// <summary>The claim that holds the user's name here; without it the e-mail address is taken, then the subject.</summary>
    public string NameClaim { get; init; } = "preferred_username";

    /// <summary>The claim that decides on the role: a text or a list of texts.</summary>
    public string RoleClaim { get; init; } = "roles";

    /// <summary>The claim that holds the user's groups.</summary>
    public string GroupsClaim { get; init; } = "groups";

    /// <summary>Role by value of the role claim; empty takes our own names of roles.</summary>
    public IReadOnlyDictionary<string, Role> RoleMap { get; init; } = new Dictionary<string, Role>();

    /// <summary>The role of those whose claim says nothing; null refuses them.</summary>
    public Role? DefaultRole { get; init; }

    /// <summary>The audience that tokens sent by programs must name; null takes no such tokens.</summary>
    public string? Audience { get; init; }

    /// <summary>Whether there is a provider.</summary>
    public bool IsOn => Issuer is not null;

    /// <summary>Reads settings as flags and variables give them.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: names the flag.</exception>
    public static OpenIdOptions Of(
        string? issuer, string? clientId, string? clientSecret, string? scopes, string? nameClaim, string? roleClaim, string? groupsClaim, string? roleMap, string? defaultRole, string? audience)
    {
        if (string.IsNullOrWhiteSpace(issuer))
        {
            return new OpenIdOptions();
        }

        if (!Uri.TryCreate(issuer, UriKind.Absolute, out var address) || address.Scheme is not ("https" or "http") || (address.Scheme == "http" && !address.IsLoopback))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"--oidc-issuer '{issuer}' must be an https:// address, exactly as the provider's tokens name it.");
        }

        if (string.IsNullOrWhiteSpace(clientId))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "--oidc-client-id is missing; give the name under which the provider knows this server.");
        }

        var defaults = new OpenIdOptions();
        return defaults with
        {
            Issuer = issuer,
            ClientId = clientId,
            ClientSecret = string.IsNullOrEmpty(clientSecret) ? null : clientSecret,
            Scopes = scopes ?? defaults.Scopes,
            NameClaim = nameClaim ?? defaults.NameClaim,
            RoleClaim = roleClaim ?? defaults.RoleClaim,
            GroupsClaim = groupsClaim ?? defaults.GroupsClaim,
            RoleMap = Map(roleMap),
            DefaultRole = string.IsNullOrEmpty(defaultRole) ? null : Named(defaultRole, "--oidc-default-role"),
            Audience = string.IsNullOrEmpty(audience) ? null : audience,
        };
    }

    private static Dictionary<string, Role> Map(string? text) => (text ?? "")
        .Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
        .Select(pair => pair.LastIndexOf('=') is > 0 and var sign
            ? (Claim: pair[..sign].Trim(), Role: Named(pair[(sign + 1)..].Trim(), "--oidc-role-map"))
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"--oidc-role-map must be value=role pairs with commas between them, such as mlops-admins=administrator, not '{pair}'."))
        .GroupBy(pair => pair.Claim, StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.Last().Role, StringComparer.Ordinal);

    private static Role Named(string role, string flag) => Roles.Find(role)
        ?? throw new SlipwayException(ErrorCode.InvalidArgument, $"{flag} names the role '{role}', which there is not; take one of {string.Join(", ", Enum.GetValues<Role>().Select(Roles.Name))}.");
}
