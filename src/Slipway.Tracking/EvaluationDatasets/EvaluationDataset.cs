using System.Text.Json;
using System.Text.Json.Nodes;

namespace Slipway.Tracking.EvaluationDatasets;

/// <summary>A set of questions, with what a good answer to each is.</summary>
/// <param name="DatasetId">Such as <c>d-</c> and 32 hex digits.</param>
/// <param name="Name">Chosen by its maker; need not be unique.</param>
/// <param name="Tags">What anyone may change.</param>
/// <param name="Schema">JSON: the types of the records' fields; null without records.</param>
/// <param name="Profile">JSON: how many records there are; null without records.</param>
/// <param name="Digest">Changes with the records.</param>
/// <param name="CreatedAtMs">Unix milliseconds.</param>
/// <param name="UpdatedAtMs">Unix milliseconds.</param>
/// <param name="CreatedBy">Null when not stated.</param>
/// <param name="LastUpdatedBy">Null when not stated.</param>
/// <param name="ExperimentIds">The experiments that use it.</param>
public sealed record EvaluationDataset(
    string DatasetId, string Name, IReadOnlyDictionary<string, string> Tags, string? Schema, string? Profile, string Digest, long CreatedAtMs, long UpdatedAtMs,
    string? CreatedBy, string? LastUpdatedBy, IReadOnlyList<string> ExperimentIds);

/// <summary>One record.</summary>
/// <param name="RecordId">Such as <c>dr-</c> and 32 hex digits.</param>
/// <param name="DatasetId">Its dataset.</param>
/// <param name="Inputs">An object; a dataset has no two records with the same.</param>
/// <param name="Outputs">What was answered; null when not given.</param>
/// <param name="Expectations">An object; null when not given.</param>
/// <param name="Tags">An object; null when not given.</param>
/// <param name="Source">Where it comes from: source_type and source_data; null when not given.</param>
/// <param name="SourceId">The trace's id, when it comes from one.</param>
/// <param name="SourceType">TRACE, HUMAN, DOCUMENT or CODE; null when not given.</param>
/// <param name="CreatedAtMs">Unix milliseconds.</param>
/// <param name="UpdatedAtMs">Unix milliseconds.</param>
/// <param name="CreatedBy">Null when not stated.</param>
/// <param name="LastUpdatedBy">Null when not stated.</param>
public sealed record EvaluationRecord(
    string RecordId, string DatasetId, JsonElement Inputs, JsonElement? Outputs, JsonElement? Expectations, JsonElement? Tags, JsonElement? Source, string? SourceId,
    string? SourceType, long CreatedAtMs, long UpdatedAtMs, string? CreatedBy, string? LastUpdatedBy);

/// <summary>A search for evaluation datasets.</summary>
/// <param name="ExperimentIds">Only those that one of these uses; none for all.</param>
/// <param name="Filter">Over name, created_by, last_updated_by, created_time, last_update_time and tags; null for all.</param>
/// <param name="OrderBy">Null for newest first.</param>
/// <param name="MaxResults">1 to 1000.</param>
/// <param name="PageToken">From the page before; null for the first.</param>
public sealed record EvaluationDatasetSearch(
    IReadOnlyList<string> ExperimentIds, string? Filter = null, IReadOnlyList<string>? OrderBy = null, int MaxResults = 50, string? PageToken = null);

/// <summary>A record on its way in.</summary>
internal sealed record GivenRecord(JsonObject Inputs, JsonNode? Outputs, JsonObject? Expectations, JsonObject? Tags, JsonObject? Source, string? SourceId, string? SourceType, string? By);
