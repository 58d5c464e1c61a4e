using Slipway.Contracts;
using Slipway.Contracts.Identity;

namespace Slipway.Storage.Definitions;

/// <summary>What applying one file would do, or did.</summary>
/// <param name="Kind">The file's kind.</param>
/// <param name="Name">The file's name.</param>
/// <param name="Version">The version now in force.</param>
/// <param name="Changed">False when the same text was in force already.</param>
public sealed record AppliedDefinition(string Kind, string Name, long Version, bool Changed);

/// <summary>A project that owns a kind of definition file registers one of these; <c>slipway apply</c> reaches it by kind.</summary>
public interface IDefinitionKind
{
    /// <summary>The value of <c>kind:</c>, such as <c>feature_view</c>.</summary>
    string Kind { get; }

    /// <summary>Kinds are applied in this order, lowest first: a pipeline may name a feature view of the same folder.</summary>
    int Order { get; }

    /// <summary>What whoever applies a file of this kind must be allowed; kinds that change what runs need <see cref="Permission.Operate"/>.</summary>
    Permission Needs => Permission.Write;

    /// <summary>Which models or experiments a file that is in order is about, so that grants on them count for it; empty for none.</summary>
    IReadOnlyList<Resource> About(DefinitionYaml yaml) => [];

    /// <summary>Checks the file without storing it.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: all faults of the file in one sentence.</exception>
    void Validate(DefinitionYaml yaml);

    /// <summary>Checks and stores the file, its audit row in the same transaction.</summary>
    Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken);
}
