using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;

namespace Slipway.Registry.External;

/// <summary>A version as the MLflow server tells it. Servers differ: anything may be left out.</summary>
internal sealed record ExternalVersion(
    string? Name, string? Version, long? CreationTimestamp, long? LastUpdatedTimestamp, string? UserId, string? CurrentStage, string? Description, string? Source,
    string? RunId, string? Status, IReadOnlyList<MlflowTag>? Tags, IReadOnlyList<string>? Aliases)
{
    /// <summary>Where servers without stages keep one.</summary>
    public const string StageTag = "slipway.stage";

    /// <summary>The status of a version whose files are still on their way.</summary>
    public const string Pending = "PENDING_REGISTRATION";

    public int Number => int.TryParse(Version, System.Globalization.CultureInfo.InvariantCulture, out var number) ? number : 0;

    public long UpdatedMs => LastUpdatedTimestamp ?? CreationTimestamp ?? 0;

    /// <summary>MLflow's own servers always name a stage; registries that gave them up name none.</summary>
    public bool HasStage => !string.IsNullOrEmpty(CurrentStage);

    public Stage Stage => (HasStage ? CurrentStage : Tag(StageTag)) switch
    {
        { } text when text.Equals("Production", StringComparison.OrdinalIgnoreCase) => Stage.Production,
        { } text when text.Equals("Staging", StringComparison.OrdinalIgnoreCase) => Stage.Staging,
        { } text when text.Equals("Archived", StringComparison.OrdinalIgnoreCase) => Stage.Archived,
        _ => Stage.Development,
    };

    public bool IsReady => string.IsNullOrEmpty(Status) || Status == "READY";

    public string? Tag(string key) => Tags?.FirstOrDefault(tag => tag.Key == key)?.Value;

    /// <summary>MLflow's word for a stage.</summary>
    public static string StageName(Stage stage) => stage is Stage.Development ? "None" : stage.ToString();
}

internal sealed record ExternalAlias(string? Alias, string? Version);

internal sealed record ExternalModel(string? Name, long? LastUpdatedTimestamp, string? Description, IReadOnlyList<MlflowTag>? Tags, IReadOnlyList<ExternalAlias>? Aliases);

internal sealed record ExternalVersionPage(IReadOnlyList<ExternalVersion>? ModelVersions, string? NextPageToken);

internal sealed record ExternalModelPage(IReadOnlyList<ExternalModel>? RegisteredModels, string? NextPageToken);

internal sealed record ExternalVersionAnswer(ExternalVersion? ModelVersion);

internal sealed record ExternalModelAnswer(ExternalModel? RegisteredModel);

internal sealed record ExternalRunAnswer(MlflowRun? Run);

internal sealed record ExternalExperimentAnswer(MlflowExperiment? Experiment);

internal sealed record ExternalUriAnswer(string? ArtifactUri);

internal sealed record ExternalFilePage(IReadOnlyList<MlflowFile>? Files, string? NextPageToken);

internal sealed record ExternalError(string? ErrorCode, string? Message);
