using System.Globalization;
using System.Security.Cryptography;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Native.Files;
using Slipway.Native.Onnx;
using Slipway.Registry.Formats;
using Slipway.Serving.Protocol;
using Slipway.Serving.Queues;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Folder;

/// <summary>One model of the folder: <c>name/1/model.onnx</c>, <c>name/2/model.onnx</c>, and perhaps <c>name/config.pbtxt</c> and <c>name/serving.yaml</c>.</summary>
/// <param name="Versions">Those that the configuration lets be served, by number.</param>
/// <param name="Fault">Why it cannot be served, without a full stop; null when it is.</param>
internal sealed record FolderModel(IReadOnlyDictionary<long, LoadedModel> Versions, string? Fault)
{
    public const string ConfigName = "config.pbtxt";
    public const string ServingName = "serving.yaml";
    private const string DefaultFile = "model.onnx";

    // What a configuration may say that changes nothing here, or is told to be left aside.
    private static readonly string[] Understood = ["name", "platform", "backend", "max_batch_size", "input", "output", "version_policy", "default_model_filename", "instance_group", "dynamic_batching"];
    private static readonly string[] Refused = ["sequence_batching", "ensemble_scheduling", "model_transaction_policy", "cc_model_filenames"];

    private static readonly Dictionary<long, LoadedModel> None = [];

    /// <summary>Not asked for yet, or taken out again.</summary>
    public static FolderModel Unloaded { get; } = new(None, "it was unloaded");

    /// <summary>The server has started and has not come to it yet.</summary>
    public static FolderModel Loading { get; } = new(None, "it is being loaded");

    /// <summary>Reads a model's folder.</summary>
    public static FolderModel Load(string folder, ILogger logger)
    {
        var name = Path.GetFileName(folder);
        try
        {
            var file = Path.Combine(folder, ConfigName);
            var config = File.Exists(file) ? ConfigText.Parse(File.ReadAllText(file)) : ConfigText.Parse("");
            CheckSettings(name, config, logger);
            var versions = Directory.EnumerateDirectories(folder).Select(Path.GetFileName)
                .Select(text => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number.ToString(CultureInfo.InvariantCulture) == text ? number : 0) // 01 is no other 1.
                .Where(number => number > 0).Order().ToList();
            var served = Choose(config, versions);
            if (served.Count == 0)
            {
                return new FolderModel(None, versions.Count == 0 ? "it has no version: no subfolder is named by a number, such as 1" : "its version_policy names no version that is there");
            }

            var serving = ReadServing(Path.Combine(folder, ServingName));
            var loaded = served.ToDictionary(number => number, number => LoadVersion(folder, name, number, config, logger));
            if (serving is not null)
            {
                foreach (var version in loaded.Values)
                {
                    version.Use(serving);
                }
            }

            return new FolderModel(loaded, null);
        }
        catch (SlipwayException e)
        {
            return new FolderModel(None, e.Message.TrimEnd('.'));
        }
        catch (Exception e) when (e is FormatException or OnnxException or IOException or UnauthorizedAccessException)
        {
            return new FolderModel(None, (e is FormatException ? $"{ConfigName}: {e.Message}" : e.Message).TrimEnd('.').Split('\n')[0]);
        }
        catch (Exception e)
        {
            // Whatever one folder holds, the others are served.
            logger.LogError(e, "Model {Model} of the repository failed to load", name);
            return new FolderModel(None, e is OutOfMemoryException ? "there is not enough memory to load it" : "loading it failed; the server's log says why");
        }
    }

    // As `slipway export` leaves it. The folder names the model, whatever the file was applied to where it comes from.
    private static ServingSettings? ReadServing(string file)
    {
        try
        {
            return File.Exists(file) ? ServingKind.Parse(DefinitionYaml.Parse(File.ReadAllText(file))).Settings : null;
        }
        catch (SlipwayException e)
        {
            throw new SlipwayException(e.Code, $"{ServingName}: {e.Message}", e);
        }
    }

    private static void CheckSettings(string name, ConfigText config, ILogger logger)
    {
        if (config.Text("name") is { Length: > 0 } given && given != name)
        {
            throw new FormatException($"'name' is '{given}', but the folder is '{name}'");
        }

        if (config.Text("platform") is { Length: > 0 } platform && platform != "onnxruntime_onnx")
        {
            throw new FormatException($"'platform' is '{platform}'; only onnxruntime_onnx is served");
        }

        if (config.Text("backend") is { Length: > 0 } backend && backend != "onnxruntime")
        {
            throw new FormatException($"'backend' is '{backend}'; only onnxruntime is served");
        }

        if (config.Names.FirstOrDefault(Refused.Contains) is { } refused)
        {
            throw new FormatException($"'{refused}' is not built");
        }

        foreach (var ignored in config.Names.Where(setting => !Understood.Contains(setting)))
        {
            logger.LogWarning("Model {Model}: {Setting} of its configuration changes nothing here", name, ignored);
        }
    }

    // As Triton: the latest one unless the policy says otherwise.
    private static List<long> Choose(ConfigText config, List<long> versions)
    {
        var policy = config.Messages("version_policy").LastOrDefault();
        if (policy?.Messages("specific").LastOrDefault() is { } specific)
        {
            return [.. versions.Intersect(specific.Numbers("versions"))];
        }

        var count = policy is null ? 1
            : policy.Messages("all").Any() ? versions.Count
            : policy.Messages("latest").LastOrDefault()?.Numbers("num_versions") is [.., var latest] ? latest : 1;
        return [.. versions.TakeLast((int)Math.Clamp(count, 0, versions.Count))];
    }

    private static LoadedModel LoadVersion(string folder, string name, long number, ConfigText config, ILogger logger)
    {
        var file = config.Text("default_model_filename") is { Length: > 0 } given ? given : DefaultFile;
        if (file != Path.GetFileName(file) || file is "." or "..")
        {
            throw new FormatException($"'default_model_filename' is '{file}'; it must be the name of a file in the version's folder");
        }

        var version = number.ToString(CultureInfo.InvariantCulture);
        var path = Path.Combine(folder, version, file);
        if (!File.Exists(path))
        {
            throw new FormatException($"version {version} has no file {file}");
        }

        string sha256;
        using (var content = File.OpenRead(path))
        {
            // Tensors beside it may be others by now, and so the same content is tried with each folder's.
            sha256 = Convert.ToHexStringLower(SHA256.HashData(content));
            if (ModelTrial.FindFaultAsync(path, $"{path} {sha256}", CancellationToken.None).GetAwaiter().GetResult() is { } fault)
            {
                throw new OnnxException(OnnxErrorCode.Fail, $"version {version} was tried in a process of its own, and {fault}");
            }
        }

        var session = OnnxSession.Load(path);
        try
        {
            var idle = new IdleSession(session, $"Version {version} of '{name}'", () => LoadAgain(name, version, path, sha256), logger);
            var tensors = new OnnxTensors(session, idle);
            var batch = config.Numbers("max_batch_size") is [.., var last] ? last : 0;
            var model = new LoadedModel(name, version, tensors) { BatchMax = batch is >= 0 and <= int.MaxValue ? (int)batch : throw new FormatException("'max_batch_size' must be 0 or more"), Idle = idle };
            model.Queue.Settings = Queueing(config, model.BatchMax);
            CheckTensors("input", config, tensors.Inputs, model.BatchMax);
            CheckTensors("output", config, tensors.Outputs, model.BatchMax);
            tensors.WarmUp();
            return model;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    // What answers has to be what was tried and checked: a file put in its place is served once the model is loaded by name.
    private static OnnxSession LoadAgain(string name, string version, string path, string sha256)
    {
        try
        {
            using var content = FileContent.Read(path);
            if (Convert.ToHexStringLower(SHA256.HashData(content.Span)) != sha256)
            {
                throw new SlipwayException(ErrorCode.Unavailable, $"Version {version} of '{name}' could not be loaded again: its file has been changed since it was loaded; load the model from the repository again.");
            }

            var session = OnnxSession.Load(content.Span);
            new OnnxTensors(session).WarmUp();
            return session;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SlipwayException(ErrorCode.Unavailable, $"Version {version} of '{name}' could not be loaded again: {e.Message}", e);
        }
    }

    /// <summary>Instances and dynamic batching, as Triton's configuration has them. Preferred sizes change nothing: what waits goes together.</summary>
    private static QueueSettings Queueing(ConfigText config, int batchMax)
    {
        var settings = QueueSettings.Default;
        if (config.Messages("instance_group").LastOrDefault() is { } group && group.Numbers("count") is [.., var count])
        {
            settings = settings with { Instances = count is >= 1 and <= 1024 ? (int)count : throw new FormatException("'instance_group.count' must be from 1 to 1024") };
        }

        if (config.Messages("dynamic_batching").LastOrDefault() is not { } batching || batchMax <= 1)
        {
            return settings;
        }

        var delayUs = batching.Numbers("max_queue_delay_microseconds") is [.., var delay] ? delay : 0;
        var policy = batching.Messages("default_queue_policy").LastOrDefault();
        var waiting = policy?.Numbers("max_queue_size") is [.., > 0 and var size] ? size : settings.WaitingMax;
        var timeoutUs = policy?.Numbers("default_timeout_microseconds") is [.., > 0 and var timeout] ? timeout : (long)settings.WaitMax.TotalMicroseconds;
        if (delayUs is < 0 or > 60_000_000 || waiting > 1_000_000 || timeoutUs > 3_600_000_000)
        {
            throw new FormatException("'dynamic_batching' has a delay over a minute, a queue over a million or a timeout over an hour");
        }

        return settings with
        {
            BatchRowsMax = batchMax,
            BatchDelay = TimeSpan.FromMilliseconds(Math.Round(delayUs / 1000d)),
            WaitingMax = (int)waiting,
            WaitMax = TimeSpan.FromMicroseconds(timeoutUs),
        };
    }

    // What the configuration says of the tensors has to be what the graph says; where it says nothing, the graph does.
    private static void CheckTensors(string kind, ConfigText config, IReadOnlyList<Contracts.Serving.ContractTensor> actual, int batchMax)
    {
        if (batchMax > 0 && actual.FirstOrDefault(tensor => tensor.Shape is not [-1, ..]) is { } @fixed)
        {
            throw new FormatException($"'max_batch_size' is {batchMax}, but {kind} '{@fixed.Name}' is {TensorReader.Shown(@fixed.Shape)}, whose first dimension does not vary; set it to 0");
        }

        foreach (var declared in config.Messages(kind))
        {
            var name = declared.Text("name");
            var tensor = actual.FirstOrDefault(tensor => tensor.Name == name)
                ?? throw new FormatException($"{kind} '{name}' is not in the graph, which has {string.Join(", ", actual.Select(tensor => $"'{tensor.Name}'"))}");
            var type = declared.Text("data_type");
            if (type is not null && type != ConfigType(tensor.Datatype))
            {
                throw new FormatException($"{kind} '{name}' has data_type {type}, but the graph has {ConfigType(tensor.Datatype)}");
            }

            long[] dims = [.. batchMax > 0 ? (long[])[-1] : [], .. declared.Numbers("dims")];
            if (declared.Texts("dims").Any() && (dims.Length != tensor.Shape.Count || dims.Zip(tensor.Shape).Any(pair => pair is { First: >= 0, Second: >= 0 } && pair.First != pair.Second)))
            {
                throw new FormatException($"{kind} '{name}' has {TensorReader.Shown(dims)} with its batch, but the graph has {TensorReader.Shown(tensor.Shape)}");
            }
        }
    }

    /// <summary>Triton's name of a datatype in configurations.</summary>
    public static string ConfigType(string datatype) => datatype == "BYTES" ? "TYPE_STRING" : $"TYPE_{datatype}";
}
