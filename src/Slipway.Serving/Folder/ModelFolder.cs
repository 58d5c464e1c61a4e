using System.Collections.Concurrent;
using System.Globalization;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Registry;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Folder;

/// <summary>Serves a folder of models in Triton's layout without registering them: all at the start, and each again when it is asked for.</summary>
internal sealed class ModelFolder(ServingOptions options, ModelRouter router, ModelRegistry registry, DefinitionStore definitions, ILogger<ModelFolder> logger) : BackgroundService
{
    private readonly ConcurrentDictionary<string, FolderModel> _models = new(StringComparer.Ordinal);
    private readonly Lock _loading = new();
    private volatile bool _started = options.ModelRepository is null;

    /// <summary>Whether every model of the folder answers.</summary>
    public bool IsReady => _started && _models.Values.All(model => model.Fault is null || model == FolderModel.Unloaded);

    /// <summary>The models by name.</summary>
    public IReadOnlyDictionary<string, FolderModel> Models => _models;

    /// <summary>A version by number; null when the folder has none that is served.</summary>
    public LoadedModel? Find(string model, string version) =>
        _models.TryGetValue(model, out var found) && long.TryParse(version, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? found.Versions.GetValueOrDefault(number) : null;

    /// <summary>Loads a model, or loads it again.</summary>
    /// <returns>Why it cannot be served, without a full stop; null when it is. What was served before goes on then.</returns>
    public string? Load(string name)
    {
        lock (_loading)
        {
            if (FolderOf(name) is not { } folder)
            {
                return "it is not in the model repository";
            }

            var loaded = registry.ListVersions(name).Count > 0 ? new FolderModel(FolderModel.Unloaded.Versions, "a registered model bears this name; rename the folder") : FolderModel.Load(folder, logger);
            if (loaded.Fault is { } fault)
            {
                logger.LogError("Model {Model} of the repository cannot be served: {Fault}", name, fault);
                _models.AddOrUpdate(name, loaded, (_, before) => before.Fault is null ? before : loaded);
                return fault;
            }

            foreach (var version in loaded.Versions.Values)
            {
                // What is applied to the model on this server holds for it too, over what its folder says.
                version.UseDefinitions(definitions, keepsQueue: true);
            }

            // In this order, and the other way round below: whoever finds no route finds why, and is not told that there is no such model.
            router.SetStable(loaded.Versions[loaded.Versions.Keys.Max()], reason: "the model repository has it");
            _models[name] = loaded;
            return null;
        }
    }

    /// <summary>Takes a model out of service.</summary>
    /// <returns>False when the folder has none of this name.</returns>
    public bool Unload(string name)
    {
        lock (_loading)
        {
            if (!_models.TryGetValue(name, out var before))
            {
                return false;
            }

            _models[name] = FolderModel.Unloaded;
            if (before.Fault is null)
            {
                router.Remove(name, "it was unloaded over the protocol");
            }

            return true;
        }
    }

    /// <summary>Names the models before the first request can come: whoever asks for one is told to come again, and not that there is none.</summary>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        foreach (var name in options.ModelRepository is { } root ? Names(root) : [])
        {
            _models[name] = FolderModel.Loading;
        }

        return base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await Task.Yield(); // The host goes on starting while models load; /v2/health/ready says when they have.
        if (options.ModelRepository is { } root)
        {
            foreach (var name in Names(root))
            {
                stoppingToken.ThrowIfCancellationRequested();
                try
                {
                    Load(name);
                }
                catch (Exception e)
                {
                    // An exception would end the server here, and with it all models that are well.
                    logger.LogError(e, "Model {Model} of the repository failed to load", name);
                    _models[name] = new FolderModel(FolderModel.Unloaded.Versions, "loading it failed; the server's log says why");
                }
            }

            _started = true;
        }
    }

    // A name is looked for among those that are there: no request makes a path.
    private string? FolderOf(string name) => options.ModelRepository is { } root && Names(root).Contains(name, StringComparer.Ordinal) ? Path.Combine(root, name) : null;

    private static IEnumerable<string> Names(string root) => Directory.EnumerateDirectories(root).Select(folder => Path.GetFileName(folder)!).Where(name => name[0] != '.').Order(StringComparer.Ordinal);
}
