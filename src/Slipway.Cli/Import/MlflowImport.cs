using System.Diagnostics;
using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Cli.Import;

/// <summary>What a user may choose about an import.</summary>
/// <param name="DryRun">Count the source only.</param>
/// <param name="Leave">Kinds that are knowingly left behind.</param>
/// <param name="Artifacts">Where files are copied from; null for none.</param>
/// <param name="Journal">Opens the file that lets a live server's runs be skipped next time; null for none.</param>
internal sealed record ImportOptions(bool DryRun, IReadOnlySet<string> Leave, IArtifactSource? Artifacts, Func<ImportJournal>? Journal);

/// <summary>How far an import has come.</summary>
internal interface IImportProgress
{
    void Runs(long done, long? all);

    void Points(long done, long? all);
}

/// <summary>
/// Brings experiments and runs of an MLflow store into a Slipway server. It keeps no state of its own: each run is compared with what the server
/// holds, written where they differ, and compared again. So a second call goes on where the first stopped, and doubles nothing.
/// </summary>
internal sealed class MlflowImport(IMlflowSource source, ImportTarget target, ImportOptions options, IImportProgress progress)
{
    private const int RunsAtOnce = 4; // The server commits in groups: writers that wait together share a flush.
    private const int PointsPerRequest = 20_000;
    private const int DifferencesShown = 100;

    private static readonly Dictionary<string, string> Unsupported = new(StringComparer.Ordinal)
    {
        [Kinds.LoggedModels] = "not imported: the server chooses the ids of logged models itself",
        [Kinds.ModelLinks] = "not imported, as logged models are not",
        [Kinds.RegisteredModels] = "not imported: a version needs signature, features, baseline, environment and evaluation, which MLflow does not hold; register anew",
        [Kinds.ModelVersions] = "not imported: see registered models",
        [Kinds.Traces] = "not imported: the import does not read traces",
        [Kinds.Assessments] = "not imported, as traces are not",
        [Kinds.EvaluationDatasets] = "not imported: the import does not read them",
    };

    private readonly Dictionary<string, string> _experimentIds = new(StringComparer.Ordinal);
    private readonly List<ExperimentMapping> _mappings = [];
    private readonly Dictionary<string, long> _read = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _found = new(StringComparer.Ordinal);
    private readonly List<string> _differences = [];
    private readonly Lock _tally = new();
    private ImportJournal? _journal;
    private long _differencesInAll;
    private long _written;
    private long _alreadyThere;
    private long _runsDone;
    private long _pointsDone;

    /// <summary>Counts, writes, compares.</summary>
    public async Task<ImportReport> RunAsync(string from, CancellationToken ct)
    {
        var clock = Stopwatch.StartNew();
        var counts = await source.CountAsync(ct);
        if (options.DryRun)
        {
            return new ImportReport(
                from, target.Server.ToString(), true, true,
                [.. Kinds.All.Where(counts.ContainsKey).Select(kind => new KindCount(kind, counts[kind], null, Unsupported.GetValueOrDefault(kind), true))], [], 0, 0, [], 0, clock.Elapsed.TotalSeconds);
        }

        using (_journal = options.Journal?.Invoke())
        {
            await ImportExperimentsAsync(ct);
            await foreach (var page in source.RunPagesAsync(ct))
            {
                await Parallel.ForEachAsync(page, new ParallelOptions { MaxDegreeOfParallelism = RunsAtOnce, CancellationToken = ct }, async (run, token) =>
                {
                    await ImportAsync(run, token);
                    progress.Runs(Interlocked.Increment(ref _runsDone), Known(counts, Kinds.Runs));
                    progress.Points(Interlocked.Read(ref _pointsDone), Known(counts, Kinds.Points));
                });
            }
        }

        // Counted again: MLflow may have gone on writing.
        return Report(from, await source.CountAsync(ct), clock.Elapsed);
    }

    private async Task ImportExperimentsAsync(CancellationToken ct)
    {
        foreach (var experiment in await source.ExperimentsAsync(ct))
        {
            var before = await target.FindExperimentAsync(experiment.Name, ct);
            PutExperimentResult put;
            try
            {
                // What was here before keeps its state: it may hold more than the source knows of.
                put = await target.PutAsync(
                    before is null
                        ? new PutExperiment
                        {
                            Name = experiment.Name,
                            ExperimentId = experiment.Id,
                            Deleted = experiment.Deleted,
                            CreatedAtMs = experiment.CreatedAtMs,
                            UpdatedAtMs = experiment.UpdatedAtMs,
                            Tags = experiment.Tags,
                        }
                        : new PutExperiment { Name = experiment.Name, Tags = experiment.Tags },
                    ct);
            }
            catch (SlipwayException e) when (e.Code == ErrorCode.InvalidArgument)
            {
                Differ($"Experiment {experiment.Id} '{experiment.Name}' and its runs: {e.Message}");
                continue;
            }

            _experimentIds[experiment.Id] = put.ExperimentId;
            Count(_found, Kinds.Experiments, 1);
            Count(_found, Kinds.ExperimentTags, experiment.Tags.Count);
            var note = (put.ExperimentId != experiment.Id, before) switch
            {
                (true, null) => $"id {experiment.Id} was taken",
                (true, _) => "joined the experiment of this name",
                (false, not null) when (before.LifecycleStage == "deleted") != experiment.Deleted =>
                    experiment.Deleted ? "is in the source's bin, but not in this server's" : "is in this server's bin, but not in the source's",
                _ => null,
            };
            if (note is not null)
            {
                _mappings.Add(new ExperimentMapping(experiment.Id, put.ExperimentId, experiment.Name, note));
            }
        }
    }

    private async Task ImportAsync(SourceRun run, CancellationToken ct)
    {
        Count(_read, Kinds.Runs, 1);
        Count(_read, Kinds.Parameters, run.Parameters.Count);
        Count(_read, Kinds.Tags, run.Tags.Count);
        Count(_read, Kinds.Latest, run.Latest.Count);
        Count(_read, Kinds.Inputs, run.Inputs.Count);
        if (!_experimentIds.TryGetValue(run.ExperimentId, out var experimentId))
        {
            Differ($"Run {run.RunId}: its experiment {run.ExperimentId} was not imported.");
            return;
        }

        try
        {
            // A run that goes on may have got a point that no other figure shows.
            var known = run.Points ?? (run.Status is RunStatus.Running or RunStatus.Scheduled ? null : _journal?.PointsOf(run.RunId));
            var files = options.Artifacts is null ? [] : await FilesOf(run, ct);
            var before = await target.FindRunAsync(run.RunId, ct);
            if (before is not null && before.ExperimentId == experimentId && known is not null && await CompareAsync(run, before, known.Value, files, quiet: true, ct))
            {
                Interlocked.Increment(ref _alreadyThere);
                Interlocked.Add(ref _pointsDone, known.Value);
                return;
            }

            var points = await WriteAsync(run, experimentId, before, files, ct);
            Interlocked.Increment(ref _written);
            var after = await target.FindRunAsync(run.RunId, ct) ?? throw new SlipwayException(ErrorCode.NotFound, "it was written, but the server does not know it");
            if (await CompareAsync(run, after, run.Points ?? points, files, quiet: false, ct))
            {
                _journal?.Add(run.RunId, points);
            }
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.InvalidArgument or ErrorCode.FailedPrecondition or ErrorCode.AlreadyExists or ErrorCode.NotFound or ErrorCode.TooLarge)
        {
            Differ($"Run {run.RunId}: {e.Message}"); // The fault is this run's alone; the others go on.
        }
    }

    private async Task<long> WriteAsync(SourceRun run, string experimentId, RunRecord? before, List<SourceFile> files, CancellationToken ct)
    {
        var put = new PutRun
        {
            ExperimentId = experimentId,
            Name = string.IsNullOrEmpty(run.Name) ? run.Tags.GetValueOrDefault("mlflow.runName") : run.Name,
            // Never the importer's own name.
            UserId = string.IsNullOrEmpty(run.UserId) ? run.Tags.GetValueOrDefault("mlflow.user") ?? "unknown" : run.UserId,
            Status = run.Status,
            StartTimeMs = run.StartMs ?? 0,
            EndTimeMs = run.EndMs ?? run.StartMs ?? 0,
            Deleted = false,
            Tags = run.Tags,
            Parameters = run.Parameters,
        };
        if (run.Status is RunStatus.Running or RunStatus.Scheduled)
        {
            put = put with { EndTimeMs = null };
        }

        await target.PutAsync(run.RunId, put, ct);
        if (run.Inputs.Count > 0)
        {
            await target.AddInputsAsync(run.RunId, run.Inputs, ct);
        }

        var points = await WritePointsAsync(run, ct);
        foreach (var file in files.Where(file => before?.Artifacts.Any(found => found.Path == file.Path && found.SizeBytes == file.SizeBytes) != true))
        {
            await target.PutFileAsync(run.RunId, file, ct);
        }

        if (run.Deleted)
        {
            // Last, since files and inputs are only taken by runs that are not in the bin.
            await target.PutAsync(run.RunId, new PutRun { Deleted = true }, ct);
        }

        return points;
    }

    private async Task<long> WritePointsAsync(SourceRun run, CancellationToken ct)
    {
        var points = 0L;
        var batch = new List<MetricPoint>();
        // NaN is ordered as 0 is: where both were logged at the same step and time, the one that is there first stays the latest.
        if (run.Latest.Where(point => double.IsNaN(point.Value) || point.Value == 0).ToList() is { Count: > 0 } ambiguous)
        {
            await target.AddPointsAsync(run.RunId, ambiguous, ct);
        }

        await foreach (var page in source.PointPagesAsync(run, ct))
        {
            batch.AddRange(page);
            points += page.Count;
            Interlocked.Add(ref _pointsDone, page.Count);
            if (batch.Count >= PointsPerRequest)
            {
                await SendAsync();
            }
        }

        if (batch.Count > 0)
        {
            await SendAsync();
        }

        return points;

        async Task SendAsync()
        {
            await target.AddPointsAsync(run.RunId, batch, ct);
            batch.Clear();
        }
    }

    private async Task<List<SourceFile>> FilesOf(SourceRun run, CancellationToken ct)
    {
        var files = new List<SourceFile>();
        await foreach (var file in options.Artifacts!.FilesAsync(run, ct))
        {
            files.Add(file);
        }

        Count(_read, Kinds.Files, files.Count);
        return files;
    }

    // Quiet: before anything is written, when a difference is no news; the run is counted only if it is whole.
    private async Task<bool> CompareAsync(SourceRun run, RunRecord here, long points, List<SourceFile> files, bool quiet, CancellationToken ct)
    {
        var compared = new RunComparison(run, here);
        if (quiet && compared.Differences.Count > 0)
        {
            return false;
        }

        var filesHere = files.Count(file => here.Artifacts.Any(found => found.Path == file.Path && (file.SizeBytes is null || found.SizeBytes == file.SizeBytes)));
        var pointsHere = await target.CountPointsAsync(run.RunId, ct);
        if (quiet && (filesHere != files.Count || pointsHere != points))
        {
            return false;
        }

        var differences = compared.Differences.Select(difference => $"Run {run.RunId}: {difference}.").ToList();
        if (pointsHere != points)
        {
            differences.Add($"Run {run.RunId}: {pointsHere} metric points, in the source {points}.");
        }

        if (filesHere != files.Count)
        {
            differences.Add($"Run {run.RunId}: {filesHere} of {files.Count} files.");
        }

        differences.ForEach(Differ);
        Count(_found, Kinds.Runs, 1);
        Count(_found, Kinds.Parameters, compared.Parameters);
        Count(_found, Kinds.Tags, compared.Tags);
        Count(_found, Kinds.Latest, compared.Latest);
        Count(_found, Kinds.Inputs, compared.Inputs);
        Count(_found, Kinds.Files, filesHere);
        Count(_found, Kinds.Points, pointsHere);
        Count(_read, Kinds.Points, points);
        return differences.Count == 0;
    }

    private ImportReport Report(string from, IReadOnlyDictionary<string, long> counted, TimeSpan elapsed)
    {
        var kinds = new List<KindCount>();
        foreach (var kind in Kinds.All)
        {
            var inSource = counted.TryGetValue(kind, out var count) ? count : _read.GetValueOrDefault(kind);
            var left = options.Leave.Contains(kind);
            if (Unsupported.TryGetValue(kind, out var why))
            {
                if (inSource > 0)
                {
                    kinds.Add(new KindCount(kind, inSource, 0, left ? "left behind, as asked" : why, left));
                }

                continue;
            }

            if (kind == Kinds.Files && options.Artifacts is null)
            {
                continue;
            }

            var here = _found.GetValueOrDefault(kind);
            var orphans = inSource - _read.GetValueOrDefault(kind, inSource);
            var note = here == inSource ? null
                : left ? "left behind, as asked"
                : orphans > 0 ? string.Create(CultureInfo.InvariantCulture, $"{orphans} of the source belong to no run, or came while it was read (then run the command again)")
                : "see the differences";
            kinds.Add(new KindCount(kind, inSource, here, note, here == inSource || left));
        }

        return new ImportReport(
            from, target.Server.ToString(), false, _differencesInAll == 0 && kinds.All(kind => kind.Equal), kinds, _mappings, _written, _alreadyThere, _differences, _differencesInAll, elapsed.TotalSeconds);
    }

    private static long? Known(IReadOnlyDictionary<string, long> counts, string kind) => counts.TryGetValue(kind, out var count) ? count : null;

    private void Count(Dictionary<string, long> counts, string kind, long more)
    {
        lock (_tally)
        {
            counts[kind] = counts.GetValueOrDefault(kind) + more;
        }
    }

    private void Differ(string difference)
    {
        lock (_tally)
        {
            _differencesInAll++;
            if (_differences.Count < DifferencesShown)
            {
                _differences.Add(difference);
            }
        }
    }
}
