using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Serving;
using Slipway.Storage;

namespace Slipway.Serving.Streams;

/// <summary>Maps the streams' routes.</summary>
internal static class StreamEndpoints
{
    private const string Path = "/api/slipway/v1/streams";

    public static void MapStreams(this IEndpointRouteBuilder app)
    {
        app.MapGet(Path, List).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("List the streams that models score, with what waits in them");
        app.MapGet(Path + "/{name}", Get).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("One stream");
        app.MapPost(Path + "/{name}/pause", Pause).WithMetadata(new RequiredAccess(Permission.Operate)).WithSummary("Stop reading a stream; its events wait in Redis");
        app.MapPost(Path + "/{name}/resume", Resume).WithMetadata(new RequiredAccess(Permission.Operate)).WithSummary("Read a paused stream again");
    }

    private static async Task<Ok<IReadOnlyList<StreamReport>>> List(StreamService streams, Caller by, CancellationToken ct) =>
        TypedResults.Ok<IReadOnlyList<StreamReport>>([.. by.Access.Visible(ResourceKind.Model, await streams.ListAsync(ct), report => report.Model)]);

    private static async Task<Ok<StreamReport>> Get(string name, StreamService streams, CancellationToken ct) => TypedResults.Ok(await streams.GetAsync(name, ct));

    private static async Task<Ok<StreamReport>> Pause(string name, ChangeStreamRequest request, StreamService streams, StreamStore store, Caller by, CancellationToken ct)
    {
        await store.PauseAsync(store.Get(name), Reason(request), by, ct);
        return TypedResults.Ok(await streams.GetAsync(name, ct));
    }

    private static async Task<Ok<StreamReport>> Resume(string name, ChangeStreamRequest request, StreamService streams, StreamStore store, Caller by, CancellationToken ct)
    {
        await store.ResumeAsync(store.Get(name), Reason(request), by, ct);
        return TypedResults.Ok(await streams.GetAsync(name, ct));
    }

    private static string Reason(ChangeStreamRequest request) => string.IsNullOrWhiteSpace(request.Reason)
        ? throw new SlipwayException(ErrorCode.InvalidArgument, "'reason' is missing; say why, for those who read the audit trail.")
        : request.Reason;
}
