using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Registry.External;
using Slipway.Tracking.Mlflow;

namespace Slipway.Registry.Mlflow;

/// <summary>MLflow's registry: its paths, shapes and error names.</summary>
internal static class MlflowRegistryEndpoints
{
    public static void MapMlflowRegistry(this IEndpointRouteBuilder app)
    {
        foreach (var group in MlflowHttp.Groups(app, "/2.0/mlflow"))
        {
            group.AddEndpointFilter(ExternalEndpoints.Freshen);
            RegisteredModelEndpoints.Map(group);
            ModelVersionEndpoints.Map(group);
        }

        ModelVersionEndpoints.MapDownload(app);
    }
}
