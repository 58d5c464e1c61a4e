using System.Reflection;
using Slipway.Contracts;
using Slipway.Contracts.Host;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Web.Http;

/// <summary>Health, readiness, version, and the audit trail.</summary>
internal static class OperationsEndpoints
{
    public static readonly string Version = typeof(OperationsEndpoints).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!
        .InformationalVersion.Split('+')[0];

    /// <summary>
    /// Answers <c>/health</c> before everything else: whether the process listens. It needs neither the routes, which are still being
    /// put together just after the start, nor any store; <c>/ready</c> asks the database.
    /// </summary>
    public static void UseHealth(this IApplicationBuilder app) => app.Use(next => context =>
        context.Request.Path.Value != "/health" || !(HttpMethods.IsGet(context.Request.Method) || HttpMethods.IsHead(context.Request.Method))
            ? next(context)
            : Results.Text("OK").ExecuteAsync(context));

    public static void MapOperations(this IEndpointRouteBuilder app)
    {
        var open = new RequiredAccess(Permission.None);
        // UseHealth answers it; mapped so that the other verbs are refused like any route's.
        app.MapGet("/health", () => Results.Text("OK")).WithMetadata(open).ExcludeFromDescription();
        app.MapGet("/ready", (Database database) =>
        {
            _ = database.Read(connection => connection.State);
            return Results.Text("OK");
        }).WithMetadata(open).ExcludeFromDescription();
        app.MapGet("/version", () => Results.Text(Version)).WithMetadata(open).ExcludeFromDescription();
        app.MapGet("/api/slipway/v1/audit", Audit).WithSummary("List audit events, newest first").WithMetadata(new RequiredAccess(Permission.Read));
    }

    internal static Page<AuditEventResponse> Audit(AuditTrail audit, string? subject = null, string? cursor = null, int limit = 100)
    {
        NodeRef? node = null;
        if (subject is not null)
        {
            var colon = subject.IndexOf(':', StringComparison.Ordinal);
            node = colon > 0
                ? new NodeRef(subject[..colon], subject[(colon + 1)..])
                : throw new SlipwayException(ErrorCode.InvalidArgument, "'subject' must be kind:id, such as model_version:flight-delay@1.0.0.");
        }

        long? before = cursor is null ? null
            : long.TryParse(cursor, out var parsed) ? parsed
            : throw new SlipwayException(ErrorCode.InvalidArgument, "'cursor' must be the next_cursor of the page before.");
        var events = audit.List(node, before, limit);
        return new Page<AuditEventResponse>(
            [.. events.Select(row => new AuditEventResponse(row.Seq, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs), row.Actor, row.Action,
                $"{row.SubjectKind}:{row.SubjectId}", row.Reason, row.BeforeJson, row.AfterJson, row.RequestId, row.Hash))],
            events.Count == Math.Clamp(limit, 1, 1000) && events[^1].Seq > 1 ? events[^1].Seq.ToString(System.Globalization.CultureInfo.InvariantCulture) : null);
    }
}
