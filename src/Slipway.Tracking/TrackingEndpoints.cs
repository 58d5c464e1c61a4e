using Microsoft.AspNetCore.Routing;
using Slipway.Tracking.Mlflow;
using Slipway.Tracking.Traces;

namespace Slipway.Tracking;

/// <summary>Maps MLflow's tracking API and our own additions.</summary>
public static class TrackingEndpoints
{
    /// <summary>Maps <c>/api/2.0/mlflow</c>, its twin <c>/ajax-api</c>, the artifact proxy, <c>/get-artifact</c>, and the rest of MLflow 3.6 as not implemented.</summary>
    public static void MapSlipwayTracking(this IEndpointRouteBuilder app)
    {
        foreach (var group in MlflowHttp.Groups(app, "/2.0/mlflow"))
        {
            ExperimentEndpoints.MapExperiments(group);
            RunEndpoints.MapRuns(group);
            LoggedModelEndpoints.MapLoggedModels(group);
            MetricHistoryEndpoints.MapMetricHistories(group);
            ArtifactEndpoints.MapListing(group);
            ArtifactUploadEndpoint.MapUpload(group);
        }

        foreach (var group in MlflowHttp.Groups(app, "/2.0/mlflow-artifacts"))
        {
            ArtifactEndpoints.MapProxy(group);
            MultipartUploadEndpoints.MapUploads(group);
        }

        foreach (var group in MlflowHttp.Groups(app, "/3.0/mlflow"))
        {
            ScorerEndpoints.MapScorers(group);
        }

        ExperimentEndpoints.MapMisspelt(app);
        ArtifactEndpoints.MapDownload(app);
        app.MapTraces();
        UnbuiltEndpoints.MapUnbuilt(app);
        NativeEndpoints.MapNative(app);
        RunIntakeEndpoints.MapIntake(app);
    }
}
