using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Monitoring;
using Slipway.Storage;

namespace Slipway.Monitoring;

/// <summary>Routes of monitors and alerts.</summary>
public static class MonitoringEndpoints
{
    /// <summary>Maps them under <c>/api/slipway/v1/monitors</c> and <c>/api/slipway/v1/alerts</c>.</summary>
    public static IEndpointRouteBuilder MapSlipwayMonitoring(this IEndpointRouteBuilder app)
    {
        var read = new RequiredAccess(Permission.Read);
        var monitors = app.MapGroup("/api/slipway/v1/monitors");
        monitors.MapGet("", (MonitorStore store, Caller by) => TypedResults.Ok(by.Access.Visible(ResourceKind.Model, store.List(), monitor => monitor.Model))).WithSummary("List monitors with their worst band").WithMetadata(read);
        monitors.MapGet("/{name}", (string name, MonitorStore store) => TypedResults.Ok(store.Status(name)))
            .WithSummary("A monitor as of now: newest values, limits, method, open alerts, actions").WithMetadata(read);
        monitors.MapGet("/{name}/results", Results).WithSummary("Values over event time").WithMetadata(read);
        monitors.MapGet("/{name}/drift", Drift).WithSummary("Drift of each feature by calendar month").WithMetadata(read);
        monitors.MapPost("/{name}/run", Run).WithSummary("Evaluate all closed windows now").WithMetadata(new RequiredAccess(Permission.Operate));

        var alerts = app.MapGroup("/api/slipway/v1/alerts");
        alerts.MapGet("", (MonitorStore store, Caller by, string? monitor, bool? open) => TypedResults.Ok(by.Access.Visible(ResourceKind.Model, store.Alerts(monitor, open ?? false), alert => alert.Model)))
            .WithSummary("List alerts, newest first").WithMetadata(read);
        alerts.MapPost("/{id}/acknowledge", Acknowledge).WithSummary("Say that an alert has been seen").WithMetadata(new RequiredAccess(Permission.Operate));
        return app;
    }

    private static Ok<IReadOnlyList<ResultPoint>> Results(
        string name, MonitorStore store, string? subject, string? metric, DateTimeOffset? from, DateTimeOffset? to, int? points)
    {
        if (points is < 1)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'points' must be at least 1, not {points}.");
        }

        store.Status(name); // An unknown monitor is not an empty series.
        return TypedResults.Ok(store.Series(
            name, subject, metric, (from ?? DateTimeOffset.MinValue).ToUnixTimeMilliseconds(), (to ?? DateTimeOffset.MaxValue).ToUnixTimeMilliseconds(), points ?? 2000));
    }

    private static Ok<IReadOnlyList<DriftByMonth>> Drift(string name, MonitorStore store, string? by) => by is null or "month"
        ? TypedResults.Ok(store.ByMonth(name))
        : throw new SlipwayException(ErrorCode.InvalidArgument, $"'by' must be month, not '{by}'.");

    private static async Task<Ok<MonitorRunReport>> Run(string name, MonitorRuns runs, CancellationToken ct) => TypedResults.Ok(await runs.RunAsync(name, ct));

    private static async Task<Ok<AlertRecord>> Acknowledge(string id, AcknowledgeAlert? request, MonitorStore store, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await store.AcknowledgeAsync(id, request?.Comment, by, ct));
}
