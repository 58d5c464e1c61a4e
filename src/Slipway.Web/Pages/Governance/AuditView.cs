using System.Globalization;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Governance.Audit;
using Slipway.Storage.Audit;

namespace Slipway.Web.Pages.Governance;

/// <summary>What the audit page shows, as its address says it.</summary>
/// <param name="Subject">Only of this thing, <c>kind:id</c>.</param>
/// <param name="Actor">Only by this one.</param>
/// <param name="Action">Only this action, or all that begin with it.</param>
/// <param name="Model">Only about this model.</param>
/// <param name="From">Not before.</param>
/// <param name="To">Until the end of this date.</param>
/// <param name="Before">Where the page before ended.</param>
/// <param name="Row">The row that is shown whole.</param>
public sealed record AuditView(string? Subject, string? Actor, string? Action, string? Model, string? From, string? To, string? Before, long? Row)
{
    /// <summary>The question to the trail.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: a field of the address is malformed.</exception>
    public AuditFilter Filter => AuditQuery.Filter(Subject, Actor, Action, Model, From, To, Before);

    /// <summary>Whether anything narrows the list.</summary>
    public bool IsNarrowed => new[] { Subject, Actor, Action, Model, From, To }.Any(text => !string.IsNullOrWhiteSpace(text));

    /// <summary>The page's address.</summary>
    public string Address => "/governance/audit" + Query("?");

    /// <summary>The filters as a query.</summary>
    /// <param name="mark">What it begins with.</param>
    public string Query(string mark)
    {
        var fields = new (string Name, string? Value)[]
        {
            ("subject", Subject), ("actor", Actor), ("action", Action), ("model", Model), ("from", From), ("to", To), ("before", Before), ("row", Row?.ToString(CultureInfo.InvariantCulture)),
        }.Where(field => !string.IsNullOrWhiteSpace(field.Value)).Select(field => $"{field.Name}={Uri.EscapeDataString(field.Value!.Trim())}").ToList();
        return fields.Count == 0 ? "" : mark + string.Join('&', fields);
    }
}

/// <summary>One field of a state before and after.</summary>
/// <param name="Field">Its path, such as <c>unmet[0].name</c>.</param>
/// <param name="Before">Null when it was not there.</param>
/// <param name="After">Null when it is not there.</param>
public sealed record AuditDifference(string Field, string? Before, string? After)
{
    private const int FieldsMax = 500;

    /// <summary>Whether the two differ.</summary>
    public bool Changed => Before != After;

    /// <summary>Every field of either state, in the order in which they stand.</summary>
    public static IReadOnlyList<AuditDifference> Of(string? before, string? after)
    {
        var (old, now) = (Flat(before), Flat(after));
        return [.. old.Keys.Concat(now.Keys).Distinct(StringComparer.Ordinal).Take(FieldsMax).Select(field => new AuditDifference(field, old.GetValueOrDefault(field), now.GetValueOrDefault(field)))];
    }

    private static OrderedDictionary<string, string> Flat(string? json)
    {
        var fields = new OrderedDictionary<string, string>(StringComparer.Ordinal);
        if (json is not null)
        {
            using var parsed = JsonDocument.Parse(json);
            Add(fields, "", parsed.RootElement);
        }

        return fields;
    }

    private static void Add(OrderedDictionary<string, string> fields, string path, JsonElement value)
    {
        if (value.ValueKind is JsonValueKind.Object)
        {
            foreach (var field in value.EnumerateObject())
            {
                Add(fields, path.Length == 0 ? field.Name : $"{path}.{field.Name}", field.Value);
            }
        }
        else if (value.ValueKind is JsonValueKind.Array && value.GetArrayLength() > 0)
        {
            foreach (var (index, item) in value.EnumerateArray().Index())
            {
                Add(fields, $"{path}[{index}]", item);
            }
        }
        else
        {
            fields[path.Length == 0 ? "value" : path] = value.ValueKind is JsonValueKind.String ? value.GetString()! : value.GetRawText();
        }
    }
}
