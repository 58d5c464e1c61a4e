using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tracking.Mlflow;

namespace Slipway.Tracking.Traces;

/// <summary>MLflow's assessments: feedback on traces, and what was expected of them.</summary>
internal static class AssessmentEndpoints
{
    private const string JsonFormat = "JSON_FORMAT";
    private const int RationaleMax = 65_535;

    public static void MapAssessments(RouteGroupBuilder group)
    {
        group.MapPost("/traces/{trace_id}/assessments", Create).May(Permission.Write);
        group.MapGet("/traces/{trace_id}/assessments/{assessment_id}", Get).May(Permission.Read);
        group.MapPatch("/traces/{trace_id}/assessments/{assessment_id}", Update).May(Permission.Write);
        group.MapDelete("/traces/{trace_id}/assessments/{assessment_id}", Delete).May(Permission.Write);
    }

    public static AssessmentMessage Message(AssessmentRecord record)
    {
        // MLflow's clients take texts, numbers and truth values as they are, and lists and objects of an expectation as JSON text.
        var serialized = record is { IsExpectation: true, Value.ValueKind: JsonValueKind.Array or JsonValueKind.Object };
        var value = new AssessedValueMessage(
            serialized ? null : record.Value, serialized ? new SerializedValueMessage(JsonFormat, record.Value!.Value.GetRawText()) : null,
            record.Error?.Deserialize<AssessmentErrorMessage>(MlflowJson.Options));
        return new AssessmentMessage(
            record.AssessmentId, record.Name, record.TraceId, record.SpanId, new AssessmentSourceMessage(record.SourceType, record.SourceId),
            WireTime.Instant(record.CreatedAtMs), WireTime.Instant(record.UpdatedAtMs), record.IsExpectation ? null : value, record.IsExpectation ? value : null,
            record.Rationale, null, record.Metadata.Count == 0 ? null : record.Metadata.ToDictionary(pair => pair.Key, pair => (string?)pair.Value), record.Overrides, record.Valid);
    }

    /// <summary>Checks an assessment that comes in.</summary>
    /// <param name="message">The assessment.</param>
    /// <param name="at">Its place in the request.</param>
    /// <param name="ownId">Whether it may bring an id: with its trace it may, so that stating the trace again does not double it.</param>
    public static GivenAssessment Read(AssessmentMessage? message, string at, bool ownId)
    {
        if (message is null)
        {
            throw RunLimits.Invalid($"Missing value for required parameter '{at}'.");
        }

        var name = CheckName(MlflowHttp.Required(message.AssessmentName, $"{at}.assessment_name"), $"{at}.assessment_name");
        var (isExpectation, value, error) = Value(message, at) ?? throw RunLimits.Invalid($"Missing value for required parameter '{at}': it needs a 'feedback' or an 'expectation'.");
        var sourceType = message.Source?.SourceType switch
        {
            null or "" => "SOURCE_TYPE_UNSPECIFIED",
            "SOURCE_TYPE_UNSPECIFIED" or "HUMAN" or "LLM_JUDGE" or "CODE" => message.Source.SourceType,
            "AI_JUDGE" => "LLM_JUDGE", // What earlier clients called it.
            var other => throw RunLimits.Invalid($"Invalid value '{Shorten(other)}' for parameter '{at}.source.source_type' supplied: it must be HUMAN, LLM_JUDGE or CODE."),
        };
        RunLimits.CheckLength($"'{at}.source.source_id'", message.Source?.SourceId, 250);
        TraceLimits.CheckText($"'{at}.source.source_id'", message.Source?.SourceId);
        RunLimits.CheckLength($"'{at}.span_id'", message.SpanId, 50);
        TraceLimits.CheckText($"'{at}.span_id'", message.SpanId);
        CheckRationale(message.Rationale, at);
        return new GivenAssessment(
            ownId && !string.IsNullOrEmpty(message.AssessmentId) ? TraceLimits.CheckTraceId(message.AssessmentId, $"{at}.assessment_id") : null, name, isExpectation, value, error, sourceType, message.Source?.SourceId ?? "default", message.Rationale, Metadata(message.Metadata),
            string.IsNullOrEmpty(message.SpanId) ? null : message.SpanId, string.IsNullOrEmpty(message.Overrides) ? null : message.Overrides,
            WireTime.ReadInstant(message.CreateTime, $"{at}.create_time"), WireTime.ReadInstant(message.LastUpdateTime, $"{at}.last_update_time"), message.Valid ?? true);
    }

    private static async Task<IResult> Create(HttpContext context, [Microsoft.AspNetCore.Mvc.FromRoute(Name = "trace_id")] string traceId, AssessmentStore assessments, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<AssessmentHolder>(context, cancellationToken);
        return MlflowHttp.Answer(new AssessmentHolder(Message(await assessments.CreateAsync(traceId, Read(request.Assessment, "assessment", ownId: false), cancellationToken)), null));
    }

    private static IResult Get(
        [Microsoft.AspNetCore.Mvc.FromRoute(Name = "trace_id")] string traceId, [Microsoft.AspNetCore.Mvc.FromRoute(Name = "assessment_id")] string assessmentId, AssessmentStore assessments) =>
        MlflowHttp.Answer(new AssessmentHolder(Message(assessments.Get(traceId, assessmentId)), null));

    private static async Task<IResult> Update(
        HttpContext context, [Microsoft.AspNetCore.Mvc.FromRoute(Name = "trace_id")] string traceId, [Microsoft.AspNetCore.Mvc.FromRoute(Name = "assessment_id")] string assessmentId,
        AssessmentStore assessments, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<AssessmentHolder>(context, cancellationToken);
        var message = request.Assessment ?? throw RunLimits.Invalid("Missing value for required parameter 'assessment'.");
        var change = new AssessmentChange(null, null, null, null, null, null, null);
        foreach (var path in MlflowHttp.Required(request.UpdateMask, "update_mask").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            switch (path)
            {
                case "assessment_name" or "assessmentName":
                    change = change with { Name = CheckName(MlflowHttp.Required(message.AssessmentName, "assessment.assessment_name"), "assessment.assessment_name") };
                    break;
                case "feedback" or "expectation":
                    if (Value(message, "assessment") is not var (isExpectation, value, error) || isExpectation != (path == "expectation"))
                    {
                        throw RunLimits.Invalid($"Missing value for required parameter 'assessment.{path}': 'update_mask' names it.");
                    }

                    change = change with { IsExpectation = isExpectation, Value = value, Error = error };
                    break;
                case "rationale":
                    CheckRationale(message.Rationale, "assessment");
                    change = change with { Rationale = message.Rationale ?? "" };
                    break;
                case "metadata":
                    change = change with { Metadata = Metadata(message.Metadata) };
                    break;
                case "valid":
                    change = change with { Valid = message.Valid ?? true };
                    break;
                default:
                    throw RunLimits.Invalid($"Invalid value '{Shorten(path)}' for parameter 'update_mask' supplied: what can change is assessment_name, expectation, feedback, metadata, rationale, valid.");
            }
        }

        return MlflowHttp.Answer(new AssessmentHolder(Message(await assessments.UpdateAsync(traceId, assessmentId, change, by, cancellationToken)), null));
    }

    private static async Task<IResult> Delete(
        [Microsoft.AspNetCore.Mvc.FromRoute(Name = "trace_id")] string traceId, [Microsoft.AspNetCore.Mvc.FromRoute(Name = "assessment_id")] string assessmentId,
        AssessmentStore assessments, Caller by, CancellationToken cancellationToken)
    {
        await assessments.DeleteAsync(traceId, assessmentId, by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static (bool IsExpectation, JsonElement? Value, JsonElement? Error)? Value(AssessmentMessage message, string at)
    {
        if (message is { Feedback: not null, Expectation: not null })
        {
            throw RunLimits.Invalid($"Invalid value for parameter '{at}' supplied: it has both a 'feedback' and an 'expectation'; send one.");
        }

        if (message.Expectation is { } expectation)
        {
            var value = expectation.SerializedValue is { } serialized ? Serialized(serialized, at) : expectation.Value;
            return value is null or { ValueKind: JsonValueKind.Null }
                ? throw RunLimits.Invalid($"Missing value for required parameter '{at}.expectation.value'.")
                : (true, value, null);
        }

        if (message.Feedback is not { } feedback)
        {
            return null;
        }

        var error = feedback.Error ?? message.Error;
        return feedback.Value is null or { ValueKind: JsonValueKind.Null } && error is null
            ? throw RunLimits.Invalid($"Missing value for required parameter '{at}.feedback.value': feedback needs a value or an error.")
            : (false, feedback.Value, error is null ? null : JsonSerializer.SerializeToElement(error, MlflowJson.Options));
    }

    private static JsonElement Serialized(SerializedValueMessage serialized, string at)
    {
        if (serialized.SerializationFormat is not JsonFormat)
        {
            throw RunLimits.Invalid($"Invalid value for parameter '{at}.expectation.serialized_value.serialization_format' supplied: only {JsonFormat} is supported.");
        }

        try
        {
            return JsonSerializer.Deserialize<JsonElement>(MlflowHttp.Required(serialized.Value, $"{at}.expectation.serialized_value.value"));
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Invalid value for parameter '{at}.expectation.serialized_value.value' supplied: it is not JSON.", e);
        }
    }

    private static string CheckName(string name, string at)
    {
        RunLimits.CheckLength($"'{at}'", name, 250);
        TraceLimits.CheckText($"'{at}'", name);
        return name;
    }

    private static void CheckRationale(string? rationale, string at)
    {
        RunLimits.CheckLength($"'{at}.rationale'", rationale, RationaleMax);
        TraceLimits.CheckText($"'{at}.rationale'", rationale);
    }

    private static Dictionary<string, string> Metadata(IReadOnlyDictionary<string, string?>? metadata) =>
        (metadata ?? new Dictionary<string, string?>()).Select(pair => TraceLimits.CheckPair("piece of metadata", pair.Key, pair.Value)).ToDictionary(StringComparer.Ordinal);

    private static string Shorten(string text) => text.Length <= 60 ? text : text[..60] + "…";
}
