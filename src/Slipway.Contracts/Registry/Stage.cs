namespace Slipway.Contracts.Registry;

/// <summary>Where a model version stands in its life. Exactly one version of a model may be in <see cref="Production"/>.</summary>
public enum Stage
{
    /// <summary>Just registered; nobody relies on it.</summary>
    Development,

    /// <summary>Passed its gate; under test beside production.</summary>
    Staging,

    /// <summary>Answers live requests.</summary>
    Production,

    /// <summary>Kept for the record and for rollback.</summary>
    Archived,
}
