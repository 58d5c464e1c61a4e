using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Storage;

namespace Slipway.Serving.Reviews;

/// <summary>Maps the cases that people decide.</summary>
internal static class ReviewEndpoints
{
    private const string Path = "/api/slipway/v1/reviews";

    public static void MapReviews(this IEndpointRouteBuilder app)
    {
        app.MapGet(Path, List).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("List a model's cases that wait for a person, or with status=decided those that were decided, the oldest first");
        app.MapGet(Path + "/{id}", (string id, ReviewStore store) => TypedResults.Ok(store.Get(id))).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("One case");
        app.MapPost(Path + "/{id}/decide", (string id, DecideCaseRequest request, ReviewStore store, Caller by, CancellationToken ct) => DecideAsync(id, request, store, by, ct))
            .WithMetadata(new RequiredAccess(Permission.Approve)).WithSummary("Decide a case, for good");
    }

    private static async Task<Ok<ReviewCase>> DecideAsync(string id, DecideCaseRequest request, ReviewStore store, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await store.DecideAsync(id, request.Decision, request.Reason, by, ct));

    private static Ok<ReviewList> List(ReviewStore store, ReviewCollector collector, string? model = null, string? status = null, string? after = null, int limit = 50)
    {
        if (string.IsNullOrEmpty(model))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'model' is missing; say whose cases, such as ?model=flight-delay.");
        }

        if (status is not (null or "open" or "decided") || limit is < 1 or > 1000)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, status is not (null or "open" or "decided") ? $"'status' is '{status}'; it must be open or decided." : $"'limit' is {limit}; it must be from 1 to 1000.");
        }

        var cases = store.List(model, status is not "decided", after, limit + 1);
        return TypedResults.Ok(new ReviewList([.. cases.Take(limit)], cases.Count > limit ? cases[limit - 1].Id : null, store.CountOpen(model), collector.Dropped(model)));
    }
}
