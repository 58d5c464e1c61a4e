namespace Slipway.Web.Pages.Shared;

/// <summary>The seven entries of the rail.</summary>
public static class Rail
{
    public static readonly IReadOnlyList<RailEntry> Entries =
    [
        new("Home", "/", "h", "M8 1 1 7h2v7h4v-4h2v4h4V7h2z"),
        new("Experiments", "/experiments", "e", "M5 1h6v2h-1v3l4 8H2l4-8V3H5z"),
        new("Models", "/models", "m", "M8 1l6 3v8l-6 3-6-3V4zM8 3 4.5 4.7 8 6.4l3.5-1.7z"),
        new("Data", "/data", "d", "M8 1c3.5 0 6 1 6 2.2v9.6C14 14 11.500 15 8 15s-6-1-6-2.200V3.200C2 2 4.500 1 8 1z"),
        new("Deployments", "/deployments", "p", "M8 1l5 6h-3v4H6V7H3zM3 13h10v2H3z"),
        new("Monitors", "/monitors", "o", "M1 8h3l2-5 3 10 2-5h4v1.500h-3L9.500 15 6 6l-1 3.500H1z"),
        new("Governance", "/governance", "v", "M8 1l6 2v5c0 4-3 6-6 7-3-1-6-3-6-7V3z"),
    ];
}

/// <summary>One entry.</summary>
/// <param name="Name">As shown.</param>
/// <param name="Href">Where it leads.</param>
/// <param name="Key">The letter after <c>g</c>.</param>
/// <param name="Icon">An SVG path on a grid of 16.</param>
public sealed record RailEntry(string Name, string Href, string Key, string Icon);
