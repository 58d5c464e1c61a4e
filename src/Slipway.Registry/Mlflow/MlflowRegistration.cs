using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.External;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Registry.Mlflow;

/// <summary>What MLflow's client says of a new version.</summary>
internal sealed record NewMlflowVersion(
    string Model, string Source, string? RunId, IReadOnlyDictionary<string, string> Tags, string? RunLink, string? Description, string? LoggedModelId);

/// <summary>Makes a version of what MLflow's client names: a snapshot of the files, with all that they say of themselves.</summary>
internal sealed class MlflowRegistration(Database database, ModelSources sources, BlobStore blobs, ExternalRegistry? external = null)
{
    // MLflow's prompts have texts, no files; this is what its client writes where a source must stand.
    private const string PromptSource = "dummy-source";

    /// <summary>Registers the version.</summary>
    /// <returns>Its number.</returns>
    /// <exception cref="SlipwayException">InvalidArgument: the source is not one this server may read; NotFound: the model, the run or the logged model.</exception>
    public async Task<long> RegisterAsync(NewMlflowVersion request, Caller by, CancellationToken cancellationToken)
    {
        external?.DemandOwn(request.Model);
        var model = database.Read(connection => ModelTable.Find(connection, request.Model)) ?? throw ModelRegistry.NoModel(request.Model);
        // A prompt brings no files; but that it says to be one opens no other place.
        var isPrompt = model.IsPrompt || ModelRow.IsPromptBy(request.Tags);
        var snapshot = isPrompt && request.Source == PromptSource
            ? new SourceSnapshot([], request.RunId, null, IsExternal: true)
            : await sources.TakeAsync(request.Source, request.RunId, cancellationToken);
        var files = await new ModelFolderReader(blobs).ReadAsync(snapshot, cancellationToken);
        return await database.WriteAsync(transaction =>
        {
            external?.DemandOwn(transaction.Connection, request.Model);
            return Insert(transaction, request, snapshot, files, isPrompt, by);
        }, cancellationToken);
    }

    private static long Insert(WriteTransaction transaction, NewMlflowVersion request, SourceSnapshot snapshot, ModelFolder files, bool isPrompt, Caller by)
    {
        var connection = transaction.Connection;
        if (ModelTable.Find(connection, request.Model) is null)
        {
            throw ModelRegistry.NoModel(request.Model);
        }

        var last = VersionTable.Last(connection, request.Model);
        var change = last is null ? null : VersionRules.Compare(last.Signature, last.FeatureSchema, files.Signature, FeatureSchema.None);
        var next = VersionRules.Next("auto", last is null ? null : SemanticVersion.Parse(last.Version), change);
        var version = new ModelVersionRecord
        {
            Model = request.Model,
            Version = next.Version.ToString(),
            Number = (last?.Number ?? 0) + 1,
            Stage = Stage.Development,
            RunId = request.RunId ?? snapshot.RunId,
            Bump = next.Bump,
            BumpReason = next.Reason,
            Description = request.Description ?? "",
            Owner = by.Name,
            Tags = request.Tags,
            Format = files.Format,
            Source = request.Source,
            Files = snapshot.Files,
            ServedPath = files.ServedPath,
            Signature = files.Signature,
            FeatureSchema = snapshot.CopyOf?.FeatureSchema ?? FeatureSchema.None,
            BaselineSha256 = snapshot.CopyOf?.BaselineSha256,
            EnvironmentSha256 = files.EnvironmentSha256,
            Datasets = snapshot.CopyOf?.Datasets ?? [],
            Commit = snapshot.CopyOf?.Commit,
            ParentVersion = last?.Version,
            CreatedBy = by.Name,
            CreatedAt = transaction.Now,
            UpdatedAt = transaction.Now,
            Aliases = [],
        };
        VersionTable.Insert(transaction, version);
        connection.Execute(
            "UPDATE model_versions SET run_link = @RunLink, logged_model_id = @modelId, status_message = @message WHERE model = @Model AND version = @Version",
            new
            {
                request.RunLink,
                modelId = snapshot.LoggedModelId ?? request.LoggedModelId,
                message = snapshot.Files.Count > 0 || isPrompt ? null
                    : snapshot.IsExternal ? "The files lie on another server and are not kept here."
                    : "No files lie at the source; this version has none.",
                version.Model,
                version.Version,
            });
        StageTable.Record(transaction, new StageChange(version.Model, version.Version, null, Stage.Development, "registration", version.BumpReason, by.Name, transaction.Now, null));
        VersionLineage.Link(transaction, version);
        if (snapshot.LoggedModelId is { } loggedModel)
        {
            transaction.Link(new NodeRef(LoggedModelStore.NodeKind, loggedModel), "registered_as", version.Node);
        }

        if (snapshot.CopyOf is { } original)
        {
            transaction.Link(original.Node, "copied_to", version.Node);
        }

        transaction.Audit(by, "model_version.registered", version.Node, version.BumpReason, null,
            new { version.Version, version.Bump, version.RunId, version.Source, version.Format, version.Files, version.EnvironmentSha256 });
        transaction.Publish(ModelRegistry.VersionRegisteredTopic, new { version.Model, version.Version, version.Number, version.RunId });
        return version.Number;
    }
}
