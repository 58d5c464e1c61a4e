using System.Text.Json;
using System.Text.Json.Serialization;

namespace Slipway.Contracts.Tracking;

/// <summary>MLflow's JSON dialect: snake_case, int64 as numbers (read also from texts), NaN and infinities as texts, empty lists left out.</summary>
public static class MlflowJson
{
    /// <summary>Shared options.</summary>
    public static JsonSerializerOptions Options { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowReadingFromString | JsonNumberHandling.AllowNamedFloatingPointLiterals,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new TextConverter(), new WholeNumberConverter(), new SmallNumberConverter() },
    };
}

/// <summary>A tag, parameter or input tag.</summary>
public sealed record MlflowTag(string? Key, string? Value);

/// <summary>A metric's point.</summary>
public sealed record MlflowMetric(
    string? Key, double? Value, long? Timestamp, long? Step, string? DatasetName = null, string? DatasetDigest = null, string? ModelId = null, string? RunId = null);

/// <summary>An experiment.</summary>
public sealed record MlflowExperiment(
    string ExperimentId, string Name, string ArtifactLocation, string LifecycleStage, long LastUpdateTime, long CreationTime, IReadOnlyList<MlflowTag>? Tags);

/// <summary>What a run is, without its data.</summary>
public sealed record MlflowRunInfo(
    string RunUuid, string RunId, string ExperimentId, string RunName, string UserId, string Status, long StartTime, long? EndTime, string ArtifactUri, string LifecycleStage);

/// <summary>A run's metrics, parameters and tags.</summary>
public sealed record MlflowRunData(IReadOnlyList<MlflowMetric>? Metrics, IReadOnlyList<MlflowTag>? Params, IReadOnlyList<MlflowTag>? Tags);

/// <summary>A dataset as MLflow describes one.</summary>
public sealed record MlflowDataset(string? Name, string? Digest, string? SourceType, string? Source, string? Schema, string? Profile);

/// <summary>A dataset a run used, with how it used it.</summary>
public sealed record MlflowDatasetInput(IReadOnlyList<MlflowTag>? Tags, MlflowDataset? Dataset);

/// <summary>What a run used.</summary>
public sealed record MlflowRunInputs(IReadOnlyList<MlflowDatasetInput>? DatasetInputs, IReadOnlyList<MlflowModelInput>? ModelInputs);

/// <summary>What a run produced.</summary>
public sealed record MlflowRunOutputs(IReadOnlyList<MlflowModelOutput>? ModelOutputs);

/// <summary>A run.</summary>
public sealed record MlflowRun(MlflowRunInfo Info, MlflowRunData Data, MlflowRunInputs Inputs, MlflowRunOutputs? Outputs);

/// <summary>A file or folder of a run.</summary>
public sealed record MlflowFile(string Path, bool IsDir, long? FileSize);

/// <summary>Body of experiments/create.</summary>
public sealed record CreateExperimentRequest(string? Name, string? ArtifactLocation, IReadOnlyList<MlflowTag>? Tags);

/// <summary>Body of experiments/update, delete, restore and set-experiment-tag.</summary>
public sealed record ChangeExperimentRequest(string? ExperimentId, string? NewName, string? Key, string? Value);

/// <summary>Body of experiments/search.</summary>
public sealed record SearchExperimentsRequest(int? MaxResults, string? PageToken, string? Filter, IReadOnlyList<string>? OrderBy,
    [property: JsonConverter(typeof(EnumTextConverter))] string? ViewType);

/// <summary>Body of runs/create.</summary>
public sealed record CreateRunRequest(string? ExperimentId, string? UserId, string? RunName, long? StartTime, IReadOnlyList<MlflowTag>? Tags);

/// <summary>Body of runs/update, delete, restore, log-parameter, set-tag and delete-tag.</summary>
public sealed record ChangeRunRequest(string? RunId, string? RunUuid, [property: JsonConverter(typeof(EnumTextConverter))] string? Status, long? EndTime, string? RunName, string? Key, string? Value);

/// <summary>Body of runs/log-metric.</summary>
public sealed record LogMetricRequest(
    string? RunId, string? RunUuid, string? Key, double? Value, long? Timestamp, long? Step, string? ModelId, string? DatasetName, string? DatasetDigest);

/// <summary>Body of runs/log-batch.</summary>
public sealed record LogBatchRequest(string? RunId, IReadOnlyList<MlflowMetric>? Metrics, IReadOnlyList<MlflowTag>? Params, IReadOnlyList<MlflowTag>? Tags);

/// <summary>Body of runs/log-inputs.</summary>
public sealed record LogInputsRequest(string? RunId, IReadOnlyList<MlflowDatasetInput>? Datasets, IReadOnlyList<MlflowModelInput>? Models);

/// <summary>Body of runs/search.</summary>
public sealed record SearchRunsRequest(
    IReadOnlyList<string>? ExperimentIds, string? Filter, [property: JsonConverter(typeof(EnumTextConverter))] string? RunViewType, int? MaxResults, IReadOnlyList<string>? OrderBy, string? PageToken);

/// <summary>Answer of experiments/create.</summary>
public sealed record CreateExperimentResponse(string ExperimentId);

/// <summary>Answer of experiments/get and get-by-name.</summary>
public sealed record ExperimentResponse(MlflowExperiment Experiment);

/// <summary>Answer of experiments/search.</summary>
public sealed record SearchExperimentsResponse(IReadOnlyList<MlflowExperiment>? Experiments, string? NextPageToken);

/// <summary>Answer of runs/create and get.</summary>
public sealed record RunResponse(MlflowRun Run);

/// <summary>Answer of runs/update.</summary>
public sealed record RunInfoResponse(MlflowRunInfo RunInfo);

/// <summary>Answer of runs/search.</summary>
public sealed record SearchRunsResponse(IReadOnlyList<MlflowRun>? Runs, string? NextPageToken);

/// <summary>Answer of metrics/get-history.</summary>
public sealed record MetricHistoryResponse(IReadOnlyList<MlflowMetric>? Metrics, string? NextPageToken);

/// <summary>Answer of metrics/get-history-bulk and get-history-bulk-interval.</summary>
public sealed record BulkMetricHistoryResponse(IReadOnlyList<MlflowMetric>? Metrics);

/// <summary>Body of experiments/search-datasets.</summary>
public sealed record SearchDatasetsRequest(IReadOnlyList<string>? ExperimentIds);

/// <summary>A dataset that runs of an experiment used.</summary>
public sealed record MlflowDatasetSummary(string ExperimentId, string Name, string Digest, string? Context);

/// <summary>Answer of experiments/search-datasets.</summary>
public sealed record SearchDatasetsResponse(IReadOnlyList<MlflowDatasetSummary>? DatasetSummaries);

/// <summary>Answer of artifacts/list and of the artifact proxy's list (which has no root).</summary>
public sealed record ListArtifactsResponse(string? RootUri, IReadOnlyList<MlflowFile>? Files);
