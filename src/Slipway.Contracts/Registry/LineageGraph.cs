namespace Slipway.Contracts.Registry;

/// <summary>Where a version came from and what came of it.</summary>
/// <param name="Root">The version.</param>
/// <param name="Nodes">Every thing on a path through it.</param>
/// <param name="Edges">From what was used to what came of it.</param>
/// <param name="Complete">Whether the four links to dataset, commit, feature definitions and evaluation report exist.</param>
/// <param name="Missing">The links that do not, by the kind at their far end.</param>
public sealed record LineageGraph(LineageNode Root, IReadOnlyList<LineageNode> Nodes, IReadOnlyList<LineageLink> Edges, bool Complete, IReadOnlyList<string> Missing);

/// <summary>One thing.</summary>
/// <param name="Kind">Such as <c>dataset_version</c>.</param>
/// <param name="Id">Unique within the kind.</param>
public sealed record LineageNode(string Kind, string Id);

/// <summary>One edge.</summary>
/// <param name="From">What was used.</param>
/// <param name="Relation">How.</param>
/// <param name="To">What came of it.</param>
public sealed record LineageLink(LineageNode From, string Relation, LineageNode To);
