using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Tracking.EvaluationDatasets;
using Slipway.Tracking.Mlflow;
using Slipway.Tracking.Traces.Otlp;

namespace Slipway.Tracking.Traces;

/// <summary>Registers and maps traces, assessments and evaluation datasets.</summary>
internal static class TraceServices
{
    public static IServiceCollection AddTraces(this IServiceCollection services) =>
        services.AddSingleton<TraceStore>().AddSingleton<AssessmentStore>().AddSingleton<EvaluationDatasetStore>();

    public static void MapTraces(this IEndpointRouteBuilder app)
    {
        foreach (var group in MlflowHttp.Groups(app, "/2.0/mlflow"))
        {
            TraceV2Endpoints.MapTraces(group);
            TraceArtifactEndpoints.MapDownload(group);
        }

        foreach (var group in MlflowHttp.Groups(app, "/3.0/mlflow"))
        {
            TraceEndpoints.MapTraces(group);
            AssessmentEndpoints.MapAssessments(group);
            EvaluationDatasetEndpoints.MapDatasets(group);
            TraceArtifactEndpoints.MapDownload(group);
        }

        foreach (var group in MlflowHttp.Groups(app, "/2.0/mlflow-artifacts"))
        {
            TraceArtifactEndpoints.MapFile(group);
        }

        OtlpEndpoint.MapOtlp(app);
    }
}
