using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Slipway.Client;
using Slipway.Client.Registry;
using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway registry register NAME PATH</c>: sends a model's files and registers them as one version.</summary>
internal static class RegisterCommand
{
    private static readonly TimeSpan BenchmarkLimit = TimeSpan.FromSeconds(5);

    public static Command Create(ConnectionOptions connection)
    {
        var model = new Argument<string>("model") { Description = "The model's name; made with its first version." };
        var path = new Argument<string?>("path") { Arity = ArgumentArity.ZeroOrOne, Description = "The model file, or a folder that is registered whole; none for a model that its provider runs." };
        var bump = new Option<string>("--bump") { Description = "auto, major, minor, patch, or the version itself.", DefaultValueFactory = _ => "auto" };
        var runId = new Option<string?>("--run-id") { Description = "The run that produced it." };
        var signature = new Option<FileInfo?>("--signature") { Description = "JSON: {\"inputs\": [{\"name\", \"type\", \"shape\"}], \"outputs\": […]}; taken from an ONNX graph when left out." };
        var environment = new Option<FileInfo?>("--environment") { Description = "The environment file, such as requirements.txt." };
        var features = new Option<FileInfo?>("--features") { Description = "JSON: {\"service\", \"service_version\", \"features\": [{\"name\", \"type\"}], \"view_versions\"}, or just the list of features." };
        var baseline = new Option<FileInfo?>("--baseline") { Description = "The training baseline that monitors compare with." };
        var evaluation = new Option<FileInfo?>("--evaluation") { Description = "The evaluation report." };
        var predictions = new Option<FileInfo?>("--predictions") { Description = "CSV label,score of the report's test rows, from which differences get intervals." };
        var datasets = new Option<string[]>("--dataset") { Description = "A dataset version it was trained on, as name@version. Repeatable." };
        var parent = new Option<string?>("--parent") { Description = "The version it descends from; the newest when left out." };
        var description = new Option<string>("--description") { Description = "What the version is for.", DefaultValueFactory = _ => "" };
        var owner = new Option<string?>("--owner") { Description = "Who answers for it; you when left out." };
        var tags = new Option<string[]>("--tag") { Description = "A label, as key=value. Repeatable." };
        var format = new Option<ModelFormat?>("--format") { Description = "What the files should be: onnx, xgboost, lightgbm, pickle or other; found out when left out." };
        var sample = new Option<FileInfo?>("--sample") { Description = "CSV of feature rows with a header, to check a conversion to ONNX with." };
        var commit = new Option<string?>("--commit") { Description = "The source commit; that of the checkout you are in when left out." };
        var kind = new Option<ModelKind>("--kind") { Description = "Of a model without files: foundation, fine-tuned or saas.", DefaultValueFactory = _ => ModelKind.Foundation };
        kind.CustomParser = argument => ParseKind(argument);
        var provider = new Option<string?>("--provider") { Description = "Who runs a model without files." };
        var modelId = new Option<string?>("--model-id") { Description = "The provider's name for it." };
        var licence = new Option<string?>("--licence") { Description = "Its terms, as an SPDX identifier or a name." };
        var terms = new Option<string?>("--terms-url") { Description = "Where its terms are." };
        var command = new Command("register", "Send a model's files and register them as one version: files, metadata, signature, environment and features together or not at all.")
        {
            model, path, bump, runId, signature, environment, features, baseline, evaluation, predictions, datasets, parent, description, owner, tags, format, sample, commit, kind, provider, modelId, licence, terms,
        };
        command.SetAction(async (args, ct) =>
        {
            var name = args.GetRequiredValue(model);
            var external = args.GetValue(provider) is { } runs
                ? new ExternalModel(args.GetValue(kind), runs, args.GetValue(modelId) ?? "", args.GetValue(licence), args.GetValue(terms))
                : null;
            if (external is null == args.GetValue(path) is null)
            {
                throw Usage("Give the path of the model's files, or --provider and --model-id for a model without files.");
            }

            var declared = args.GetValue(signature) is { } signatureFile ? await ReadAsync<ModelSignature>("--signature", signatureFile, ct) : null;
            var schema = args.GetValue(features) is { } featuresFile ? await ReadFeaturesAsync(featuresFile, ct) : null;
            using var client = connection.Connect(args);
            var files = external is null ? ModelFiles.List(args.GetRequiredValue(path)!) : [];
            var parts = new List<ModelFile>(files);
            int? Part(FileInfo? file)
            {
                if (file is null)
                {
                    return null;
                }

                parts.Add(new ModelFile(file.Name, file.Exists ? file : throw Usage($"There is no file '{file.FullName}'.")));
                return parts.Count - 1;
            }

            var (environmentAt, baselineAt, sampleAt, predictionsAt) =
                (Part(args.GetValue(environment)), Part(args.GetValue(baseline)), Part(args.GetValue(sample)), Part(args.GetValue(predictions)));
            var sent = await SendAsync(client, parts, ct);
            string? Digest(int? at) => at is { } index ? sent[index].Sha256 : null;
            var report = await SendReportAsync(client, args.GetValue(evaluation), Digest(predictionsAt), ct);
            var trainedOn = await FindDatasetsAsync(client, args.GetValue(datasets) ?? [], ct);
            var source = args.GetValue(commit) is null ? RunEnvironment.Capture(Environment.CurrentDirectory, null).Git : null;
            var record = await client.PostAsync<ModelVersionRecord>($"models/{Uri.EscapeDataString(name)}/versions", new RegisterVersion(
                name, args.GetValue(bump)!, args.GetValue(runId), [.. sent.Take(files.Count)], declared, schema, Digest(baselineAt), Digest(environmentAt), report, null, trainedOn)
            {
                Commit = args.GetValue(commit) ?? source?.Commit,
                ParentVersion = args.GetValue(parent),
                Description = args.GetValue(description) ?? "",
                Owner = args.GetValue(owner),
                Tags = Tags(args.GetValue(tags) ?? [], source),
                Format = args.GetValue(format),
                SampleSha256 = Digest(sampleAt),
                External = external,
            }, ct);
            record = await WithBenchmarkAsync(client, record, ct);
            return connection.Print(args, record, console => Draw(console, record));
        });
        return command;
    }

    private static async Task<IReadOnlyList<DatasetRef>> FindDatasetsAsync(SlipwayClient client, string[] names, CancellationToken ct)
    {
        var found = new List<DatasetRef>();
        foreach (var name in names)
        {
            if (name.Split('@') is not [{ Length: > 0 } dataset, var number] || !int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var version))
            {
                throw Usage($"--dataset must be name@version, such as flights@1, not '{name}'.");
            }

            var stored = await client.GetAsync<DatasetVersion>($"datasets/{Uri.EscapeDataString(dataset)}/versions/{version}", ct);
            found.Add(new DatasetRef(stored.Name, stored.Version, stored.Sha256));
        }

        return found;
    }

    internal static ModelKind ParseKind(System.CommandLine.Parsing.ArgumentResult argument)
    {
        if (argument.Tokens is [{ Value: var text }] && Enum.TryParse<ModelKind>(text.Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal), ignoreCase: true, out var kind))
        {
            return kind;
        }

        argument.AddError("--kind must be trained, fine-tuned, foundation or saas.");
        return default;
    }

    internal static void Draw(IAnsiConsole console, ModelVersionRecord record)
    {
        console.MarkupLineInterpolated($"Registered [bold]{record.Model} {record.Version}[/] ({record.Bump}: {record.BumpReason})");
        foreach (var line in ProfileLines.Of(record))
        {
            console.WriteLine($"  {line}");
        }
    }

    internal static async Task<IReadOnlyList<ArtifactFile>> SendAsync(SlipwayClient client, List<ModelFile> files, CancellationToken ct)
    {
        var total = files.Sum(file => file.File.Length);
        IReadOnlyList<ArtifactFile> sent = [];
        await ConnectionOptions.ProgressConsole.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new TransferSpeedColumn()).StartAsync(async progress =>
        {
            var task = progress.AddTask($"Send {files.Count} file{(files.Count == 1 ? "" : "s")}", maxValue: Math.Max(1, total));
            sent = await client.UploadFilesAsync(files, new Direct(done => task.Value = done), ct);
            task.Value = task.MaxValue;
        });
        return sent;
    }

    private static async Task<string?> SendReportAsync(SlipwayClient client, FileInfo? file, string? predictions, CancellationToken ct)
    {
        if (file is null)
        {
            return predictions is null ? null : throw Usage("--predictions needs the --evaluation report that it belongs to.");
        }

        var report = await ReadAsync<EvaluationReport>("--evaluation", file, ct) with { PredictionsSha256 = predictions };
        using var content = new MemoryStream(JsonSerializer.SerializeToUtf8Bytes(report, JsonDefaults.Options));
        return (await client.UploadAsync<StoredBlob>("blobs", content, null, ct)).Sha256;
    }

    // The server measures beside its requests; a figure that takes long is shown by 'slipway registry info' later.
    private static async Task<ModelVersionRecord> WithBenchmarkAsync(SlipwayClient client, ModelVersionRecord record, CancellationToken ct)
    {
        var path = $"models/{Uri.EscapeDataString(record.Model)}/versions/{record.Version}";
        for (var started = TimeProvider.System.GetTimestamp(); record is { ServedPath: not null, Format: not (ModelFormat.Remote or ModelFormat.Chain), Profile.Benchmark: null } && TimeProvider.System.GetElapsedTime(started) < BenchmarkLimit;)
        {
            await Task.Delay(100, ct);
            record = await client.GetAsync<ModelVersionRecord>(path, ct);
        }

        return record;
    }

    private static async Task<FeatureSchema> ReadFeaturesAsync(FileInfo file, CancellationToken ct)
    {
        var json = await ReadAsync<JsonElement>("--features", file, ct);
        try
        {
            return json.ValueKind is JsonValueKind.Array
                ? new FeatureSchema("", 0, json.Deserialize<List<FeatureField>>(JsonDefaults.Options)!, [])
                : json.Deserialize<FeatureSchema>(JsonDefaults.Options)!;
        }
        catch (JsonException e)
        {
            throw Usage($"--features '{file.FullName}' is not a feature schema: {e.Message}");
        }
    }

    private static async Task<T> ReadAsync<T>(string option, FileInfo file, CancellationToken ct)
    {
        if (!file.Exists)
        {
            throw Usage($"There is no file '{file.FullName}' for {option}.");
        }

        try
        {
            await using var content = file.OpenRead();
            return await JsonSerializer.DeserializeAsync<T>(content, JsonDefaults.Options, ct) ?? throw Usage($"{option} '{file.FullName}' holds null.");
        }
        catch (JsonException e)
        {
            throw Usage($"{option} '{file.FullName}' is not what was expected: {e.Message}");
        }
    }

    private static Dictionary<string, string> Tags(string[] given, GitState? source)
    {
        var tags = new Dictionary<string, string>(StringComparer.Ordinal);
        if (source?.RepositoryUrl is { } repository)
        {
            tags["git.repository"] = repository;
        }

        if (source?.Dirty is true)
        {
            tags["git.dirty"] = "true"; // The commit alone would not bring this model back.
        }

        foreach (var tag in given)
        {
            var separator = tag.IndexOf('=', StringComparison.Ordinal);
            tags[separator > 0 ? tag[..separator] : throw Usage($"--tag must be key=value, not '{tag}'.")] = tag[(separator + 1)..];
        }

        return tags;
    }

    private static SlipwayException Usage(string message) => new(ErrorCode.InvalidArgument, message);

    private sealed class Direct(Action<long> report) : IProgress<long>
    {
        public void Report(long value) => report(value);
    }
}
