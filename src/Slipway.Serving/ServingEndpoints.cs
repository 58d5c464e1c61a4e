using Microsoft.AspNetCore.Routing;
using Slipway.Serving.Deployments;
using Slipway.Serving.Protocol;
using Slipway.Serving.Rollouts;

namespace Slipway.Serving;

/// <summary>Maps serving's routes.</summary>
public static class ServingEndpoints
{
    /// <summary>Maps the Open Inference Protocol, MLflow's and TensorFlow Serving's, the labels, the deployments and the rollouts.</summary>
    public static void MapSlipwayServing(this IEndpointRouteBuilder app)
    {
        app.MapV2();
        app.MapRows();
        app.MapDeployments();
        app.MapSlipwayRollouts();
    }
}
