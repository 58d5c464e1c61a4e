using System.Text.Json;

namespace Slipway.Contracts.Serving;

/// <summary>The body of <c>POST /v2/models/{model}/labels</c>.</summary>
/// <param name="Labels">At most 100,000.</param>
public sealed record LabelsRequest(IReadOnlyList<LabelEntry>? Labels);

/// <summary>What turned out to be true for a prediction.</summary>
/// <param name="Id">The <c>prediction_id</c> of the answer.</param>
/// <param name="Label">A number, or true (1) or false (0).</param>
/// <param name="ObservedAt">When it was known; null takes the server's time.</param>
public sealed record LabelEntry(string? Id, JsonElement Label, DateTimeOffset? ObservedAt = null);

/// <summary>The answer: the labels are on disk.</summary>
/// <param name="Stored">How many.</param>
public sealed record LabelsResponse(int Stored);
