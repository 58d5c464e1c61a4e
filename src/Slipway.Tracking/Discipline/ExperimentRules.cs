using Slipway.Storage.Definitions;

namespace Slipway.Tracking.Discipline;

/// <summary>What an experiment demands of its runs: the content of a file of kind <c>experiment</c>.</summary>
/// <param name="Baselines">Trivial baselines that must be among the runs.</param>
/// <param name="TestEvaluationsMax">How many runs may be scored on one test set before its scores no longer count as unseen.</param>
/// <param name="RunStorageBytesMax">Bytes that the files of one run may have together; null for no limit.</param>
internal sealed record ExperimentRules(IReadOnlyList<string> Baselines, int TestEvaluationsMax, long? RunStorageBytesMax)
{
    // Our own choice: the best of ten equally good models scores 1.54 standard errors above the truth on average (the mean of the largest of ten normal draws).
    private const int TestEvaluationsMaxDefault = 10;

    private static readonly string[] BaselineKinds = ["random", "majority", "stratified", "mean", "median", "previous", "rule"];

    /// <summary>The rules of an experiment that has no file.</summary>
    public static ExperimentRules Default { get; } = new([], TestEvaluationsMaxDefault, null);

    /// <summary>Reads the file; faults stay in <paramref name="yaml"/> until its <c>Done</c>.</summary>
    public static ExperimentRules Read(DefinitionYaml yaml)
    {
        yaml.Text("kind");
        yaml.Text("name");
        yaml.OptionalText("description");
        var baselines = yaml.Texts("baselines");
        if (baselines.FirstOrDefault(kind => !BaselineKinds.Contains(kind, StringComparer.Ordinal)) is { } unknown)
        {
            yaml.Fault("baselines", $"may name {string.Join(", ", BaselineKinds)}, not '{unknown}'");
        }

        if (baselines.Distinct(StringComparer.Ordinal).Count() < baselines.Count)
        {
            yaml.Fault("baselines", "names one twice");
        }

        return new ExperimentRules(
            baselines, yaml.OptionalInteger("test_evaluations_max", 1, 100_000) ?? TestEvaluationsMaxDefault, yaml.OptionalInteger("run_storage_mib_max", 1) * (1L << 20));
    }

    /// <summary>The rules in force for the experiment of this name.</summary>
    public static ExperimentRules Of(DefinitionStore definitions, string experiment) =>
        definitions.Find(ExperimentKind.KindName, experiment) is { } file ? Read(DefinitionYaml.Parse(file.Yaml)) : Default;
}
