using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Pipelines.Definitions;
using Slipway.Storage.Blobs;

namespace Slipway.Pipelines.Runs;

/// <summary>What a stage's result depends on, part by part, so that a miss can say which part changed.</summary>
/// <param name="Code">Builds of the assemblies that do the work, helpers included.</param>
/// <param name="Settings">The stage's settings and the seed.</param>
/// <param name="Inputs">Name and digest of each input.</param>
/// <param name="Environment">Runtime, processor architecture and native libraries.</param>
/// <param name="Surroundings">What else the kind of work looks at; null when nothing.</param>
internal sealed record CacheKeyParts(
    string Code, string Settings, IReadOnlyDictionary<string, string> Inputs, string Environment, string? Surroundings)
{
    /// <summary>SHA-256 over all parts.</summary>
    [JsonIgnore]
    public string Key => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Json)));

    /// <summary>As stored beside the key.</summary>
    [JsonIgnore]
    public string Json => JsonSerializer.Serialize(this, JsonDefaults.Options);

    /// <summary>The names of the parts that differ from an earlier run's.</summary>
    public IReadOnlyList<string> ChangedSince(CacheKeyParts earlier)
    {
        var changed = new List<string>();
        void Compare(string part, string? now, string? then)
        {
            if (!string.Equals(now, then, StringComparison.Ordinal))
            {
                changed.Add(part);
            }
        }

        Compare("the code", Code, earlier.Code);
        Compare("the settings", Settings, earlier.Settings);
        foreach (var name in Inputs.Keys.Union(earlier.Inputs.Keys).Order(StringComparer.Ordinal))
        {
            Compare($"input '{name}'", Inputs.GetValueOrDefault(name), earlier.Inputs.GetValueOrDefault(name));
        }

        Compare("the environment", Environment, earlier.Environment);
        Compare("what it is compared with", Surroundings, earlier.Surroundings);
        return changed;
    }
}

/// <summary>The answer of a look into the cache.</summary>
/// <param name="Hit">The stage whose outputs can be used again; null on a miss.</param>
/// <param name="Note">Why, for the record.</param>
internal sealed record CacheAnswer(StoredStage? Hit, string Note);

/// <summary>Finds finished stages whose outputs can be used again.</summary>
internal sealed class StageCache(PipelineStore store, BlobStore blobs)
{
    /// <summary>The parts of a stage's key.</summary>
    public static CacheKeyParts PartsOf(PipelineDefinition pipeline, StageDefinition stage, IReadOnlyDictionary<string, PipelineArtifact> available) => new(
        RunningCode.Builds,
        $"{stage.Kind.Uses} {stage.SettingsJson} seed={pipeline.Seed}",
        stage.Inputs.ToDictionary(name => name, name => available[name].Sha256, StringComparer.Ordinal),
        RunningCode.Environment,
        stage.Kind.Surroundings(pipeline));

    /// <summary>Looks for a finished stage with the same key whose outputs are still there.</summary>
    public CacheAnswer Find(string pipeline, StageDefinition stage, CacheKeyParts parts)
    {
        foreach (var candidate in store.FinishedWithKey(parts.Key))
        {
            if (candidate.Outputs.FirstOrDefault(output => !blobs.Exists(output.Sha256)) is { } gone)
            {
                return new CacheAnswer(null, $"miss: run {candidate.RunId} has the same key, but its output '{gone.Name}' ({gone.Sha256}) is gone");
            }

            return new CacheAnswer(candidate, $"hit: same code, settings, inputs and environment as in run {candidate.RunId}");
        }

        if (store.NewestFinished(pipeline, stage.Name) is not { Parts: { } earlier } newest)
        {
            return new CacheAnswer(null, "miss: this stage has not finished before");
        }

        var changed = parts.ChangedSince(earlier);
        return new CacheAnswer(null, $"miss: since run {newest.RunId} {string.Join(", ", changed)} changed");
    }
}
