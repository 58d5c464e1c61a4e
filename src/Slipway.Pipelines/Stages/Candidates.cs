using Slipway.Contracts.Monitoring;

namespace Slipway.Pipelines.Stages;

/// <summary>What was trained, and which was chosen on the validation split.</summary>
/// <param name="SelectedBy">The metric that decided.</param>
/// <param name="Chosen">Name of the best one.</param>
/// <param name="Tried">All of them, skipped ones included.</param>
internal sealed record Candidates(string SelectedBy, string Chosen, IReadOnlyList<Candidate> Tried)
{
    /// <summary>The best one.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public Candidate Best => Tried.Single(candidate => candidate.Name == Chosen);
}

/// <summary>One candidate.</summary>
/// <param name="Name">Its trainer.</param>
/// <param name="RunId">Its tracked run; null when skipped.</param>
/// <param name="Skipped">Why it was not trained; null when it was.</param>
/// <param name="ModelSha256">Its model file.</param>
/// <param name="Validation">Metrics on the validation split.</param>
/// <param name="Commit">Source code commit; null when unknown.</param>
/// <param name="EnvironmentSha256">Blob of the environment it was trained in.</param>
/// <param name="WallSeconds">Time it took to train.</param>
/// <param name="CpuSeconds">Processor time of the server meanwhile.</param>
internal sealed record Candidate(
    string Name, string? RunId, string? Skipped, string? ModelSha256, IReadOnlyDictionary<string, double> Validation, string? Commit,
    string? EnvironmentSha256, double WallSeconds, double CpuSeconds);

/// <summary>The rows trained on, as later checks compare with them.</summary>
/// <param name="Features">Per feature.</param>
/// <param name="Rows">Rows trained on.</param>
internal sealed record TrainingReference(IReadOnlyDictionary<string, FeatureBaseline> Features, long Rows);
