using Slipway.Serving.Grpc;

namespace Slipway.Web.Http;

/// <summary>The gRPC port answers calls and nothing else; each passes the same access check as HTTP's routes.</summary>
internal static class GrpcPort
{
    /// <summary>Ends the pipeline. No Host check: no page can make a browser speak HTTP/2 without TLS.</summary>
    public static void UseGrpcCalls(this IApplicationBuilder grpc)
    {
        grpc.UseMiddleware<ErrorMiddleware>();
        grpc.Use(next => context =>
        {
            context.SetEndpoint(context.RequestServices.GetRequiredService<GrpcRoutes>().Find(context.Request));
            return next(context);
        });
        grpc.UseMiddleware<AccessMiddleware>();
        grpc.Run(context => context.GetEndpoint()!.RequestDelegate!(context));
    }
}
