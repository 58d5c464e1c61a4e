namespace Slipway.Contracts.Registry;

/// <summary>How much harm a wrong answer of a model can do, lowest first; a higher class asks for more approvals.</summary>
public enum RiskClass
{
    /// <summary>An answer that is wrong costs little and is soon put right.</summary>
    Low,

    /// <summary>Costs money or work.</summary>
    Medium,

    /// <summary>Touches people's rights, health or livelihood.</summary>
    High,

    /// <summary>May do harm that cannot be undone.</summary>
    VeryHigh,
}

/// <summary>How a model came to be.</summary>
public enum ModelKind
{
    /// <summary>Trained by its owner.</summary>
    Trained,

    /// <summary>Another's model, trained further by its owner.</summary>
    FineTuned,

    /// <summary>A general model of a provider, used as it is.</summary>
    Foundation,

    /// <summary>A model inside a service that is bought.</summary>
    Saas,
}
