using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Lineage;
using Slipway.Contracts.Registry;
using Slipway.FeatureStore;
using Slipway.Registry.Stages;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Registry.Provenance;

/// <summary>Answers questions about the graph with what the owners of its nodes say of them.</summary>
public sealed class LineageQueries(Database database, Lineage lineage, NodeDirectory directory, ModelRegistry registry, DefinitionStore definitions)
{
    /// <summary>How many versions an impact names when nothing is said.</summary>
    public const int DefaultImpactLimit = 200;

    private const string Feature = "feature";

    /// <summary>What is around a node.</summary>
    /// <param name="node"><c>kind:id</c>; an id without a version means all its versions, <c>model_version:NAME@production</c> the one in that stage.</param>
    /// <param name="side">Which way to look.</param>
    /// <param name="depth">Steps at most; null for all.</param>
    /// <param name="kinds">Only these, and the starts; empty for all.</param>
    /// <param name="limit">Nodes that each walk meets at most.</param>
    /// <param name="history">Whether to go on behind parent versions and what asked for a run.</param>
    /// <exception cref="SlipwayException">InvalidArgument: no node; NotFound: the graph has none of this name.</exception>
    public LineageView Show(
        string node, LineageSide side = LineageSide.Both, int? depth = null, IReadOnlyCollection<string>? kinds = null, int limit = Lineage.DefaultLimit, bool history = false)
    {
        var starts = Resolve(node);
        var scope = history ? LineageScope.History : LineageScope.Making;
        var walks = new List<LineageWalk>();
        if (side is not LineageSide.Downstream)
        {
            walks.Add(lineage.Walk(starts, LineageDirection.Upstream, limit, depth, scope));
        }

        if (side is not LineageSide.Upstream)
        {
            walks.Add(lineage.Walk(starts, LineageDirection.Downstream, limit, depth, scope));
        }

        var isStart = starts.ToHashSet();
        var reached = walks.SelectMany(walk => walk.Nodes)
            .Where(found => kinds is null or { Count: 0 } || kinds.Contains(found.Node.Kind) || isStart.Contains(found.Node))
            .GroupBy(found => found.Node).Select(found => new ReachedNode(found.Key, found.Min(each => each.Depth), found.Any(each => each.Followed)))
            .OrderBy(found => found.Depth).ToList();
        var shown = reached.Select(found => found.Node).ToHashSet();
        var facts = directory.Describe(shown);
        return new LineageView(
            [.. starts.Select(Wire)], side,
            [.. reached.Select(found => new LineageReached(found.Node.Kind, found.Node.Id, facts.GetValueOrDefault(found.Node), found.Depth, found.Followed))],
            [.. walks.SelectMany(walk => walk.Edges).Distinct().Where(edge => shown.Contains(edge.From) && shown.Contains(edge.To)).Select(Wire)],
            walks.Exists(walk => walk.Truncated));
    }

    /// <summary>A shortest way between two nodes, whichever of them is upstream.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: not one node; NotFound: the graph has none of this name.</exception>
    public LineagePathView Path(string from, string to, int limit = Lineage.DefaultPathLimit)
    {
        var (a, b) = (One("from", from), One("to", to));
        var there = lineage.FindPath(a, b, limit);
        var path = there.Found ? there : lineage.FindPath(b, a, limit);
        var nodes = path.Found ? path.Edges.Select(edge => edge.To).Prepend(path.Edges.Count == 0 ? a : path.Edges[0].From).ToList() : [];
        var facts = directory.Describe(nodes);
        return new LineagePathView(
            path.Found, [.. nodes.Select(node => Thing(node, facts))], [.. path.Edges.Select(Wire)], path.Truncated || (!path.Found && there.Truncated));
    }

    /// <summary>Which model versions, and what hangs on them, a change of the node would reach.</summary>
    /// <param name="node"><c>kind:id</c>, or <c>feature:ENTITY:NAME</c> for a single feature.</param>
    /// <param name="limit">Versions to name at most.</param>
    /// <exception cref="SlipwayException">InvalidArgument: no node; NotFound: the graph has none of this name, no view defines the feature.</exception>
    public LineageImpact Impact(string node, int limit = DefaultImpactLimit)
    {
        var subjects = Resolve(node);
        var feature = Parse("node", node) is { Kind: Feature, Id: var reference } ? reference : null;
        var use = Versions(subjects, feature is null ? limit : 10 * limit);
        var rows = VersionRows(use.Versions).Where(row => feature is null || row.Features.Contains(feature)).OrderBy(row => row.Rank).ToList();
        var complete = use.Versions.Count == use.Total && !use.Truncated;
        var total = feature is not null && complete ? rows.Count : use.Total;
        rows = [.. rows.Take(limit)];
        var versions = Affected(rows);
        var owners = rows.Where(row => row.Stage is Stage.Production or Stage.Staging).Select(row => row.Owner)
            .Concat(versions.Where(version => version.Stage is Stage.Production or Stage.Staging).SelectMany(version => version.Monitors.Select(monitor => monitor.Facts?.Owner)))
            .OfType<string>().Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal);
        return new LineageImpact([.. subjects.Select(Wire)], feature, total, versions, [.. owners], rows.Count < total || use.Truncated);
    }

    /// <summary>What a version was made from, and what uses it.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public VersionDependencies Dependencies(string model, string version)
    {
        var record = registry.Get(model, version);
        var start = record.Node;
        var (up, down) = (lineage.Walk([start], LineageDirection.Upstream), lineage.Walk([start], LineageDirection.Downstream, depth: 2));
        var direct = lineage.EdgesTo(start);
        var made = lineage.VersionsMadeFrom([start], [], DefaultImpactLimit);
        var upstream = up.Nodes.Where(found => found.Followed && found.Depth > 0).Select(found => found.Node).ToList();
        var others = upstream.Where(node => node.Kind is NodeKinds.ModelVersion or NodeKinds.LoggedModel)
            .Concat(direct.Where(edge => edge.Relation == Lineage.Feeds && edge.From.Kind == NodeKinds.ModelVersion).Select(edge => edge.From)).Distinct().ToList();
        string[] consumers = [NodeKinds.Deployment, NodeKinds.Rollout, NodeKinds.Monitor, NodeKinds.Document, NodeKinds.Application];
        var uses = down.Nodes.Select(found => found.Node).Where(node => consumers.Contains(node.Kind)).Concat(made.Versions).Distinct().ToList();
        var facts = directory.Describe(upstream.Concat(others).Concat(uses));
        IReadOnlyList<LineageThing> Of(string kind) => [.. upstream.Where(node => node.Kind == kind).Select(node => Thing(node, facts))];
        return new VersionDependencies(
            record.Model, record.Version, Of(NodeKinds.DatasetVersion), Of(NodeKinds.FeatureView), Of(NodeKinds.FeatureService),
            [.. record.FeatureSchema.Features.Select(field => field.Name)], Of(NodeKinds.TrainingSet), Of(NodeKinds.Run), Of(NodeKinds.PipelineRun), Of(NodeKinds.Commit),
            Of(NodeKinds.EvaluationReport), [.. others.Select(node => Thing(node, facts))],
            direct.FirstOrDefault(edge => edge.Relation == "descends_from")?.From.Id is { } parent ? parent[(parent.LastIndexOf('@') + 1)..] : null,
            [.. uses.Select(node => Thing(node, facts))], up.Truncated || down.Truncated || made.Versions.Count < made.Total);
    }

    /// <summary>Where a model's versions serve and served.</summary>
    /// <param name="model">Model.</param>
    /// <param name="version">Only this one; null for all.</param>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public ModelDeployments Deployments(string model, string? version)
    {
        var rows = database.Read(connection => connection.Query<(string Version, string Stage)>(
            "SELECT version, stage FROM model_versions WHERE model = @model AND (@version IS NULL OR version = @version) ORDER BY number DESC",
            new { model, version = version is null ? null : registry.Get(model, version).Version }).AsList());
        if (rows.Count == 0)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}'; GET /api/slipway/v1/models lists them.");
        }

        var deployed = lineage.Walk([.. rows.Select(row => ModelVersionNode.Of(model, row.Version))], LineageDirection.Downstream, 10_000, depth: 1).Edges
            .Where(edge => edge.Relation == "deployed_as").ToLookup(edge => edge.From, edge => edge.To);
        var facts = directory.Describe(deployed.SelectMany(nodes => nodes));
        return new ModelDeployments(model, [.. rows.Select(row =>
        {
            var things = deployed[ModelVersionNode.Of(model, row.Version)].Select(node => Thing(node, facts)).OrderByDescending(thing => thing.Facts?.StartedAt).ToList();
            return new VersionDeployments(
                row.Version, StageRules.Parse(row.Stage), [.. things.Where(thing => thing.Facts?.EndedAt is null)], [.. things.Where(thing => thing.Facts?.EndedAt is not null)]);
        })]);
    }

    /// <summary>Which requirement is met by which model, and which by none.</summary>
    public RequirementMap Requirements()
    {
        var models = registry.ListModels().ToDictionary(model => model.Name, StringComparer.Ordinal);
        var mapped = definitions.List(RequirementKind.KindName).Select(stored =>
        {
            var requirement = RequirementKind.Read(DefinitionYaml.Parse(stored.Yaml));
            var named = requirement.Models.Select(name => models.TryGetValue(name, out var model)
                ? new RequiredModel(name, model.Versions, model.ProductionVersion)
                : new RequiredModel(name, 0, null)).ToList();
            var status = named.Count == 0 ? RequirementStatus.Unmapped
                : named.TrueForAll(model => model.ProductionVersion is not null) ? RequirementStatus.InProduction
                : named.Exists(model => model.Versions > 0) ? RequirementStatus.InProgress
                : RequirementStatus.Planned;
            return new MappedRequirement(stored.Name, stored.Version, requirement.Text, requirement.Source, status, named);
        }).ToList();
        return new RequirementMap(mapped, [.. mapped.Where(requirement => requirement.Status == RequirementStatus.Unmapped).Select(requirement => requirement.Id)]);
    }

    /// <summary>Records a use that the platform cannot see: an application outside, or a model that takes another's answers.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the ends do not fit the relation; NotFound: a version.</exception>
    public Task DeclareAsync(DeclareLink link, Caller by, CancellationToken cancellationToken)
    {
        var from = One("from", link.From, NodeKinds.ModelVersion);
        var to = link.Relation switch
        {
            "depends_on" => One("to", link.To, NodeKinds.ModelVersion),
            "consumed_by" => Parse("to", link.To) is { Kind: NodeKinds.Application } application && application.Id.Length <= 200 ? application
                : throw new SlipwayException(ErrorCode.InvalidArgument, $"'to' must be application:NAME with a name of at most 200 characters, not '{link.To}'."),
            _ => throw new SlipwayException(ErrorCode.InvalidArgument, $"'relation' must be consumed_by or depends_on, not '{link.Relation}'."),
        };
        if (from == to)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'to' must not be '{link.From}' itself.");
        }

        if (string.IsNullOrWhiteSpace(link.Reason) || link.Reason.Length > 4000)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'reason' must say why, in 1 to 4000 characters.");
        }

        return database.WriteAsync(transaction =>
        {
            transaction.Link(from, link.Relation!, to);
            transaction.Audit(by, "lineage.declared", from, link.Reason, null, new { link.Relation, to = to.ToString() });
        }, cancellationToken);
    }

    /// <summary>The nodes that a text means.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: no node; NotFound: the graph has none of this name.</exception>
    internal IReadOnlyList<NodeRef> Resolve(string text, string field = "node")
    {
        var node = Parse(field, text);
        if (node.Kind == Feature)
        {
            return Views(node.Id);
        }

        if (node.Kind == NodeKinds.ModelVersion && node.Id.LastIndexOf('@') is > 0 and var at && registry.Find(node.Id[..at], node.Id[(at + 1)..]) is { } version)
        {
            node = version.Node;
        }

        return lineage.Find(node) is { Count: > 0 } found ? found
            : throw new SlipwayException(ErrorCode.NotFound, $"The lineage graph has no '{node}'; nodes are named KIND:ID, such as model_version:flight-delay@1.0.0 or dataset_version:flights@1.");
    }

    private NodeRef One(string field, string? text, string? kind = null)
    {
        var nodes = Resolve(text ?? "", field);
        return nodes is [var node] && (kind is null || node.Kind == kind) ? node
            : throw new SlipwayException(ErrorCode.InvalidArgument, kind is null
                ? $"'{field}' names {nodes.Count} versions of '{text}'; name one, such as {nodes[^1]}."
                : $"'{field}' must be one {kind}, such as {kind}:NAME@VERSION, not '{text}'.");
    }

    private static NodeRef Parse(string field, string? text)
    {
        var colon = text?.IndexOf(':', StringComparison.Ordinal) ?? -1;
        return colon > 0 && colon < text!.Length - 1
            ? new NodeRef(text[..colon], text[(colon + 1)..])
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' must be KIND:ID, such as model_version:flight-delay@1.0.0, not '{text}'.");
    }

    // Every version of every view that defines it: a model may still use a definition that was replaced.
    private List<NodeRef> Views(string feature)
    {
        var colon = feature.IndexOf(':', StringComparison.Ordinal);
        var (entity, name) = colon < 0 ? ("", feature) : (feature[..colon], feature[(colon + 1)..]);
        var views = definitions.Versions(FeatureViewDefinition.Kind)
            .Where(stored => stored.Yaml.Contains(name, StringComparison.Ordinal))
            .Where(stored => FeatureViewDefinition.Parse(DefinitionYaml.Parse(stored.Yaml)) is var view && view.Entity == entity && view.Features.Any(defined => defined.Name == name))
            .Select(stored => new NodeRef(NodeKinds.FeatureView, $"{stored.Name}@{stored.Version}")).ToList();
        return views.Count > 0 ? views
            : throw new SlipwayException(ErrorCode.NotFound, $"No feature view defines '{feature}'; features are named ENTITY:NAME, such as airport:late_rate_7d.");
    }

    private IngredientUse Versions(IReadOnlyList<NodeRef> subjects, int limit)
    {
        if (subjects[0].Kind is NodeKinds.DatasetVersion or NodeKinds.FeatureView or NodeKinds.FeatureService)
        {
            var live = database.Read(connection => connection.Query<(string Model, string Version)>(
                "SELECT model, version FROM model_versions WHERE stage IN ('production', 'staging') ORDER BY stage, model, version").AsList());
            return lineage.VersionsMadeFrom(subjects, [.. live.Select(row => ModelVersionNode.Of(row.Model, row.Version))], limit);
        }

        var walk = lineage.Walk(subjects, LineageDirection.Downstream);
        var versions = walk.Nodes.Where(found => found.Node.Kind == NodeKinds.ModelVersion && found.Followed).Select(found => found.Node).ToList();
        return new IngredientUse(versions, versions.Count, walk.Truncated);
    }

    // In one statement: one for each version would be a round trip to PostgreSQL each time.
    private List<VersionRow> VersionRows(IReadOnlyList<NodeRef> versions) => database.Read(connection =>
    {
        var dialect = SqlDialect.Of(connection);
        dialect.ProbeIndexes(connection);
        var rows = versions.Select(Unknown).ToDictionary(row => (row.Model, row.Version));
        using var statement = Statement.Of(connection,
            $"""
            SELECT v.model, v.version, v.stage, v.owner, v.feature_schema
              FROM {dialect.TextPairs("$1")} p CROSS JOIN model_versions v WHERE v.model = p.a AND v.version = p.b
            """);
        statement.Bind(1, JsonSerializer.Serialize(rows.Keys.Select(key => (string[])[key.Model, key.Version])));
        while (statement.Step())
        {
            var key = (statement.Text(0), statement.Text(1));
            rows[key] = rows[key] with { Stage = StageRules.Parse(statement.Text(2)), Owner = statement.Text(3), FeatureSchemaJson = statement.Text(4) };
        }

        return rows.Values.ToList();
    });

    private static VersionRow Unknown(NodeRef node)
    {
        var at = node.Id.LastIndexOf('@');
        var (model, version) = at < 0 ? (node.Id, "") : (node.Id[..at], node.Id[(at + 1)..]);
        return new VersionRow(node, model, version, null, null, null);
    }

    private List<AffectedVersion> Affected(List<VersionRow> rows)
    {
        var walk = lineage.Walk([.. rows.Select(row => row.Node)], LineageDirection.Downstream, 10_000, depth: 2);
        var after = walk.Edges.Where(edge => edge.Relation != "descends_from").ToLookup(edge => edge.From, edge => edge.To);
        string[] shown = [NodeKinds.Deployment, NodeKinds.Monitor, NodeKinds.Document, NodeKinds.Application];
        var facts = directory.Describe(walk.Nodes.Select(found => found.Node).Where(node => shown.Contains(node.Kind)));
        return [.. rows.Select(row =>
        {
            IReadOnlyList<LineageThing> Of(string kind, IEnumerable<NodeRef> nodes) => [.. nodes.Where(node => node.Kind == kind).Select(node => Thing(node, facts))];
            var direct = after[row.Node];
            return new AffectedVersion(
                row.Model, row.Version, row.Stage, row.Owner,
                [.. Of(NodeKinds.Deployment, direct).Where(deployment => deployment.Facts?.EndedAt is null)],
                Of(NodeKinds.Monitor, direct.Where(node => node.Kind == NodeKinds.Model).SelectMany(model => after[model])),
                Of(NodeKinds.Document, direct), Of(NodeKinds.Application, direct));
        })];
    }

    private static LineageThing Thing(NodeRef node, IReadOnlyDictionary<NodeRef, NodeFacts> facts) => new(node.Kind, node.Id, facts.GetValueOrDefault(node));

    private static LineageNode Wire(NodeRef node) => new(node.Kind, node.Id);

    private static LineageLink Wire(LineageEdge edge) => new(Wire(edge.From), edge.Relation, Wire(edge.To));

    private sealed record VersionRow(NodeRef Node, string Model, string Version, Stage? Stage, string? Owner, string? FeatureSchemaJson)
    {
        public int Rank => Stage switch { Contracts.Registry.Stage.Production => 0, Contracts.Registry.Stage.Staging => 1, Contracts.Registry.Stage.Development => 2, _ => 3 };

        public IEnumerable<string> Features =>
            FeatureSchemaJson is null ? [] : JsonSerializer.Deserialize<FeatureSchema>(FeatureSchemaJson, JsonDefaults.Options)!.Features.Select(feature => feature.Name);
    }
}
