namespace Slipway.Contracts.Identity;

/// <summary>What a user may do. Each role but <see cref="Service"/> holds all that the one before it holds.</summary>
public enum Role
{
    /// <summary>Sees records and pages.</summary>
    Viewer,

    /// <summary>An application: sees records, sends predictions and labels.</summary>
    Service,

    /// <summary>Creates and changes runs, datasets, features, pipelines and versions; cannot approve.</summary>
    Engineer,

    /// <summary>An engineer who may also approve or reject promotions.</summary>
    Approver,

    /// <summary>Everything, users included.</summary>
    Admin,
}
