using System.Globalization;
using System.Text.Json;
using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Audit;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Governance.Audit;

/// <summary>Maps checkpoints, keys, verification and reports of the audit trail.</summary>
internal static class AuditEndpoints
{
    public static void MapAudit(this IEndpointRouteBuilder app)
    {
        var read = app.MapGroup("/api/slipway/v1/audit").WithMetadata(new RequiredAccess(Permission.Audit));
        read.MapGet("/checkpoints", Checkpoints).WithSummary("List signed checkpoints of the audit trail, newest first");
        read.MapGet("/key", Key).WithSummary("Show the public keys that checkpoints and reports are signed with");
        read.MapGet("/report", Report).WithSummary("Report what happened to a model, as signed JSON or Markdown");
        read.MapGet("/findings", (PolicyAudit audit) => TypedResults.Ok(new AuditFindingList(audit.Findings()))).WithSummary("List what the scheduled audit found about versions in production");
        read.MapPost("/verify", Verify).WithSummary("Recount the audit trail; answers in lines, the last of which holds the result");

        var write = app.MapGroup("/api/slipway/v1/audit").WithMetadata(new RequiredAccess(Permission.Admin));
        write.MapPost("/checkpoints", WriteCheckpoint).WithSummary("Sign a checkpoint now");
        write.MapPost("/key/rotate", Rotate).WithSummary("Replace the signing key");
        write.MapPost("/findings", Look).WithSummary("Audit the versions in production now");
    }

    private static Ok<Page<AuditCheckpoint>> Checkpoints(AuditCheckpoints checkpoints, string? cursor = null, int limit = 100)
    {
        var before = AuditQuery.Filter(null, null, null, null, null, null, cursor).BeforeSeq;
        var rows = checkpoints.List(before, limit);
        return TypedResults.Ok(new Page<AuditCheckpoint>(rows, rows.Count == Math.Clamp(limit, 1, 1000) ? rows[^1].Seq.ToString(CultureInfo.InvariantCulture) : null));
    }

    private static async Task<Ok<AuditKeyList>> Key(AuditCheckpoints checkpoints, CancellationToken ct)
    {
        var key = await checkpoints.KeyAsync(ct);
        var keys = checkpoints.Keys();
        return TypedResults.Ok(new AuditKeyList(keys.First(known => known.KeyId == key.KeyId), keys));
    }

    private static async Task<Ok<AuditCheckpoint>> WriteCheckpoint(AuditCheckpoints checkpoints, CancellationToken ct) => TypedResults.Ok(
        await checkpoints.WriteAsync(ct) ?? throw new SlipwayException(ErrorCode.FailedPrecondition, "The audit trail is empty: there is nothing to sign yet."));

    private static async Task<Ok<AuditPublicKey>> Rotate(RotateAuditKey request, AuditCheckpoints checkpoints, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await checkpoints.RotateAsync(request.Reason, by, ct));

    private static async Task<Ok<AuditFindingList>> Look(PolicyAudit audit, CancellationToken ct)
    {
        await audit.RunAsync(ct);
        return TypedResults.Ok(new AuditFindingList(audit.Findings()));
    }

    private static async Task<ContentHttpResult> Report(
        HttpContext context, string? model, string? from, string? to, string? format, AuditReporter reporter, AuditCheckpoints checkpoints, CancellationToken ct)
    {
        if (string.IsNullOrWhiteSpace(model) || format is not (null or "json" or "markdown"))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, string.IsNullOrWhiteSpace(model)
                ? "'model' is missing; name the model that the report is about."
                : $"'format' must be json or markdown, not '{format}'.");
        }

        var report = await reporter.MakeAsync(
            model, string.IsNullOrEmpty(from) ? null : AuditQuery.Instant("from", from, endOfDay: false), string.IsNullOrEmpty(to) ? null : AuditQuery.Instant("to", to, endOfDay: true), ct);
        var key = await checkpoints.KeyAsync(ct);
        // A page's link saves it under a name of its own.
        context.Response.Headers.ContentDisposition = $"attachment; filename=\"audit-{Uri.EscapeDataString(model)}.{(format == "json" ? "json" : "md")}\"";
        return format == "json"
            ? TypedResults.Text(SealedReport.Json(report, key), "application/json; charset=utf-8")
            : TypedResults.Text(SealedReport.Markdown(report, key), "text/markdown; charset=utf-8");
    }

    // A trail of millions of rows takes seconds: the caller sees how far it is, and a caller that goes away ends it.
    private static Task Verify(HttpContext context, VerifyAudit request, AuditTrail trail, AuditCheckpoints checkpoints, CancellationToken ct)
    {
        foreach (var key in request.PublicKeys ?? [])
        {
            AuditSigningKey.ReadPublicKey(key); // Told before the first line of the answer.
        }

        context.Response.ContentType = "application/x-ndjson";
        var lines = Channel.CreateBounded<AuditVerificationProgress>(new BoundedChannelOptions(16) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true });
        return Task.WhenAll(
            Task.Run(
                () =>
                {
                    try
                    {
                        var result = trail.Verify(checkpoints, request, (done, of) => lines.Writer.TryWrite(new AuditVerificationProgress(done, of)), ct);
                        lines.Writer.TryWrite(new AuditVerificationProgress(result.Events, result.Events, result));
                        lines.Writer.Complete();
                    }
                    catch (Exception e)
                    {
                        lines.Writer.Complete(e);
                    }
                },
                ct),
            WriteAsync());

        async Task WriteAsync()
        {
            await foreach (var line in lines.Reader.ReadAllAsync(ct))
            {
                await context.Response.WriteAsync(JsonSerializer.Serialize(line, JsonDefaults.Options) + "\n", ct);
                await context.Response.Body.FlushAsync(ct);
            }
        }
    }
}
