using System.Text.Json.Serialization;

namespace Slipway.Contracts.Tracking;

/// <summary>How far a logged model has come.</summary>
public enum LoggedModelStatus
{
    /// <summary>Its files are still on their way.</summary>
    Pending,

    /// <summary>Its files are all there.</summary>
    Ready,

    /// <summary>Something went wrong while its files were sent.</summary>
    UploadFailed,
}

/// <summary>The newest value of a metric of a logged model, on one dataset, by one run.</summary>
/// <param name="Point">The value.</param>
/// <param name="RunId">The run that measured it.</param>
/// <param name="DatasetName">What it was measured on; null when not said.</param>
/// <param name="DatasetDigest">Digest of that dataset; null when not said.</param>
public sealed record LoggedModelMetric(MetricPoint Point, string RunId, string? DatasetName, string? DatasetDigest);

/// <summary>A metric's point that a run measured of a logged model.</summary>
/// <param name="ModelId">The model.</param>
/// <param name="Point">The value.</param>
/// <param name="DatasetName">What it was measured on; null when not said.</param>
/// <param name="DatasetDigest">Digest of that dataset; null when not said.</param>
public sealed record ModelMetricPoint(string ModelId, MetricPoint Point, string? DatasetName, string? DatasetDigest);

/// <summary>A model that a run produced, and when.</summary>
/// <param name="ModelId">The model.</param>
/// <param name="Step">The training step.</param>
public sealed record ModelOutput(string ModelId, long Step);

/// <summary>A model as MLflow 3 logs it: an entity of its own beside the runs of its experiment.</summary>
/// <param name="ModelId"><c>m-</c> and 32 hexadecimal digits.</param>
/// <param name="ExperimentId">The experiment that owns it.</param>
/// <param name="Name">Need not be unique.</param>
/// <param name="Status">How far it has come.</param>
/// <param name="ModelType">Such as Classifier or Agent; null when not said.</param>
/// <param name="SourceRunId">The run that made it; null when not said.</param>
/// <param name="CreatedAtMs">Unix milliseconds.</param>
/// <param name="UpdatedAtMs">Unix milliseconds.</param>
/// <param name="Parameters">By key; they never change.</param>
/// <param name="Tags">By key.</param>
/// <param name="Metrics">The newest value of each metric on each dataset by each run.</param>
public sealed record LoggedModelRecord(
    string ModelId, string ExperimentId, string Name, LoggedModelStatus Status, string? ModelType, string? SourceRunId, long CreatedAtMs, long UpdatedAtMs,
    IReadOnlyDictionary<string, string> Parameters, IReadOnlyDictionary<string, string> Tags, IReadOnlyList<LoggedModelMetric> Metrics)
{
    /// <summary>Where MLflow's clients put and fetch the model's files.</summary>
    public string ArtifactUri => $"mlflow-artifacts:/{ExperimentId}/models/{ModelId}/artifacts";
}

/// <summary>What a logged model is.</summary>
public sealed record MlflowLoggedModelInfo(
    string ModelId, string ExperimentId, string Name, long CreationTimestampMs, long LastUpdatedTimestampMs, string ArtifactUri, string Status,
    string? ModelType, string? SourceRunId, IReadOnlyList<MlflowTag>? Tags);

/// <summary>A logged model's parameters and metrics.</summary>
public sealed record MlflowLoggedModelData(IReadOnlyList<MlflowTag>? Params, IReadOnlyList<MlflowMetric>? Metrics);

/// <summary>A logged model.</summary>
public sealed record MlflowLoggedModel(MlflowLoggedModelInfo Info, MlflowLoggedModelData Data);

/// <summary>A logged model that a run used.</summary>
public sealed record MlflowModelInput(string? ModelId);

/// <summary>A logged model that a run produced.</summary>
public sealed record MlflowModelOutput(string? ModelId, long? Step);

/// <summary>Which datasets the metrics of a search are taken from.</summary>
public sealed record MlflowDatasetFilter(string? DatasetName, string? DatasetDigest);

/// <summary>One term of the order of logged models.</summary>
public sealed record MlflowModelOrder(string? FieldName, bool? Ascending, string? DatasetName, string? DatasetDigest);

/// <summary>Body of logged-models.</summary>
public sealed record CreateLoggedModelRequest(
    string? ExperimentId, string? Name, string? ModelType, string? SourceRunId, IReadOnlyList<MlflowTag>? Params, IReadOnlyList<MlflowTag>? Tags);

/// <summary>Body of PATCH logged-models/{model_id}, of its tags and of its params.</summary>
public sealed record ChangeLoggedModelRequest(
    [property: JsonConverter(typeof(EnumTextConverter))] string? Status, IReadOnlyList<MlflowTag>? Params, IReadOnlyList<MlflowTag>? Tags);

/// <summary>Body of logged-models/search.</summary>
public sealed record SearchLoggedModelsRequest(
    IReadOnlyList<string>? ExperimentIds, string? Filter, IReadOnlyList<MlflowDatasetFilter>? Datasets, int? MaxResults, IReadOnlyList<MlflowModelOrder>? OrderBy,
    string? PageToken);

/// <summary>Body of runs/outputs.</summary>
public sealed record LogOutputsRequest(string? RunId, IReadOnlyList<MlflowModelOutput>? Models);

/// <summary>Body of runs/log-model.</summary>
public sealed record LogModelRequest(string? RunId, string? ModelJson);

/// <summary>Answer that holds one logged model.</summary>
public sealed record LoggedModelResponse(MlflowLoggedModel Model);

/// <summary>Answer of logged-models/search.</summary>
public sealed record SearchLoggedModelsResponse(IReadOnlyList<MlflowLoggedModel>? Models, string? NextPageToken);
