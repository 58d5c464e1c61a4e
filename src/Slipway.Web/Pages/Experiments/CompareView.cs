using Slipway.Tracking;

namespace Slipway.Web.Pages.Experiments;

/// <summary>A comparison is its address.</summary>
/// <param name="Runs">Which, in the order chosen.</param>
/// <param name="Metric">By what the best is found; null lets the page choose.</param>
/// <param name="All">Whether rows that do not differ are shown too.</param>
/// <param name="ScatterX">Column along x; null lets the page choose.</param>
/// <param name="ScatterY">Column along y; null lets the page choose.</param>
/// <param name="Choices">How curves are drawn.</param>
public sealed record CompareView(IReadOnlyList<string> Runs, string? Metric, bool All, RunColumn? ScatterX, RunColumn? ScatterY, CurveChoices Choices)
{
    /// <summary>Reads an address.</summary>
    public static CompareView Of(IQueryCollection query)
    {
        string? Text(string name) => query[name].FirstOrDefault() is { Length: > 0 } text ? text : null;
        RunColumn? Column(string name) => Text(name) is { } text ? RunColumn.Parse(text) : null;
        return new CompareView([.. query["run"].OfType<string>().Where(run => run.Length > 0).Distinct()], Text("by"), Text("all") is not null, Column("sx"), Column("sy"), CurveChoices.Of(query));
    }

    /// <summary>The address.</summary>
    public string Url => "/experiments/compare?" + string.Join('&', Parts.Select(part => $"{part.Name}={Uri.EscapeDataString(part.Value)}")) + Choices.Query;

    /// <summary>The view but for the curves, for a form's hidden fields.</summary>
    public IReadOnlyList<(string Name, string Value)> Parts =>
    [
        .. Runs.Select(run => ("run", run)), .. Metric is null ? [] : new[] { ("by", Metric) }, .. All ? new[] { ("all", "true") } : [],
        .. ScatterX is null ? [] : new[] { ("sx", ScatterX.ToString()) }, .. ScatterY is null ? [] : new[] { ("sy", ScatterY.ToString()) },
    ];
}
