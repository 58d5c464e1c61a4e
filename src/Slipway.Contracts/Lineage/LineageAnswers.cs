using Slipway.Contracts.Registry;

namespace Slipway.Contracts.Lineage;

/// <summary>A thing of the lineage graph.</summary>
/// <param name="Kind">Such as <c>dataset_version</c>.</param>
/// <param name="Id">Unique within the kind; versions are written <c>name@version</c>.</param>
/// <param name="Facts">What its owner says of it; null when nothing is on record, such as of a commit.</param>
public record LineageThing(string Kind, string Id, NodeFacts? Facts);

/// <summary>A thing that a walk met.</summary>
/// <param name="Kind">Such as <c>dataset_version</c>.</param>
/// <param name="Id">Unique within the kind.</param>
/// <param name="Facts">What its owner says of it; null when nothing is on record.</param>
/// <param name="Depth">Steps from the nearest start, which has 0.</param>
/// <param name="Followed">False where the walk stopped because only what came before stands there: a parent version, a monitor that asked for a run.</param>
public sealed record LineageReached(string Kind, string Id, NodeFacts? Facts, int Depth, bool Followed) : LineageThing(Kind, Id, Facts);

/// <summary>Which way to look.</summary>
public enum LineageSide
{
    /// <summary>To what was used.</summary>
    Upstream,

    /// <summary>To what came of it.</summary>
    Downstream,

    /// <summary>To both.</summary>
    Both,
}

/// <summary>Part of the graph. Answer of <c>GET /lineage</c>.</summary>
/// <param name="Starts">The things asked about: one, or every version of a name.</param>
/// <param name="Direction">Which way was looked.</param>
/// <param name="Nodes">By distance, the starts first.</param>
/// <param name="Edges">Every edge between two of these nodes, from what was used to what came of it.</param>
/// <param name="Truncated">Whether there is more than the limit allowed; what is here is the nearest.</param>
public sealed record LineageView(
    IReadOnlyList<LineageNode> Starts, LineageSide Direction, IReadOnlyList<LineageReached> Nodes, IReadOnlyList<LineageLink> Edges, bool Truncated);

/// <summary>A way through the graph. Answer of <c>GET /lineage/path</c>.</summary>
/// <param name="Found">Whether there is one.</param>
/// <param name="Nodes">From end to end, in the direction of the data; empty when there is none.</param>
/// <param name="Edges">Between them.</param>
/// <param name="Truncated">Whether the search met its limit, so that a shorter way may exist, or one at all where none was found.</param>
public sealed record LineagePathView(bool Found, IReadOnlyList<LineageThing> Nodes, IReadOnlyList<LineageLink> Edges, bool Truncated);

/// <summary>What a change would reach. Answer of <c>GET /lineage/impact</c>.</summary>
/// <param name="Subjects">What would change: one thing, every version of a name, or the views that define a feature.</param>
/// <param name="Feature">The single feature that was asked about; null when it was not one.</param>
/// <param name="VersionsTotal">How many model versions depend on it. Of a single feature this is known only when all were read: otherwise it counts those of its views.</param>
/// <param name="Versions">Those in production first, then staging, then the newest.</param>
/// <param name="Owners">Who answers for versions in production or staging, or for what hangs on them.</param>
/// <param name="Truncated">Whether not all versions are named.</param>
public sealed record LineageImpact(
    IReadOnlyList<LineageNode> Subjects, string? Feature, int VersionsTotal, IReadOnlyList<AffectedVersion> Versions, IReadOnlyList<string> Owners, bool Truncated);

/// <summary>A model version that depends on what would change.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Version.</param>
/// <param name="Stage">Where it stands; null when the registry has no such version.</param>
/// <param name="Owner">Who answers for it; null when the registry has no such version.</param>
/// <param name="Deployments">Those that serve now.</param>
/// <param name="Monitors">Of its model.</param>
/// <param name="Documents">That quote it.</param>
/// <param name="Applications">Outside the platform, as declared.</param>
public sealed record AffectedVersion(
    string Model, string Version, Stage? Stage, string? Owner,
    IReadOnlyList<LineageThing> Deployments, IReadOnlyList<LineageThing> Monitors, IReadOnlyList<LineageThing> Documents, IReadOnlyList<LineageThing> Applications);

/// <summary>What a version depends on and what depends on it. Answer of <c>GET /lineage/dependencies</c>.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Version.</param>
/// <param name="Datasets">Data used.</param>
/// <param name="FeatureViews">Feature definitions used.</param>
/// <param name="FeatureServices">Which put the features in order.</param>
/// <param name="Features">In vector order.</param>
/// <param name="TrainingSets">The rows that it, its rivals and its evaluation saw.</param>
/// <param name="Runs">Experiments behind it.</param>
/// <param name="PipelineRuns">Which made it.</param>
/// <param name="Commits">Code that ran.</param>
/// <param name="EvaluationReports">That judge it.</param>
/// <param name="Models">Other models' versions, and logged models, that went into it.</param>
/// <param name="Parent">The version it descends from; null on the first.</param>
/// <param name="Consumers">What uses it: deployments, rollouts, versions of other models, monitors, documents, applications.</param>
/// <param name="Truncated">Whether there is more than was read.</param>
public sealed record VersionDependencies(
    string Model, string Version, IReadOnlyList<LineageThing> Datasets, IReadOnlyList<LineageThing> FeatureViews, IReadOnlyList<LineageThing> FeatureServices,
    IReadOnlyList<string> Features, IReadOnlyList<LineageThing> TrainingSets, IReadOnlyList<LineageThing> Runs, IReadOnlyList<LineageThing> PipelineRuns,
    IReadOnlyList<LineageThing> Commits, IReadOnlyList<LineageThing> EvaluationReports, IReadOnlyList<LineageThing> Models, string? Parent,
    IReadOnlyList<LineageThing> Consumers, bool Truncated);

/// <summary>Where versions serve and served. Answer of <c>GET /lineage/deployments</c>.</summary>
/// <param name="Model">Model.</param>
/// <param name="Versions">Newest first; those never deployed have no deployments.</param>
public sealed record ModelDeployments(string Model, IReadOnlyList<VersionDeployments> Versions);

/// <summary>Where one version serves and served.</summary>
/// <param name="Version">Version.</param>
/// <param name="Stage">Where it stands.</param>
/// <param name="Current">Deployments that serve now.</param>
/// <param name="Past">Deployments that have ended, newest first.</param>
public sealed record VersionDeployments(string Version, Stage Stage, IReadOnlyList<LineageThing> Current, IReadOnlyList<LineageThing> Past);

/// <summary>Which requirement is met by which model. Answer of <c>GET /lineage/requirements</c>.</summary>
/// <param name="Requirements">By id.</param>
/// <param name="Unmapped">Ids of those that name no model.</param>
public sealed record RequirementMap(IReadOnlyList<MappedRequirement> Requirements, IReadOnlyList<string> Unmapped);

/// <summary>How far a requirement is met.</summary>
public enum RequirementStatus
{
    /// <summary>It names no model.</summary>
    Unmapped,

    /// <summary>None of its models has a version.</summary>
    Planned,

    /// <summary>A model has a version, but one has none in production.</summary>
    InProgress,

    /// <summary>Each of its models is in production.</summary>
    InProduction,
}

/// <summary>A requirement and the models that answer to it.</summary>
/// <param name="Id">As its file names it.</param>
/// <param name="Version">Of the file.</param>
/// <param name="Text">What is required.</param>
/// <param name="Source">Where it comes from; null when not said.</param>
/// <param name="Status">How far it is met.</param>
/// <param name="Models">Each with its version in production.</param>
public sealed record MappedRequirement(string Id, long Version, string Text, string? Source, RequirementStatus Status, IReadOnlyList<RequiredModel> Models);

/// <summary>A model that a requirement names.</summary>
/// <param name="Model">Model.</param>
/// <param name="Versions">How many it has.</param>
/// <param name="ProductionVersion">Null when none is in production.</param>
public sealed record RequiredModel(string Model, int Versions, string? ProductionVersion);

/// <summary>Declares a dependency that the platform cannot see. Body of <c>POST /lineage/links</c>.</summary>
/// <param name="From">What is used: a model version, as <c>model_version:NAME@VERSION</c>.</param>
/// <param name="Relation"><c>consumed_by</c> (an application) or <c>depends_on</c> (another model's version).</param>
/// <param name="To">What uses it: <c>application:NAME</c>, or a model version.</param>
/// <param name="Reason">Why, for the record.</param>
public sealed record DeclareLink(string? From, string? Relation, string? To, string? Reason);
