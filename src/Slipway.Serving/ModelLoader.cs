using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Registry;
using Slipway.Native.Files;
using Slipway.Native.Onnx;
using Slipway.Registry;
using Slipway.Registry.Formats;
using Slipway.Serving.Remote;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;

namespace Slipway.Serving;

/// <summary>Makes a registered version ready: its files checked against their digests, the graph against the signature, one run to warm up.</summary>
internal sealed class ModelLoader(
    ModelRegistry registry, BlobStore blobs, FeatureServing features, DefinitionStore definitions, RemoteHosts hosts, RemoteClient remote, TimeProvider clock, ILogger<ModelLoader> logger)
{
    /// <summary>Loads a version by name.</summary>
    /// <exception cref="SlipwayException">NotFound; Unavailable: a file is gone or changed, or the model is not one this server can run.</exception>
    public LoadedModel Load(string model, string version) => Load(Find(model, version));

    private ModelVersionRecord Find(string model, string version) =>
        registry.Find(model, version) ?? throw new SlipwayException(ErrorCode.NotFound, $"Model '{model}' has no version '{version}'.");

    /// <summary>Loads a version.</summary>
    /// <exception cref="SlipwayException">Unavailable: a file is gone or changed, or the model is not one this server can run.</exception>
    public LoadedModel Load(ModelVersionRecord version) => Load(version, []);

    // A version that several steps run is loaded once.
    private LoadedModel Load(ModelVersionRecord version, Dictionary<(string, string), LoadedModel> parts)
    {
        if (version is { Format: ModelFormat.Remote, ServedSha256: { } description })
        {
            return Prepare(LoadRemote(version, description));
        }

        if (version is { Format: ModelFormat.Chain, ServedSha256: { } chain })
        {
            return Prepare(LoadChain(version, chain, parts));
        }

        var names = version.FeatureSchema.Features.Select(feature => feature.Name).ToArray();
        var file = version.ServedSha256 ?? throw Unusable(version, "it holds no model file that this server can run; register an ONNX export of it");
        using var content = Open(version, "model file", file);

        // A benchmark is such a trial. What it failed on without a crash may have been the values it made up, or a file that is back by now.
        var fault = version.Profile?.Benchmark is { } benchmark && (benchmark.Fault is null || benchmark.IsCrash) ? benchmark.Fault : ModelTrial.FindFaultAsync(blobs.PathOf(file), file, CancellationToken.None).GetAwaiter().GetResult();
        if (fault is not null)
        {
            throw Unusable(version, $"it was tried in a process of its own, and {fault}");
        }

        var session = LoadSession(version, content.Span);
        try
        {
            if (!IsTable(version, session, names))
            {
                var held = new IdleSession(session, $"Version {version.Version} of '{version.Model}'", () => Warm(LoadAgain(version, file), again => new OnnxTensors(again).WarmUp()), logger);
                var tensors = new OnnxTensors(session, held);
                tensors.WarmUp();
                return Prepare(new LoadedModel(version.Model, version.Version, tensors) { Idle = held });
            }

            var output = session.Outputs[0];
            var baseline = version.BaselineSha256 is { } sha256 ? JsonSerializer.Deserialize<ModelBaseline>(ReadVerified(version, "baseline", sha256), JsonDefaults.Options) : null;
            void Run(OnnxSession one) => one.RunMatrix(new float[names.Length], 1, new float[1]);
            Run(session);
            var idle = new IdleSession(session, $"Version {version.Version} of '{version.Model}'", () => Warm(LoadAgain(version, file), Run), logger);
            return Prepare(new LoadedModel(version.Model, version.Version, names, idle.RunMatrix, baseline, features.InputsOf(version), output.Name, session.Inputs[0].Name) { Idle = idle });
        }
        catch (Exception e) when (e is OnnxException or JsonException)
        {
            session.Dispose();
            throw Unusable(version, e is OnnxException ? $"ONNX Runtime cannot run it: {e.Message.TrimEnd('.')}" : "its baseline is not a training baseline", e);
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    private OnnxSession LoadAgain(ModelVersionRecord version, string file)
    {
        using var content = Open(version, "model file", file);
        return LoadSession(version, content.Span);
    }

    private static OnnxSession LoadSession(ModelVersionRecord version, ReadOnlySpan<byte> bytes)
    {
        try
        {
            return OnnxSession.Load(bytes);
        }
        catch (OnnxException e)
        {
            throw Unusable(version, $"ONNX Runtime refuses it: {e.Message}", e);
        }
    }

    private static OnnxSession Warm(OnnxSession session, Action<OnnxSession> run)
    {
        try
        {
            run(session);
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    // It need not answer now: whether it does is found out by whoever asks it.
    private LoadedModel LoadRemote(ModelVersionRecord version, string description)
    {
        var file = RemoteModelFile.Parse(Encoding.UTF8.GetString(ReadVerified(version, "description", description)));
        if (!hosts.TryFind(file.Url, out var token))
        {
            throw Unusable(version, $"it runs on {file.Url.Host}:{file.Url.Port}, where this server may not send anything; start it with --remote-host {file.Url.Host}:{file.Url.Port}");
        }

        var backend = new RemoteModel(file, token, remote.Http, clock);
        var names = version.FeatureSchema.Features.Select(feature => feature.Name).ToArray();
        if (names.Length == 0)
        {
            return new LoadedModel(version.Model, version.Version, backend);
        }

        if (file.Signature is not { Inputs: [{ Type: "FP32", Shape: [-1, var width] } input], Outputs: [{ Type: "FP32", Shape: [-1] or [-1, 1] } output] } || width != names.Length)
        {
            throw Unusable(version, $"its feature schema has {names.Length} features, which wants one input FP32 [-1, {names.Length}] and one output FP32 [-1, 1] in its file");
        }

        var baseline = version.BaselineSha256 is { } sha256 ? JsonSerializer.Deserialize<ModelBaseline>(ReadVerified(version, "baseline", sha256), JsonDefaults.Options) : null;
        return new LoadedModel(
            version.Model, version.Version, names, (_, _, _) => throw new UnreachableException("A remote model is waited for."), baseline, features.InputsOf(version), output.Name, input.Name)
        { Backend = backend };
    }

    private LoadedModel LoadPart(string model, string version, Dictionary<(string, string), LoadedModel> parts)
    {
        if (!parts.TryGetValue((model, version), out var loaded))
        {
            parts[(model, version)] = loaded = Load(Find(model, version), parts);
        }

        return loaded;
    }

    private LoadedModel LoadChain(ModelVersionRecord version, string description, Dictionary<(string, string), LoadedModel> parts)
    {
        var file = ModelChainFile.Parse(Encoding.UTF8.GetString(ReadVerified(version, "description", description)));
        try
        {
            return new LoadedModel(version.Model, version.Version, new ChainModel(file, [.. file.Steps.Select(step => step.Model is { } model ? LoadPart(model, step.Version!, parts) : null)]));
        }
        catch (Exception e) when (e is SlipwayException or OnnxException)
        {
            throw Unusable(version, e.Message.TrimEnd('.'), e);
        }
    }

    private LoadedModel Prepare(LoadedModel loaded)
    {
        Notify(loaded);
        loaded.UseDefinitions(definitions);
        return loaded;
    }

    /// <summary>Sets what callers are told of the version's deprecation now.</summary>
    public void Notify(LoadedModel loaded) => loaded.Notice = DeprecationNotice.Of(registry.FindDeprecation(loaded.Model, loaded.Version));

    // One table of features in, one value a row out: the shape of most models here, which has the short way and the feature store.
    // Features that somebody declared must fit the graph; those that registration guessed from it are dropped when they do not.
    private static bool IsTable(ModelVersionRecord version, OnnxSession session, string[] names)
    {
        if (names.Length == 0)
        {
            return false;
        }

        var declared = version.FeatureSchema.Service.Length > 0;
        var input = session.Inputs.Count == 1 ? session.Inputs[0] : null;
        if (input is not { ElementType: OnnxElementType.Float, Shape.Count: 2 } || (input.Shape[1] >= 0 && input.Shape[1] != names.Length))
        {
            var given = input is null ? $"it has {session.Inputs.Count} inputs" : $"its input is {input.ElementType} [{string.Join(", ", input.Shape)}]";
            return declared ? throw Unusable(version, $"{given} instead of Float [-1, {names.Length}], one column per feature of its schema") : false;
        }

        var output = session.Outputs[0];
        return output is { ElementType: OnnxElementType.Float, Shape: [_] or [_, 1 or -1] } && (declared || session.Outputs.Count == 1)
            || (declared ? throw Unusable(version, $"its first output is {output.ElementType} [{string.Join(", ", output.Shape)}] instead of Float [-1, 1]") : false);
    }

    private byte[] ReadVerified(ModelVersionRecord version, string what, string sha256)
    {
        using var content = Open(version, what, sha256);
        return content.Span.ToArray();
    }

    private FileContent Open(ModelVersionRecord version, string what, string sha256)
    {
        FileContent content;
        try
        {
            content = FileContent.Read(blobs.PathOf(sha256));
        }
        catch (SlipwayException e)
        {
            throw Unusable(version, $"its {what} is gone: {e.Message}", e);
        }

        if (Convert.ToHexStringLower(SHA256.HashData(content.Span)) == sha256)
        {
            return content;
        }

        content.Dispose();
        throw Unusable(version, $"its {what} has been changed on disk: the content no longer has SHA-256 {sha256}");
    }

    private static SlipwayException Unusable(ModelVersionRecord version, string why, Exception? inner = null)
    {
        var message = $"Version {version.Version} of '{version.Model}' cannot be served: {why}.";
        return inner is null ? new SlipwayException(ErrorCode.Unavailable, message) : new SlipwayException(ErrorCode.Unavailable, message, inner);
    }
}
