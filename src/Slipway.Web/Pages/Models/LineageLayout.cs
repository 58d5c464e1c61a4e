using System.Globalization;
using Slipway.Contracts.Lineage;
using Slipway.Contracts.Registry;

namespace Slipway.Web.Pages.Models;

/// <summary>A box of the picture: one thing, or several of a kind that were folded into one.</summary>
/// <param name="Kind">The kind of all of them.</param>
/// <param name="Thing">The thing; null for a folded box.</param>
/// <param name="Count">How many things it stands for.</param>
/// <param name="IsStart">Whether it was asked about.</param>
/// <param name="Followed">False where more may stand behind it that was not looked at.</param>
/// <param name="X">Left edge, in pixels.</param>
/// <param name="Y">Upper edge, in pixels.</param>
public sealed record LineageBox(string Kind, LineageThing? Thing, int Count, bool IsStart, bool Followed, int X, int Y);

/// <summary>An arrow of the picture.</summary>
/// <param name="Path">As SVG writes it.</param>
/// <param name="Title">What it says, read from the lower end.</param>
public sealed record LineageArrow(string Path, string Title);

/// <summary>
/// Lays a part of the graph out from left to right in layers: a thing stands one column right of the last thing it was made from, so
/// that arrows point right. Within a column, boxes stand near what they are joined to; arrows over several columns keep a lane of
/// their own between the boxes.
/// </summary>
/// <remarks>The layered drawing of Sugiyama, Tagawa and Toda (1981), with barycentre ordering.</remarks>
public sealed class LineageLayout
{
    public const int BoxWidth = 184;
    public const int BoxHeight = 58;

    /// <summary>More things of one kind than this in one column are folded into one box.</summary>
    public const int FoldOver = 6;

    private const int ColumnGap = 64;
    private const int RowGap = 14;
    private const int LaneHeight = 10;
    private const int LanesMax = 2000;
    private const int Sweeps = 6;

    private readonly List<Slot> _slots = [];
    private readonly List<Joint> _joints = [];

    /// <summary>Lays out.</summary>
    /// <param name="view">What to draw.</param>
    /// <param name="open">Kinds that are not folded, however many there are.</param>
    public LineageLayout(LineageView view, IReadOnlyCollection<string> open)
    {
        var columns = Columns(view);
        var starts = view.Starts.ToHashSet();
        var slots = new Dictionary<LineageNode, Slot>();
        foreach (var column in view.Nodes.GroupBy(node => (Column: columns[Key(node)], node.Kind)))
        {
            var folded = column.Where(node => !starts.Contains(Key(node))).ToList();
            var fold = folded.Count > FoldOver && !open.Contains(column.Key.Kind) ? Add(new Slot(column.Key.Column, column.Key.Kind, null, folded.Count, false, true)) : null;
            foreach (var node in column)
            {
                var isStart = starts.Contains(Key(node));
                slots[Key(node)] = fold is not null && !isStart ? fold : Add(new Slot(column.Key.Column, node.Kind, node, 1, isStart, node.Followed));
            }
        }

        // One arrow between two boxes, however many edges it stands for.
        foreach (var between in view.Edges.GroupBy(edge => (From: slots[edge.From], To: slots[edge.To])).Where(group => group.Key.From != group.Key.To))
        {
            Join(between.Key.From, between.Key.To, string.Join(", ", between.Select(edge => edge.Relation.Replace('_', ' ')).Distinct(StringComparer.Ordinal)));
        }

        Order();
        Place();
        Boxes = [.. _slots.Where(slot => slot.Kind.Length > 0).Select(slot => new LineageBox(slot.Kind, slot.Thing, slot.Count, slot.IsStart, slot.Followed, slot.X, slot.Y))];
        Arrows = [.. _joints.Select(joint => new LineageArrow(Path(joint), joint.Title))];
    }

    public IReadOnlyList<LineageBox> Boxes { get; }

    public IReadOnlyList<LineageArrow> Arrows { get; }

    public int Width { get; private set; }

    public int Height { get; private set; }

    private static LineageNode Key(LineageThing thing) => new(thing.Kind, thing.Id);

    // Longest path from what was made from nothing. Where a ring leaves nothing to begin with, the nearest of it begins.
    private static Dictionary<LineageNode, int> Columns(LineageView view)
    {
        var keys = view.Nodes.Select(Key).ToList();
        var column = keys.ToDictionary(key => key, _ => 0);
        var after = view.Edges.Where(edge => edge.From != edge.To).ToLookup(edge => edge.From, edge => edge.To);
        var before = view.Edges.Where(edge => edge.From != edge.To).ToLookup(edge => edge.To, edge => edge.From);
        var open = keys.ToDictionary(key => key, key => before[key].Count());
        var ready = new Queue<LineageNode>(keys.Where(key => open[key] == 0));
        var done = new HashSet<LineageNode>();
        while (done.Count < keys.Count)
        {
            if (!ready.TryDequeue(out var node))
            {
                node = keys.Where(key => !done.Contains(key)).MinBy(key => open[key])!;
            }

            if (!done.Add(node))
            {
                continue;
            }

            foreach (var next in after[node].Where(next => !done.Contains(next)))
            {
                column[next] = Math.Max(column[next], column[node] + 1);
                if (--open[next] == 0)
                {
                    ready.Enqueue(next);
                }
            }
        }

        // A thing made from nothing stands right before what it was used for, not at the far left.
        foreach (var key in keys.Where(key => !before[key].Any() && after[key].Any()))
        {
            column[key] = Math.Max(0, after[key].Min(next => column[next]) - 1);
        }

        var used = column.Values.Distinct().Order().Index().ToDictionary(pair => pair.Item, pair => pair.Index);
        return column.ToDictionary(pair => pair.Key, pair => used[pair.Value]);
    }

    private Slot Add(Slot slot)
    {
        _slots.Add(slot);
        return slot;
    }

    private void Join(Slot from, Slot to, string title)
    {
        var joint = new Joint(from, to, title);
        _joints.Add(joint);
        for (var column = from.Column + 1; column < to.Column && _slots.Count < LanesMax; column++)
        {
            joint.Lanes.Add(Add(new Slot(column, "", null, 0, false, true)));
        }

        // Neighbours for the ordering, lane by lane.
        var stops = joint.Lanes.Prepend(from).Append(to).ToList();
        for (var i = 1; i < stops.Count; i++)
        {
            stops[i].Left.Add(stops[i - 1]);
            stops[i - 1].Right.Add(stops[i]);
        }
    }

    private void Order()
    {
        var columns = _slots.GroupBy(slot => slot.Column).OrderBy(group => group.Key)
            .Select(group => group.OrderBy(slot => slot.Kind, StringComparer.Ordinal).ThenBy(slot => slot.Thing?.Id, StringComparer.Ordinal).ToList()).ToList();
        foreach (var column in columns)
        {
            Rank(column);
        }

        for (var sweep = 0; sweep < Sweeps; sweep++)
        {
            var rightwards = sweep % 2 == 0;
            for (var i = 0; i < columns.Count; i++)
            {
                var at = rightwards ? i : columns.Count - 1 - i;
                var sorted = columns[at].OrderBy(slot => (rightwards ? slot.Left : slot.Right) is { Count: > 0 } beside ? beside.Average(other => other.Rank) : slot.Rank).ToList();
                columns[at] = sorted;
                Rank(sorted);
            }
        }
    }

    // As a share of the column, so that columns of different heights compare.
    private static void Rank(List<Slot> column)
    {
        for (var i = 0; i < column.Count; i++)
        {
            column[i].Rank = (i + 0.5) / column.Count;
        }
    }

    private void Place()
    {
        var columns = _slots.GroupBy(slot => slot.Column).OrderBy(group => group.Key).Select(group => group.OrderBy(slot => slot.Rank).ToList()).ToList();
        var heights = columns.Select(column => column.Sum(slot => slot.Height) + (column.Count - 1) * RowGap).ToList();
        var tallest = heights.DefaultIfEmpty(0).Max();
        foreach (var (index, column) in columns.Index())
        {
            var y = 2 + (tallest - heights[index]) / 2;
            foreach (var slot in column)
            {
                (slot.X, slot.Y) = (2 + index * (BoxWidth + ColumnGap), y);
                y += slot.Height + RowGap;
            }
        }

        Width = Math.Max(1, columns.Count) * (BoxWidth + ColumnGap) - ColumnGap + 4;
        Height = Math.Max(BoxHeight, tallest) + 4;
    }

    private static string Path(Joint joint)
    {
        var path = new System.Text.StringBuilder();
        var (x, y) = (joint.From.X + BoxWidth, joint.From.Middle);
        path.Append(CultureInfo.InvariantCulture, $"M{x} {y}");
        foreach (var stop in joint.Lanes.Append(joint.To))
        {
            var half = Math.Max(ColumnGap / 2, (stop.X - x) / 2);
            path.Append(CultureInfo.InvariantCulture, $"C{x + half} {y} {stop.X - half} {stop.Middle} {stop.X} {stop.Middle}");
            if (stop.Kind.Length == 0)
            {
                path.Append(CultureInfo.InvariantCulture, $"H{stop.X + BoxWidth}");
            }

            (x, y) = (stop.X + BoxWidth, stop.Middle);
        }

        return path.ToString();
    }

    /// <summary>A place in a column: a box, or with no kind a lane that an arrow runs through.</summary>
    private sealed class Slot(int column, string kind, LineageThing? thing, int count, bool isStart, bool followed)
    {
        public int Column => column;

        public string Kind => kind;

        public LineageThing? Thing => thing;

        public int Count => count;

        public bool IsStart => isStart;

        public bool Followed => followed;

        public List<Slot> Left { get; } = [];

        public List<Slot> Right { get; } = [];

        public double Rank { get; set; }

        public int X { get; set; }

        public int Y { get; set; }

        public int Height => kind.Length > 0 ? BoxHeight : LaneHeight;

        public int Middle => Y + Height / 2;
    }

    private sealed record Joint(Slot From, Slot To, string Title)
    {
        public List<Slot> Lanes { get; } = [];
    }
}
