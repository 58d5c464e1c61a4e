using System.Text.Json.Serialization;
using Slipway.Contracts.Tracking;

namespace Slipway.Registry.Mlflow;

/// <summary>A version as MLflow's clients read it; its number is a text there, and what is not set is left out.</summary>
internal sealed record MlflowModelVersion(
    string Name, string Version, long CreationTimestamp, long LastUpdatedTimestamp, string? UserId, string CurrentStage, string? Description, string? Source,
    string? RunId, string Status, string? StatusMessage, IReadOnlyList<MlflowTag>? Tags, string? RunLink, IReadOnlyList<string>? Aliases, string? ModelId);

internal sealed record MlflowAlias(string Alias, string Version);

internal sealed record MlflowRegisteredModel(
    string Name, long CreationTimestamp, long LastUpdatedTimestamp, string? UserId, string? Description, IReadOnlyList<MlflowModelVersion>? LatestVersions,
    IReadOnlyList<MlflowTag>? Tags, IReadOnlyList<MlflowAlias>? Aliases);

internal sealed record RegisteredModelResponse(MlflowRegisteredModel RegisteredModel);

internal sealed record RegisteredModelsResponse(IReadOnlyList<MlflowRegisteredModel>? RegisteredModels, string? NextPageToken);

internal sealed record ModelVersionResponse(MlflowModelVersion ModelVersion);

internal sealed record ModelVersionsResponse(IReadOnlyList<MlflowModelVersion>? ModelVersions, string? NextPageToken);

internal sealed record DownloadUriResponse(string ArtifactUri);

internal sealed record LatestVersionsRequest(string? Name, IReadOnlyList<string>? Stages);

/// <summary>The bodies of all changes of a model.</summary>
internal sealed record ChangeModelRequest(string? Name, string? NewName, string? Description, IReadOnlyList<MlflowTag>? Tags, string? Key, string? Value, string? Alias,
    [property: JsonConverter(typeof(NumberAsTextConverter))] string? Version);

internal sealed record CreateVersionRequest(
    string? Name, string? Source, string? RunId, IReadOnlyList<MlflowTag>? Tags, string? RunLink, string? Description, string? ModelId);

/// <summary>The bodies of all changes of a version.</summary>
internal sealed record ChangeVersionRequest(
    string? Name, [property: JsonConverter(typeof(NumberAsTextConverter))] string? Version, string? Description, string? Key, string? Value, string? Stage,
    bool? ArchiveExistingVersions);
