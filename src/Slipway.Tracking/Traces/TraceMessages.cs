using System.Text.Json;
using Slipway.Contracts.Tracking;

namespace Slipway.Tracking.Traces;

internal sealed record ExperimentLocationMessage(string? ExperimentId);

/// <summary>Where a trace is; only experiments are places here.</summary>
internal sealed record TraceLocationMessage(string? Type, ExperimentLocationMessage? MlflowExperiment);

internal sealed record TraceInfoMessage(
    string? TraceId, string? ClientRequestId, TraceLocationMessage? TraceLocation, string? Request, string? Response, string? RequestPreview, string? ResponsePreview,
    string? RequestTime, string? ExecutionDuration, string? State, IReadOnlyDictionary<string, string?>? TraceMetadata, IReadOnlyDictionary<string, string?>? Tags,
    IReadOnlyList<AssessmentMessage?>? Assessments);

internal sealed record TraceMessage(TraceInfoMessage? TraceInfo);

internal sealed record TraceHolder(TraceMessage? Trace);

internal sealed record SearchTracesV3Request(
    IReadOnlyList<TraceLocationMessage?>? Locations, string? Filter, int? MaxResults, IReadOnlyList<string?>? OrderBy, string? PageToken);

internal sealed record SearchTracesV3Response(IReadOnlyList<TraceInfoMessage>? Traces, string? NextPageToken);

internal sealed record DeleteTracesRequest(string? ExperimentId, long? MaxTimestampMillis, int? MaxTraces, IReadOnlyList<string?>? RequestIds);

internal sealed record DeleteTracesResponse(int TracesDeleted);

internal sealed record TraceTagRequest(string? Key, string? Value);

internal sealed record LinkTracesRequest(IReadOnlyList<string?>? TraceIds, string? RunId);

internal sealed record CorrelationRequest(IReadOnlyList<string?>? ExperimentIds, string? FilterString1, string? FilterString2, string? BaseFilter);

internal sealed record CorrelationResponse(double Npmi, double NpmiSmoothed, long Filter1Count, long Filter2Count, long JointCount, long TotalCount);

/// <summary>A trace as 2.x spoke of it.</summary>
internal sealed record TraceInfoV2Message(
    string RequestId, string ExperimentId, long TimestampMs, long? ExecutionTimeMs, string Status, IReadOnlyList<MlflowTag>? RequestMetadata, IReadOnlyList<MlflowTag>? Tags);

internal sealed record TraceInfoV2Holder(TraceInfoV2Message TraceInfo);

internal sealed record StartTraceV2Request(string? ExperimentId, long? TimestampMs, IReadOnlyList<MlflowTag?>? RequestMetadata, IReadOnlyList<MlflowTag?>? Tags);

internal sealed record EndTraceV2Request(long? TimestampMs, string? Status, IReadOnlyList<MlflowTag?>? RequestMetadata, IReadOnlyList<MlflowTag?>? Tags);

internal sealed record SearchTracesV2Response(IReadOnlyList<TraceInfoV2Message>? Traces, string? NextPageToken);

internal sealed record AssessmentSourceMessage(string? SourceType, string? SourceId);

internal sealed record SerializedValueMessage(string? SerializationFormat, string? Value);

/// <summary>Feedback or an expectation. JSON's null is a value of feedback, so the presence of the object says which it is.</summary>
internal sealed record AssessedValueMessage(JsonElement? Value, SerializedValueMessage? SerializedValue, AssessmentErrorMessage? Error);

internal sealed record AssessmentErrorMessage(string? ErrorCode, string? ErrorMessage, string? StackTrace);

internal sealed record AssessmentMessage(
    string? AssessmentId, string? AssessmentName, string? TraceId, string? SpanId, AssessmentSourceMessage? Source, string? CreateTime, string? LastUpdateTime,
    AssessedValueMessage? Feedback, AssessedValueMessage? Expectation, string? Rationale, AssessmentErrorMessage? Error, IReadOnlyDictionary<string, string?>? Metadata,
    string? Overrides, bool? Valid);

internal sealed record AssessmentHolder(AssessmentMessage? Assessment, string? UpdateMask);
