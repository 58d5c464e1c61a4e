using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Serving;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Serving.Folder;
using Slipway.Serving.Labels;

namespace Slipway.Serving.Protocol;

/// <summary>Maps the Open Inference Protocol, and the labels beside it. Nothing here is compressed: several V2 clients cannot read compressed metadata or errors.</summary>
internal static class V2Endpoints
{
    private const int LabelsMax = 100_000;
    private const string Model = "/v2/models/{model}";
    private const string Version = Model + "/versions/{version}";

    public static void MapV2(this IEndpointRouteBuilder app)
    {
        var v2 = app.MapGroup("").WithMetadata(new ErrorShape(ErrorEnvelope.OpenInference));
        // At the first prediction: it asks for the database, which is opened after the routes are mapped.
        var infer = new Lazy<InferHandler>(app.ServiceProvider.GetRequiredService<InferHandler>);

        // A bare delegate: parameter binding and result objects would cost more than the model.
        v2.MapPost(Model + "/infer", (RequestDelegate)(context => infer.Value.Invoke(context))).WithMetadata(new RequiredAccess(Permission.Predict)).WithSummary("Score rows with the version in production");
        v2.MapPost(Version + "/infer", (RequestDelegate)(context => infer.Value.Invoke(context))).WithMetadata(new RequiredAccess(Permission.Predict)).WithSummary("Score rows with a version named by number, stage or alias");
        v2.MapPost(Model + "/labels", Label).Inflated().WithMetadata(new RequiredAccess(Permission.Predict)).WithSummary("Say what turned out to be true for predictions");

        // Health answers have no body, and so no content type either: OpenAPI proxies fail on an empty JSON body.
        v2.MapGet("/v2/health/live", static () => Results.Ok()).WithMetadata(new RequiredAccess(Permission.None)).WithSummary("Whether the server runs");
        v2.MapGet("/v2/health/ready", static (DeploymentReports reports) => Results.StatusCode(reports.IsReady ? 200 : 503))
            .WithMetadata(new RequiredAccess(Permission.None)).WithSummary("Whether every production version answers");
        v2.MapGet("/v2", static () => Results.Json(new { name = ServedModels.ServerName, version = ServedModels.ServerVersion, extensions = ServedModels.Extensions }, JsonDefaults.Options))
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Name and version of the server");
        foreach (var path in new[] { Model, Version })
        {
            v2.MapGet(path, Metadata).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Inputs and outputs of a model");
            v2.MapGet(path + "/config", Config).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Configuration of a model, as Triton tells it");
            v2.MapGet(path + "/stats", Statistics).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("What a model's versions have served");
            v2.MapGet(path + "/ready", Ready).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Whether a model answers");
        }

        v2.MapGet("/v2/models/stats", (ServedModels models, HttpContext context) => Statistics(null, null, models, context))
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("What all versions in memory have served");
        v2.MapPost("/v2/repository/index", (RequestDelegate)Index).Inflated().WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Every version, and whether it answers");
        v2.MapPost("/v2/repository/models/{model}/load", (RequestDelegate)Load).Inflated().WithMetadata(new RequiredAccess(Permission.Operate)).WithSummary("Load a model");
        v2.MapPost("/v2/repository/models/{model}/unload", (RequestDelegate)Unload).WithMetadata(new RequiredAccess(Permission.Operate))
            .WithSummary("Take a model of the model repository out of service");

        app.MapGet("/api/slipway/v1/models/{model}/versions/{version}/contract", Contract)
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("What callers of a version may rely on, with an example request");
    }

    // Before the route reads its body, and whatever reads it.
    private static TBuilder Inflated<TBuilder>(this TBuilder route)
        where TBuilder : IEndpointConventionBuilder
    {
        route.Add(endpoint =>
        {
            var answer = endpoint.RequestDelegate!;
            endpoint.RequestDelegate = async context =>
            {
                var request = context.Request;
                if (request.Headers.ContentEncoding.Count > 0)
                {
                    var bytes = await CompressedBody.ReadAsync(request, context.RequestServices.GetRequiredService<ServingOptions>().BodyBytesMax);
                    request.Body = new MemoryStream(bytes.ToArray());
                    request.ContentLength = bytes.Length;
                    request.Headers.ContentEncoding = default;
                }

                await answer(context);
            };
        });
        return route;
    }

    private static IResult Metadata(string model, string? version, ServedModels models)
    {
        var loaded = models.Get(model, version);
        return Results.Json(
            new { name = model, versions = models.Versions(model), platform = loaded.Platform, inputs = loaded.InputTensors, outputs = loaded.OutputTensors }, JsonDefaults.Options);
    }

    private static IResult Ready(string model, string? version, ServedModels models)
    {
        models.Get(model, version);
        return Results.Ok();
    }

    private static IResult Config(string model, string? version, ServedModels models)
    {
        var loaded = models.Get(model, version);
        // With a batch size, a configuration leaves the batch out of the dimensions.
        object Tensor(ContractTensor tensor) => new { name = tensor.Name, data_type = FolderModel.ConfigType(tensor.Datatype), dims = tensor.Shape.Skip(loaded.BatchMax > 0 ? 1 : 0) };
        return Results.Json(
            new
            {
                name = model,
                platform = loaded.Platform,
                backend = loaded.BackendName,
                max_batch_size = loaded.BatchMax,
                input = loaded.InputTensors.Select(Tensor),
                output = loaded.OutputTensors.Select(Tensor),
            }, JsonDefaults.Options);
    }

    private static IResult Statistics(string? model, string? version, ServedModels models, HttpContext context) =>
        Results.Json(
            new { model_stats = CallerIdentity.Of(context.User)!.Access.Visible(ResourceKind.Model, models.Loaded(model, version), loaded => loaded.Model).Select(ServedStatistics.Of) }, JsonDefaults.Options);

    private static async Task Index(HttpContext context)
    {
        var body = await BodyAsync(context);
        var filter = CallerIdentity.Of(context.User)!.Access.Filter(ResourceKind.Model);
        var entries = context.RequestServices.GetRequiredService<ServedModels>().Index(Readable(() => ReadyOnly(body)), model => filter?.Shows(model) ?? true);
        await Results.Json(entries, JsonDefaults.Options).ExecuteAsync(context);
    }

    private static async Task Load(HttpContext context)
    {
        var body = await BodyAsync(context);
        ServedModels.RefuseOverrides(Readable(() => Parameters(body)));
        await context.RequestServices.GetRequiredService<ServedModels>().LoadAsync((string)context.Request.RouteValues["model"]!, context.RequestAborted);
    }

    private static Task Unload(HttpContext context)
    {
        context.RequestServices.GetRequiredService<ServedModels>().Unload((string)context.Request.RouteValues["model"]!);
        return Task.CompletedTask;
    }

    private static async Task<byte[]> BodyAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted);
        return body.ToArray();
    }

    // Text that is no Unicode is found when it is asked for, not when it is parsed.
    internal static T Readable<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (InvalidOperationException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The body holds a text that is not Unicode; send JSON in UTF-8.", e);
        }
    }

    // Read without a document: what nests without end is refused at its first bracket.
    private static bool ReadyOnly(byte[] body)
    {
        var ready = false;
        if (body.Length == 0)
        {
            return ready;
        }

        var reader = new Utf8JsonReader(body, new JsonReaderOptions { MaxDepth = TensorReader.NestingMax });
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isReady = reader.ValueTextEquals("ready"u8);
            reader.Read();
            if (isReady && !TensorReader.ReadFlag(ref reader, out ready))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, "Invalid value for 'ready': expected a boolean; send true for those alone that answer now.");
            }

            reader.Skip();
        }

        return ready;
    }

    private static List<string> Parameters(byte[] body)
    {
        var names = new List<string>();
        if (body.Length > 0)
        {
            using var json = JsonDocument.Parse(body);
            if (json.RootElement is { ValueKind: JsonValueKind.Object } root && root.TryGetProperty("parameters", out var parameters) && parameters.ValueKind == JsonValueKind.Object)
            {
                names.AddRange(parameters.EnumerateObject().Select(parameter => parameter.Name));
            }
        }

        return names;
    }

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
            throw new SlipwayException(ErrorCode.NotFound, $"Request for unknown model: '{Quoted.Short(model)}' is not registered; GET /api/slipway/v1/models lists those that are.");
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
