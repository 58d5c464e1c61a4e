using System.Text;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Registry.Formats;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Storage;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    // As many registrations of one model may overtake another's comparison before it goes without.
    private const int AttemptsMax = 8;

    /// <summary>Stores a new version with all its parts, or nothing.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: a part is missing or the bump too small; NotFound: a blob; AlreadyExists: the version.</exception>
    public Task<ModelVersionRecord> RegisterAsync(RegisterVersion request, Caller by, CancellationToken cancellationToken) => RegisterAsync(request, variant: null, by, cancellationToken);

    private async Task<ModelVersionRecord> RegisterAsync(RegisterVersion request, VariantReport? variant, Caller by, CancellationToken cancellationToken)
    {
        RegistrationRules.Check(request);
        external?.DemandOwn(request.Model);
        await CheckBlobsAsync(request, cancellationToken);
        var inspection = await new ModelInspector(blobs).InspectAsync(request, cancellationToken);
        inspection = inspection with { Profile = inspection.Profile with { Variant = variant } };
        var chain = inspection.Format == ModelFormat.Chain ? await ReadChainAsync(inspection.Files.First(file => file.Path == inspection.ServedPath).Sha256, cancellationToken) : null;
        await CheckChainAsync(chain, by, cancellationToken);
        var report = request.EvaluationReportSha256 is { } sha256 ? ParseReport(await blobs.ReadVerifiedAsync(sha256, cancellationToken)) : null;
        for (var attempt = 0; ; attempt++)
        {
            // Reports are files, which a transaction may not wait for: compare with the newest version first, then see that it still is.
            var newest = database.Read(connection => VersionTable.Last(connection, request.Model));
            var better = report is null || newest is null ? null : await BetterEvaluationAsync(newest, report, cancellationToken);
            var version = await database.WriteAsync(transaction =>
            {
                external?.DemandOwn(transaction.Connection, request.Model);
                return Insert(transaction, request, inspection, chain, newest?.Version, better, insist: attempt >= AttemptsMax, by);
            }, cancellationToken);
            if (version is not null)
            {
                return Get(version.Model, version.Version);
            }
        }
    }

    /// <summary>A version whose benchmark has not been run; null when there is none.</summary>
    internal (string Model, string Version)? OwedBenchmark() => database.Read(ProfileTable.Owed);

    /// <summary>Runs a version's benchmark in a process of its own and keeps what it measured, or why it could not.</summary>
    internal async Task MeasureAsync(string model, string version, TimeProvider clock, CancellationToken cancellationToken)
    {
        var record = Get(model, version);
        var served = record.Files.First(file => file.Path == record.ServedPath);
        var result = await blobs.IsIntactAsync(served.Sha256, cancellationToken)
            ? await ModelTrial.RunAsync(new TrialRequest(blobs.PathOf(served.Sha256), Measure: true), cancellationToken)
            : new TrialResult { Fault = $"{served.Path} is gone or has been changed on disk" };
        var benchmark = Benchmark(result, served.SizeBytes, clock.GetUtcNow());
        await database.WriteAsync(transaction =>
        {
            if (ProfileTable.SetBenchmark(transaction, model, version, benchmark))
            {
                transaction.Audit(Caller.System("benchmark"), "model_version.benchmarked", record.Node, null, null, benchmark);
            }
        }, cancellationToken);
    }

    private static ModelBenchmark Benchmark(TrialResult result, long sizeBytes, DateTimeOffset at) => new()
    {
        LoadMs = result.LoadMs,
        LatencyUsP50 = result.LatencyUsP50,
        LatencyUsP95 = result.LatencyUsP95,
        LatencyUsP99 = result.LatencyUsP99,
        RowsPerSecondBatch64 = result.RowsPerSecondBatch64,
        CpuUsPerRow = result.CpuUsPerRow,
        PeakMemoryBytes = result.PeakMemoryBytes,
        SizeBytes = sizeBytes,
        MeasuredAt = at,
        Fault = result.Fault,
        IsCrash = result.IsCrash,
    };

    // Null when another version has become the newest since the evaluations were compared; with insist, the evaluation is then left out.
    private static ModelVersionRecord? Insert(
        WriteTransaction transaction, RegisterVersion request, Inspection inspection, ModelChainFile? chain, string? comparedWith, string? better, bool insist, Caller by)
    {
        var connection = transaction.Connection;
        var newest = VersionTable.Last(connection, request.Model);
        if (newest?.Version != comparedWith && request.EvaluationReportSha256 is not null && !insist)
        {
            return null;
        }

        var change = newest is null ? null : VersionRules.WithEvaluation(
            VersionRules.Compare(newest.Signature, newest.FeatureSchema, inspection.Signature, inspection.FeatureSchema), newest.Version == comparedWith ? better : null);
        var next = VersionRules.Next(request.Bump, newest is null ? null : SemanticVersion.Parse(newest.Version), change);
        if (request.ParentVersion is { } parent && VersionTable.Find(connection, request.Model, parent) is null)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"'parent_version' names {parent}, but model '{request.Model}' has no such version.");
        }

        // All of them are older than the chain: no chain runs itself.
        foreach (var (model, part) in chain?.Parts ?? [])
        {
            if (VersionTable.Find(connection, model, part)?.ServedPath is null)
            {
                throw NotRun(model, part);
            }
        }

        var version = new ModelVersionRecord
        {
            Model = request.Model,
            Version = next.Version.ToString(),
            Number = (newest?.Number ?? 0) + 1,
            Stage = Stage.Development,
            RunId = request.RunId,
            Format = inspection.Format,
            ServedPath = inspection.ServedPath,
            Source = request.External is { } external ? $"{external.Provider}/{external.ModelId}" : null,
            Bump = next.Bump,
            BumpReason = next.Reason,
            Description = request.Description ?? "",
            Owner = request.Owner ?? by.Name,
            Tags = request.Tags ?? new Dictionary<string, string>(),
            Files = inspection.Files,
            Signature = inspection.Signature,
            FeatureSchema = inspection.FeatureSchema,
            BaselineSha256 = request.BaselineSha256,
            EnvironmentSha256 = request.EnvironmentSha256,
            EvaluationReportSha256 = request.EvaluationReportSha256,
            TrainingSetSha256 = request.TrainingSetSha256,
            Datasets = request.Datasets ?? [],
            Commit = request.Commit,
            PipelineRunId = request.PipelineRunId,
            ParentVersion = request.ParentVersion ?? newest?.Version,
            CreatedBy = by.Name,
            CreatedAt = transaction.Now,
            UpdatedAt = transaction.Now,
            Aliases = [],
        };
        VersionTable.Insert(transaction, version);
        ProfileTable.Insert(transaction, version.Model, version.Version, version.Format, inspection.Profile);
        if (newest is null && request.External is { Kind: var kind })
        {
            ProfileTable.SetFacts(transaction, ProfileTable.Facts(connection, version.Model)! with { Kind = kind });
        }

        StageTable.Record(transaction, new StageChange(
            version.Model, version.Version, null, Stage.Development, "registration", version.BumpReason, by.Name, transaction.Now, null));
        VersionLineage.Link(transaction, version);
        foreach (var (model, part) in chain?.Parts ?? [])
        {
            transaction.Link(ModelVersionNode.Of(model, part), "depends_on", version.Node);
        }

        transaction.Audit(by, "model_version.registered", version.Node, version.BumpReason, null, new
        {
            version.Version,
            version.Bump,
            version.RunId,
            version.Format,
            version.Files,
            inspection.Profile.ManifestSha256,
            version.BaselineSha256,
            version.EnvironmentSha256,
            version.EvaluationReportSha256,
            inspection.Profile.Variant,
        });
        transaction.Publish(VersionRegisteredTopic, new { version.Model, version.Version, version.Number, version.RunId });
        return version;
    }

    private static SlipwayException NotRun(string model, string version) =>
        new(ErrorCode.InvalidArgument, $"'files' has a chain that runs {model} {version}, which is not registered or holds no model file that this server can run; register it first.");

    // Whoever asks the chain asks its steps: only one who may ask them himself can let others do it, and to one who may not see a model it is not there.
    private async Task CheckChainAsync(ModelChainFile? chain, Caller by, CancellationToken cancellationToken)
    {
        foreach (var (model, version) in chain?.Parts ?? [])
        {
            if (!by.Access.May(Permission.Read, Resource.Model(model)))
            {
                throw NotRun(model, version);
            }

            by.Access.Require(Permission.Predict, Resource.Model(model));
        }

        if (chain is not null && await CountRunsAsync(chain, [], cancellationToken) is > ModelChainFile.RunsMax and var runs)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument,
                $"'files' has a chain whose steps, with those of the chains that it runs, come to {runs} runs for one request; at most {ModelChainFile.RunsMax} are made.");
        }
    }

    // Of chains in chains each step counts as often as it runs, and each chain as one: ten that double each other are over a thousand runs.
    private async Task<long> CountRunsAsync(ModelChainFile chain, Dictionary<(string, string), long> known, CancellationToken cancellationToken)
    {
        var runs = 0L;
        foreach (var step in chain.Steps.Where(step => step.Model is not null))
        {
            var part = (step.Model!, step.Version!);
            if (!known.TryGetValue(part, out var one))
            {
                one = database.Read(connection => VersionTable.Find(connection, step.Model!, step.Version!)) is { Format: ModelFormat.Chain, ServedSha256: { } file }
                    ? 1 + await CountRunsAsync(await ReadChainAsync(file, cancellationToken), known, cancellationToken) : 1;
                known[part] = one;
            }

            runs = Math.Min(runs + one, int.MaxValue);
        }

        return runs;
    }

    private async Task<ModelChainFile> ReadChainAsync(string sha256, CancellationToken cancellationToken) =>
        ModelChainFile.Parse(Encoding.UTF8.GetString(await blobs.ReadVerifiedAsync(sha256, cancellationToken)));

    private async Task<string?> BetterEvaluationAsync(ModelVersionRecord newest, EvaluationReport report, CancellationToken cancellationToken)
    {
        try
        {
            var before = await ReadReportAsync(newest, cancellationToken);
            return before is null ? null : VersionComparer.Better(newest.Version, await WithPredictionsAsync(before, cancellationToken), await WithPredictionsAsync(report, cancellationToken));
        }
        catch (SlipwayException)
        {
            return null; // The older report was lost or changed on disk, which is no fault of this registration.
        }
    }

    private async Task<ScoredReport> WithPredictionsAsync(EvaluationReport report, CancellationToken cancellationToken) => new(
        report, report.PredictionsSha256 is { } sha256 ? StoredPredictions.Parse(await blobs.ReadVerifiedAsync(sha256, cancellationToken)) : null);

    private async Task CheckBlobsAsync(RegisterVersion request, CancellationToken cancellationToken)
    {
        var faults = new List<string>();
        foreach (var file in request.Files ?? [])
        {
            if (!await blobs.IsIntactAsync(file.Sha256, cancellationToken))
            {
                faults.Add($"'files' names {file.Path} as {file.Sha256}, which is not stored; upload it first");
            }
            else if (new FileInfo(blobs.PathOf(file.Sha256)).Length is var size && size != file.SizeBytes)
            {
                faults.Add($"'files' gives {file.Path} {file.SizeBytes} bytes, but the blob has {size}");
            }
        }

        foreach (var (field, sha256) in new[]
            { ("baseline_sha256", request.BaselineSha256), ("environment_sha256", request.EnvironmentSha256), ("evaluation_report_sha256", request.EvaluationReportSha256),
                ("sample_sha256", request.SampleSha256) })
        {
            if (sha256 is not null && !await blobs.IsIntactAsync(sha256, cancellationToken))
            {
                faults.Add($"'{field}' names {sha256}, which is not stored; upload it first");
            }
        }

        if (faults.Count > 0)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"{string.Join("; ", faults)}.");
        }

        if (request.EvaluationReportSha256 is { } reportSha256)
        {
            var report = ParseReport(await blobs.ReadVerifiedAsync(reportSha256, cancellationToken));
            if (report.Model != request.Model)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'evaluation_report_sha256' names a report on model '{report.Model}', not on '{request.Model}'.");
            }

            if (report.PredictionsSha256 is { } predictions)
            {
                if (!await blobs.IsIntactAsync(predictions, cancellationToken))
                {
                    throw new SlipwayException(ErrorCode.InvalidArgument, $"'evaluation_report_sha256' names a report whose predictions {predictions} are not stored; upload them first.");
                }

                StoredPredictions.Parse(await blobs.ReadVerifiedAsync(predictions, cancellationToken));
            }
        }
    }
}
