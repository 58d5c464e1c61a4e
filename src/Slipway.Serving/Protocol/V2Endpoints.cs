using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Serving.Labels;

namespace Slipway.Serving.Protocol;

/// <summary>Maps the Open Inference Protocol, and the labels beside it. Nothing here is compressed: several V2 clients cannot read compressed metadata or errors.</summary>
internal static class V2Endpoints
{
    private const int LabelsMax = 100_000;
    private const string Model = "/v2/models/{model}";
    private const string Version = Model + "/versions/{version}";

    // Only what is built: see docs/reference/serving-protocols.md.
    internal static readonly string[] Extensions = ["binary_tensor_data", "parameters"];

    internal static readonly string ServerVersion = typeof(V2Endpoints).Assembly.GetName().Version!.ToString(3);

    public static void MapV2(this IEndpointRouteBuilder app)
    {
        var v2 = app.MapGroup("").WithMetadata(new ErrorShape(ErrorEnvelope.OpenInference));
        var infer = app.ServiceProvider.GetRequiredService<InferHandler>();

        // A bare delegate: parameter binding and result objects would cost more than the model.
        v2.MapPost(Model + "/infer", (RequestDelegate)infer.Invoke).WithMetadata(new RequiredAccess(Permission.Predict)).WithSummary("Score rows with the version in production");
        v2.MapPost(Version + "/infer", (RequestDelegate)infer.Invoke).WithMetadata(new RequiredAccess(Permission.Predict)).WithSummary("Score rows with a version named by number, stage or alias");
        v2.MapPost(Model + "/labels", Label).WithMetadata(new RequiredAccess(Permission.Predict)).WithSummary("Say what turned out to be true for predictions");

        // Health answers have no body, and so no content type either: OpenAPI proxies fail on an empty JSON body.
        v2.MapGet("/v2/health/live", static () => Results.Ok()).WithMetadata(new RequiredAccess(Permission.None)).WithSummary("Whether the server runs");
        v2.MapGet("/v2/health/ready", static (DeploymentReports reports) => Results.StatusCode(reports.IsReady ? 200 : 503))
            .WithMetadata(new RequiredAccess(Permission.None)).WithSummary("Whether every production version answers");
        v2.MapGet("/v2", static () => Results.Json(new { name = "slipway", version = ServerVersion, extensions = Extensions }, JsonDefaults.Options))
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Name and version of the server");
        foreach (var path in new[] { Model, Version })
        {
            v2.MapGet(path, Metadata).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Inputs and outputs of a model");
            v2.MapGet(path + "/ready", Ready).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Whether a model answers");
        }

        app.MapGet("/api/slipway/v1/models/{model}/versions/{version}/contract", Contract)
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("What callers of a version may rely on, with an example request");
    }

    private static IResult Metadata(string model, string? version, ModelRouter router, PinnedVersions pinned, ModelRegistry registry)
    {
        var loaded = Find(model, version, router, pinned);
        if (loaded is null)
        {
            var (status, message) = pinned.WhyNotServed(model);
            return Results.Json(new { error = message }, JsonDefaults.Options, statusCode: status);
        }

        return Results.Json(
            new
            {
                name = model,
                versions = registry.ListVersions(model).Where(v => v.Stage != Stage.Archived).Select(v => v.Version),
                platform = "onnxruntime_onnx",
                inputs = loaded.InputTensors,
                outputs = loaded.OutputTensors,
            },
            JsonDefaults.Options);
    }

    private static IResult Ready(string model, string? version, ModelRouter router, PinnedVersions pinned)
    {
        if (Find(model, version, router, pinned) is not null)
        {
            return Results.Ok();
        }

        var (status, message) = pinned.WhyNotServed(model);
        return Results.Json(new { error = message }, JsonDefaults.Options, statusCode: status);
    }

    private static LoadedModel? Find(string model, string? version, ModelRouter router, PinnedVersions pinned) =>
        version is null || string.Equals(version, "production", StringComparison.OrdinalIgnoreCase)
            ? (router.Find(model) is { } table ? (table.Stable ?? table.Candidate)?.Model : null)
            : pinned.Get(model, version).Model;

    private static IResult Contract(string model, string version, ModelRegistry registry, PinnedVersions pinned)
    {
        var record = registry.Get(model, version);
        return Results.Json(ContractWriter.Write(pinned.Get(model, record.Version).Model), JsonDefaults.Options);
    }

    private static async Task<IResult> Label(string model, LabelsRequest request, LabelLog labels, ModelRegistry registry, ModelRouter router, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (request.Labels is not { Count: > 0 and <= LabelsMax })
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'labels' holds {request.Labels?.Count ?? 0} entries; send 1 to {LabelsMax.ToString("N0", CultureInfo.InvariantCulture)} of {{\"id\", \"label\", \"observed_at\"}}.");
        }

        if (router.Find(model) is null && registry.ListVersions(model).Count == 0)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"Request for unknown model: '{model}' is not registered; GET /api/slipway/v1/models lists those that are.");
        }

        var now = clock.GetUtcNow();
        var parsed = new Label[request.Labels.Count];
        for (var i = 0; i < parsed.Length; i++)
        {
            var entry = request.Labels[i];
            if (entry is not { Id.Length: > 0 and <= 512 })
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"labels[{i}].id is missing or longer than 512 characters; send the prediction_id of the answer.");
            }

            parsed[i] = new Label(entry.Id, Value(entry.Label, i), entry.ObservedAt ?? now);
        }

        return Results.Json(new LabelsResponse(await labels.AppendAsync(model, parsed, cancellationToken)), JsonDefaults.Options);
    }

    private static double Value(JsonElement label, int i) => label.ValueKind switch
    {
        JsonValueKind.True => 1,
        JsonValueKind.False => 0,
        JsonValueKind.Number when label.TryGetDouble(out var value) && double.IsFinite(value) => value,
        _ => throw new SlipwayException(ErrorCode.InvalidArgument, $"labels[{i}].label is not a finite number, true or false; send the outcome, such as 1 for a yes."),
    };
}
