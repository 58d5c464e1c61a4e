using System.Text;
using Slipway.Tracking;

namespace Slipway.Web.Pages.Experiments;

/// <summary>Everything that the table of runs shows is in its address: this is the address.</summary>
public sealed record RunsView
{
    /// <summary>Experiment id, or <see cref="AllExperiments"/>.</summary>
    public string Experiment { get; init; } = AllExperiments;

    /// <summary>Stands for every living experiment.</summary>
    public const string AllExperiments = "all";

    /// <summary>In MLflow's grammar.</summary>
    public string? Filter { get; init; }

    /// <summary>One term, such as <c>metrics.auc DESC</c>.</summary>
    public string? Order { get; init; }

    /// <summary>Chosen columns; none lets the page choose.</summary>
    public IReadOnlyList<RunColumn> Columns { get; init; } = [];

    /// <summary>Shows groups by this column.</summary>
    public RunColumn? Group { get; init; }

    /// <summary>The metric of the sparklines; null lets the page choose.</summary>
    public string? Curve { get; init; }

    /// <summary>Shows the runs in the bin.</summary>
    public bool Deleted { get; init; }

    /// <summary>Shows child runs under their parents only.</summary>
    public bool Nested { get; init; }

    /// <summary>Parents whose children are shown.</summary>
    public IReadOnlyList<string> Open { get; init; } = [];

    /// <summary>Selected runs.</summary>
    public IReadOnlyList<string> Selected { get; init; } = [];

    /// <summary>Rows of a page.</summary>
    public int Rows { get; init; } = RowsDefault;

    /// <summary>Rows of a page when nobody says.</summary>
    public const int RowsDefault = 50;

    /// <summary>Where the page begins; null for the first.</summary>
    public string? PageToken { get; init; }

    /// <summary>Rows that can be chosen.</summary>
    public static readonly IReadOnlyList<int> RowChoices = [25, 50, 100, 250];

    /// <summary>Reads an address; what it does not know it leaves out.</summary>
    public static RunsView Of(string experiment, IQueryCollection query)
    {
        string? Text(string name) => query[name].FirstOrDefault() is { } text && !string.IsNullOrWhiteSpace(text) ? text.Trim() : null;
        IReadOnlyList<string> Texts(string name) => [.. query[name].OfType<string>().Where(text => text.Length > 0).Distinct()];
        return new RunsView
        {
            Experiment = experiment,
            Filter = Text("filter"),
            Order = Text("order"),
            Columns = [.. Texts("column").Select(RunColumn.Parse).OfType<RunColumn>().Distinct().Take(40)],
            Group = Text("group") is { } group ? RunColumn.Parse(group) : null,
            Curve = Text("curve"),
            Deleted = Text("view") == "deleted",
            Nested = Text("nested") is not null,
            Open = [.. Texts("open").Take(20)],
            Selected = [.. Texts("run").Take(RunBin.RunsMax)],
            Rows = int.TryParse(Text("rows"), out var rows) && RowChoices.Contains(rows) ? rows : RowsDefault,
            PageToken = Text("page"),
        };
    }

    /// <summary>The address of this view.</summary>
    public string Url => Address(Path);

    /// <summary>The same view on another path, such as its CSV.</summary>
    public string Address(string path)
    {
        var query = new StringBuilder();
        void Add(string name, string? value)
        {
            if (!string.IsNullOrEmpty(value))
            {
                query.Append(query.Length == 0 ? '?' : '&').Append(name).Append('=').Append(Uri.EscapeDataString(value));
            }
        }

        foreach (var (name, value) in Parts)
        {
            Add(name, value);
        }

        Add("page", PageToken);
        foreach (var run in Selected)
        {
            Add("run", run);
        }

        return path + query;
    }

    /// <summary>The path of the table.</summary>
    public string Path => $"/experiments/{Uri.EscapeDataString(Experiment)}";

    /// <summary>The view without place and selection, for a form's hidden fields.</summary>
    public IEnumerable<(string Name, string? Value)> Parts =>
    [
        ("filter", Filter), ("order", Order), .. Columns.Select(column => ("column", (string?)column.ToString())), ("group", Group?.ToString()), ("curve", Curve),
        ("view", Deleted ? "deleted" : null), ("nested", Nested ? "true" : null), .. Open.Select(run => ("open", (string?)run)),
        ("rows", Rows == RowsDefault ? null : $"{Rows}"),
    ];

    /// <summary>Sorted by a column: descending first, then ascending, then as before any sorting.</summary>
    public RunsView SortedBy(RunColumn column) => this with
    {
        PageToken = null,
        Order = Direction(column) switch { null => $"{column.Term} DESC", true => $"{column.Term} ASC", false => null },
    };

    /// <summary>Whether the table descends by the column; null when another orders it.</summary>
    public bool? Direction(RunColumn column) =>
        Order is null ? null
        : Same($"{column} DESC") || Same($"{column.Term} DESC") ? true
        : Same($"{column} ASC") || Same($"{column.Term} ASC") || Same($"{column}") || Same(column.Term) ? false
        : null;

    /// <summary>The view with one more clause in its filter.</summary>
    public RunsView With(string clause) => this with { Filter = Filter is null ? clause : $"{Filter} AND {clause}", Group = null, PageToken = null };

    /// <summary>The runs that the view asks for.</summary>
    public RunTableQuery Query(IReadOnlyList<string> experimentIds) =>
        new(experimentIds, Filter, Order is null ? null : [Order], Deleted ? LifecycleView.Deleted : LifecycleView.Active, Nested);

    private bool Same(string term) => string.Equals(Order, term, StringComparison.OrdinalIgnoreCase);
}
