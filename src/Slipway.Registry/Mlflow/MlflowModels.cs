using System.Globalization;
using Slipway.Contracts.Registry;

namespace Slipway.Registry.Mlflow;

/// <summary>A version as MLflow's clients read it; its number is a text there.</summary>
internal sealed record MlflowModelVersion(
    string Name, string Version, long CreationTimestamp, long LastUpdatedTimestamp, string UserId, string CurrentStage, string Description, string Source,
    string RunId, string Status, IReadOnlyList<MlflowTag> Tags, IReadOnlyList<string> Aliases)
{
    public static MlflowModelVersion Of(ModelVersionRecord version, DateTimeOffset updatedAt) => new(
        version.Model,
        version.Number.ToString(CultureInfo.InvariantCulture),
        version.CreatedAt.ToUnixTimeMilliseconds(),
        updatedAt.ToUnixTimeMilliseconds(),
        version.CreatedBy,
        StageName(version.Stage),
        version.Description,
        $"runs:/{version.RunId}/{version.Files.Single(file => file.Sha256 == version.OnnxSha256).Path}",
        version.RunId,
        "READY",
        [new MlflowTag("slipway.version", version.Version), .. version.Tags.Select(tag => new MlflowTag(tag.Key, tag.Value))],
        version.Aliases);

    public static string StageName(Stage stage) => stage is Stage.Development ? "None" : stage.ToString();
}

internal sealed record MlflowTag(string Key, string Value);

internal sealed record MlflowAlias(string Alias, string Version);

internal sealed record MlflowRegisteredModel(
    string Name, long CreationTimestamp, long LastUpdatedTimestamp, string Description, IReadOnlyList<MlflowModelVersion> LatestVersions,
    IReadOnlyList<MlflowTag> Tags, IReadOnlyList<MlflowAlias> Aliases);

internal sealed record RegisteredModelResponse(MlflowRegisteredModel RegisteredModel);

internal sealed record RegisteredModelsResponse(IReadOnlyList<MlflowRegisteredModel> RegisteredModels, string? NextPageToken);

internal sealed record ModelVersionResponse(MlflowModelVersion ModelVersion);

internal sealed record ModelVersionsResponse(IReadOnlyList<MlflowModelVersion> ModelVersions, string? NextPageToken);

internal sealed record LatestVersionsRequest(string? Name, IReadOnlyList<string>? Stages);
