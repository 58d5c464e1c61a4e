using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Tracking.Traces;

/// <summary>An assessment as it is given; one that brings its own id may be given again.</summary>
internal sealed record GivenAssessment(
    string? AssessmentId, string Name, bool IsExpectation, JsonElement? Value, JsonElement? Error, string SourceType, string SourceId, string? Rationale, IReadOnlyDictionary<string, string> Metadata,
    string? SpanId, string? Overrides, long? CreatedAtMs, long? UpdatedAtMs, bool Valid);

/// <summary>What of an assessment changes; null leaves it as it is.</summary>
internal sealed record AssessmentChange(
    string? Name, bool? IsExpectation, JsonElement? Value, JsonElement? Error, string? Rationale, IReadOnlyDictionary<string, string>? Metadata, bool? Valid);

/// <summary>Owns <c>assessments</c>.</summary>
public sealed class AssessmentStore(Database database)
{
    /// <summary>What audit rows call an assessment.</summary>
    public const string NodeKind = "assessment";

    private const string Columns =
        """
        a.assessment_id AS AssessmentId, t.trace_id AS TraceId, a.trace AS Trace, a.name AS Name, a.kind AS Kind, a.value_json AS ValueJson, a.error_json AS ErrorJson,
        a.source_type AS SourceType, a.source_id AS SourceId, a.rationale AS Rationale, a.metadata_json AS MetadataJson, a.span_id AS SpanId, a.overrides AS Overrides,
        a.is_valid AS IsValid, a.created_at_ms AS CreatedAtMs, a.updated_at_ms AS UpdatedAtMs
        """;

    /// <summary>The assessment.</summary>
    /// <exception cref="SlipwayException">NotFound: the trace has no such assessment.</exception>
    public AssessmentRecord Get(string traceId, string assessmentId) => database.Read(connection => Row(connection, traceId, assessmentId).ToRecord());

    /// <summary>Adds an assessment. One that overrides another makes that one invalid.</summary>
    internal Task<AssessmentRecord> CreateAsync(string traceId, GivenAssessment given, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction => Insert(transaction, TraceStore.Number(transaction.Connection, traceId), traceId, given), cancellationToken);

    /// <summary>Changes an assessment.</summary>
    internal Task<AssessmentRecord> UpdateAsync(string traceId, string assessmentId, AssessmentChange change, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var row = Row(transaction.Connection, traceId, assessmentId);
            var old = row.ToRecord();
            if (change.IsExpectation is { } expectation && expectation != old.IsExpectation)
            {
                throw RunLimits.Invalid(expectation
                    ? $"Cannot update expectation value on feedback assessment '{assessmentId}'."
                    : $"Cannot update feedback value on expectation assessment '{assessmentId}'.");
            }

            var metadata = new Dictionary<string, string>(old.Metadata, StringComparer.Ordinal);
            foreach (var (key, value) in change.Metadata ?? new Dictionary<string, string>())
            {
                metadata[key] = value;
            }

            var changed = old with
            {
                Name = change.Name ?? old.Name,
                Value = change.IsExpectation is null ? old.Value : change.Value,
                Error = change.IsExpectation is null ? old.Error : change.Error,
                Rationale = change.Rationale ?? old.Rationale,
                Metadata = metadata,
                Valid = change.Valid ?? old.Valid,
                UpdatedAtMs = transaction.NowMs,
            };
            var (text, number) = Searchable(changed.Value);
            transaction.Connection.Execute(
                """
                UPDATE assessments SET name = @Name, value_json = @value, value = @text, number = @number, error_json = @error, rationale = @Rationale, metadata_json = @metadata,
                       is_valid = @valid, updated_at_ms = @UpdatedAtMs WHERE assessment_id = @AssessmentId
                """,
                new
                {
                    changed.AssessmentId,
                    changed.Name,
                    value = changed.Value?.GetRawText(),
                    text,
                    number,
                    error = changed.Error?.GetRawText(),
                    changed.Rationale,
                    metadata = JsonSerializer.Serialize(metadata),
                    valid = changed.Valid ? 1 : 0,
                    changed.UpdatedAtMs,
                });
            transaction.Audit(by, "assessment.changed", new NodeRef(NodeKind, assessmentId), before: Audited(old), after: Audited(changed));
            return changed;
        }, cancellationToken);

    /// <summary>Removes an assessment; the one it replaced holds again. Removing one that is not there changes nothing, as in MLflow.</summary>
    /// <exception cref="SlipwayException">NotFound: the trace.</exception>
    public Task DeleteAsync(string traceId, string assessmentId, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var trace = TraceStore.Number(transaction.Connection, traceId);
            var (name, overridden) = transaction.Connection.QueryFirstOrDefault<(string? Name, string? Overrides)>(
                "DELETE FROM assessments WHERE trace = @trace AND assessment_id = @assessmentId RETURNING name, overrides", new { trace, assessmentId });
            if (name is null)
            {
                return;
            }

            transaction.Audit(by, "assessment.deleted", new NodeRef(NodeKind, assessmentId), before: new { trace = traceId, name });
            if (overridden is not null)
            {
                transaction.Connection.Execute("UPDATE assessments SET is_valid = 1 WHERE trace = @trace AND assessment_id = @overridden", new { trace, overridden });
            }
        }, cancellationToken);

    private static object Audited(AssessmentRecord of) => new { trace = of.TraceId, of.Name, of.Value, of.Error, of.Rationale, of.Valid };

    internal static AssessmentRecord Insert(WriteTransaction transaction, long trace, string traceId, GivenAssessment given)
    {
        var connection = transaction.Connection;
        if (given.Overrides is { } overridden
            && connection.Execute("UPDATE assessments SET is_valid = 0 WHERE trace = @trace AND assessment_id = @overridden", new { trace, overridden }) == 0)
        {
            throw NoAssessment(traceId, overridden);
        }

        var record = new AssessmentRecord(
            given.AssessmentId ?? "a-" + Guid.NewGuid().ToString("N"), traceId, given.Name, given.IsExpectation, given.Value, given.Error, given.SourceType, given.SourceId, given.Rationale,
            given.Metadata, given.SpanId, given.Overrides, given.Valid, given.CreatedAtMs ?? transaction.NowMs, given.UpdatedAtMs ?? transaction.NowMs);
        var (text, number) = Searchable(given.Value);
        connection.Execute(
            """
            INSERT INTO assessments (assessment_id, trace, name, kind, value_json, value, number, error_json, source_type, source_id, rationale, metadata_json, span_id,
                   overrides, is_valid, created_at_ms, updated_at_ms)
            VALUES (@AssessmentId, @trace, @Name, @kind, @value, @text, @number, @error, @SourceType, @SourceId, @Rationale, @metadata, @SpanId,
                   @Overrides, @valid, @CreatedAtMs, @UpdatedAtMs)
            ON CONFLICT (assessment_id) DO NOTHING
            """,
            new
            {
                record.AssessmentId,
                trace,
                record.Name,
                kind = given.IsExpectation ? "expectation" : "feedback",
                value = given.Value?.GetRawText(),
                text,
                number,
                error = given.Error?.GetRawText(),
                record.SourceType,
                record.SourceId,
                record.Rationale,
                metadata = JsonSerializer.Serialize(given.Metadata),
                record.SpanId,
                record.Overrides,
                valid = given.Valid ? 1 : 0,
                record.CreatedAtMs,
                record.UpdatedAtMs,
            });
        return record;
    }

    /// <summary>Those of several traces, oldest first.</summary>
    internal ILookup<long, AssessmentRecord> Load(DbConnection connection, IReadOnlyList<long> traces) =>
        connection.Query<AssessmentRow>(
                $"SELECT {Columns} FROM assessments a JOIN traces t ON t.id = a.trace WHERE a.trace {database.Dialect.InNumbers("@ids")} ORDER BY a.id",
                new { ids = $"[{string.Join(',', traces)}]" })
            .ToLookup(row => row.Trace, row => row.ToRecord());

    private static (string? Text, double? Number) Searchable(JsonElement? value)
    {
        if (value is not { ValueKind: not JsonValueKind.Null } json)
        {
            return (null, null);
        }

        var (text, number) = SpanConventions.Text(json.GetRawText());
        return (RunLimits.Truncate(text, TraceLimits.AttributeValueMax), number);
    }

    private static AssessmentRow Row(DbConnection connection, string traceId, string assessmentId)
    {
        var trace = TraceStore.Number(connection, traceId);
        return connection.QueryFirstOrDefault<AssessmentRow>(
            $"SELECT {Columns} FROM assessments a JOIN traces t ON t.id = a.trace WHERE a.trace = @trace AND a.assessment_id = @assessmentId", new { trace, assessmentId })
            ?? throw NoAssessment(traceId, assessmentId);
    }

    private static SlipwayException NoAssessment(string traceId, string assessmentId) =>
        new(ErrorCode.NotFound, $"Assessment with ID '{assessmentId}' not found for trace '{traceId}'.");

    private sealed class AssessmentRow
    {
        public string AssessmentId { get; init; } = "";

        public string TraceId { get; init; } = "";

        public long Trace { get; init; }

        public string Name { get; init; } = "";

        public string Kind { get; init; } = "";

        public string? ValueJson { get; init; }

        public string? ErrorJson { get; init; }

        public string SourceType { get; init; } = "";

        public string SourceId { get; init; } = "";

        public string? Rationale { get; init; }

        public string MetadataJson { get; init; } = "";

        public string? SpanId { get; init; }

        public string? Overrides { get; init; }

        public long IsValid { get; init; }

        public long CreatedAtMs { get; init; }

        public long UpdatedAtMs { get; init; }

        public AssessmentRecord ToRecord() => new(
            AssessmentId, TraceId, Name, Kind == "expectation", Json(ValueJson), Json(ErrorJson), SourceType, SourceId, Rationale,
            JsonSerializer.Deserialize<Dictionary<string, string>>(MetadataJson)!, SpanId, Overrides, IsValid != 0, CreatedAtMs, UpdatedAtMs);

        private static JsonElement? Json(string? text) => text is null ? null : JsonSerializer.Deserialize<JsonElement>(text);
    }
}
