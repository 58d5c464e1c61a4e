using System.Collections.Concurrent;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Drift;
using Slipway.Registry;
using Slipway.Storage.Blobs;

namespace Slipway.Monitoring;

/// <summary>The bins of each version, from the baseline it was registered with. A version never changes, so what was found is kept.</summary>
internal sealed class BaselineSource(Func<string, string, ModelBaseline?> find)
{
    private readonly ConcurrentDictionary<(string Model, string Version), BinLayout> _layouts = new();

    /// <summary>Null while the version is unknown, or was registered without a readable baseline.</summary>
    public BinLayout? Find(string model, string version)
    {
        if (!_layouts.TryGetValue((model, version), out var layout) && find(model, version) is { } baseline)
        {
            layout = _layouts.GetOrAdd((model, version), new BinLayout(version, baseline));
        }

        return layout;
    }

    public static BaselineSource Of(ModelRegistry registry, BlobStore blobs) => new((model, version) =>
    {
        if (registry.Find(model, version) is not { BaselineSha256: { } sha256 } || !blobs.Exists(sha256))
        {
            return null;
        }

        using var content = blobs.OpenRead(sha256);
        return JsonSerializer.Deserialize<ModelBaseline>(content, JsonDefaults.Options);
    });
}
