namespace Slipway.Serving.Labels;

/// <summary>What turned out to be true for a prediction.</summary>
/// <param name="PredictionId">The id the prediction was answered with.</param>
/// <param name="Value">The outcome: 0 or 1 for a yes-or-no question.</param>
/// <param name="ObservedAt">When the outcome was known.</param>
public sealed record Label(string PredictionId, double Value, DateTimeOffset ObservedAt);
