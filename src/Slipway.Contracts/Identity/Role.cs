namespace Slipway.Contracts.Identity;

/// <summary>What a user may do; <c>docs/reference/access.md</c> has the table.</summary>
public enum Role
{
    /// <summary>Sees records and pages.</summary>
    Viewer,

    /// <summary>An application: sees records, sends predictions and labels.</summary>
    Service,

    /// <summary>Makes runs, datasets, features, pipelines and versions, and asks for promotions; does not change what runs.</summary>
    DataScientist,

    /// <summary>A data scientist who also changes what runs: carries out promotions, rolls out, rolls back, operates monitors.</summary>
    MlEngineer,

    /// <summary>Approves or rejects promotions, and changes nothing else.</summary>
    Approver,

    /// <summary>Sees everything, the whole audit trail included, and changes nothing.</summary>
    Auditor,

    /// <summary>Everything, users included.</summary>
    Administrator,
}
