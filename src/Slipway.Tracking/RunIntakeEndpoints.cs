using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tracking.Mlflow;

namespace Slipway.Tracking;

/// <summary>Writing runs by their own ids: every call may be repeated, and metrics come in streams of any length.</summary>
internal static class RunIntakeEndpoints
{
    public static void MapIntake(IEndpointRouteBuilder app)
    {
        var native = app.MapGroup("/api/slipway/v1");
        native.MapPut("/experiments", PutExperiment).May(Permission.Write).WithSummary("Make an experiment or complete it, by name");
        native.MapPut("/runs/{run}", PutRun).May(Permission.Write).WithSummary("Make a run or complete it, by its id");
        native.MapPost("/runs/{run}/metrics", PostMetrics).May(Permission.Write).WithSummary("Add metric points, as JSON lines of any number");
        native.MapGet("/runs/{run}/metrics", GetMetrics).May(Permission.Read).WithSummary("List a run's metrics with their numbers of points");
        native.MapPost("/runs/{run}/inputs", PostInputs).May(Permission.Write).WithSummary("Record the datasets a run used");
        native.MapPut("/runs/{run}/artifacts/{**path}", PutArtifact).May(Permission.Write).WithSummary("Store a file of a run");
    }

    private static async Task<Ok<PutExperimentResult>> PutExperiment(PutExperiment experiment, RunIntake intake, Caller by, CancellationToken cancellationToken) =>
        TypedResults.Ok(await intake.PutExperimentAsync(experiment, by, cancellationToken));

    private static async Task<Ok<PutRunResult>> PutRun(string run, PutRun body, RunIntake intake, Caller by, CancellationToken cancellationToken) =>
        TypedResults.Ok(await intake.PutRunAsync(run, body, by, cancellationToken));

    // Points before a faulty line stay: the sender mends the line and sends all of it again.
    private static async Task<Ok<PostMetricsResult>> PostMetrics(HttpContext context, string run, RunIntake intake, CancellationToken cancellationToken)
    {
        if (context.Request.ContentType?.Split(';')[0].Trim() is not ("application/json" or "application/jsonl" or "application/x-ndjson"))
        {
            // A page of another site can make a browser post text/plain, but not these, without asking first.
            throw RunLimits.Invalid($"Content-Type must be application/x-ndjson or application/json, not '{context.Request.ContentType}'.");
        }

        LiftLimit(context);
        var points = 0L;
        await foreach (var batch in MetricLines.ReadAsync(context.Request.BodyReader, RunIntake.PointsPerTransaction, cancellationToken))
        {
            await intake.AddMetricsAsync(run, batch, cancellationToken);
            points += batch.Count;
        }

        if (points == 0)
        {
            await intake.AddMetricsAsync(run, [], cancellationToken); // An unknown run is told also when there is nothing to add.
        }

        return TypedResults.Ok(new PostMetricsResult(points));
    }

    private static Ok<MetricCountList> GetMetrics(string run, RunIntake intake) => TypedResults.Ok(new MetricCountList(intake.CountMetrics(run)));

    private static async Task<NoContent> PostInputs(string run, PostInputs body, RunStore runs, CancellationToken cancellationToken)
    {
        if (body.Inputs is not { } inputs || inputs.Any(input => input is null))
        {
            throw RunLimits.Invalid("'inputs' must be a list of datasets, each with 'name' and 'digest'.");
        }

        await runs.LogInputsAsync(run, [.. inputs.Select(input => input with { Source = input.Source ?? "", SourceType = input.SourceType ?? "" })], cancellationToken);
        return TypedResults.NoContent();
    }

    private static async Task<Ok<RunArtifact>> PutArtifact(HttpContext context, string run, string path, ArtifactStore artifacts, Caller by, CancellationToken cancellationToken)
    {
        ArtifactEndpoints.RefuseDotSegments(context);
        LiftLimit(context);
        return TypedResults.Ok(await artifacts.LogAsync(run, path, context.Request.Body, by, cancellationToken, ArtifactEndpoints.FileBytesMax));
    }

    // Both kinds of body are streamed through; only a batch or a digest passes through memory.
    private static void LiftLimit(HttpContext context)
    {
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = ArtifactEndpoints.FileBytesMax;
        }
    }
}
