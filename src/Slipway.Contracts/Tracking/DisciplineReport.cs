namespace Slipway.Contracts.Tracking;

/// <summary>How soundly the runs of an experiment were scored: answer of <c>GET /api/slipway/v1/experiments/{id}/discipline</c>.</summary>
/// <param name="ExperimentId">The experiment.</param>
/// <param name="Name">Its name.</param>
/// <param name="Runs">Runs that are not in the bin.</param>
/// <param name="RunsWithoutDataset">Of these, how many name no dataset; none of them can feed a promotion.</param>
/// <param name="TestSets">Test sets that runs were scored on, most used first.</param>
/// <param name="Baselines">The trivial baselines that the experiment demands, and the run that is each.</param>
/// <param name="Warnings">What stands against choosing a model from these runs; empty when nothing does.</param>
public sealed record DisciplineReport(
    string ExperimentId, string Name, long Runs, long RunsWithoutDataset, IReadOnlyList<TestSetUse> TestSets, IReadOnlyList<BaselineRun> Baselines,
    IReadOnlyList<DisciplineWarning> Warnings)
{
    /// <summary>What the files of its runs take.</summary>
    public RunStorage Storage { get; init; } = new(null, 0, []);
}

/// <summary>The files of an experiment's runs, those in the bin too.</summary>
/// <param name="RunBytesMax">What one run may have; null for no limit.</param>
/// <param name="Bytes">All of them together; the same bytes in two runs count twice.</param>
/// <param name="Largest">The ten runs with the most, largest first.</param>
public sealed record RunStorage(long? RunBytesMax, long Bytes, IReadOnlyList<LargeRun> Largest);

/// <summary>A run and the bytes of its files.</summary>
public sealed record LargeRun(string RunId, string Name, long Bytes);

/// <summary>How often a test set was looked at.</summary>
/// <param name="Name">The dataset's name as the runs gave it.</param>
/// <param name="Digest">The digest of its content.</param>
/// <param name="Evaluations">Runs scored on it, those in the bin too: a look cannot be taken back.</param>
/// <param name="EvaluationsMax">The experiment's limit.</param>
public sealed record TestSetUse(string Name, string Digest, long Evaluations, int EvaluationsMax);

/// <summary>A demanded trivial baseline.</summary>
/// <param name="Kind">Such as <c>majority</c>.</param>
/// <param name="RunId">The newest finished run that bears it as its tag <c>slipway.baseline</c>; null while there is none.</param>
/// <param name="RunName">That run's name; null while there is none.</param>
public sealed record BaselineRun(string Kind, string? RunId, string? RunName);

/// <summary>One thing amiss.</summary>
/// <param name="Code">dataset_missing, test_set_worn, tuned_on_test, trained_on_test, test_sets_differ or baseline_missing.</param>
/// <param name="Message">A sentence with the names, the figures and the way out.</param>
public sealed record DisciplineWarning(string Code, string Message);
