using System.Reflection;
using Slipway.Contracts;
using Slipway.Contracts.Host;
using Slipway.Governance.Audit;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Web.Http;

/// <summary>Health, readiness, version, and the audit trail.</summary>
internal static class OperationsEndpoints
{
    public static readonly string Version = typeof(OperationsEndpoints).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!
        .InformationalVersion.Split('+')[0];

    // What MLflow's clients compare with their own version. The part after the plus is ours; to them it is a local build of 3.6.0.
    private static readonly string MlflowVersion = $"3.6.0+slipway.{Version.Replace('-', '.')}";

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
        app.MapGet("/version", () => Results.Text(MlflowVersion)).WithMetadata(open).ExcludeFromDescription();
        app.MapGet("/metrics", (MetricsText metrics) => Results.Text(metrics.Read(), MetricsText.ContentType))
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Figures of serving, drift and the runtime in Prometheus' text format");
        app.MapGet("/api/slipway/v1/audit", Audit).WithSummary("List audit events, newest first").WithMetadata(new RequiredAccess(Permission.Audit));
    }

    internal static Page<AuditEventResponse> Audit(
        AuditTrail audit, string? subject = null, string? actor = null, string? action = null, string? model = null, string? from = null, string? to = null,
        string? cursor = null, int limit = 100)
    {
        var filter = AuditQuery.Filter(subject, actor, action, model, from, to, cursor);
        var events = audit.List(filter, limit);
        return new Page<AuditEventResponse>(
            [.. events.Select(AuditQuery.Response)],
            events.Count == Math.Clamp(limit, 1, 1000) && events[^1].Seq > 1 ? events[^1].Seq.ToString(System.Globalization.CultureInfo.InvariantCulture) : null);
    }
}
