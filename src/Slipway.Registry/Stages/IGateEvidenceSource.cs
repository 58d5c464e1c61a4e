using Slipway.Contracts.Registry;

namespace Slipway.Registry.Stages;

/// <summary>Tells gates what areas above the registry know of a version: its documents, its A/B tests.</summary>
public interface IGateEvidenceSource
{
    /// <summary>Topic of documents; the question is the type, such as <c>model_card</c>.</summary>
    public const string Documents = "document";

    /// <summary>Topic of A/B tests; the question is empty. The fact holds when the version won, with the numbers <c>days</c> and <c>share</c>.</summary>
    public const string AbTests = "ab_test";

    /// <summary>What it knows about.</summary>
    string Topic { get; }

    /// <summary>The newest fact; null when there is none.</summary>
    Task<GateFact?> FindAsync(ModelVersionRecord version, string question, CancellationToken cancellationToken);
}

/// <summary>A fact that a gate asked for.</summary>
/// <param name="Holds">Whether it speaks for the version.</param>
/// <param name="At">Of when it is.</param>
/// <param name="Detail">Part of a sentence: what was found.</param>
/// <param name="Evidence">The id that proves it, such as <c>document:…</c>.</param>
public sealed record GateFact(bool Holds, DateTimeOffset At, string Detail, string Evidence)
{
    /// <summary>Figures by name.</summary>
    public IReadOnlyDictionary<string, double> Numbers { get; init; } = new Dictionary<string, double>();
}
