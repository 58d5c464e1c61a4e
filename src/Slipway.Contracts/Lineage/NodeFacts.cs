namespace Slipway.Contracts.Lineage;

/// <summary>What the owner of a thing says of it, beside its name.</summary>
public sealed record NodeFacts
{
    /// <summary>Its name for people; null where the id is one.</summary>
    public string? Title { get; init; }

    /// <summary>Where it stands now, such as <c>production</c>, <c>running</c>, <c>ended</c>; null for what has no states.</summary>
    public string? State { get; init; }

    /// <summary>Who answers for it, or made it; null when nobody is named.</summary>
    public string? Owner { get; init; }

    /// <summary>When it began or was made.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>When it ended; null while it lasts, and for what has no end.</summary>
    public DateTimeOffset? EndedAt { get; init; }

    /// <summary>Its columns or features; empty for other things.</summary>
    public IReadOnlyList<NodeField> Fields { get; init; } = [];

    /// <summary>Further facts by name, such as <c>rows</c> or <c>sha256</c>.</summary>
    public IReadOnlyDictionary<string, string> Details { get; init; } = new Dictionary<string, string>();
}

/// <summary>A column or feature.</summary>
/// <param name="Name">As its users write it.</param>
/// <param name="Type">Such as <c>float64</c>.</param>
/// <param name="Description">Null when not declared.</param>
public sealed record NodeField(string Name, string Type, string? Description = null);
