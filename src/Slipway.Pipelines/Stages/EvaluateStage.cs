using System.Globalization;
using System.Text;
using Slipway.Contracts;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Native.DuckDb;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Runs;
using Slipway.Pipelines.Training;
using Slipway.Registry;
using Slipway.Statistics.Evaluation;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;
using Slipway.Tracking;

namespace Slipway.Pipelines.Stages;

/// <summary>
/// The one look at the test split: the chosen candidate beside trivial baselines and the version in production, all on the same
/// rows, judged against the threshold that was stored before training.
/// </summary>
internal sealed class EvaluateStage(DuckDbDatabase duckDb, RunStore runs, ModelRegistry registry, BlobStore blobs, PipelineStore store, TimeProvider clock) : StageKind
{
    /// <summary>How often the test split was looked at; beside the model's metrics, but not of the model.</summary>
    internal const string LooksMetric = "test_evaluations";

    private const int LooksBeforeWarning = 5;

    /// <param name="Threshold">At or above it the decision is positive.</param>
    /// <param name="Baselines">Further rivals: name and the feature that is taken as a score.</param>
    /// <param name="SliceBy">Kept column whose values make slices; null: no slices.</param>
    /// <param name="Slices">Values of that column; empty takes the five most frequent.</param>
    internal sealed record EvaluateSettings(double Threshold, IReadOnlyDictionary<string, string> Baselines, string? SliceBy, IReadOnlyList<string> Slices);

    public override string Uses => "evaluate";

    public override IReadOnlyList<string> Inputs => ["splits", "test", "model", "candidates", "reference"];

    public override IReadOnlyList<string> Outputs => ["report", "baseline"];

    public override bool NeedsSettings => false;

    public override object ReadSettings(DefinitionYaml with)
    {
        var slices = with.OptionalMap("slices");
        return new EvaluateSettings(
            with.OptionalNumber("threshold", 0, 1) ?? 0.5, with.OptionalMap("baselines")?.AllTexts() ?? new Dictionary<string, string>(), slices?.Text("by"), slices?.Texts("values") ?? []);
    }

    public override string? Surroundings(PipelineDefinition pipeline) =>
        $"{pipeline.GoNoGo}; {(registry.FindInStage(pipeline.Model, Stage.Production) is { } production ? $"{production.Version} {production.ServedSha256}" : "nothing")} in production";

    public override async Task RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        var settings = context.Settings<EvaluateSettings>();
        var splits = await context.ReadAsync<Splits>("splits", cancellationToken);
        var candidate = (await context.ReadAsync<Candidates>("candidates", cancellationToken)).Best;
        var reference = await context.ReadAsync<TrainingReference>("reference", cancellationToken);
        var onnx = await blobs.ReadVerifiedAsync(context.Input("model").Sha256, cancellationToken);
        var testSha256 = context.Input("test").Sha256;

        context.Progress(0, "reads the test split");
        var looks = await store.CountTestEvaluationAsync(testSha256, context.RunId, cancellationToken);
        var test = LabelledMatrix.Read(duckDb, context.InputPath("test"), splits.FeatureNames, splits.Label, 0, 0, cancellationToken);
        var scores = Scorer.Score(onnx, test, cancellationToken);
        var metrics = ClassifierMetrics.Of(test.Labels, scores, settings.Threshold);
        var auc = DeLong.Estimate(test.Labels, scores);
        var interval = auc.Interval();
        metrics["auc_lower"] = interval.Lower;
        metrics["auc_upper"] = interval.Upper;
        metrics["positive_rate"] = test.PositiveRate;
        metrics[LooksMetric] = looks;

        context.Progress(0.3, "scores the baselines");
        var rivals = Rivals(settings, test, context.Pipeline.Seed).ToList();
        var baselines = rivals.Select(rival => new BaselineMetrics(rival.Name, RivalMetrics(test, rival, settings.Threshold))).ToList();

        context.Progress(0.5, "compares with the version in production");
        var (production, productionNote) = await CompareWithProductionAsync(context, splits, test, scores, metrics, cancellationToken);
        var verdict = context.Pipeline.GoNoGo is { } threshold
            ? Judge(threshold, store.Find(context.RunId)!.ThresholdSetAt!.Value, test, scores, metrics, rivals, production)
            : null;

        context.Progress(0.8, "measures single requests");
        var latency = Scorer.MeasureLatency(onnx, test, clock);
        var kept = await blobs.PutAsync(WriteScores(test.Labels, scores), cancellationToken);
        var report = new EvaluationReport
        {
            Model = context.Pipeline.Model,
            RunId = candidate.RunId!,
            TestSetSha256 = testSha256,
            Splits = [.. splits.Parts.Select(part => new EvaluationSplit(part.Name, part.Rows, part.From, part.Until, part.Sha256))],
            Metrics = metrics,
            Baselines = baselines,
            Calibration = [.. Calibration.Curve(test.Labels, scores).Select(bin => new Contracts.Registry.CalibrationBin(bin.Lower, bin.Upper, bin.Count, bin.MeanPredicted, bin.PositiveShare))],
            Slices = Slices(settings, splits, context.InputPath("test"), test, scores, cancellationToken),
            Threshold = settings.Threshold,
            GoNoGo = verdict,
            ComparedWithProduction = production,
            Cost = new InferenceCost(latency[latency.Length / 2], latency[(int)(0.95 * (latency.Length - 1))], onnx.Length),
            PredictionsSha256 = kept.Sha256,
            CreatedAt = clock.GetUtcNow(),
        };
        var written = await context.WriteAsync("report", report, cancellationToken);
        var reportNode = new NodeRef(NodeKinds.EvaluationReport, written.Sha256);
        context.Made(reportNode);
        context.Link(new NodeRef(NodeKinds.TrainingSet, testSha256), "measured_on", reportNode);
        await context.WriteAsync("baseline", Baseline(reference, test, scores, metrics), cancellationToken);
        await LogAsync(context, candidate.RunId!, splits, test, metrics, baselines, written, cancellationToken);

        var warning = looks > LooksBeforeWarning ? $"; warning: this test split has now been looked at by {looks} runs, so a lucky model may have been picked; take newer rows" : "";
        context.Outcome = new StageOutcome(
            $"{candidate.Name} on {test.Rows:N0} test rows: auc {metrics[EvaluationMetrics.Auc]:0.0000}; {productionNote}{warning}",
            verdict is null ? null : verdict.Passed ? "go" : "no_go", verdict?.Reason);
    }

    // Beside the report, so that a later candidate can be compared with this one row by row.
    private static byte[] WriteScores(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores)
    {
        var csv = new StringBuilder("label,score\n", labels.Length * 22);
        for (var i = 0; i < labels.Length; i++)
        {
            csv.Append(labels[i] ? '1' : '0').Append(',').Append(CultureInfo.InvariantCulture, $"{scores[i]:R}").Append('\n');
        }

        return Encoding.UTF8.GetBytes(csv.ToString());
    }

    private sealed record Rival(string Name, double[] Scores, bool IsProbability);

    private static IEnumerable<Rival> Rivals(EvaluateSettings settings, LabelledMatrix test, long seed)
    {
        // Always present: a model that cannot beat these knows nothing. The constant is the more frequent class; the other draws
        // positives as often as they occur.
        yield return new Rival("majority_class", [.. Enumerable.Repeat(test.PositiveRate >= 0.5 ? 1.0 : 0.0, test.Rows)], IsProbability: true);
        var random = new Random((int)(seed & int.MaxValue));
        yield return new Rival("stratified_random", [.. Enumerable.Range(0, test.Rows).Select(_ => random.NextDouble() < test.PositiveRate ? 1.0 : 0.0)], IsProbability: true);
        foreach (var (name, feature) in settings.Baselines)
        {
            var column = test.Names.ToList().IndexOf(feature);
            if (column < 0)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"Baseline '{name}' names the feature '{feature}'; the model has {string.Join(", ", test.Names)}.");
            }

            var values = test.Column(column);
            var present = values.Where(double.IsFinite).DefaultIfEmpty(0).Average();
            var complete = Array.ConvertAll(values, value => double.IsFinite(value) ? value : present);
            yield return new Rival(name, complete, Array.TrueForAll(complete, value => value is >= 0 and <= 1));
        }
    }

    private static Dictionary<string, double> RivalMetrics(LabelledMatrix test, Rival rival, double threshold) => rival.IsProbability
        ? ClassifierMetrics.Of(test.Labels, rival.Scores, threshold)
        : new Dictionary<string, double> { [EvaluationMetrics.Auc] = BinaryMetrics.RocAuc(test.Labels, rival.Scores) };

    private async Task<(ProductionComparison? Comparison, string Note)> CompareWithProductionAsync(
        StageContext context, Splits splits, LabelledMatrix test, double[] scores, Dictionary<string, double> metrics, CancellationToken cancellationToken)
    {
        if (registry.FindInStage(context.Pipeline.Model, Stage.Production) is not { } production)
        {
            return (null, "nothing is in production to compare with");
        }

        var names = production.FeatureSchema.Features.Select(feature => feature.Name).ToList();
        if (!names.SequenceEqual(splits.FeatureNames, StringComparer.Ordinal))
        {
            return (null, $"not compared with {production.Version} in production, whose features differ");
        }

        if (production is not { ServedSha256: { } served, Format: not (ModelFormat.Remote or ModelFormat.Chain) })
        {
            return (null, $"not compared with {production.Version} in production, which is no model file that runs here");
        }

        var theirs = Scorer.Score(await blobs.ReadVerifiedAsync(served, cancellationToken), test, cancellationToken);
        var metric = context.Pipeline.GoNoGo?.Metric ?? EvaluationMetrics.Auc;
        var their = ClassifierMetrics.Of(test.Labels, theirs, context.Settings<EvaluateSettings>().Threshold).GetValueOrDefault(metric, double.NaN);
        var ours = metrics.GetValueOrDefault(metric, double.NaN);
        var paired = DeLong.Compare(test.Labels, theirs, scores);

        // DeLong speaks of areas only; another metric's difference is resampled, with few draws because the splits are large.
        var comparison = metric == EvaluationMetrics.Auc
            ? new ProductionComparison(production.Version, metric, their, ours, paired.Difference, new ConfidenceInterval(paired.Interval.Lower, paired.Interval.Upper), paired.PValue)
            : Bootstrapped(production.Version, metric, their, ours, test, theirs, scores, context);
        return (comparison, $"{metric} {comparison.Difference:+0.0000;-0.0000} against {production.Version} in production");
    }

    private static ProductionComparison Bootstrapped(
        string version, string metric, double their, double ours, LabelledMatrix test, double[] theirs, double[] scores, StageContext context)
    {
        var threshold = context.Settings<EvaluateSettings>().Threshold;
        var result = Bootstrap.PairedDifference(
            test.Labels, theirs, scores, (labels, values) => ClassifierMetrics.Of(labels, values, threshold).GetValueOrDefault(metric, 0), resamples: 100,
            seed: (int)(context.Pipeline.Seed & int.MaxValue));
        return new ProductionComparison(
            version, metric, their, ours, ours - their, new ConfidenceInterval(result.Interval.Lower, result.Interval.Upper), double.NaN);
    }

    /// <summary>Go or no-go, with the figures.</summary>
    private static GoNoGoVerdict Judge(
        GoNoGo threshold, DateTimeOffset setAt, LabelledMatrix test, double[] scores, Dictionary<string, double> metrics, List<Rival> rivals, ProductionComparison? production)
    {
        var value = metrics.GetValueOrDefault(threshold.Metric, double.NaN);
        var higher = MetricDirection.HigherIsBetter(threshold.Metric);
        var faults = new List<string>();
        if (!(higher ? value >= threshold.Minimum : value <= threshold.Minimum))
        {
            faults.Add($"{threshold.Metric} {value:0.0000} is {(higher ? "under the minimum" : "over the maximum")} {threshold.Minimum:0.0000}");
        }

        var beaten = new List<string>();
        foreach (var rival in threshold.MustBeatBaselines ? rivals : [])
        {
            var comparison = DeLong.Compare(test.Labels, rival.Scores, scores);
            (comparison.Interval.Lower > 0 ? beaten : faults).Add(comparison.Interval.Lower > 0
                ? $"{rival.Name} {comparison.First.Auc:0.0000}"
                : $"auc {comparison.Second.Auc:0.0000} does not beat the baseline {rival.Name} ({comparison.First.Auc:0.0000}) beyond chance");
        }

        if (threshold.ProductionTolerance is { } tolerance && production is not null && (higher ? production.Difference < -tolerance : production.Difference > tolerance))
        {
            faults.Add($"{threshold.Metric} {value:0.0000} is worse than {production.Production:0.0000} of {production.Version} in production by more than {tolerance:0.0000}");
        }

        var reason = faults.Count > 0
            ? string.Join("; ", faults)
            : $"{threshold.Metric} {value:0.0000} meets {threshold.Minimum:0.0000}"
                + (beaten.Count > 0 ? $" and beats {string.Join(", ", beaten)}" : "")
                + (production is null ? "" : $"; {production.Difference:+0.0000;-0.0000} against {production.Version} in production");
        return new GoNoGoVerdict(threshold.Metric, threshold.Minimum, setAt, value, faults.Count == 0, reason);
    }

    private List<SliceMetrics> Slices(
        EvaluateSettings settings, Splits splits, string path, LabelledMatrix test, double[] scores, CancellationToken cancellationToken)
    {
        if (settings.SliceBy is not { } column)
        {
            return [];
        }

        var values = LabelledMatrix.ReadTexts(duckDb, path, column, splits.Label, cancellationToken);
        var chosen = settings.Slices.Count > 0
            ? settings.Slices
            : [.. values.CountBy(value => value).OrderByDescending(pair => pair.Value).ThenBy(pair => pair.Key, StringComparer.Ordinal).Take(5).Select(pair => pair.Key)];
        var slices = new List<SliceMetrics>();
        foreach (var value in chosen)
        {
            int[] rows = [.. values.Index().Where(row => row.Item == value).Select(row => row.Index)];
            bool[] labels = [.. rows.Select(row => test.Labels[row])];
            if (labels.Contains(true) && labels.Contains(false))
            {
                double[] part = [.. rows.Select(row => scores[row])];
                var metrics = ClassifierMetrics.Of(labels, part, settings.Threshold);
                metrics["selection_rate"] = part.Count(score => score >= settings.Threshold) / (double)part.Length;
                slices.Add(new SliceMetrics($"{column}={value}", rows.Length, metrics));
            }
        }

        return slices;
    }

    private static ModelBaseline Baseline(TrainingReference reference, LabelledMatrix test, double[] scores, Dictionary<string, double> metrics) => new(
        reference.Features, BaselineBuilder.OfPredictions(scores),
        new BaselinePerformance(
            metrics[EvaluationMetrics.Auc], metrics["auc_lower"], metrics["auc_upper"], metrics[EvaluationMetrics.LogLoss], metrics[EvaluationMetrics.Brier],
            metrics[EvaluationMetrics.Ece], test.PositiveRate, scores.Average(), test.Rows),
        reference.Rows);

    private async Task LogAsync(
        StageContext context, string runId, Splits splits, LabelledMatrix test, Dictionary<string, double> metrics, List<BaselineMetrics> baselines,
        PipelineArtifact report, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var points = metrics.Select(metric => new MetricPoint($"test_{metric.Key}", metric.Value, now, 0))
            .Concat(baselines.Select(baseline => new MetricPoint($"test_auc_{baseline.Name}", baseline.Metrics[EvaluationMetrics.Auc], now, 0)));
        await runs.LogBatchAsync(runId, [.. points], [], [], context.By, cancellationToken);
        await runs.LogInputAsync(
            runId,
            new RunInput($"{splits.Dataset.Name}@{splits.Dataset.Version}/test", splits["test"].Sha256, $"slipway://datasets/{splits.Dataset.Name}/versions/{splits.Dataset.Version}", "test", test.Rows),
            context.By, cancellationToken);
        await runs.LinkArtifactAsync(runId, "evaluation.json", report.Sha256, report.SizeBytes, cancellationToken);
    }
}
