using Slipway.Contracts.Registry;

namespace Slipway.Web.Pages.Models;

/// <summary>A node with its place on the picture, in pixels.</summary>
public sealed record PlacedNode(LineageNode Node, int X, int Y);

/// <summary>
/// Lays lineage out from left to right: a thing stands one column right of the last thing it was made from, so that every arrow
/// points right.
/// </summary>
public sealed class LineageLayout
{
    public const int NodeWidth = 148;
    public const int NodeHeight = 40;
    private const int ColumnWidth = 188;
    private const int RowHeight = 56;

    public LineageLayout(LineageGraph graph)
    {
        var column = graph.Nodes.ToDictionary(node => node, _ => 0);
        // As many rounds as there are nodes settle any graph without cycles; one with a cycle is drawn as far as it got.
        for (var round = 0; round < graph.Nodes.Count; round++)
        {
            var moved = false;
            foreach (var edge in graph.Edges.Where(edge => column[edge.To] <= column[edge.From]))
            {
                column[edge.To] = Math.Min(column[edge.From] + 1, graph.Nodes.Count);
                moved = true;
            }

            if (!moved)
            {
                break;
            }
        }

        // A thing made from nothing stands right before what it was used for, not at the far left.
        foreach (var node in graph.Nodes.Where(node => graph.Edges.All(edge => edge.To != node)))
        {
            column[node] = graph.Edges.Where(edge => edge.From == node).Select(edge => column[edge.To] - 1).DefaultIfEmpty(0).Min();
        }

        var columns = graph.Nodes.GroupBy(node => column[node]).OrderBy(group => group.Key).Select(group => group.ToList()).ToList();
        var tallest = columns.Count == 0 ? 0 : columns.Max(nodes => nodes.Count);
        Nodes = [.. columns.SelectMany((nodes, x) => nodes.Select((node, y) =>
            new PlacedNode(node, x * ColumnWidth + 1, 1 + y * RowHeight + (tallest - nodes.Count) * RowHeight / 2)))];
        var placed = Nodes.ToDictionary(node => node.Node);
        Edges = [.. graph.Edges.Select(edge => (edge.Relation, From: placed[edge.From], To: placed[edge.To]))];
        Width = Math.Max(1, columns.Count) * ColumnWidth - (ColumnWidth - NodeWidth) + 2;
        Height = Math.Max(1, tallest) * RowHeight - (RowHeight - NodeHeight) + 2;
    }

    public IReadOnlyList<PlacedNode> Nodes { get; }

    public IReadOnlyList<(string Relation, PlacedNode From, PlacedNode To)> Edges { get; }

    public int Width { get; }

    public int Height { get; }

    /// <summary>The arrow between two nodes as an SVG path.</summary>
    public static string Path(PlacedNode from, PlacedNode to)
    {
        var (x1, y1, x2, y2) = (from.X + NodeWidth, from.Y + NodeHeight / 2, to.X, to.Y + NodeHeight / 2);
        return $"M{x1} {y1}C{x1 + 20} {y1} {x2 - 20} {y2} {x2} {y2}";
    }
}
