using System.Buffers;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Serving.Deployments;

namespace Slipway.Serving.Protocol;

/// <summary>Maps the protocols of MLflow's scoring server and of TensorFlow Serving. Each request goes the way of all others.</summary>
internal static class RowsEndpoints
{
    // As many as any real answer has; a shape such as [2147483648, 0] would be an answer without an end.
    private const long EmptyListsMax = 1_000_000;

    private static readonly JsonWriterOptions Relaxed = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static void MapRows(this IEndpointRouteBuilder app)
    {
        app.MapGet("/ping", (DeploymentReports reports) => reports.IsReady ? Results.Text("\n") : Results.Text("\n", statusCode: StatusCodes.Status503ServiceUnavailable))
            .WithMetadata(new RequiredAccess(Permission.None)).WithSummary("Whether every production version answers, as MLflow's scoring server and SageMaker are asked");
        app.MapPost("/invocations", (RequestDelegate)InvokeAsync).WithMetadata(new RequiredAccess(Permission.Predict), new ErrorShape(ErrorEnvelope.Mlflow))
            .WithSummary("Score as MLflow's scoring server does; ?model= says which model when several are served");

        var tensorFlow = app.MapGroup("").WithMetadata(new ErrorShape(ErrorEnvelope.OpenInference));
        foreach (var version in (string[])["/v1/models/{model}", "/v1/models/{model}/versions/{version}", "/v1/models/{model}/labels/{version}"])
        {
            tensorFlow.MapPost(version + ":predict", (RequestDelegate)PredictAsync).WithMetadata(new RequiredAccess(Permission.Predict)).WithSummary("Score rows or columns as TensorFlow Serving does");
            tensorFlow.MapGet(version, Status).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Whether a model's versions answer, as TensorFlow Serving tells it");
        }
    }

    private static async Task InvokeAsync(HttpContext context)
    {
        var access = CallerIdentity.Of(context.User)!.Access;
        var model = context.Request.Query["model"] is [{ Length: > 0 } named] ? named : TheOnlyModel(context.RequestServices.GetRequiredService<ModelRouter>(), access);
        access.Require(Permission.Predict, Resource.Model(model));
        if (!MediaTypeHeaderValue.TryParse(context.Request.ContentType, out var type) || type.MediaType?.ToLowerInvariant() is not ("application/json" or "text/csv")
            || type.Parameters.Any(parameter => !(parameter.Name.Equals("charset", StringComparison.OrdinalIgnoreCase) && parameter.Value?.Trim('"').Equals("utf-8", StringComparison.OrdinalIgnoreCase) is true)))
        {
            await ErrorAsync(context, StatusCodes.Status415UnsupportedMediaType,
                $"The Content-Type is '{Quoted.Short(context.Request.ContentType ?? "")}'; send application/json or text/csv, with no parameter but charset=utf-8.");
            return;
        }

        var body = await BodyAsync(context);
        try
        {
            await AnswerAsync(context, model, context.Request.Query["version"],
                loaded => type.MediaType.Equals("text/csv", StringComparison.OrdinalIgnoreCase) ? new RowsReader(loaded).ReadCsv(body.Span) : new RowsReader(loaded).ReadMlflow(body),
                (json, outputs) =>
                {
                    json.WritePropertyName("predictions");
                    WriteColumns(json, outputs, squeeze: true);
                });
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.InvalidArgument)
        {
            await ErrorAsync(context, StatusCodes.Status400BadRequest, e.Message); // The scoring server has its own name for it.
        }
    }

    private static async Task PredictAsync(HttpContext context)
    {
        var body = await BodyAsync(context);
        var byRow = false;
        await AnswerAsync(context, (string)context.Request.RouteValues["model"]!, (string?)context.Request.RouteValues["version"],
            loaded =>
            {
                (var request, byRow) = new RowsReader(loaded).ReadTensorFlow(body);
                return request;
            },
            (json, outputs) =>
            {
                json.WritePropertyName(byRow ? "predictions" : "outputs");
                if (byRow)
                {
                    WriteRows(json, outputs);
                }
                else
                {
                    WriteColumns(json, outputs, squeeze: false);
                }
            });
    }

    private static IResult Status(string model, string? version, ServedModels models)
    {
        var loaded = version is null ? models.Loaded(model, null) : [models.Get(model, version)];
        return Results.Json(
            new { model_version_status = loaded.Select(one => new { version = one.Version, state = "AVAILABLE", status = new { error_code = "OK", error_message = "" } }) }, JsonDefaults.Options);
    }

    /// <summary>Reads for the version that most likely answers, scores, and writes the one JSON object.</summary>
    private static async Task AnswerAsync(
        HttpContext context, string model, string? version, Func<LoadedModel, TensorRequest> read, Action<Utf8JsonWriter, IReadOnlyList<AnswerTensor>> write)
    {
        var inference = context.RequestServices.GetRequiredService<Inference>();
        var loaded = context.RequestServices.GetRequiredService<ServedModels>().Get(model, version);
        var request = V2Endpoints.Readable(() => read(loaded));
        var named = inference.Named(model, version);
        var mine = InferScratch.Mine;
        var outcome = inference.Score(mine, model, named, RequestBody.Of(request));
        if (outcome.MustWait)
        {
            outcome = await inference.WaitAsync(mine, outcome, context.RequestAborted);
        }

        try
        {
            Answer(context, model, inference, outcome, mine, write);
        }
        finally
        {
            mine.Release();
        }
    }

    private static void Answer(HttpContext context, string model, Inference inference, Outcome outcome, InferScratch mine, Action<Utf8JsonWriter, IReadOnlyList<AnswerTensor>> write)
    {
        if (outcome.Message is { } refused && outcome.Arm is null)
        {
            if (outcome.RetryAfterSeconds > 0)
            {
                // Whoever writes the error clears the headers first.
                var seconds = outcome.RetryAfterSeconds.ToString(CultureInfo.InvariantCulture);
                context.Response.OnStarting(() =>
                {
                    context.Response.Headers.RetryAfter = seconds;
                    return Task.CompletedTask;
                });
            }

            throw new SlipwayException(
                outcome.Status switch
                {
                    StatusCodes.Status400BadRequest => ErrorCode.InvalidArgument,
                    StatusCodes.Status404NotFound => ErrorCode.NotFound,
                    StatusCodes.Status429TooManyRequests => ErrorCode.ResourceExhausted,
                    _ => ErrorCode.Unavailable,
                }, refused);
        }

        var fault = outcome.Message;
        if (fault is null)
        {
            var outputs = mine.Outputs(outcome.Arm!.Model);
            if (outputs.Select(output => output.CheckJson() ?? output.CheckLists(EmptyListsMax)).FirstOrDefault(found => found is not null) is { } uncarried)
            {
                outcome = inference.Uncarried(mine, outcome, $"{uncarried}; POST to /v2/models/{Uri.EscapeDataString(model)}/infer and ask for it as bytes.");
                fault = outcome.Message;
                if (outcome.Arm is null)
                {
                    throw new SlipwayException(ErrorCode.InvalidArgument, fault!);
                }
            }
            else
            {
                mine.Response.Clear();
                using var json = new Utf8JsonWriter(mine.Response, Relaxed);
                json.WriteStartObject();
                write(json, outputs);
                json.WriteEndObject();
            }
        }

        inference.Complete(mine, outcome);
        var response = context.Response;
        if (fault is not null)
        {
            response.StatusCode = outcome.Status;
            if (outcome.RetryAfterSeconds > 0)
            {
                response.Headers.RetryAfter = outcome.RetryAfterSeconds.ToString(CultureInfo.InvariantCulture);
            }

            WriteError(context, fault);
            return;
        }

        // A label is sent with the one, and an answer that has no place for it says who gave it by the other.
        response.Headers["X-Slipway-Prediction-Id"] = Encoding.UTF8.GetString(mine.PredictionId);
        response.Headers["X-Slipway-Model-Version"] = outcome.Arm!.Version;
        outcome.Arm.Model.Notice?.Write(response.Headers);
        response.ContentType = "application/json";
        response.ContentLength = mine.Response.Written.Length;
        response.BodyWriter.Write(mine.Response.Written);
    }

    // One output is the value itself; several are told by name.
    private static void WriteColumns(Utf8JsonWriter json, IReadOnlyList<AnswerTensor> outputs, bool squeeze)
    {
        if (outputs is [var only])
        {
            var at = 0;
            Write(json, only, squeeze && only.Shape is [.. var front, 1] && front.Length > 0 ? front : only.Shape, ref at);
            return;
        }

        json.WriteStartObject();
        foreach (var output in outputs)
        {
            var at = 0;
            json.WritePropertyName(output.Name);
            Write(json, output, output.Shape, ref at);
        }

        json.WriteEndObject();
    }

    private static void WriteRows(Utf8JsonWriter json, IReadOnlyList<AnswerTensor> outputs)
    {
        if (outputs is [var only])
        {
            var at = 0;
            Write(json, only, only.Shape, ref at);
            return;
        }

        var rows = outputs[0].Shape is [var first, ..] ? first : 0;
        if (outputs.FirstOrDefault(output => output.Shape is not [var size, ..] || size != rows) is { } odd)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Output '{odd.Name}' has the shape {TensorReader.Shown(odd.Shape)}, not a value for each of {rows} rows; send 'inputs' instead of 'instances'.");
        }

        var positions = new int[outputs.Count];
        json.WriteStartArray();
        for (var row = 0; row < rows; row++)
        {
            json.WriteStartObject();
            for (var i = 0; i < outputs.Count; i++)
            {
                json.WritePropertyName(outputs[i].Name);
                Write(json, outputs[i], outputs[i].Shape.AsSpan(1), ref positions[i]);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Write(Utf8JsonWriter json, AnswerTensor tensor, ReadOnlySpan<long> shape, ref int at)
    {
        if (shape.IsEmpty)
        {
            tensor.Write(json, ref at);
            return;
        }

        json.WriteStartArray();
        for (var i = 0L; i < shape[0]; i++)
        {
            Write(json, tensor, shape[1..], ref at);
        }

        json.WriteEndArray();
    }

    private static async Task<ReadOnlyMemory<byte>> BodyAsync(HttpContext context)
    {
        var bytesMax = context.RequestServices.GetRequiredService<ServingOptions>().BodyBytesMax;
        if (context.Request.Headers.ContentEncoding.Count > 0)
        {
            return await CompressedBody.ReadAsync(context.Request, bytesMax);
        }

        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted);
        return body.Length <= bytesMax ? body.GetBuffer().AsMemory(0, (int)body.Length) : throw new SlipwayException(ErrorCode.TooLarge, InferHandler.TooLarge(bytesMax));
    }

    // MLflow's server has one model and its path none.
    private static string TheOnlyModel(ModelRouter router, CallerAccess access)
    {
        var models = access.Visible(ResourceKind.Model, [.. router.Tables.Select(table => table.Model)], name => name);
        return models.Count == 1 ? models[0]
            : models.Count == 0 ? throw new SlipwayException(ErrorCode.NotFound, "No model is served; promote a version, and name the model: /invocations?model=<name>.")
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"{models.Count} models are served; say which one: /invocations?model={Uri.EscapeDataString(models.Order(StringComparer.Ordinal).First())}.");
    }

    private static Task ErrorAsync(HttpContext context, int status, string message)
    {
        context.Response.StatusCode = status;
        WriteError(context, message);
        return Task.CompletedTask;
    }

    private static void WriteError(HttpContext context, string message)
    {
        var into = InferScratch.Mine.Response;
        into.Clear();
        using (var json = new Utf8JsonWriter(into, Relaxed))
        {
            json.WriteStartObject();
            if (context.GetEndpoint()?.Metadata.GetMetadata<ErrorShape>()?.Envelope is ErrorEnvelope.Mlflow)
            {
                json.WriteString("error_code", context.Response.StatusCode < StatusCodes.Status500InternalServerError ? "BAD_REQUEST" : "INTERNAL_ERROR");
                json.WriteString("message", message);
            }
            else
            {
                json.WriteString("error", message);
            }

            json.WriteEndObject();
        }

        context.Response.ContentType = "application/json";
        context.Response.ContentLength = into.Written.Length;
        context.Response.BodyWriter.Write(into.Written);
    }
}
