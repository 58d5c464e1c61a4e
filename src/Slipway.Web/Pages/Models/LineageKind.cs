using Slipway.Contracts.Lineage;
using Slipway.Storage;

namespace Slipway.Web.Pages.Models;

/// <summary>How a kind of thing is shown: its words, its family (which has a colour and an icon), and the page of one.</summary>
public static class LineageKind
{
    private static readonly Dictionary<string, string> Icons = new(StringComparer.Ordinal)
    {
        ["data"] = "M8 1c3.5 0 6 1 6 2.2v9.6C14 14 11.5 15 8 15s-6-1-6-2.2V3.2C2 2 4.5 1 8 1z",
        ["features"] = "M1 2h14v3H1zM1 7h9v3H1zM1 12h12v3H1z",
        ["work"] = "M5 1h6v2h-1v3l4 8H2l4-8V3H5z",
        ["model"] = "M8 1l6 3v8l-6 3-6-3V4zM8 3 4.5 4.7 8 6.4l3.5-1.7z",
        ["serving"] = "M8 1l5 6h-3v4H6V7H3zM3 13h10v2H3z",
        ["monitor"] = "M1 8h3l2-5 3 10 2-5h4v1.5h-3L9.5 15 6 6l-1 3.5H1z",
        ["paper"] = "M3 1h7l3 3v11H3zM5 6h6v1H5zM5 9h6v1H5z",
    };

    /// <summary>The kind in words: <c>dataset version</c>.</summary>
    public static string Words(string kind) => kind.Replace('_', ' ');

    /// <summary>As <see cref="Words"/>, for several.</summary>
    public static string Plural(string kind, long count) => Shared.Format.Plural(count, Words(kind));

    /// <summary>Kinds of one family share a colour.</summary>
    public static string Family(string kind) => kind switch
    {
        NodeKinds.DatasetVersion or NodeKinds.LoggedDataset or NodeKinds.TrainingSet => "data",
        NodeKinds.FeatureView or NodeKinds.FeatureService => "features",
        NodeKinds.Run or NodeKinds.PipelineRun or NodeKinds.PipelineStage or NodeKinds.Commit => "work",
        NodeKinds.Model or NodeKinds.ModelVersion or NodeKinds.LoggedModel => "model",
        NodeKinds.Deployment or NodeKinds.Rollout or NodeKinds.Application => "serving",
        NodeKinds.Monitor => "monitor",
        _ => "paper",
    };

    /// <summary>An SVG path on a grid of 16.</summary>
    public static string Icon(string kind) => Icons[Family(kind)];

    /// <summary>What people call the thing.</summary>
    public static string Name(LineageThing thing) => thing.Kind switch
    {
        NodeKinds.Run or NodeKinds.PipelineRun or NodeKinds.Deployment or NodeKinds.Rollout or NodeKinds.PipelineStage or NodeKinds.LoggedModel => thing.Facts?.Title ?? thing.Id,
        NodeKinds.TrainingSet or NodeKinds.EvaluationReport or NodeKinds.Commit => Shared.Format.Short(thing.Id),
        _ => thing.Id,
    };

    /// <summary>One line on how it stands.</summary>
    public static string State(LineageThing thing) => thing.Facts switch
    {
        null => "",
        { State: { } state } => state,
        { Details: var details } when details.TryGetValue("rows", out var rows) && long.TryParse(rows, out var count) => Shared.Format.Plural(count, "row"),
        { Fields.Count: > 0 and var fields } => Shared.Format.Plural(fields, "feature"),
        _ => "",
    };

    /// <summary>The page of the thing; null when it has none.</summary>
    public static string? Page(LineageThing thing) => thing.Kind switch
    {
        NodeKinds.Deployment when thing.Facts?.Details.GetValueOrDefault("model") is { } model => Shared.Links.Deployment(model),
        NodeKinds.Document when thing.Facts?.Details.GetValueOrDefault("document") is { } document => $"/governance/documents/{Uri.EscapeDataString($"{document}.md")}",
        NodeKinds.PipelineStage => Shared.Links.PipelineRun(thing.Id.Split('/')[0]),
        NodeKinds.FeatureView or NodeKinds.FeatureService => "/data#features-title",
        _ => Shared.Links.Node(thing.Kind, thing.Id),
    };
}
