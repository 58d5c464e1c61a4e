using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.S3;
using Slipway.Tracking;

namespace Slipway.Registry.Mlflow;

/// <summary>The files behind a source, by content.</summary>
/// <param name="Files">By path; empty when nothing lies there, or when the source is another server's.</param>
/// <param name="RunId">The run the files belong to; null when none is known.</param>
/// <param name="LoggedModelId">The logged model; null when the source is none.</param>
/// <param name="IsExternal">Whether the source lies on a server that is never asked for it.</param>
/// <param name="CopyOf">The version whose files these are; null when the source is none.</param>
internal sealed record SourceSnapshot(IReadOnlyList<ArtifactFile> Files, string? RunId, string? LoggedModelId, bool IsExternal = false, ModelVersionRecord? CopyOf = null);

/// <summary>Finds a source's files and keeps them by content, so that a version does not change with the run it came from. Reads nothing but what a run owns.</summary>
internal sealed class ModelSources(
    ModelRegistry registry, RunStore runs, LoggedModelStore models, ArtifactStore artifacts, BlobStore blobs, StorageOptions options)
{
    private const int FilesMax = 10_000;

    /// <summary>Takes the snapshot.</summary>
    /// <param name="source">As the client gives it.</param>
    /// <param name="runId">The run the client names; null when it names none.</param>
    /// <param name="cancellationToken">Cancels reading.</param>
    /// <exception cref="SlipwayException">InvalidArgument: the source is not one this server may read; NotFound: its run or model.</exception>
    public async Task<SourceSnapshot> TakeAsync(string source, string? runId, CancellationToken cancellationToken)
    {
        var address = SourceAddress.Parse(source);
        var snapshot = address.Scheme switch
        {
            "runs" => OfRun(address),
            "mlflow-artifacts" => OfProxy(address),
            "models" => OfModel(address),
            "file" => await OfFolderAsync(address, runId, cancellationToken),
            "s3" => await OfBucketAsync(address, runId, cancellationToken),
            "http" or "https" when address.Authority.Length > 0 => new SourceSnapshot([], null, null, IsExternal: true),
            _ => throw address.Refused("its scheme is not one of runs, models, mlflow-artifacts, file, s3, http and https"),
        };
        if (runId is not null && snapshot.RunId is { } owner && snapshot.CopyOf is null && owner != runId)
        {
            throw address.Refused($"it belongs to run {owner}, not to the run {runId} that 'run_id' names");
        }

        return snapshot;
    }

    // runs:/<run>/<path>
    private SourceSnapshot OfRun(SourceAddress address)
    {
        if (address.Authority.Length > 0 || address.Path.Split('/', 2) is not [{ Length: > 0 } run, .. var rest])
        {
            throw address.Refused("it must be runs:/<run_id>/<path>");
        }

        return OfFiles(artifacts.List(runs.Get(run).RunId), rest.SingleOrDefault() ?? "", run, null);
    }

    // mlflow-artifacts:/<experiment>/<run>/artifacts/<path>, or …/models/<model>/artifacts/<path>
    private SourceSnapshot OfProxy(SourceAddress address)
    {
        if (address.Authority.Length > 0)
        {
            throw address.Refused("it may not name a server: this one reads its own files only");
        }

        if (address.Path.Split('/', 5) is [var place, "models", var id, "artifacts", .. var file])
        {
            var model = models.Get(id);
            return model.ExperimentId == place
                ? OfFiles(artifacts.List(id), file.SingleOrDefault() ?? "", model.SourceRunId, id)
                : throw address.Refused($"logged model {id} does not belong to experiment {place}");
        }

        if (address.Path.Split('/', 4) is not [var experiment, var run, "artifacts", .. var rest])
        {
            throw address.Refused("it must be mlflow-artifacts:/<experiment_id>/<run_id>/artifacts/<path>, as the run's artifact_uri says");
        }

        return runs.Get(run).ExperimentId == experiment
            ? OfFiles(artifacts.List(run), rest.SingleOrDefault() ?? "", run, null)
            : throw address.Refused($"run {run} does not belong to experiment {experiment}");
    }

    // models:/<logged model>, models:/<name>/<version or stage>, models:/<name>@<alias>
    private SourceSnapshot OfModel(SourceAddress address)
    {
        var path = Uri.UnescapeDataString(address.Path);
        if (address.Authority.Length > 0)
        {
            throw address.Refused("it must be models:/<model_id>, models:/<name>/<version> or models:/<name>@<alias>");
        }

        if (path.Split('/', 2) is [var id, .. var rest] && LoggedModelStore.IsModelId(id))
        {
            var model = models.Get(id);
            return OfFiles(artifacts.List(id), rest.SingleOrDefault() ?? "", model.SourceRunId, id);
        }

        var at = path.LastIndexOf('@');
        var (name, reference) = at > 0 ? (path[..at], path[at..]) : path.Split('/') is [var first, var second] ? (first, second) : ("", "");
        if (name.Length == 0)
        {
            throw address.Refused("it must be models:/<model_id>, models:/<name>/<version> or models:/<name>@<alias>");
        }

        var version = registry.Find(name, reference) ?? throw new SlipwayException(ErrorCode.NotFound, $"Model Version (name={name}, version={reference}) not found");
        return new SourceSnapshot(version.Files, version.RunId, null, CopyOf: version);
    }

    // A client may write below the artifact root by itself; of that, only what lies in the folder of the run it names is its to register.
    private async Task<SourceSnapshot> OfFolderAsync(SourceAddress address, string? runId, CancellationToken cancellationToken)
    {
        if (address.Authority.Length > 0 || options.ArtifactRoot is not { } root || !root.StartsWith("file://", StringComparison.Ordinal) || runId is null)
        {
            throw address.Refused("to use a local path as a model version source, the request must specify a run_id whose artifacts directory holds it, and the server an --artifact-root that does");
        }

        var run = runs.Get(runId);
        var owned = System.IO.Path.GetFullPath($"{Uri.UnescapeDataString(PlaceOf(run, root)["file://".Length..])}/{run.RunId}/artifacts");
        // An address escapes, a plain path does not.
        var path = System.IO.Path.GetFullPath("/" + (address.Text.StartsWith('/') ? address.Path : Uri.UnescapeDataString(address.Path)));
        if (path != owned && !path.StartsWith(owned + "/", StringComparison.Ordinal))
        {
            throw address.Refused($"it is not below the artifacts directory of run {run.RunId}");
        }

        var found = new List<RunArtifact>();
        foreach (var file in Walk(address, path))
        {
            await using var content = new FileStream(file, new FileStreamOptions { BufferSize = 0, Options = FileOptions.Asynchronous | FileOptions.SequentialScan });
            var blob = await blobs.PutAsync(content, cancellationToken);
            found.Add(new RunArtifact(System.IO.Path.GetRelativePath(owned, file), blob.Sha256, blob.SizeBytes));
        }

        return OfFiles(found, path == owned ? "" : path[(owned.Length + 1)..], run.RunId, null);
    }

    // Of the place the run's experiment was given only what is below the root of today counts.
    private static string PlaceOf(RunRecord run, string root) =>
        run.ArtifactLocation is { } location && location.StartsWith(root + "/", StringComparison.Ordinal) ? location : $"{root}/{run.ExperimentId}";

    private static List<string> Walk(SourceAddress address, string path)
    {
        // A link on the way leads out of the folder without a '..' in sight.
        for (var part = path; part is { Length: > 1 }; part = System.IO.Path.GetDirectoryName(part))
        {
            if (new FileInfo(part).LinkTarget is not null)
            {
                throw address.Refused("a part of it is a link");
            }
        }

        if (File.Exists(path))
        {
            return [path];
        }

        var files = new List<string>();
        foreach (var entry in Directory.Exists(path) ? new DirectoryInfo(path).EnumerateFileSystemInfos("*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 }) : [])
        {
            if (entry.LinkTarget is not null)
            {
                throw address.Refused($"it holds the link '{entry.Name}'");
            }

            if (entry is FileInfo)
            {
                files.Add(entry.FullName);
            }

            if (files.Count > FilesMax)
            {
                throw address.Refused($"it holds more than {FilesMax} files");
            }
        }

        return files;
    }

    private async Task<SourceSnapshot> OfBucketAsync(SourceAddress address, string? runId, CancellationToken cancellationToken)
    {
        var run = runId is null ? null : runs.Get(runId);
        if (run is null || options.ArtifactRoot is not { } root || !S3Location.Is(root))
        {
            throw address.Refused("an object store is read only below the server's --artifact-root, for the run that 'run_id' names");
        }

        var place = S3Location.Parse(PlaceOf(run, root), "--artifact-root").Below($"{run.RunId}/artifacts");
        if (address.Authority != place.Bucket || (address.Path != place.Prefix && !address.Path.StartsWith(place.Prefix + "/", StringComparison.Ordinal)))
        {
            throw address.Refused($"it is not below the artifacts of run {run.RunId}, {place}");
        }

        using var bucket = new S3Bucket(options.S3, place.Bucket);
        var found = new List<RunArtifact>();
        var whole = await bucket.FindAsync(address.Path, cancellationToken);
        if (whole is not null)
        {
            found.Add(await KeepAsync(whole));
        }
        else
        {
            await foreach (var entry in bucket.ListAsync(address.Path + "/", recursive: true, cancellationToken))
            {
                found.Add(await KeepAsync(entry));
                if (found.Count > FilesMax)
                {
                    throw address.Refused($"it holds more than {FilesMax} files");
                }
            }
        }

        return OfFiles(found, address.Path.Length == place.Prefix.Length ? "" : address.Path[(place.Prefix.Length + 1)..], run.RunId, null);

        async Task<RunArtifact> KeepAsync(S3Entry entry)
        {
            await using var content = bucket.OpenRead(entry);
            var blob = await blobs.PutAsync(content, cancellationToken);
            return new RunArtifact(entry.Key[(place.Prefix.Length + 1)..], blob.Sha256, blob.SizeBytes);
        }
    }

    private static SourceSnapshot OfFiles(IReadOnlyList<RunArtifact> all, string folder, string? runId, string? loggedModelId)
    {
        var files = new List<ArtifactFile>();
        foreach (var file in all)
        {
            var path = folder.Length == 0 ? file.Path
                : file.Path == folder ? file.Path[(file.Path.LastIndexOf('/') + 1)..]
                : file.Path.StartsWith(folder + "/", StringComparison.Ordinal) ? file.Path[(folder.Length + 1)..]
                : null;
            if (path is not null)
            {
                files.Add(new ArtifactFile(ArtifactPath.Parse(path), file.Sha256, file.SizeBytes));
            }
        }

        return new SourceSnapshot(files, runId, loggedModelId);
    }
}
