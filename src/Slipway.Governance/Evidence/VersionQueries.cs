using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Registry;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Governance.Evidence;

/// <summary>Queries about a version, its run and its evaluation: the first two arguments are model and version.</summary>
internal static class VersionQueries
{
    public static IEnumerable<EvidenceQuery> All(ModelRegistry registry, RunStore runs, BlobStore blobs)
    {
        EvidenceQuery Field(string name, Func<ModelVersionRecord, string?> value) => EvidenceQuery.Of($"version.{name}", 2, arguments =>
        {
            var version = registry.Get(arguments[0], arguments[1]);
            return new Found(value(version), version.Node.ToString());
        });
        EvidenceQuery OfRun(string name, Func<RunRecord, string?> value) => EvidenceQuery.Of($"version.{name}", 2, arguments =>
        {
            var version = registry.Get(arguments[0], arguments[1]);
            return version.RunId is { } id && runs.Find(id) is { } run ? new Found(value(run), $"run:{run.RunId}") : new Found(null, version.Node.ToString());
        });
        EvidenceQuery OfReport(string name, int arguments, Func<EvaluationReport, IReadOnlyList<string>, string?> value) =>
            new($"version.{name}", arguments, Moving: false, async (values, cancellationToken) =>
            {
                var version = registry.Get(values[0], values[1]);
                return await registry.ReadReportAsync(version, cancellationToken) is { } report
                    ? new Found(value(report, values), version.Node.ToString(), $"evaluation_report:{version.EvaluationReportSha256}")
                    : new Found(null, version.Node.ToString());
            });

        return
        [
            Field("stage", version => version.Stage.ToString().ToLowerInvariant()),
            Field("registered", version => $"{Figures.Of(version.CreatedAt)} by {version.CreatedBy}"),
            Field("description", version => version.Description),
            Field("owner", version => version.Owner),
            Field("difference", version => version.BumpReason),
            Field("parent", version => version.ParentVersion),
            Field("commit", version => version.Commit),
            Field("pipeline_run", version => version.PipelineRunId),
            Field("run", version => version.RunId),
            Field("training_set", version => version.TrainingSetSha256),
            Field("model_file", version => version.ServedSha256),
            Field("size", version => $"{Figures.Of(version.SizeBytes)} bytes"),
            Field("inputs", version => Tensors(version.Signature.Inputs)),
            Field("outputs", version => Tensors(version.Signature.Outputs)),
            Field("features", version => string.Join(", ", version.FeatureSchema.Features.Select(feature => $"{feature.Name} ({feature.Type})"))),
            Field("feature_views", version => string.Join(", ", version.FeatureSchema.ViewVersions)),
            Field("datasets", version => string.Join(", ", version.Datasets.Select(dataset => $"{dataset.Name}@{dataset.Version}"))),
            Field("lineage", version => version.MissingLineage.Count == 0 ? "complete" : $"lacks {string.Join(", ", version.MissingLineage)}"),
            EvidenceQuery.Of("version.tag", 3, arguments =>
            {
                var version = registry.Get(arguments[0], arguments[1]);
                return new Found(version.Tags.GetValueOrDefault(arguments[2]), version.Node.ToString());
            }),
            OfRun("parameters", run => string.Join(", ", run.Parameters.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}"))),
            OfRun("environment", run => run.Environment is { } at ? $"{at.OperatingSystem}, {at.Architecture}, {at.Runtime}, {at.CpuCount} processors, {at.Gpus.Count} GPUs" : null),
            OfRun("seed", run => run.Environment?.Seed?.ToString(System.Globalization.CultureInfo.InvariantCulture)),
            OfReport("metric", 3, (report, values) => report.Metrics.TryGetValue(values[2], out var value) ? Figures.Of(value) : null),
            OfReport("baseline_metric", 4, (report, values) =>
                report.Baselines.FirstOrDefault(baseline => baseline.Name == values[2])?.Metrics.TryGetValue(values[3], out var value) == true ? Figures.Of(value) : null),
            OfReport("slice_metric", 4, (report, values) =>
                report.Slices.FirstOrDefault(slice => slice.Slice == values[2])?.Metrics.TryGetValue(values[3], out var value) == true ? Figures.Of(value) : null),
            OfReport("split", 3, (report, values) => report.Splits.FirstOrDefault(split => split.Name == values[2]) is { } split
                ? $"{Figures.Of(split.Rows)} rows{(split is { From: { } from, To: { } to } ? $", {from:yyyy-MM-dd} to {to:yyyy-MM-dd}" : "")}" : null),
            OfReport("test_set", 2, (report, _) => report.TestSetSha256),
            OfReport("threshold", 2, (report, _) => report.Threshold is { } threshold ? Figures.Of(threshold) : null),
            OfReport("verdict", 2, (report, _) => report.GoNoGo is { } verdict
                ? $"{(verdict.Passed ? "go" : "no go")}: {verdict.Metric} {Figures.Of(verdict.Value)} against {Figures.Of(verdict.Minimum)}, set {Figures.Of(verdict.SetAt)}" : null),
            OfReport("against_production", 2, (report, _) => report.ComparedWithProduction is { } compared
                ? $"{compared.Metric} {Figures.Of(compared.Difference)} against {compared.Version}, {Figures.Of(compared.Interval.Lower)} to {Figures.Of(compared.Interval.Upper)} at {Figures.Percent(compared.Interval.Level)}" : null),
            OfReport("cost", 2, (report, _) => report.Cost is { } cost ? $"median {Figures.Of(cost.LatencyUsP50)} µs, 95th percentile {Figures.Of(cost.LatencyUsP95)} µs for one row" : null),
            new("version.interval", 3, Moving: false, async (values, cancellationToken) =>
            {
                var version = registry.Get(values[0], values[1]);
                var baseline = await BaselineAsync(blobs, version, cancellationToken);
                return new Found(
                    values[2] == "auc" && baseline is { Performance: { } performance } ? $"{Figures.Of(performance.AucLower)} to {Figures.Of(performance.AucUpper)} (95 %, DeLong)" : null,
                    version.Node.ToString());
            }),
            EvidenceQuery.Of("version.approvals", 2, arguments =>
            {
                var version = registry.Get(arguments[0], arguments[1]);
                var promotions = registry.ListPromotions(version.Model).Where(promotion => promotion.Version == version.Version).Reverse().ToList();
                var decisions = promotions.SelectMany(promotion => promotion.Decisions.Select(decision =>
                    $"{decision.By} {(decision.Approved ? "approved" : "rejected")} {promotion.To.ToString().ToLowerInvariant()} on {Figures.Of(decision.At)}"));
                return new Found(string.Join("; ", decisions), [version.Node.ToString(), .. promotions.Select(promotion => $"promotion:{promotion.Id}")]);
            }),
            EvidenceQuery.Of("version.history", 2, arguments =>
            {
                var version = registry.Get(arguments[0], arguments[1]);
                var changes = registry.History(version.Model, version.Version).Select(change =>
                    $"{change.To.ToString().ToLowerInvariant()} on {Figures.Of(change.At)} by {change.By} ({change.Cause})");
                return new Found(string.Join("; ", changes), version.Node.ToString());
            }),
        ];
    }

    private static async Task<ModelBaseline?> BaselineAsync(BlobStore blobs, ModelVersionRecord version, CancellationToken cancellationToken)
    {
        if (version.BaselineSha256 is not { } sha256)
        {
            return null;
        }

        try
        {
            return JsonSerializer.Deserialize<ModelBaseline>(await blobs.ReadVerifiedAsync(sha256, cancellationToken), JsonDefaults.Options);
        }
        catch (JsonException)
        {
            return null; // Registered by hand with a baseline of another form: nothing on record that we can read.
        }
    }

    private static string Tensors(IReadOnlyList<SignatureField> fields) =>
        string.Join(", ", fields.Select(field => $"{field.Name} {field.Type} ({string.Join(" × ", field.Shape.Select(size => size < 0 ? "rows" : $"{size}"))}){(field.Optional ? ", optional" : "")}"));
}
