using Microsoft.AspNetCore.Routing;
using Slipway.Serving.Deployments;
using Slipway.Serving.Protocol;
using Slipway.Serving.Reviews;
using Slipway.Serving.Rollouts;
using Slipway.Serving.Slos;
using Slipway.Serving.Streams;

namespace Slipway.Serving;

/// <summary>Maps serving's routes.</summary>
public static class ServingEndpoints
{
    /// <summary>Maps the Open Inference Protocol, MLflow's and TensorFlow Serving's, the labels, the deployments, the rollouts, the objectives, the streams and the reviews.</summary>
    public static void MapSlipwayServing(this IEndpointRouteBuilder app)
    {
        app.MapV2();
        app.MapRows();
        app.MapDeployments();
        app.MapSlipwayRollouts();
        app.MapSlos();
        app.MapStreams();
        app.MapReviews();
    }
}
