using Microsoft.AspNetCore.Http;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Serving.Folder;

namespace Slipway.Serving.Protocol;

/// <summary>A line of the repository's index.</summary>
/// <param name="Name">Model.</param>
/// <param name="Version">Version.</param>
/// <param name="State"><c>READY</c> or <c>UNAVAILABLE</c>.</param>
/// <param name="Reason">Why it is not ready; empty when it is.</param>
internal sealed record IndexEntry(string Name, string Version, string State, string Reason);

/// <summary>What the protocols tell of the models beside inferring, the same over HTTP and gRPC: what there is, and loading and unloading it.</summary>
internal sealed class ServedModels(ModelRouter router, PinnedVersions pinned, ModelRegistry registry, Deployer deployer, ModelFolder folder)
{
    public const string ServerName = "slipway";

    /// <summary>What of the protocol's extensions is built: docs/reference/serving-protocols.md.</summary>
    public static readonly IReadOnlyList<string> Extensions = ["binary_tensor_data", "parameters", "statistics", "schedule_policy", "model_configuration", "model_repository"];

    public static readonly string ServerVersion = typeof(ServedModels).Assembly.GetName().Version!.ToString(3);

    /// <summary>A version that answers: the one in production, or the one named.</summary>
    /// <exception cref="SlipwayException">NotFound; Unavailable.</exception>
    public LoadedModel Get(string model, string? version)
    {
        if (!string.IsNullOrEmpty(version) && !string.Equals(version, "production", StringComparison.OrdinalIgnoreCase))
        {
            return pinned.Get(model, version).Model;
        }

        if (router.Find(model) is { } table)
        {
            return (table.Stable ?? table.Candidate)!.Model;
        }

        var (status, message) = pinned.WhyNotServed(model);
        throw new SlipwayException(status == StatusCodes.Status404NotFound ? ErrorCode.NotFound : ErrorCode.Unavailable, message);
    }

    /// <summary>The versions that a request may name.</summary>
    public IReadOnlyList<string> Versions(string model) => folder.Models.TryGetValue(model, out var found)
        ? [.. found.Versions.Values.Select(version => version.Version)]
        : [.. registry.ListVersions(model).Where(version => version.Stage != Stage.Archived).Select(version => version.Version)];

    /// <summary>The versions in memory, of one model or of all.</summary>
    /// <exception cref="SlipwayException">NotFound, Unavailable: a model was named that has none.</exception>
    public IReadOnlyList<LoadedModel> Loaded(string? model, string? version)
    {
        if (!string.IsNullOrEmpty(model))
        {
            var asked = Get(model, version); // Loads the one that is named, or says why not.
            return string.IsNullOrEmpty(version) ? [.. InMemory().Where(loaded => loaded.Model == model)] : [asked];
        }

        return InMemory();
    }

    /// <summary>Every version, and whether it answers now.</summary>
    /// <param name="readyOnly">Only those that do.</param>
    /// <param name="shows">Which models the caller may see.</param>
    public IReadOnlyList<IndexEntry> Index(bool readyOnly, Func<string, bool> shows)
    {
        var ready = InMemory().Select(loaded => (loaded.Model, loaded.Version)).ToHashSet();
        var entries = ready.Select(loaded => new IndexEntry(loaded.Model, loaded.Version, "READY", ""));
        if (!readyOnly)
        {
            entries = entries
                .Concat(registry.ListModels().SelectMany(model => registry.ListVersions(model.Name))
                    .Where(version => version.Stage != Stage.Archived && !ready.Contains((version.Model, version.Version)))
                    .Select(version => new IndexEntry(version.Model, version.Version, "UNAVAILABLE",
                        version.Stage == Stage.Production && deployer.FailureOf(version.Model) is { } failure ? failure : "loaded when a request names it")))
                .Concat(folder.Models.Where(model => model.Value.Fault is not null).Select(model => new IndexEntry(model.Key, "", "UNAVAILABLE", model.Value.Fault!)));
        }

        return [.. entries.Where(entry => shows(entry.Name)).OrderBy(entry => entry.Name, StringComparer.Ordinal).ThenBy(entry => entry.Version, StringComparer.Ordinal)];
    }

    /// <summary>Loads what should answer for a model: its folder again, or its production version when that is not in memory.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: it cannot be loaded.</exception>
    public async Task LoadAsync(string model, CancellationToken cancellationToken)
    {
        var fault = registry.ListVersions(model).Count == 0 ? folder.Load(model)
            : await deployer.LoadAsync(model, cancellationToken) is { } failure ? failure.TrimEnd('.')
            : router.Find(model) is null ? "no version of it is in production; promote one" : null;
        if (fault is not null)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"failed to load '{Quoted.Short(model)}': {fault}.");
        }
    }

    /// <summary>Files and settings do not come with a request to load: they would be code that nobody reviewed.</summary>
    /// <exception cref="SlipwayException">NotImplemented.</exception>
    public static void RefuseOverrides(IEnumerable<string> parameters)
    {
        if (parameters.FirstOrDefault(name => name == "config" || name.StartsWith("file:", StringComparison.Ordinal)) is { } given)
        {
            throw new SlipwayException(ErrorCode.NotImplemented, $"The parameter '{Quoted.Short(given)}' is not taken here: put the file into the model repository and load the model again, or register a version.");
        }
    }

    /// <summary>Takes a model of the folder out of service.</summary>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: it is a registered model.</exception>
    public void Unload(string model)
    {
        if (registry.ListVersions(model).Count > 0)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"failed to unload '{model}': what answers for a registered model is the registry's to say, with its reason and approval; move its production version to another stage instead.");
        }

        if (!folder.Unload(model))
        {
            throw new SlipwayException(ErrorCode.NotFound, $"failed to unload '{Quoted.Short(model)}': Request for unknown model: it is not in the model repository.");
        }
    }

    private IReadOnlyList<LoadedModel> InMemory() =>
        [.. pinned.AllInMemory.DistinctBy(loaded => (loaded.Model, loaded.Version)).OrderBy(loaded => loaded.Model, StringComparer.Ordinal).ThenBy(loaded => loaded.Version, StringComparer.Ordinal)];
}
