using System.Collections.Concurrent;
using Microsoft.AspNetCore.Http;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Serving.Folder;
using Slipway.Serving.Protocol;

namespace Slipway.Serving;

/// <summary>Versions that callers name in the path, loaded when first asked for; and why a model is not served.</summary>
internal sealed class PinnedVersions(ModelRouter router, ModelRegistry registry, ModelLoader loader, ModelFolder folder, ServingOptions options)
{
    private readonly ConcurrentDictionary<(string Model, string Reference), Arm> _arms = new();
    private readonly ConcurrentDictionary<(string Model, string Version), Lock> _loading = new(); // One load of each version, and none waits for another's.
    private int _forgotten; // How often: what was looked up before is not kept after.

    /// <summary>The named version, ready to score.</summary>
    /// <param name="model">The model.</param>
    /// <param name="reference">A semantic version, a number, a stage or an alias such as <c>@champion</c>.</param>
    /// <exception cref="SlipwayException">NotFound; Unavailable: it cannot be loaded.</exception>
    public Arm Get(string model, string reference)
    {
        if (_arms.TryGetValue((model, reference), out var known))
        {
            return known;
        }

        if (folder.Find(model, reference) is { } inFolder)
        {
            return new Arm(ArmRole.Direct, inFolder);
        }

        var forgotten = Volatile.Read(ref _forgotten);
        var record = registry.Find(model, reference) ?? throw new SlipwayException(ErrorCode.NotFound,
            $"Request for unknown model: '{Quoted.Short(model)}' has no version '{Quoted.Short(reference)}'; GET /api/slipway/v1/models/{Uri.EscapeDataString(Quoted.Short(model))}/versions lists those it has.");
        lock (_loading.GetOrAdd((model, record.Version), _ => new Lock()))
        {
            if (_arms.Count >= options.PinnedVersionsMax)
            {
                // Rare, and loading again is cheap.
                _arms.Clear();
                _loading.Clear();
            }

            // One and the same, by whatever name it is asked for.
            var arm = _arms.TryGetValue((model, record.Version), out var loaded) ? loaded : new Arm(ArmRole.Direct, router.Loaded(model, record.Version) ?? loader.Load(record));
            if (forgotten == Volatile.Read(ref _forgotten))
            {
                _arms[(model, record.Version)] = _arms[(model, reference)] = arm;
            }

            return arm;
        }
    }

    /// <summary>Every version of every model that is in memory, or asleep and loaded again when it is asked for.</summary>
    public IEnumerable<LoadedModel> AllInMemory => router.Tables.SelectMany(table => new[] { table.Stable, table.Candidate, table.Shadow }).OfType<Arm>().Concat(_arms.Values).Select(arm => arm.Model)
        .Concat(folder.Models.Values.SelectMany(model => model.Versions.Values)).Distinct();

    /// <summary>Every version of a model that is in memory, whatever it does.</summary>
    public IEnumerable<LoadedModel> InMemory(string model)
    {
        var table = router.Find(model);
        return new[] { table?.Stable, table?.Candidate, table?.Shadow }.OfType<Arm>().Concat(_arms.Values.Where(arm => arm.Model.Model == model)).Select(arm => arm.Model)
            .Concat(folder.Models.TryGetValue(model, out var found) ? found.Versions.Values : []).Distinct();
    }

    /// <summary>Forgets a model's versions, after a stage or alias moved.</summary>
    public void Forget(string model)
    {
        Interlocked.Increment(ref _forgotten);
        foreach (var key in _arms.Keys.Where(key => key.Model == model))
        {
            _arms.TryRemove(key, out _);
        }
    }

    /// <summary>Forgets which versions a model's aliases and the newest one are, after one moved; the versions stay in memory.</summary>
    public void ForgetNames(string model)
    {
        Interlocked.Increment(ref _forgotten);
        foreach (var (key, arm) in _arms.Where(pair => pair.Key.Model == model))
        {
            if (key.Reference != arm.Version)
            {
                _arms.TryRemove(key, out _);
            }
        }
    }

    /// <summary>Status and sentence for a model without a route.</summary>
    public (int Status, string Message) WhyNotServed(string model) =>
        folder.Models.TryGetValue(model, out var found) && found.Fault is { } fault
            ? (StatusCodes.Status503ServiceUnavailable, $"Model '{model}' of the model repository is not ready: {fault}.")
            : registry.FindInStage(model, Stage.Production) is not null
            ? (StatusCodes.Status503ServiceUnavailable, $"Model '{model}' is not ready: its production version is being loaded or could not be loaded; GET /api/slipway/v1/deployments/{Uri.EscapeDataString(model)} says which, then try again.")
            : registry.ListVersions(model).Count > 0
                ? (StatusCodes.Status404NotFound, $"Model '{model}' has no version in production; promote one, or name a version in the path: /v2/models/{Uri.EscapeDataString(model)}/versions/<version>/infer.")
                : (StatusCodes.Status404NotFound, $"Request for unknown model: '{Quoted.Short(model)}' is not registered; GET /api/slipway/v1/models lists those that are.");
}
