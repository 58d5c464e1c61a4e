using System.Globalization;
using System.Text;
using Slipway.Contracts.Lineage;

namespace Slipway.Web.Pages.Models;

/// <summary>The state of the lineage page: all of it is in the address.</summary>
/// <param name="Node"><c>kind:id</c>; empty before anything was asked.</param>
public sealed record LineageAsk(string Node)
{
    public const int LimitDefault = 200;

    private const int LimitMax = 5000;

    public LineageSide Direction { get; init; } = LineageSide.Both;

    public int? Depth { get; init; }

    public int Limit { get; init; } = LimitDefault;

    public bool History { get; init; }

    /// <summary>Kinds that are not folded.</summary>
    public IReadOnlyList<string> Open { get; init; } = [];

    public string Address
    {
        get
        {
            var address = new StringBuilder("/lineage?node=").Append(Uri.EscapeDataString(Node));
            Add("direction", Direction is LineageSide.Both ? null : Word(Direction));
            Add("depth", Depth?.ToString(CultureInfo.InvariantCulture));
            Add("limit", Limit == LimitDefault ? null : Limit.ToString(CultureInfo.InvariantCulture));
            Add("history", History ? "true" : null);
            Add("open", Open.Count == 0 ? null : string.Join(',', Open));
            return address.ToString();

            void Add(string name, string? value)
            {
                if (value is not null)
                {
                    address.Append('&').Append(name).Append('=').Append(Uri.EscapeDataString(value));
                }
            }
        }
    }

    /// <summary>Reads the address. What cannot be read is as if it were not there: an address is often cut or written by hand.</summary>
    public static LineageAsk Read(IQueryCollection query)
    {
        int? Number(string name, int most) =>
            int.TryParse($"{query[name]}", NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value >= 1 ? Math.Min(value, most) : null;
        return new LineageAsk($"{query["node"]}".Trim())
        {
            Direction = $"{query["direction"]}" switch { "upstream" => LineageSide.Upstream, "downstream" => LineageSide.Downstream, _ => LineageSide.Both },
            Depth = Number("depth", 1000),
            Limit = Number("limit", LimitMax) ?? LimitDefault,
            History = $"{query["history"]}" == "true",
            Open = $"{query["open"]}".Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries),
        };
    }

    public static string Word(LineageSide side) => side switch { LineageSide.Upstream => "upstream", LineageSide.Downstream => "downstream", _ => "both" };
}
