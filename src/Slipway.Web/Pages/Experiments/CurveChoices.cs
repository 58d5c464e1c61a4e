using System.Globalization;
using System.Text;

namespace Slipway.Web.Pages.Experiments;

/// <summary>How curves are drawn; all of it is in the address.</summary>
/// <param name="X">step, relative or time.</param>
/// <param name="Smooth">Weight of the past, 0 to 0.99; 0 draws the points as they are.</param>
/// <param name="Log">Whether y is logarithmic.</param>
/// <param name="From">First x shown; null for the beginning.</param>
/// <param name="To">Last x shown; null for the end.</param>
public sealed record CurveChoices(string X = "step", double Smooth = 0, bool Log = false, long? From = null, long? To = null)
{
    /// <summary>Reads an address; what makes no sense is left out.</summary>
    public static CurveChoices Of(IQueryCollection query)
    {
        long? Whole(string name) => long.TryParse(query[name], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole) ? whole : null;
        return new CurveChoices(
            query["x"].ToString() is ("relative" or "time") and var x ? x : "step",
            double.TryParse(query["smooth"], NumberStyles.Float, CultureInfo.InvariantCulture, out var smooth) && smooth is > 0 and <= 0.99 ? smooth : 0,
            query["log"].ToString() == "true", Whole("from"), Whole("to"));
    }

    /// <summary>For the end of an address that has a query already.</summary>
    public string Query
    {
        get
        {
            var query = new StringBuilder();
            query.Append(X == "step" ? "" : $"&x={X}").Append(CultureInfo.InvariantCulture, $"{(Smooth > 0 ? $"&smooth={Smooth.ToString(CultureInfo.InvariantCulture)}" : "")}").Append(Log ? "&log=true" : "");
            return query.Append(From is { } from ? $"&from={from}" : "").Append(To is { } to ? $"&to={to}" : "").ToString();
        }
    }
}
