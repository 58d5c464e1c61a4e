using Slipway.Serving.Rollouts;
using Slipway.Storage.Definitions;

namespace Slipway.Tests.Serving.Rollouts;

internal static class Specs
{
    public const string Complete =
        """
        kind: rollout
        name: delays
        model: delays
        alpha: 0.05
        min_evidence: 100
        steps:
          - {shadow: true, min_requests: 500}
          - {percent: 5, min_requests: 200}
          - {percent: 25, min_requests: 200}
          - {percent: 50, min_requests: 200}
          - {percent: 100, min_requests: 200}
        triggers:
          error_rate: {max: 0.05, compare: stable}
          latency: {percentile: 95, max_ms: 200, compare: stable, tolerance_ratio: 1.5, tolerance_ms: 2}
          disagreement: {max_rate: 0.1, tolerance: 0.1}
          skew: {psi_max: 0.25, compare: stable, min_values: 300}
          quality: {metric: brier, max_drop: 0.02, min_labels: 200, required_from_percent: 50}
        """;

    public static RolloutSpec Parse(string yaml) => RolloutSpec.Parse(DefinitionYaml.Parse(yaml));

    public static RolloutSpec With(string find, string replace)
    {
        Assert.Contains(find, Complete, StringComparison.Ordinal);
        return Parse(Complete.Replace(find, replace, StringComparison.Ordinal));
    }
}
