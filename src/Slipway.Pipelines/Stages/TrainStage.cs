using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Native.DuckDb;
using Slipway.Native.Onnx;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Training;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;
using Slipway.Tracking;

namespace Slipway.Pipelines.Stages;

/// <summary>Trains the declared candidates, each as a tracked run, and chooses the best on the validation split. It cannot see the test split.</summary>
internal sealed class TrainStage(DuckDbDatabase duckDb, RunStore runs, BlobStore blobs, TimeProvider clock) : StageKind
{
    /// <param name="Sample">Rows to train on, about; 0 takes all.</param>
    /// <param name="SelectBy">The metric that chooses among the candidates.</param>
    /// <param name="Threshold">At or above it the decision is positive.</param>
    /// <param name="LogisticRegression">Null: not a candidate.</param>
    /// <param name="BoostedTrees">Null: not a candidate.</param>
    /// <param name="Ballast">Useless work added to the chosen model, for latency drills; null in real life.</param>
    internal sealed record TrainSettings(
        long Sample, string SelectBy, double Threshold, LogisticSettings? LogisticRegression, BoostedTreesSettings? BoostedTrees, BallastSettings? Ballast);

    /// <param name="Width">Rows and columns of each matrix.</param>
    /// <param name="Multiplications">Products per request.</param>
    internal sealed record BallastSettings(int Width, int Multiplications);

    public override string Uses => "train";

    public override IReadOnlyList<string> Inputs => ["splits", "train", "validation"];

    public override IReadOnlyList<string> Outputs => ["model", "candidates", "reference"];

    public override bool Trains => true;

    public override object ReadSettings(DefinitionYaml with)
    {
        var trainers = with.Map("trainers");
        var logistic = trainers.OptionalMap("logistic_regression");
        var trees = trainers.OptionalMap("boosted_trees");
        if (logistic is null && trees is null)
        {
            with.Fault("trainers", "must name at least one of logistic_regression, boosted_trees");
        }

        var selectBy = with.OptionalText("select_by") ?? EvaluationMetrics.Auc;
        if (!EvaluationMetrics.Names.Contains(selectBy))
        {
            with.Fault("select_by", $"must be one of {string.Join(", ", EvaluationMetrics.Names)}, not '{selectBy}'");
        }

        var ballast = with.OptionalMap("ballast");
        return new TrainSettings(
            with.OptionalInteger("sample", 0) ?? 0, selectBy, with.OptionalNumber("threshold", 0, 1) ?? 0.5,
            logistic is null ? null : new LogisticSettings(logistic.OptionalNumber("l2", 0) ?? 1e-6, logistic.OptionalInteger("iterations", 1, 10_000) ?? 100),
            trees is null ? null : new BoostedTreesSettings(
                trees.OptionalInteger("rounds", 1, 10_000) ?? 100, trees.OptionalInteger("depth", 1, 16) ?? 6, trees.OptionalNumber("learning_rate", 1e-4, 1) ?? 0.1,
                trees.OptionalNumber("min_child_weight", 0) ?? 1, trees.OptionalNumber("subsample", 0.01, 1) ?? 1, trees.OptionalInteger("early_stopping", 1, 1000),
                trees.OptionalInteger("threads", 1, 64) ?? 2),
            ballast is null ? null : new BallastSettings(ballast.Integer("width", 1, 4096), ballast.Integer("multiplications", 1, 1000)));
    }

    public override async Task RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        var settings = context.Settings<TrainSettings>();
        var splits = await context.ReadAsync<Splits>("splits", cancellationToken);
        context.Progress(0, "reads the training rows");
        var train = LabelledMatrix.Read(duckDb, context.InputPath("train"), splits.FeatureNames, splits.Label, settings.Sample, context.Pipeline.Seed, cancellationToken);
        var validation = LabelledMatrix.Read(duckDb, context.InputPath("validation"), splits.FeatureNames, splits.Label, 0, context.Pipeline.Seed, cancellationToken);

        var trainers = Trainers(settings);
        var tried = new List<Candidate>();
        var models = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var (index, trainer) in trainers.Index())
        {
            if (trainer.Unavailable is { } reason)
            {
                tried.Add(new Candidate(trainer.Name, null, reason, null, new Dictionary<string, double>(), null, null, 0, 0));
                continue;
            }

            void Progress(double share, string message) => context.Progress(0.05 + 0.9 * (index + share) / trainers.Count, message);
            var (candidate, onnx) = await TrainAsync(context, settings, splits, trainer, train, validation, Progress, cancellationToken);
            tried.Add(candidate);
            models[trainer.Name] = onnx;
        }

        if (models.Count == 0)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"No trainer can run here: {string.Join("; ", tried.Select(candidate => $"{candidate.Name}: {candidate.Skipped}"))}");
        }

        var sign = MetricDirection.HigherIsBetter(settings.SelectBy) ? 1 : -1;
        var best = tried.Where(candidate => candidate.Skipped is null).MaxBy(candidate => sign * candidate.Validation.GetValueOrDefault(settings.SelectBy, sign * double.NegativeInfinity))!;
        var chosen = models[best.Name];
        if (settings.Ballast is { } ballast)
        {
            chosen = OnnxConverters.WithBallast(chosen, ballast.Width, ballast.Multiplications);
        }

        context.Progress(0.96, "describes the training rows for later comparison");
        await context.WriteAsync("reference", Reference(train), cancellationToken);
        await context.WriteBytesAsync("model", chosen, cancellationToken);
        await context.WriteAsync("candidates", new Candidates(settings.SelectBy, best.Name, tried), cancellationToken);
        context.Outcome = new StageOutcome(Describe(settings, train, tried, best));
    }

    private static List<ITrainer> Trainers(TrainSettings settings)
    {
        var trainers = new List<ITrainer>();
        if (settings.LogisticRegression is { } logistic)
        {
            trainers.Add(new LogisticTrainer(logistic));
        }

        if (settings.BoostedTrees is { } trees)
        {
            trainers.Add(new BoostedTreesTrainer(trees));
        }

        return trainers;
    }

    private async Task<(Candidate Candidate, byte[] Onnx)> TrainAsync(
        StageContext context, TrainSettings settings, Splits splits, ITrainer trainer, LabelledMatrix train, LabelledMatrix validation,
        Action<double, string> progress, CancellationToken cancellationToken)
    {
        var by = context.By;
        var experiment = await runs.GetOrCreateExperimentAsync(context.Pipeline.Model, by, cancellationToken);
        var tags = new Dictionary<string, string>
        {
            ["slipway.pipeline"] = context.Pipeline.Name,
            ["slipway.pipeline_run"] = context.RunId,
            ["slipway.stage"] = context.Stage.Name,
            ["slipway.model"] = context.Pipeline.Model,
        };
        if (context.Pins is { } pins)
        {
            tags["slipway.reproduces"] = $"{context.Pipeline.Model}@{pins.Version}";
        }

        var run = await runs.CreateRunAsync(experiment, trainer.Name, tags, by, cancellationToken);
        try
        {
            var environment = RunEnvironment.Capture(Environment.CurrentDirectory, context.Pipeline.Seed);
            context.Made(new NodeRef(NodeKinds.Run, run.RunId));
            await runs.SetEnvironmentAsync(run.RunId, environment, by, cancellationToken);
            foreach (var (name, rows) in ((string, LabelledMatrix)[])[("train", train), ("validation", validation)])
            {
                await runs.LogInputAsync(
                    run.RunId,
                    new RunInput($"{splits.Dataset.Name}@{splits.Dataset.Version}/{name}", splits[name].Sha256, $"slipway://datasets/{splits.Dataset.Name}/versions/{splits.Dataset.Version}", name, rows.Rows),
                    by, cancellationToken);
            }

            var cpu = ProcessorTime();
            var started = clock.GetTimestamp();

            // Off the runner's thread: training blocks for seconds.
            var model = await Task.Run(() => trainer.Train(train, validation, context.Pipeline.Seed, progress, cancellationToken), cancellationToken);
            var (wall, used) = (clock.GetElapsedTime(started).TotalSeconds, (ProcessorTime() - cpu).TotalSeconds);
            var metrics = ClassifierMetrics.Of(validation.Labels, Scorer.Score(model.Onnx, validation, cancellationToken), settings.Threshold);
            await LogAsync(run.RunId, context, splits, train, model, metrics, wall, used, cancellationToken);
            var blob = await blobs.PutAsync(model.Onnx, cancellationToken);
            await runs.EndRunAsync(run.RunId, RunStatus.Finished, by, cancellationToken);
            return (new Candidate(
                trainer.Name, run.RunId, null, blob.Sha256, metrics, environment.Git?.Commit, runs.Find(run.RunId)!.EnvironmentSha256, wall, used), model.Onnx);
        }
        catch (Exception e)
        {
            await runs.EndRunAsync(run.RunId, e is OperationCanceledException ? RunStatus.Killed : RunStatus.Failed, by, CancellationToken.None);
            throw;
        }
    }

    private async Task LogAsync(
        string runId, StageContext context, Splits splits, LabelledMatrix train, TrainedModel model, Dictionary<string, double> metrics,
        double wallSeconds, double cpuSeconds, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var parameters = new Dictionary<string, string>(model.Parameters)
        {
            ["seed"] = context.Pipeline.Seed.ToString(CultureInfo.InvariantCulture),
            ["train_rows"] = train.Rows.ToString(CultureInfo.InvariantCulture),
            ["train_rows_total"] = train.RowsTotal.ToString(CultureInfo.InvariantCulture),
            ["features"] = string.Join(",", splits.FeatureNames),
            ["feature_service"] = $"{splits.FeatureSchema.Service}@{splits.FeatureSchema.ServiceVersion}",
            ["splits_sha256"] = context.Input("splits").Sha256,
        };
        // The kept model's figures stand at the curves' end, so that a curve of the same name does not jump back to its start.
        var end = model.Curves.Count == 0 ? 0 : model.Curves.Max(point => point.Round);
        var points = model.Curves.Select(point => new MetricPoint(point.Key, point.Value, now, point.Round))
            .Concat(metrics.Select(metric => new MetricPoint($"validation_{metric.Key}", metric.Value, now, end)))
            .Append(new MetricPoint("training_wall_seconds", wallSeconds, now, 0))
            .Append(new MetricPoint("training_cpu_seconds", cpuSeconds, now, 0));

        // A batch holds 1000 points at most, as MLflow's does; the last point of a key wins, so curves go first.
        foreach (var batch in points.Chunk(1000))
        {
            await runs.LogBatchAsync(runId, batch, [], [], context.By, cancellationToken);
        }

        await runs.LogBatchAsync(runId, [], [.. parameters], [], context.By, cancellationToken);
        await runs.LogArtifactAsync(runId, "config/pipeline.yaml", Encoding.UTF8.GetBytes(context.Pipeline.Yaml), context.By, cancellationToken);
        await runs.LogArtifactAsync(runId, "config/parameters.json", JsonSerializer.SerializeToUtf8Bytes(context.Pipeline.Parameters, JsonDefaults.Options), context.By, cancellationToken);
        await runs.LogArtifactAsync(runId, "model/model.onnx", model.Onnx, context.By, cancellationToken);
        foreach (var (path, content) in model.Extras)
        {
            await runs.LogArtifactAsync(runId, $"model/{path}", content, context.By, cancellationToken);
        }

        await runs.LinkArtifactAsync(runId, "splits.json", context.Input("splits").Sha256, context.Input("splits").SizeBytes, cancellationToken);
    }

    private static TrainingReference Reference(LabelledMatrix train) => new(
        train.Names.Index().ToDictionary(feature => feature.Item, feature => BaselineBuilder.OfFeature(train.Column(feature.Index)), StringComparer.Ordinal), train.Rows);

    private static string Describe(TrainSettings settings, LabelledMatrix train, List<Candidate> tried, Candidate best)
    {
        var results = tried.Select(candidate => candidate.Skipped is { } reason
            ? $"{candidate.Name} skipped: {reason.TrimEnd('.')}"
            : $"{candidate.Name} {candidate.Validation.GetValueOrDefault(settings.SelectBy, double.NaN):0.0000}");
        var rows = train.Rows == train.RowsTotal ? $"{train.Rows:N0} rows" : $"{train.Rows:N0} of {train.RowsTotal:N0} rows";
        return $"{rows}; validation {settings.SelectBy}: {string.Join(", ", results)}; chosen: {best.Name}";
    }

    private static TimeSpan ProcessorTime()
    {
        using var process = Process.GetCurrentProcess();
        return process.TotalProcessorTime;
    }
}
