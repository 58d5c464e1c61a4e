namespace Slipway.Cli.Import;

/// <summary>What is counted in the source and compared with the target, in the order of the report.</summary>
internal static class Kinds
{
    public const string Experiments = "experiments";
    public const string ExperimentTags = "experiment tags";
    public const string Runs = "runs";
    public const string Parameters = "params";
    public const string Tags = "tags";
    public const string Points = "metric points";
    public const string Latest = "latest metrics";
    public const string Inputs = "dataset inputs";
    public const string Files = "artifact files";
    public const string LoggedModels = "logged models";
    public const string RegisteredModels = "registered models";
    public const string ModelVersions = "model versions";
    public const string Traces = "traces";
    public const string Assessments = "assessments";
    public const string EvaluationDatasets = "evaluation datasets";
    public const string ModelLinks = "links between runs and logged models";

    public static IReadOnlyList<string> All { get; } =
    [
        Experiments, ExperimentTags, Runs, Parameters, Tags, Points, Latest, Inputs, Files, LoggedModels, ModelLinks, RegisteredModels, ModelVersions, Traces, Assessments,
        EvaluationDatasets,
    ];
}
