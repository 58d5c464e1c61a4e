namespace Slipway.Governance;

/// <summary>Settings of governance.</summary>
public sealed record GovernanceOptions
{
    /// <summary>How often the versions in production are audited; zero never.</summary>
    public TimeSpan PolicyAuditInterval { get; init; } = TimeSpan.FromHours(6);

    /// <summary>Folder of the model pages; null when none are written.</summary>
    public string? PagesDirectory { get; init; }

    /// <summary>Whether changed pages are committed to the git checkout that the folder belongs to.</summary>
    public bool CommitPages { get; init; }

    /// <summary>The address at which users reach the server, for the commands on the pages; null for the one it listens on.</summary>
    public string? PublicAddress { get; init; }
}
