using Slipway.Contracts.Identity;
using Slipway.Storage;

namespace Slipway.Identity;

/// <summary>A user or service account.</summary>
/// <param name="Name">Unique, also among those deleted.</param>
/// <param name="Role">What the user may do.</param>
/// <param name="Groups">On whose behalf the user may approve, and where else grants reach it; sorted.</param>
/// <param name="CreatedBy">Who made it.</param>
/// <param name="CreatedAtMs">When, Unix milliseconds.</param>
public sealed record User(string Name, Role Role, IReadOnlyList<string> Groups, string CreatedBy, long CreatedAtMs)
{
    /// <summary>The number by which MLflow's clients know the user.</summary>
    public long Id { get; init; }

    /// <summary>Whether the user may come in.</summary>
    public UserState State { get; init; }

    /// <summary>Whether the user has a password.</summary>
    public bool HasPassword => PasswordHash is not null;

    /// <summary>Issuer and subject at an OpenID provider; null for a user of our own.</summary>
    public string? ProviderSubject { get; init; }

    /// <summary>The user in lineage and audit.</summary>
    public NodeRef Node => new(NodeKinds.User, Name);

    /// <summary>The password's hash, which never leaves this project.</summary>
    internal string? PasswordHash { get; init; }
}
