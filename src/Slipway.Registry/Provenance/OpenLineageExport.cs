using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Slipway.Contracts.Lineage;
using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Registry.Provenance;

/// <summary>
/// Tells a part of the graph as OpenLineage run events, core 2-0-2: what ran is a run of a job with its start and end; what was read
/// and written is a dataset with its schema, version, source and owner.
/// </summary>
/// <remarks>
/// Source: https://openlineage.io/spec/2-0-2/OpenLineage.json and https://openlineage.io/spec/facets. A model version is a dataset too,
/// as the standard has no other word for what a training writes and a deployment reads.
/// </remarks>
public sealed class OpenLineageExport
{
    private const string Spec = "https://openlineage.io/spec";

    private static readonly string Producer = $"urn:slipway:{typeof(OpenLineageExport).Assembly.GetName().Version!.ToString(3)}";

    private readonly string _namespace;
    private readonly Dictionary<LineageNode, NodeFacts?> _facts;
    private readonly ILookup<LineageNode, LineageLink> _into;
    private readonly ILookup<LineageNode, LineageLink> _from;
    private readonly List<(DateTimeOffset At, int Order, JsonObject Event)> _events = [];

    private OpenLineageExport(LineageView view, string @namespace)
    {
        _namespace = @namespace;
        _facts = view.Nodes.ToDictionary(node => new LineageNode(node.Kind, node.Id), node => node.Facts);
        _into = view.Edges.ToLookup(edge => edge.To);
        _from = view.Edges.ToLookup(edge => edge.From);
    }

    /// <summary>The events of all that ran in this part of the graph, by time. What nobody has on record any more has no time, and is left out.</summary>
    /// <param name="view">The part.</param>
    /// <param name="namespace">Namespace of jobs and datasets, such as <c>slipway://models.example:5000</c>.</param>
    public static IReadOnlyList<JsonObject> Events(LineageView view, string @namespace)
    {
        var export = new OpenLineageExport(view, @namespace);
        foreach (var node in export._facts.Keys)
        {
            export.Tell(node);
        }

        return [.. export._events.OrderBy(each => each.At).ThenBy(each => each.Order).Select(each => each.Event)];
    }

    private void Tell(LineageNode node)
    {
        var facts = _facts[node];
        var makers = _into[node].Select(edge => edge.From).ToList();
        switch (node.Kind)
        {
            case NodeKinds.PipelineRun when facts is not null:
                Run(node, facts, Detail(facts, "pipeline", node.Id), "PIPELINE", [], []);
                break;
            case NodeKinds.PipelineStage when facts is not null:
                var written = Written(node);
                Run(node, facts, $"{Detail(facts, "pipeline", "")}.{facts.Title}", Detail(facts, "uses", "stage").ToUpperInvariant(),
                    written.SelectMany(output => _into[output]).Select(edge => edge.From).Where(IsDataset).Except(written), written);
                break;
            case NodeKinds.Run when facts is not null:
                Run(node, facts, $"{Detail(facts, "experiment", "experiment")}.{facts.Title}", "TRAINING", makers.Where(IsDataset), _from[node].Select(edge => edge.To).Where(IsDataset));
                break;
            case NodeKinds.Deployment when facts is not null:
                Run(node, facts, $"{Detail(facts, "model", "model")}.{Detail(facts, "arm", "stable")}", "DEPLOYMENT", makers.Where(IsDataset), [], "SERVICE");
                break;
            case NodeKinds.FeatureView when Instant(facts, "built_at") is { } builtAt:
                Run(node, Moment(facts!, builtAt), $"feature_view.{Name(node)}", "FEATURES", makers.Where(IsDataset), [node]);
                break;
            case NodeKinds.TrainingSet when facts?.StartedAt is { } retrievedAt && !makers.Exists(maker => maker.Kind == NodeKinds.PipelineStage):
                var service = makers.FirstOrDefault(maker => maker.Kind == NodeKinds.FeatureService);
                Run(node, Moment(facts, retrievedAt), $"feature_service.{(service is null ? "unknown" : Name(service))}", "TRAINING_SET", makers.Where(IsDataset), [node]);
                break;
            case NodeKinds.Document when facts?.StartedAt is { } publishedAt:
                Run(node, Moment(facts, publishedAt), $"document.{Name(node)}", "DOCUMENT", makers.Where(IsDataset), [node]);
                break;
        }
    }

    private List<LineageNode> Written(LineageNode stage) => [.. _from[stage].Where(edge => edge.Relation == "written_by").Select(edge => edge.To).Where(IsDataset)];

    private void Run(
        LineageNode node, NodeFacts facts, string job, string jobType, IEnumerable<LineageNode> inputs, IEnumerable<LineageNode> outputs, string processingType = "BATCH")
    {
        if (facts.StartedAt is not { } startedAt)
        {
            return;
        }

        var (read, wrote) = (inputs.Distinct().ToList(), outputs.Distinct().ToList());
        Add(startedAt, 0, "START");
        if (facts.EndedAt is { } endedAt)
        {
            Add(endedAt, 1, facts.State switch { "failed" => "FAIL", "killed" or "aborted" => "ABORT", _ => "COMPLETE" });
        }

        void Add(DateTimeOffset at, int order, string type) => _events.Add((at, order, new JsonObject
        {
            ["eventType"] = type,
            ["eventTime"] = Text(at),
            ["run"] = RunOf(node),
            ["job"] = JobOf(job, jobType, processingType),
            ["inputs"] = new JsonArray([.. read.Select(input => (JsonNode)Dataset(input, null))]),
            ["outputs"] = new JsonArray([.. wrote.Select(output => (JsonNode)Dataset(output, Rows(output)))]),
            ["producer"] = Producer,
            ["schemaURL"] = $"{Spec}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        }));
    }

    private JsonObject RunOf(LineageNode node)
    {
        var run = new JsonObject { ["runId"] = RunId(node) };
        var parent = _into[node].Select(edge => edge.From).FirstOrDefault(maker => maker.Kind is NodeKinds.PipelineRun or NodeKinds.PipelineStage);
        if (parent is not null && node.Kind is NodeKinds.PipelineStage or NodeKinds.Run && _facts[parent] is { } facts)
        {
            var pipeline = Detail(facts, "pipeline", parent.Id);
            run["facets"] = new JsonObject
            {
                ["parent"] = Facet("1-1-0", "ParentRunFacet",
                    ("run", new JsonObject { ["runId"] = RunId(parent) }),
                    ("job", new JsonObject { ["namespace"] = _namespace, ["name"] = parent.Kind == NodeKinds.PipelineStage ? $"{pipeline}.{facts.Title}" : pipeline })),
            };
        }

        return run;
    }

    private JsonObject JobOf(string name, string type, string processingType) => new()
    {
        ["namespace"] = _namespace,
        ["name"] = name,
        ["facets"] = new JsonObject { ["jobType"] = Facet("2-0-2", "JobTypeJobFacet", ("processingType", processingType), ("integration", "SLIPWAY"), ("jobType", type)) },
    };

    private JsonObject Dataset(LineageNode node, long? rowsWritten)
    {
        var facts = _facts[node];
        var facets = new JsonObject { ["dataSource"] = Facet("1-0-0", "DatasourceDatasetFacet", ("name", "Slipway"), ("uri", Source(facts))) };
        if (Version(node) is { } version)
        {
            facets["version"] = Facet("1-0-0", "DatasetVersionDatasetFacet", ("datasetVersion", version));
        }

        if (facts is { Fields.Count: > 0 })
        {
            facets["schema"] = Facet("1-0-0", "SchemaDatasetFacet", ("fields", new JsonArray([.. facts.Fields.Select(Field)])));
        }

        if (facts?.Owner is { } owner)
        {
            facets["ownership"] = Facet("1-0-0", "OwnershipDatasetFacet", ("owners", new JsonArray(new JsonObject { ["name"] = owner })));
        }

        if (facts?.Title is { } title)
        {
            facets["documentation"] = Facet("1-0-0", "DocumentationDatasetFacet", ("description", title));
        }

        var dataset = new JsonObject { ["namespace"] = _namespace, ["name"] = $"{node.Kind}/{Name(node)}", ["facets"] = facets };
        if (rowsWritten is { } rows)
        {
            dataset["outputFacets"] = new JsonObject { ["outputStatistics"] = Facet("1-0-0", "OutputStatisticsOutputDatasetFacet", ("rowCount", rows)) };
        }

        return dataset;
    }

    private string Source(NodeFacts? facts) =>
        facts?.Details.GetValueOrDefault("source_url") is { } url && Uri.TryCreate(url, UriKind.Absolute, out var address) ? address.AbsoluteUri : _namespace;

    private long? Rows(LineageNode node) =>
        _facts[node]?.Details.GetValueOrDefault("rows") is { } text && long.TryParse(text, CultureInfo.InvariantCulture, out var rows) ? rows : null;

    private static JsonNode Field(NodeField field)
    {
        var wire = new JsonObject { ["name"] = field.Name, ["type"] = field.Type };
        if (field.Description is not null)
        {
            wire["description"] = field.Description;
        }

        return wire;
    }

    private static JsonObject Facet(string version, string name, params (string Key, JsonNode? Value)[] values)
    {
        var facet = new JsonObject { ["_producer"] = Producer, ["_schemaURL"] = $"{Spec}/facets/{version}/{name}.json#/$defs/{name}" };
        foreach (var (key, value) in values)
        {
            facet[key] = value;
        }

        return facet;
    }

    private static bool IsDataset(LineageNode node) => node.Kind is NodeKinds.DatasetVersion or NodeKinds.LoggedDataset or NodeKinds.FeatureView or NodeKinds.FeatureService
        or NodeKinds.TrainingSet or NodeKinds.EvaluationReport or NodeKinds.LoggedModel or NodeKinds.ModelVersion or NodeKinds.Document;

    private static NodeFacts Moment(NodeFacts facts, DateTimeOffset at) => facts with { State = null, StartedAt = at, EndedAt = at };

    private static string Detail(NodeFacts facts, string name, string otherwise) => facts.Details.GetValueOrDefault(name) is { Length: > 0 } value ? value : otherwise;

    private static DateTimeOffset? Instant(NodeFacts? facts, string name) =>
        facts?.Details.GetValueOrDefault(name) is { } text && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var at) ? at : null;

    private static string Name(LineageNode node) => node.Id.LastIndexOf('@') is > 0 and var at ? node.Id[..at] : node.Id;

    private static string? Version(LineageNode node) => node.Id.LastIndexOf('@') is > 0 and var at ? node.Id[(at + 1)..] : null;

    private static string Text(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);

    // Ids of ours that are no UUID make one: the same each time (RFC 9562, version 8).
    private static string RunId(LineageNode node)
    {
        if (Guid.TryParseExact(node.Id, "N", out var known))
        {
            return known.ToString("D");
        }

        Span<byte> hash = stackalloc byte[32];
        SHA256.HashData(Encoding.UTF8.GetBytes($"{node.Kind}:{node.Id}"), hash);
        hash[6] = (byte)((hash[6] & 0x0F) | 0x80);
        hash[8] = (byte)((hash[8] & 0x3F) | 0x80);
        return new Guid(BinaryPrimitives.ReadInt32BigEndian(hash), BinaryPrimitives.ReadInt16BigEndian(hash[4..]), BinaryPrimitives.ReadInt16BigEndian(hash[6..]), hash[8..16].ToArray())
            .ToString("D");
    }
}
