namespace Slipway.Contracts.Governance;

/// <summary>Answer of <c>GET /model-pages</c>.</summary>
/// <param name="Index">The page that lists them, Markdown.</param>
/// <param name="Pages">One per model, by name.</param>
public sealed record ModelPageList(string Index, IReadOnlyList<ModelPageName> Pages);

/// <summary>A model's page.</summary>
/// <param name="Model">Model.</param>
/// <param name="File">The name of its file.</param>
public sealed record ModelPageName(string Model, string File);
