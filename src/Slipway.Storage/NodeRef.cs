namespace Slipway.Storage;

/// <summary>Names one thing of the platform, for lineage and audit: <c>dataset_version:flights@2</c>.</summary>
/// <param name="Kind">One of <see cref="NodeKinds"/>.</param>
/// <param name="Id">Unique within the kind; versions are written <c>name@version</c>.</param>
public readonly record struct NodeRef(string Kind, string Id)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Kind}:{Id}";
}

/// <summary>The kinds of nodes.</summary>
public static class NodeKinds
{
    /// <summary>A dataset version, <c>name@version</c>.</summary>
    public const string DatasetVersion = "dataset_version";

    /// <summary>A feature view version, <c>name@version</c>.</summary>
    public const string FeatureView = "feature_view";

    /// <summary>A feature service version, <c>name@version</c>: the ordered features of a model.</summary>
    public const string FeatureService = "feature_service";

    /// <summary>A training set: the digest of a point-in-time retrieval.</summary>
    public const string TrainingSet = "training_set";

    /// <summary>A run, by its id.</summary>
    public const string Run = "run";

    /// <summary>A pipeline run, by its id.</summary>
    public const string PipelineRun = "pipeline_run";

    /// <summary>A stage of a pipeline run, <c>run/stage</c>.</summary>
    public const string PipelineStage = "pipeline_stage";

    /// <summary>A dataset that a run says it read, <c>name@digest</c>.</summary>
    public const string LoggedDataset = "logged_dataset";

    /// <summary>A model that a run logged, by its id.</summary>
    public const string LoggedModel = "logged_model";

    /// <summary>A source code commit.</summary>
    public const string Commit = "commit";

    /// <summary>An evaluation report, by its digest.</summary>
    public const string EvaluationReport = "evaluation_report";

    /// <summary>A registered model, by its name.</summary>
    public const string Model = "model";

    /// <summary>A model version, <c>name@semantic-version</c>.</summary>
    public const string ModelVersion = "model_version";

    /// <summary>A deployment of a version, by its id.</summary>
    public const string Deployment = "deployment";

    /// <summary>A rollout, by its id.</summary>
    public const string Rollout = "rollout";

    /// <summary>A monitor, by its name.</summary>
    public const string Monitor = "monitor";

    /// <summary>A written document, by its id and version.</summary>
    public const string Document = "document";

    /// <summary>An applied definition, <c>kind/name@version</c>.</summary>
    public const string Definition = "definition";

    /// <summary>Something outside the platform that uses a version, by its name.</summary>
    public const string Application = "application";

    /// <summary>A user, by name.</summary>
    public const string User = "user";
}
