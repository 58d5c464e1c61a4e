namespace Slipway.Web.Pages.Shared;

/// <summary>How something stands. Always shown as colour, shape and word together.</summary>
public enum Sign
{
    /// <summary>Grey dash.</summary>
    Unknown,

    /// <summary>Green tick.</summary>
    Ok,

    /// <summary>Amber triangle.</summary>
    Warn,

    /// <summary>Red cross.</summary>
    Bad,
}

/// <summary>One step of the breadcrumb.</summary>
/// <param name="Text">Name.</param>
/// <param name="Href">Null on the page itself.</param>
public sealed record Crumb(string Text, string? Href = null);
