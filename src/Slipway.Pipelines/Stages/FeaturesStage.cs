using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Native.DuckDb;
using Slipway.Pipelines.Definitions;
using Slipway.Storage.Definitions;

namespace Slipway.Pipelines.Stages;

/// <summary>Makes the point-in-time correct rows of the three splits, cut by time so that no split knows another's future.</summary>
internal sealed class FeaturesStage(DatasetStore datasets, FeatureRegistry features, OfflineStore offline) : StageKind
{
    private static readonly string[] SplitNames = ["train", "validation", "test"];

    /// <param name="Service">Feature service.</param>
    /// <param name="Rows">SELECT … FROM source: the service's inputs, event timestamp, label and columns to keep.</param>
    /// <param name="EventTimestamp">Column that decides the split.</param>
    /// <param name="Label">Label column.</param>
    /// <param name="Keep">Further columns to keep, for slices.</param>
    /// <param name="Ranges">Time range of each split.</param>
    internal sealed record FeaturesSettings(
        string Service, string Rows, string EventTimestamp, string Label, IReadOnlyList<string> Keep, IReadOnlyDictionary<string, SplitRange> Ranges);

    /// <param name="From">First instant.</param>
    /// <param name="Until">First instant after it.</param>
    internal sealed record SplitRange(DateTimeOffset From, DateTimeOffset Until);

    public override string Uses => "features";

    public override IReadOnlyList<string> Inputs => ["dataset", "checks"];

    public override IReadOnlyList<string> Outputs => ["splits", "train", "validation", "test"];

    public override object ReadSettings(DefinitionYaml with)
    {
        var service = with.Text("service");
        var rows = with.Text("rows");
        var eventTimestamp = with.Text("event_timestamp");
        var label = with.Text("label");
        var keep = with.Texts("keep");
        var splits = with.Map("splits");
        var ranges = new Dictionary<string, SplitRange>(StringComparer.Ordinal);
        DateTimeOffset? before = null;
        foreach (var name in SplitNames)
        {
            var split = splits.Map(name);
            if (split.OptionalInstant("from") is not { } from || split.OptionalInstant("until") is not { } until)
            {
                if (!split.Has("from") || !split.Has("until"))
                {
                    splits.Fault(name, "needs 'from' and 'until', such as {from: 2001-01-01, until: 2001-04-01}");
                }

                continue;
            }

            if (until <= from)
            {
                split.Fault("until", $"must be after 'from' ({Spell(from)}); it is the first instant outside the split");
            }

            if (from < before)
            {
                split.Fault("from", $"must not be before {Spell(before.Value)}, where the split before it ends; otherwise one split would know another's future");
            }

            before = until;
            ranges[name] = new SplitRange(from, until);
        }

        return new FeaturesSettings(service, rows, eventTimestamp, label, keep, ranges);
    }

    // The service's version fixes the versions of its views.
    public override string? Surroundings(PipelineDefinition pipeline) =>
        pipeline.Stages.Select(stage => stage.Settings).OfType<FeaturesSettings>().FirstOrDefault() is { } settings && features.FindService(settings.Service) is { } service
            ? $"{service.Name}@{service.Version}"
            : null;

    public override async Task RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        var settings = context.Settings<FeaturesSettings>();
        var pinned = await context.ReadAsync<DatasetRef>("dataset", cancellationToken);
        var source = datasets.Require(pinned.Name, pinned.Version);
        var service = features.FindService(settings.Service, context.Pins?.Features is { } pins && pins.Service == settings.Service ? pins.ServiceVersion : null)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no feature service '{settings.Service}'; apply its definition first.");
        string[] kept = [settings.Label, settings.EventTimestamp, .. settings.Keep];
        var parts = new List<Split>();
        foreach (var (index, name) in SplitNames.Index())
        {
            context.Progress((double)index / SplitNames.Length, $"joins the features of the {name} split");
            var range = settings.Ranges[name];
            var time = DuckDbIdentifier.Quote(settings.EventTimestamp);
            var sql =
                $"SELECT * FROM (\n{settings.Rows.Trim().TrimEnd(';')}\n) WHERE {time} >= TIMESTAMP '{Spell(range.From)}' AND {time} < TIMESTAMP '{Spell(range.Until)}'";
            var set = await offline.GetHistoricalAsync(
                new HistoricalRequest(sql, source, settings.EventTimestamp, service, [.. kept.Distinct(StringComparer.OrdinalIgnoreCase)]), context.By, cancellationToken);
            if (set.Rows == 0)
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition,
                    $"The {name} split from {Spell(range.From)} until {Spell(range.Until)} has no rows in {pinned.Name}@{pinned.Version}; give it another time range.");
            }

            context.WriteBlob(name, set.Sha256, new FileInfo(set.Path).Length);
            context.Made(set.Node);
            parts.Add(new Split(name, range.From, range.Until, set.Rows, set.Sha256, sql));
        }

        var schema = new FeatureSchema(
            service.Name, service.Version, [.. service.Features.Select(feature => new FeatureField(feature.Ref, feature.Type))], [.. service.Views.Select(view => view.Id)]);
        await context.WriteAsync(
            "splits",
            new Splits(pinned, schema, [.. service.Inputs.Select(input => new SignatureField(input.Name, WireType(input.Type), [-1]))], settings.Label, settings.EventTimestamp, parts),
            cancellationToken);
        context.Outcome = new StageOutcome(string.Join(", ", parts.Select(part => $"{part.Name} {part.Rows:N0} rows")));
    }

    private static string Spell(DateTimeOffset instant) => instant.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss.ffffff", CultureInfo.InvariantCulture);

    private static string WireType(string type) => type switch
    {
        "string" => "BYTES",
        "boolean" => "BOOL",
        "int32" => "INT32",
        "int64" or "timestamp" => "INT64",
        "float64" => "FP64",
        _ => "FP32",
    };
}
