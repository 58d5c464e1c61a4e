using Slipway.Contracts.Tracking;

namespace Slipway.Cli.Import;

/// <summary>Compares a run of the source with what the target holds under its id.</summary>
internal sealed class RunComparison
{
    private const string RunNameTag = "mlflow.runName"; // The target gives it to every run.

    private readonly List<string> _differences = [];

    /// <summary>Compares everything but the number of metric points, which the caller knows.</summary>
    public RunComparison(SourceRun source, RunRecord target)
    {
        Parameters = source.Parameters.Count(pair => Equal(target.Parameters.GetValueOrDefault(pair.Key), pair.Value, "param", pair.Key));
        Tags = source.Tags.Count(pair => Equal(target.Tags.GetValueOrDefault(pair.Key), pair.Value, "tag", pair.Key));
        Extra(target.Parameters.Keys.Except(source.Parameters.Keys, StringComparer.Ordinal), "param");
        Extra(target.Tags.Keys.Except(source.Tags.Keys, StringComparer.Ordinal).Where(key => key != RunNameTag), "tag");

        var latest = target.Metrics.ToDictionary(point => point.Key, StringComparer.Ordinal);
        foreach (var point in source.Latest)
        {
            if (!latest.TryGetValue(point.Key, out var found))
            {
                _differences.Add($"the metric '{point.Key}' is missing");
            }
            else if (found.Step != point.Step || found.TimestampMs != point.TimestampMs || !Same(found.Value, point.Value))
            {
                _differences.Add($"the latest '{point.Key}' is {found.Value:R} (step {found.Step}), in the source {point.Value:R} (step {point.Step})");
            }
            else
            {
                Latest++;
            }
        }

        foreach (var input in source.Inputs)
        {
            if (target.Inputs.Any(found => found.Name == input.Name && found.Digest == input.Digest && (found.Context ?? "") == (input.Context ?? "")))
            {
                Inputs++;
            }
            else
            {
                _differences.Add($"the dataset '{input.Name}' with digest {input.Digest} is missing");
            }
        }

        if (target.Status != source.Status)
        {
            _differences.Add($"the status is {target.Status}, in the source {source.Status}");
        }

        if (target.Deleted != source.Deleted)
        {
            _differences.Add(target.Deleted ? "it is in the bin, in the source it is not" : "it is not in the bin, in the source it is");
        }

        if (source.StartMs is { } start && start != target.StartTimeMs)
        {
            _differences.Add($"it starts at {target.StartTimeMs}, in the source at {start}");
        }

        if (source.EndMs is { } end && target.Ended && end != target.EndTimeMs)
        {
            _differences.Add($"it ends at {target.EndTimeMs}, in the source at {end}");
        }
    }

    public IReadOnlyList<string> Differences => _differences;

    public int Parameters { get; }

    public int Tags { get; }

    public int Latest { get; }

    public int Inputs { get; }

    // An infinity is kept as the largest number of its sign, by MLflow's databases and by ours.
    private static bool Same(double a, double b) =>
        (double.IsNaN(a) && double.IsNaN(b)) || Math.Clamp(a, -double.MaxValue, double.MaxValue).Equals(Math.Clamp(b, -double.MaxValue, double.MaxValue)) || a == b;

    private bool Equal(string? found, string value, string what, string key)
    {
        if (found == value)
        {
            return true;
        }

        _differences.Add(found is null ? $"the {what} '{key}' is missing"
            : found.Length < value.Length && value.StartsWith(found, StringComparison.Ordinal) ? $"the {what} '{key}' is cut to {found.Length} of its {value.Length} characters"
            : $"the {what} '{key}' has another value");
        return false;
    }

    private void Extra(IEnumerable<string> keys, string what) =>
        _differences.AddRange(keys.Select(key => $"the {what} '{key}' is here only"));
}
