using Slipway.Contracts;
using Slipway.Datasets;
using Slipway.FeatureStore;

namespace Slipway.Governance.Evidence;

/// <summary>Queries about datasets (argument: the name; <c>dataset.rows</c>, <c>.size</c>, <c>.validation</c> and <c>.nulls</c> also take a version) and feature views.</summary>
internal static class DataQueries
{
    public static IEnumerable<EvidenceQuery> All(DatasetStore datasets, FeatureRegistry features)
    {
        EvidenceQuery Declared(string name, Func<DatasetDefinition, string?> value) => EvidenceQuery.Of($"dataset.{name}", 1, arguments =>
        {
            var (definition, version) = datasets.Definition(arguments[0]);
            return new Found(value(definition), $"definition:dataset/{arguments[0]}@{version}");
        });
        EvidenceQuery OfVersion(string name, Func<DatasetVersionRecord, string?> value) => EvidenceQuery.Of($"dataset.{name}", 2, arguments =>
        {
            var version = datasets.Require(arguments[0], Number(arguments[1]));
            return new Found(value(version), version.Node.ToString());
        });
        EvidenceQuery OfView(string name, Func<FeatureViewRecord, string?> value) => EvidenceQuery.Of($"feature_view.{name}", 1, arguments =>
        {
            var view = features.RequireView(arguments[0]);
            return new Found(value(view), view.Node.ToString());
        });

        return
        [
            Declared("source", dataset => $"{dataset.Source.Type}{(dataset.Source.Url is { } url ? $", {url}" : "")}"),
            Declared("owner", dataset => dataset.Source.Owner),
            Declared("description", dataset => dataset.Description),
            Declared("update_frequency", dataset => dataset.Source.UpdateFrequency),
            Declared("personal_data", dataset => dataset.Source.Pii ? "yes" : "no"),
            Declared("licence", dataset => dataset.Source.Licence),
            Declared("rules", dataset => $"{dataset.Rules.Count} rules, {dataset.Rules.Count(rule => rule.Severity == Contracts.Datasets.RuleSeverity.Block)} of them blocking"),
            OfVersion("rows", version => Figures.Of(version.Rows)),
            OfVersion("size", version => $"{Figures.Of(version.SizeBytes)} bytes"),
            OfVersion("sha256", version => version.Sha256),
            OfVersion("validation", version => datasets.FindValidation(version.Name, version.Version) is { } report
                ? $"{(report.Passed ? "passed" : "failed")}, {report.Checks.Count(check => check.Passed)} of {report.Checks.Count} checks" : null),
            OfView("transform", view => view.Definition.OnDemand ? "computed from the request" : $"SQL over {view.Definition.Source}"),
            OfView("keys", view => string.Join(", ", view.Definition.Keys)),
            OfView("freshness", view => view.Definition.OnDemand ? "computed from the request" : view.Definition.Ttl is { } ttl ? $"values hold for {Figures.Of(ttl)}" : "values hold until replaced"),
            OfView("stores", view => view.Definition.OnDemand ? "none" : view.Definition.Online ? "offline and online" : "offline"),
            OfView("features", view => string.Join(", ", view.Definition.Features.Select(feature => feature.Name))),
        ];
    }

    private static int Number(string text) => int.TryParse(text, out var number)
        ? number
        : throw new SlipwayException(ErrorCode.InvalidArgument, $"'query' wants a dataset version such as 1, not '{text}'.");
}
