using Slipway.Contracts.Identity;

namespace Slipway.Identity.Keys;

/// <summary>An API key: a random secret by which a program acts as its user, perhaps for a while and for some things only.</summary>
/// <param name="Id">Such as <c>key-7</c>.</param>
/// <param name="User">Whose.</param>
/// <param name="Name">Unique among the user's keys that are in force.</param>
/// <param name="Limits">What it is for.</param>
/// <param name="CreatedBy">Who made it.</param>
/// <param name="CreatedAtMs">When.</param>
/// <param name="ExpiresAtMs">Until when it works; null for ever.</param>
/// <param name="LastUsedAtMs">When it was last used, to a minute; null for never.</param>
/// <param name="RevokedAtMs">When it was withdrawn; null while it is in force.</param>
public sealed record ApiKey(
    string Id, string User, string Name, KeyLimits Limits, string CreatedBy, long CreatedAtMs, long? ExpiresAtMs, long? LastUsedAtMs, long? RevokedAtMs)
{
    /// <summary>What every key begins with, so that secret scanners can find one.</summary>
    public const string Prefix = "slw_";

    /// <summary>The name of the key that a user is made with.</summary>
    public const string FirstName = "first";

    internal static string NewSecret() => SecretDigest.NewSecret(Prefix);
}
