using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Datasets;
using Slipway.Registry.Mlflow;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Registry.External;

/// <summary>What a version is made of, copied here: its files as blobs, its run as a run of this server.</summary>
/// <param name="Files">As blobs.</param>
/// <param name="Datasets">Versions of this server's datasets that the run used.</param>
/// <param name="OtherDatasets">Other datasets that it used, each <c>name@digest</c>.</param>
/// <param name="Missing">What could not be copied; empty when all was.</param>
internal sealed record VersionFacts(
    IReadOnlyList<ArtifactFile> Files, ModelFormat Format, string? ServedPath, ModelSignature Signature, FeatureSchema FeatureSchema, string? BaselineSha256,
    string? EnvironmentSha256, string? EvaluationReportSha256, IReadOnlyList<DatasetRef> Datasets, IReadOnlyList<string> OtherDatasets, string? Commit,
    string? RunId, string? RunUser, string Missing);

/// <summary>Copies files and runs of the MLflow server.</summary>
internal sealed class VersionFactsReader(
    MlflowServer server, ExternalRegistryOptions options, BlobStore blobs, RunIntake runs, DatasetStore? datasets = null)
{
    private const int FilesMax = 2000;
    private const string CommitTag = "mlflow.source.git.commit";

    private static readonly Caller By = Caller.System("external-registry");
    private static readonly string[] TestContexts = ["test", "testing", "eval", "evaluation", "holdout"];

    /// <summary>Copies what is not here yet; what cannot be copied is named in the result.</summary>
    /// <param name="model">Model.</param>
    /// <param name="version">As the server tells it.</param>
    /// <param name="withFiles">Whether to copy its files, which may be large.</param>
    /// <param name="progress">Counts.</param>
    /// <param name="cancellationToken">Leaves only whole blobs behind.</param>
    /// <exception cref="SlipwayException">Unavailable: the server.</exception>
    public async Task<VersionFacts> ReadAsync(string model, ExternalVersion version, bool withFiles, ExternalSyncProgress progress, CancellationToken cancellationToken)
    {
        var missing = new List<string>();
        var run = version.RunId is { Length: > 0 } id ? await server.FindRunAsync(id, cancellationToken) : null;
        var runId = run is null ? null : await CopyRunAsync(run, version, missing, progress, cancellationToken);
        if (version.RunId is { Length: > 0 } && run is null)
        {
            missing.Add($"run {version.RunId} is not on the server");
        }

        IReadOnlyList<ArtifactFile> files = [];
        if (withFiles)
        {
            files = await CopyFilesAsync(model, version, run, missing, progress, cancellationToken);
        }
        else
        {
            missing.Add("the files of an archived version are copied when its promotion is asked for");
        }

        var folder = await DescribeAsync(files, runId, missing, cancellationToken);
        var (known, others) = Datasets(run);
        var report = await ReportAsync(model, run, files, missing, cancellationToken);
        return new VersionFacts(
            files, files.Count == 0 ? ModelFormat.External : folder.Format, folder.ServedPath, folder.Signature,
            await ReadJsonAsync<FeatureSchema>(files, "feature_schema.json", missing, cancellationToken) ?? FeatureSchema.None,
            Sha256(files, "baseline.json"), folder.EnvironmentSha256,
            report, known, others, run?.Data?.Tags?.FirstOrDefault(tag => tag.Key == CommitTag)?.Value, runId, run?.Info.UserId, string.Join("; ", missing));
    }

    private async Task<string?> CopyRunAsync(MlflowRun run, ExternalVersion version, List<string> missing, ExternalSyncProgress progress, CancellationToken cancellationToken)
    {
        var runId = version.RunId!;
        var status = Enum.TryParse<RunStatus>(run.Info.Status, ignoreCase: true, out var parsed) ? parsed : RunStatus.Finished;
        if (status is RunStatus.Running or RunStatus.Scheduled)
        {
            // Its metrics may still change, and the report below would hold half of them.
            missing.Add($"run {runId} has not ended");
        }

        try
        {
            var experiment = await server.FindExperimentAsync(run.Info.ExperimentId, cancellationToken);
            var tags = Pairs(run.Data?.Tags);
            tags["slipway.source.address"] = options.Address.ToString();
            tags["slipway.source.experiment_id"] = run.Info.ExperimentId;
            await runs.PutRunAsync(runId, new PutRun
            {
                ExperimentName = experiment?.Name ?? $"mlflow-{run.Info.ExperimentId}",
                Name = run.Info.RunName,
                UserId = run.Info.UserId,
                Status = status,
                StartTimeMs = run.Info.StartTime > 0 ? run.Info.StartTime : null,
                EndTimeMs = run.Info.EndTime > 0 ? run.Info.EndTime : null,
                Tags = tags,
                Parameters = Pairs(run.Data?.Params),
            }, By, cancellationToken);
            await runs.AddMetricsAsync(
                runId, [.. (run.Data?.Metrics ?? []).Select(metric => new MetricPoint(metric.Key ?? "", metric.Value ?? double.NaN, metric.Timestamp ?? 0, metric.Step ?? 0))], cancellationToken);
            progress.RunCopied();
            return runId;
        }
        catch (SlipwayException e) when (e.Code is not ErrorCode.Unavailable)
        {
            missing.Add($"run {runId} does not fit here: {e.Message.TrimEnd('.')}");
            return null;
        }
    }

    private async Task<IReadOnlyList<ArtifactFile>> CopyFilesAsync(
        string model, ExternalVersion version, MlflowRun? run, List<string> missing, ExternalSyncProgress progress, CancellationToken cancellationToken)
    {
        var uri = await DownloadUriAsync(model, version, cancellationToken);
        if (string.IsNullOrEmpty(uri))
        {
            missing.Add("the MLflow server does not say where the files are");
            return [];
        }

        if (ArtifactFolder.Of(uri, version.RunId, run?.Info.ArtifactUri, options.Address) is not { } folder)
        {
            // Only the server itself is called: what it does not hand out stays where it is.
            missing.Add($"the files are at {uri.Split(':')[0]}:…, which the MLflow server does not hand out; let it serve artifacts");
            return [];
        }

        try
        {
            var files = new List<ArtifactFile>();
            await foreach (var (path, name) in ListAsync(folder, cancellationToken))
            {
                if (files.Count == FilesMax)
                {
                    throw new SlipwayException(ErrorCode.TooLarge, $"there are more than {FilesMax} files");
                }

                Blob? blob = null;
                async Task Keep(Stream content, CancellationToken token) => blob = await blobs.PutAsync(content, token, options.VersionBytesMax - files.Sum(file => file.SizeBytes));
                await (folder.RunId is { } runId ? server.ReadRunFileAsync(runId, path, Keep, cancellationToken) : server.ReadStoredFileAsync(path, Keep, cancellationToken));
                files.Add(new ArtifactFile(name, blob!.Sha256, blob.SizeBytes));
                progress.FileCopied(blob.SizeBytes);
            }

            return files;
        }
        catch (SlipwayException e) when (e.Code is not ErrorCode.Unavailable)
        {
            // Some of the files are not the model.
            missing.Add($"the files cannot be copied: {e.Message.TrimEnd('.')}");
            return [];
        }
    }

    private async Task<string?> DownloadUriAsync(string model, ExternalVersion version, CancellationToken cancellationToken)
    {
        try
        {
            return await server.FindDownloadUriAsync(model, version.Number, cancellationToken) ?? version.Source;
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotImplemented)
        {
            return version.Source;
        }
    }

    // Each file with its path as it is asked for, and its name within the model.
    private async IAsyncEnumerable<(string Path, string Name)> ListAsync(
        ArtifactFolder root, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var folders = new Stack<string>([root.Path]);
        for (var visited = 0; folders.TryPop(out var folder) && visited <= FilesMax; visited++)
        {
            foreach (var file in await FolderAsync(root, folder, cancellationToken))
            {
                if (file.IsDir)
                {
                    folders.Push(file.Path);
                }
                else
                {
                    yield return (file.Path, root.Path.Length == 0 ? file.Path : file.Path[(root.Path.Length + 1)..]);
                }
            }
        }
    }

    private async Task<IReadOnlyList<MlflowFile>> FolderAsync(ArtifactFolder root, string folder, CancellationToken cancellationToken)
    {
        var files = new List<MlflowFile>();
        if (root.RunId is { } runId)
        {
            await foreach (var page in server.RunFilePagesAsync(runId, folder, cancellationToken))
            {
                files.AddRange(page);
                if (files.Count > FilesMax)
                {
                    break; // Refused by whoever counts them.
                }
            }
        }
        else
        {
            // The artifact proxy names the things in a folder without the folder.
            files.AddRange((await server.StoredFilesAsync(folder, cancellationToken)).Select(file => file with { Path = $"{folder}/{file.Path}" }));
        }

        foreach (var file in files)
        {
            ArtifactPath.Parse(file.Path);
        }

        // A file outside the folder asked for, or the folder itself again, would lead astray or round in circles.
        return folder.Length == 0 ? files : [.. files.Where(file => file.Path.StartsWith(folder + "/", StringComparison.Ordinal) && file.Path.Length > folder.Length + 1)];
    }

    private async Task<ModelFolder> DescribeAsync(IReadOnlyList<ArtifactFile> files, string? runId, List<string> missing, CancellationToken cancellationToken)
    {
        try
        {
            return await new ModelFolderReader(blobs).ReadAsync(new SourceSnapshot(files, runId, null), cancellationToken);
        }
        catch (SlipwayException e)
        {
            missing.Add(e.Message.TrimEnd('.'));
            return new ModelFolder(ModelSignature.None, null, ModelFormat.Other, null);
        }
    }

    private async Task<string?> ReportAsync(string model, MlflowRun? run, IReadOnlyList<ArtifactFile> files, List<string> missing, CancellationToken cancellationToken)
    {
        if (Sha256(files, "evaluation_report.json") is { } sha256)
        {
            try
            {
                var report = ModelRegistry.ParseReport(await blobs.ReadVerifiedAsync(sha256, cancellationToken));
                if (report.Model == model)
                {
                    return sha256;
                }

                missing.Add($"evaluation_report.json is on model '{report.Model}'");
            }
            catch (SlipwayException)
            {
                missing.Add("evaluation_report.json is not an evaluation report");
            }

            return null;
        }

        return run is null || missing.Count > 0 || run.Data?.Metrics is not { Count: > 0 } ? null : (await blobs.PutAsync(FromRun(model, run), cancellationToken)).Sha256;
    }

    // A team that has only logged metrics has them judged by the policy: they stand as the report of the version.
    private static byte[] FromRun(string model, MlflowRun run)
    {
        var runId = run.Info.RunId ?? run.Info.RunUuid;
        var test = (run.Inputs?.DatasetInputs ?? []).FirstOrDefault(input => TestContexts.Contains(Context(input)))?.Dataset?.Digest;
        return JsonSerializer.SerializeToUtf8Bytes(new EvaluationReport
        {
            Model = model,
            RunId = runId,
            // A run that names no test set compares with nothing: its own id stands for a set that no other run has.
            TestSetSha256 = string.IsNullOrEmpty(test) ? $"unknown-of-run:{runId}" : test,
            Splits = [],
            Metrics = (run.Data?.Metrics ?? []).Where(metric => metric.Key is not null).ToDictionary(metric => metric.Key!, metric => metric.Value ?? double.NaN, StringComparer.Ordinal),
            Baselines = [],
            CreatedAt = DateTimeOffset.FromUnixTimeMilliseconds(run.Info.EndTime ?? run.Info.StartTime),
        }, JsonDefaults.Options);
    }

    private (IReadOnlyList<DatasetRef> Known, IReadOnlyList<string> Others) Datasets(MlflowRun? run)
    {
        var known = new List<DatasetRef>();
        var others = new List<string>();
        foreach (var input in (run?.Inputs?.DatasetInputs ?? []).Where(input => input.Dataset?.Name is { Length: > 0 } && !TestContexts.Contains(Context(input))))
        {
            var (name, digest) = (input.Dataset!.Name!, input.Dataset.Digest ?? "");
            if (datasets?.FindByDigest(name, digest) is { } version)
            {
                known.Add(new DatasetRef(name, version.Version, digest));
            }
            else
            {
                others.Add($"{name}@{digest}");
            }
        }

        return (known, others);
    }

    private async Task<T?> ReadJsonAsync<T>(IReadOnlyList<ArtifactFile> files, string path, List<string> missing, CancellationToken cancellationToken)
        where T : class
    {
        if (Sha256(files, path) is not { } sha256)
        {
            return null;
        }

        try
        {
            return JsonSerializer.Deserialize<T>(await blobs.ReadVerifiedAsync(sha256, cancellationToken), ModelRegistry.ReportOptions);
        }
        catch (JsonException)
        {
            missing.Add($"{path} cannot be read");
            return null;
        }
    }

    private static string? Context(MlflowDatasetInput input) => input.Tags?.FirstOrDefault(tag => tag.Key == "mlflow.data.context")?.Value?.ToLowerInvariant();

    private static string? Sha256(IReadOnlyList<ArtifactFile> files, string path) => files.FirstOrDefault(file => file.Path == path)?.Sha256;

    private static Dictionary<string, string> Pairs(IReadOnlyList<MlflowTag>? pairs) =>
        (pairs ?? []).DistinctBy(pair => pair.Key).ToDictionary(pair => pair.Key ?? "", pair => pair.Value ?? "", StringComparer.Ordinal);
}

/// <summary>A folder that the MLflow server hands out.</summary>
/// <param name="RunId">Of this run; null for a folder below the server's artifact root.</param>
/// <param name="Path">Empty for the whole run.</param>
internal sealed record ArtifactFolder(string? RunId, string Path)
{
    private const string ProxyPath = "/api/2.0/mlflow-artifacts/artifacts/";

    /// <summary>Null when only another server holds the files.</summary>
    public static ArtifactFolder? Of(string uri, string? runId, string? runUri, Uri server)
    {
        var trimmed = uri.TrimEnd('/');
        if (!string.IsNullOrEmpty(runId))
        {
            var root = runUri?.TrimEnd('/');
            var path = trimmed == root ? ""
                : root is { Length: > 0 } && trimmed.StartsWith(root + "/", StringComparison.Ordinal) ? trimmed[(root.Length + 1)..]
                : trimmed.StartsWith($"runs:/{runId}/", StringComparison.Ordinal) ? trimmed[$"runs:/{runId}/".Length..]
                : null;
            if (path is not null)
            {
                return Checked(runId, path);
            }
        }

        if (!Uri.TryCreate(trimmed, UriKind.Absolute, out var parsed))
        {
            return null;
        }

        var own = parsed.Host.Length == 0 || parsed.Host.Equals(server.Host, StringComparison.OrdinalIgnoreCase);
        return parsed.Scheme switch
        {
            "mlflow-artifacts" when own => Checked(null, Uri.UnescapeDataString(parsed.AbsolutePath).TrimStart('/')),
            "http" or "https" when own && parsed.AbsolutePath.StartsWith(ProxyPath, StringComparison.Ordinal) => Checked(null, Uri.UnescapeDataString(parsed.AbsolutePath[ProxyPath.Length..])),
            _ => null,
        };
    }

    private static ArtifactFolder? Checked(string? runId, string path)
    {
        if (path.Length == 0)
        {
            return runId is null ? null : new ArtifactFolder(runId, "");
        }

        try
        {
            return new ArtifactFolder(runId, ArtifactPath.Parse(path));
        }
        catch (SlipwayException)
        {
            return null;
        }
    }
}
