namespace Slipway.Contracts.Identity;

/// <summary>What can be granted one by one.</summary>
public enum ResourceKind
{
    /// <summary>A registered model, by name; what is deployed, rolled out and monitored of it included.</summary>
    Model,

    /// <summary>An experiment, by id; its runs, traces and logged models included.</summary>
    Experiment,
}

/// <summary>How far a grant goes, in MLflow's words. Each holds all that the one before it holds.</summary>
public enum GrantLevel
{
    /// <summary>Nothing; the resource is not even listed.</summary>
    NoPermissions,

    /// <summary>See it.</summary>
    Read,

    /// <summary>Send it requests too.</summary>
    Use,

    /// <summary>Change it too.</summary>
    Edit,

    /// <summary>Delete it, change what of it runs, and say who else may too.</summary>
    Manage,
}

/// <summary>What a request is about.</summary>
/// <param name="Kind">Model or experiment.</param>
/// <param name="Name">The model's name or the experiment's id.</param>
/// <param name="Environment">The stage or environment that the request changes, such as <c>production</c>; null when it changes none.</param>
public readonly record struct Resource(ResourceKind Kind, string Name, string? Environment = null)
{
    /// <summary>A model.</summary>
    public static Resource Model(string name, string? environment = null) => new(ResourceKind.Model, name, environment);

    /// <summary>An experiment.</summary>
    public static Resource Experiment(string id) => new(ResourceKind.Experiment, id);

    /// <summary>As error messages name it.</summary>
    public override string ToString() =>
        $"{(Kind is ResourceKind.Model ? "model" : "experiment")} '{Name}'{(Environment is null ? "" : $" in {Environment}")}";
}

/// <summary>One line of who may do what with which model or experiment, as it applies to one user.</summary>
/// <param name="Kind">Model or experiment.</param>
/// <param name="Name">The model's name or the experiment's id; <c>*</c> for all.</param>
/// <param name="Environment">The only environment it speaks of; null for all.</param>
/// <param name="Level">How far it goes.</param>
/// <param name="ForGroup">Whether it was given to a group of the user's, rather than to the user.</param>
public sealed record GrantedLevel(ResourceKind Kind, string Name, string? Environment, GrantLevel Level, bool ForGroup);

/// <summary>What one API key may be used for, out of what its user may do. Null lists limit nothing.</summary>
/// <param name="Permissions">The only permissions.</param>
/// <param name="Models">The only models.</param>
/// <param name="Experiments">The only experiments, by id.</param>
/// <param name="Environments">The only environments in which it changes what runs.</param>
public sealed record KeyLimits(
    IReadOnlyList<Permission>? Permissions, IReadOnlyList<string>? Models, IReadOnlyList<string>? Experiments, IReadOnlyList<string>? Environments)
{
    /// <summary>A key that may do all that its user may.</summary>
    public static KeyLimits None { get; } = new(null, null, null, null);

    /// <summary>What the key is for, in words.</summary>
    public string Describe()
    {
        var parts = new List<string> { Permissions is { } permissions ? string.Join(", ", permissions).ToLowerInvariant() : "all that its user may" };
        foreach (var (kind, names) in new[] { ("models", Models), ("experiments", Experiments), ("environments", Environments) })
        {
            if (names is not null)
            {
                parts.Add($"{kind} {string.Join(", ", names)}");
            }
        }

        return string.Join("; ", parts);
    }
}

/// <summary>Which resources of a kind a listing may show.</summary>
/// <param name="Only">True: only <paramref name="Names"/>; false: all but these.</param>
/// <param name="Names">Names of models or ids of experiments.</param>
public sealed record ResourceFilter(bool Only, IReadOnlyCollection<string> Names)
{
    /// <summary>Whether the listing may show it.</summary>
    public bool Shows(string name) => Names.Contains(name) == Only;
}
