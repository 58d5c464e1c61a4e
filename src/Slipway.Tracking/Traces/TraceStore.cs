using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Storage;
using Slipway.Tracking.Search;

namespace Slipway.Tracking.Traces;

/// <summary>Owns traces, their tags, metadata and spans, and their links to runs.</summary>
public sealed class TraceStore(Database database, AssessmentStore assessments)
{
    /// <summary>Kind of a trace in the audit trail.</summary>
    public const string NodeKind = "trace";

    private const int DeletedPerWrite = 500;

    /// <summary>The trace without its spans; null when there is none.</summary>
    public TraceRecord? Find(string traceId) => database.Read(connection => Load(connection, [traceId])).SingleOrDefault();

    /// <summary>The trace without its spans.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public TraceRecord Get(string traceId) => Find(traceId) ?? throw TraceLimits.NoTrace(traceId);

    /// <summary>The traces with their spans, in the order asked for; unknown ids are left out.</summary>
    public IReadOnlyList<TraceWithSpans> GetWithSpans(IReadOnlyList<string> traceIds) => database.Read(connection =>
        Load(connection, traceIds).ConvertAll(info => new TraceWithSpans(info, Spans(connection, info.TraceId))));

    /// <summary>One page of a search.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the filter, order or token.</exception>
    public Page<TraceRecord> Search(TraceSearch search)
    {
        TraceLimits.CheckMaxResults(search.MaxResults, TraceLimits.SearchResultsMax);
        var sql = new TraceSql(database.Dialect);
        sql.AddExperiments(search.ExperimentIds);
        sql.AddFilter(TraceFilter.Parse(search.Filter));
        var terms = (search.OrderBy ?? []).Select(TraceFilter.ParseOrder).ToList();
        RunLimits.CheckCount("order_by terms", terms.Count, 20);
        var keyset = sql.Order(terms);
        var fingerprint = $"traces\n{string.Join(',', search.ExperimentIds)}\n{search.Filter}\n{string.Join('\n', search.OrderBy ?? [])}";
        if (!string.IsNullOrEmpty(search.PageToken))
        {
            keyset.After(PageToken.Decode(search.PageToken, fingerprint, keyset.Count), sql.Parts);
        }

        return database.Read(connection =>
        {
            sql.Prepare(connection);
            var text = $"SELECT t.id AS id, {keyset.Columns} FROM traces t {string.Join(' ', sql.Parts.Joins)} {sql.Parts.Where} {keyset.OrderBy} LIMIT {sql.Parts.Parameter(search.MaxResults + 1)}";
            var (ids, next) = PageReader.Read(connection, text, sql.Parts, search.MaxResults, fingerprint);
            return new Page<TraceRecord>(Load(connection, ids), next);
        });
    }

    /// <summary>How strongly two filters meet on the same traces.</summary>
    /// <param name="experimentIds">Only traces of these.</param>
    /// <param name="filter1">The first.</param>
    /// <param name="filter2">The second.</param>
    /// <param name="baseFilter">Only traces that meet this one too; null for all.</param>
    /// <exception cref="SlipwayException">InvalidArgument: a filter.</exception>
    public FilterCorrelation Correlate(IReadOnlyList<string> experimentIds, string filter1, string filter2, string? baseFilter)
    {
        var (all, first, second) = (TraceFilter.Parse(baseFilter), TraceFilter.Parse(filter1), TraceFilter.Parse(filter2));
        return database.Read(connection =>
        {
            long Count(params ReadOnlySpan<IReadOnlyList<TraceClause>> filters)
            {
                var sql = new TraceSql(database.Dialect);
                sql.AddExperiments(experimentIds);
                foreach (var filter in filters)
                {
                    sql.AddFilter(filter);
                }

                sql.Prepare(connection);
                return connection.ExecuteScalar<long>($"SELECT count(*) FROM traces t {sql.Parts.Where}", sql.Parts.Parameters);
            }

            return FilterCorrelation.Of(Count(all, first, second), Count(all, first), Count(all, second), Count(all));
        });
    }

    /// <summary>Sets one tag; a value over 8000 characters is cut.</summary>
    /// <exception cref="SlipwayException">NotFound: the trace; InvalidArgument: the key.</exception>
    public Task SetTagAsync(string traceId, string key, string value, CancellationToken cancellationToken)
    {
        var tag = TraceLimits.CheckPair("tag", key, value);
        return database.WriteAsync(transaction => WritePairs(transaction.Connection, "trace_tags", Number(transaction.Connection, traceId), [tag]), cancellationToken);
    }

    /// <summary>Removes one tag.</summary>
    /// <exception cref="SlipwayException">NotFound: the trace, or it has no such tag.</exception>
    public Task DeleteTagAsync(string traceId, string key, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var trace = Number(transaction.Connection, traceId);
            var before = transaction.Connection.ExecuteScalar<string>("DELETE FROM trace_tags WHERE trace = @trace AND key = @key RETURNING value", new { trace, key })
                ?? throw new SlipwayException(ErrorCode.NotFound, $"No trace tag with key '{key}' for trace with ID '{traceId}'.");
            transaction.Audit(by, "trace.tag_deleted", new NodeRef(NodeKind, traceId), before: new { key, value = before });
        }, cancellationToken);

    /// <summary>Links traces to a run; linking again changes nothing. The spans of a trace may still be on their way.</summary>
    /// <exception cref="SlipwayException">NotFound: the run; InvalidArgument: more than 100 traces.</exception>
    public Task LinkToRunAsync(string runId, IReadOnlyList<string> traceIds, CancellationToken cancellationToken)
    {
        if (traceIds.Count > TraceLimits.LinksMax)
        {
            throw RunLimits.Invalid($"Cannot link more than {TraceLimits.LinksMax} traces to a run in a single request. Provided {traceIds.Count} traces.");
        }

        foreach (var traceId in traceIds)
        {
            TraceLimits.CheckTraceId(traceId, "trace_ids");
        }

        return database.WriteAsync(transaction =>
        {
            if (transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM runs WHERE run_id = @runId", new { runId }) == 0)
            {
                throw RunStore.NoRun(runId);
            }

            foreach (var traceId in traceIds)
            {
                transaction.Connection.Execute("INSERT INTO trace_runs (run_id, trace_id) VALUES (@runId, @traceId) ON CONFLICT DO NOTHING", new { runId, traceId });
            }
        }, cancellationToken);
    }

    /// <summary>Deletes traces of an experiment with all that hangs on them.</summary>
    /// <param name="experimentId">Only traces of this one.</param>
    /// <param name="maxTimestampMs">Those that started until then, oldest first; null to go by ids.</param>
    /// <param name="maxTraces">At most so many, going by time; null for all.</param>
    /// <param name="traceIds">These; null to go by time.</param>
    /// <param name="by">Who asks.</param>
    /// <param name="cancellationToken">Stops between two groups of traces; each is deleted whole.</param>
    /// <returns>How many were there and are deleted.</returns>
    /// <exception cref="SlipwayException">NotFound: the experiment; InvalidArgument: both ways or neither.</exception>
    public async Task<int> DeleteAsync(
        string experimentId, long? maxTimestampMs, int? maxTraces, IReadOnlyList<string>? traceIds, Caller by, CancellationToken cancellationToken)
    {
        if (maxTimestampMs is null == traceIds is null)
        {
            throw RunLimits.Invalid("Either 'max_timestamp_millis' or 'request_ids' must be given, and not both.");
        }

        if (traceIds is not null && maxTraces is not null)
        {
            throw RunLimits.Invalid("'max_traces' goes with 'max_timestamp_millis' only, not with 'request_ids'.");
        }

        if (maxTraces < 1)
        {
            throw RunLimits.Invalid($"Invalid value {maxTraces} for parameter 'max_traces' supplied: it must be a positive integer.");
        }

        if (!ExperimentStore.TryId(experimentId, out var experiment)
            || database.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM experiments WHERE id = @experiment", new { experiment })) == 0)
        {
            throw ExperimentStore.NoExperiment(experimentId);
        }

        var deleted = 0;
        foreach (var chunk in traceIds?.Distinct(StringComparer.Ordinal).Chunk(DeletedPerWrite) ?? Enumerable.Repeat<string[]>([], int.MaxValue))
        {
            // In groups, so that clearing a year of traces does not hold up every other writer.
            var limit = Math.Min(DeletedPerWrite, (maxTraces ?? int.MaxValue) - deleted);
            var count = limit == 0 ? 0 : await database.WriteAsync(
                transaction => DeleteGroup(transaction, experiment, traceIds is null ? maxTimestampMs : null, chunk, limit, by), cancellationToken);
            deleted += count;
            if (traceIds is null && count < DeletedPerWrite)
            {
                break;
            }
        }

        return deleted;
    }

    /// <summary>Takes a trace as its client states it; stating it again replaces what was stated.</summary>
    internal async Task<TraceRecord> StateAsync(StatedTrace stated, IReadOnlyList<GivenAssessment> given, CancellationToken cancellationToken)
    {
        await database.WriteAsync(transaction =>
        {
            var connection = transaction.Connection;
            var experiment = ExperimentStore.DemandActive(connection, stated.ExperimentId);
            DemandSameExperiment(connection, stated.TraceId, experiment);
            var trace = connection.ExecuteScalar<long>(
                """
                INSERT INTO traces (trace_id, experiment_id, at_ms, duration_ms, state, client_request_id, request_preview, response_preview, is_stated)
                VALUES (@TraceId, @experiment, @at, @DurationMs, @State, @ClientRequestId, @RequestPreview, @ResponsePreview, 1)
                ON CONFLICT (trace_id) DO UPDATE SET at_ms = excluded.at_ms, duration_ms = excluded.duration_ms, state = excluded.state,
                       client_request_id = COALESCE(excluded.client_request_id, traces.client_request_id),
                       request_preview = COALESCE(excluded.request_preview, traces.request_preview),
                       response_preview = COALESCE(excluded.response_preview, traces.response_preview), is_stated = 1
                RETURNING id
                """,
                new
                {
                    stated.TraceId,
                    experiment,
                    at = stated.RequestTimeMs ?? transaction.NowMs,
                    stated.DurationMs,
                    stated.State,
                    stated.ClientRequestId,
                    stated.RequestPreview,
                    stated.ResponsePreview,
                });
            WritePairs(connection, "trace_metadata", trace, stated.Metadata);
            WritePairs(connection, "trace_tags", trace, stated.Tags);
            WritePairs(connection, "trace_tags", trace, [new(TraceKeys.ArtifactLocationTag, ArtifactLocation(stated.ExperimentId, stated.TraceId))]);
            foreach (var assessment in given)
            {
                AssessmentStore.Insert(transaction, trace, stated.TraceId, assessment);
            }
        }, cancellationToken);
        return Get(stated.TraceId);
    }

    /// <summary>Ends a trace that was begun (v2).</summary>
    internal async Task<TraceRecord> EndAsync(
        string traceId, long endMs, string state, IReadOnlyList<KeyValuePair<string, string>> metadata, IReadOnlyList<KeyValuePair<string, string>> tags, CancellationToken cancellationToken)
    {
        await database.WriteAsync(transaction =>
        {
            var trace = Number(transaction.Connection, traceId);
            transaction.Connection.Execute(
                """
                UPDATE traces SET duration_ms = CASE WHEN @endMs > at_ms THEN @endMs - at_ms ELSE 0 END, state = @state, is_stated = 1 WHERE id = @trace
                """,
                new { trace, endMs, state });
            WritePairs(transaction.Connection, "trace_metadata", trace, metadata);
            WritePairs(transaction.Connection, "trace_tags", trace, tags);
        }, cancellationToken);
        return Get(traceId);
    }

    /// <summary>Takes spans of any number of traces in any order; makes the traces that are not there.</summary>
    internal Task LogSpansAsync(string experimentId, IReadOnlyList<Span> spans, CancellationToken cancellationToken)
    {
        var traces = spans.GroupBy(span => "tr-" + span.TraceKey, StringComparer.Ordinal)
            .Select(group => (TraceId: group.Key, Spans: group.ToList(), Contents: group.Select(SpanJson.Write).ToList())).ToList();
        return database.WriteAsync(transaction =>
        {
            var connection = transaction.Connection;
            var experiment = ExperimentStore.DemandActive(connection, experimentId);
            foreach (var (traceId, ofTrace, contents) in traces)
            {
                DemandSameExperiment(connection, traceId, experiment);
                var start = ofTrace.Min(span => span.StartNs) / 1_000_000;
                var end = ofTrace.Max(span => span.EndNs) / 1_000_000;
                var root = ofTrace.Where(span => span.ParentSpanId is null).MinBy(span => span.StartNs);
                var state = root is null or { EndNs: null } ? "IN_PROGRESS" : root.Status is "ERROR" ? "ERROR" : "OK";
                var trace = connection.ExecuteScalar<long>(
                    """
                    INSERT INTO traces (trace_id, experiment_id, at_ms, duration_ms, state, request_preview, response_preview, is_stated)
                    VALUES (@traceId, @experiment, @start, @end - @start, @state, @request, @response, 0)
                    ON CONFLICT (trace_id) DO UPDATE SET
                           at_ms = CASE WHEN traces.is_stated = 1 OR traces.at_ms <= @start THEN traces.at_ms ELSE @start END,
                           duration_ms = CASE WHEN traces.is_stated = 1 THEN traces.duration_ms
                               ELSE CASE WHEN traces.duration_ms IS NULL OR @end > traces.at_ms + traces.duration_ms THEN @end ELSE traces.at_ms + traces.duration_ms END
                                    - CASE WHEN traces.at_ms <= @start THEN traces.at_ms ELSE @start END END,
                           state = CASE WHEN traces.is_stated = 1 OR excluded.state = 'IN_PROGRESS' THEN traces.state ELSE excluded.state END,
                           request_preview = COALESCE(traces.request_preview, excluded.request_preview),
                           response_preview = COALESCE(traces.response_preview, excluded.response_preview)
                    RETURNING id
                    """,
                    new
                    {
                        traceId,
                        experiment,
                        start,
                        end = end ?? start,
                        state,
                        request = root is null ? null : SpanConventions.InputPreview(root),
                        response = root is null ? null : SpanConventions.OutputPreview(root),
                    });
                AddPairs(connection, "trace_metadata", trace, [new(TraceKeys.SchemaVersionMetadata, "3")]);
                AddPairs(connection, "trace_tags", trace, [new(TraceKeys.ArtifactLocationTag, ArtifactLocation(experimentId, traceId))]);
                if (root is not null)
                {
                    AddPairs(connection, "trace_tags", trace, [new(TraceKeys.NameTag, RunLimits.Truncate(root.Name, TraceLimits.TagValueMax))]);
                }

                WriteSpans(connection, trace, ofTrace, contents);
            }
        }, cancellationToken);
    }

    /// <summary>Takes the spans of one trace that is there already, as an uploaded <c>traces.json</c> holds them.</summary>
    /// <exception cref="SlipwayException">NotFound: the experiment has no such trace.</exception>
    internal Task UploadSpansAsync(string experimentId, string traceId, IReadOnlyList<Span> spans, CancellationToken cancellationToken)
    {
        var contents = spans.Select(SpanJson.Write).ToList();
        return database.WriteAsync(transaction =>
        {
            var trace = NumberIn(transaction.Connection, experimentId, traceId);
            WriteSpans(transaction.Connection, trace, spans, contents);
        }, cancellationToken);
    }

    /// <summary>The spans of one trace, by start.</summary>
    /// <exception cref="SlipwayException">NotFound: the experiment, when one is named, has no such trace.</exception>
    internal IReadOnlyList<JsonElement> Spans(string? experimentId, string traceId) => database.Read(connection =>
    {
        _ = experimentId is null ? Number(connection, traceId) : NumberIn(connection, experimentId, traceId);
        return Spans(connection, traceId);
    });

    internal static long Number(DbConnection connection, string traceId) =>
        connection.QueryFirstOrDefault<long?>("SELECT id FROM traces WHERE trace_id = @traceId", new { traceId }) ?? throw TraceLimits.NoTrace(traceId);

    private static long NumberIn(DbConnection connection, string experimentId, string traceId) =>
        (ExperimentStore.TryId(experimentId, out var experiment)
            ? connection.QueryFirstOrDefault<long?>("SELECT id FROM traces WHERE trace_id = @traceId AND experiment_id = @experiment", new { traceId, experiment })
            : null) ?? throw TraceLimits.NoTrace(traceId);

    private static string ArtifactLocation(string experimentId, string traceId) => $"mlflow-artifacts:/{experimentId}/traces/{traceId}/artifacts";

    // A trace's id is its sender's choice; it must not serve to write into somebody else's experiment.
    private static void DemandSameExperiment(DbConnection connection, string traceId, long experiment)
    {
        if (connection.QueryFirstOrDefault<long?>("SELECT experiment_id FROM traces WHERE trace_id = @traceId", new { traceId }) is { } other && other != experiment)
        {
            throw RunLimits.Invalid($"Trace '{traceId}' belongs to experiment {other}, not to {experiment}; send its spans there.");
        }
    }

    private static void WriteSpans(DbConnection connection, long trace, IReadOnlyList<Span> spans, List<string> contents)
    {
        if (spans.Count == 0)
        {
            return;
        }

        using var writer = new SpanWriter(connection);
        for (var i = 0; i < spans.Count; i++)
        {
            writer.Write(trace, spans[i], contents[i]);
        }

        AddPairs(connection, "trace_tags", trace, [new(TraceKeys.SpansLocationTag, TraceKeys.SpansInStore)]);
    }

    private static void WritePairs(DbConnection connection, string table, long trace, IEnumerable<KeyValuePair<string, string>> pairs)
    {
        foreach (var (key, value) in pairs)
        {
            connection.Execute(
                $"INSERT INTO {table} (trace, key, value) VALUES (@trace, @key, @value) ON CONFLICT (trace, key) DO UPDATE SET value = excluded.value", new { trace, key, value });
        }
    }

    private static void AddPairs(DbConnection connection, string table, long trace, IEnumerable<KeyValuePair<string, string>> pairs)
    {
        foreach (var (key, value) in pairs)
        {
            connection.Execute($"INSERT INTO {table} (trace, key, value) VALUES (@trace, @key, @value) ON CONFLICT DO NOTHING", new { trace, key, value });
        }
    }

    private int DeleteGroup(WriteTransaction transaction, long experiment, long? maxTimestampMs, string[] traceIds, int limit, Caller by)
    {
        var connection = transaction.Connection;
        var rows = (maxTimestampMs is { } max
            ? connection.Query<(long Id, string TraceId)>(
                "SELECT id, trace_id FROM traces WHERE experiment_id = @experiment AND at_ms <= @max ORDER BY at_ms, trace_id LIMIT @limit", new { experiment, max, limit })
            : connection.Query<(long Id, string TraceId)>(
                $"SELECT id, trace_id FROM traces WHERE experiment_id = @experiment AND trace_id {database.Dialect.InTexts("@ids")}",
                new { experiment, ids = JsonSerializer.Serialize(traceIds) })).AsList();
        if (rows.Count == 0)
        {
            return 0;
        }

        var ids = new { ids = $"[{string.Join(',', rows.Select(row => row.Id))}]" };
        foreach (var table in (string[])["span_attributes", "spans", "assessments", "trace_tags", "trace_metadata"])
        {
            connection.Execute($"DELETE FROM {table} WHERE trace {database.Dialect.InNumbers("@ids")}", ids);
        }

        connection.Execute($"DELETE FROM trace_runs WHERE trace_id {database.Dialect.InTexts("@ids")}", new { ids = JsonSerializer.Serialize(rows.Select(row => row.TraceId)) });
        connection.Execute($"DELETE FROM traces WHERE id {database.Dialect.InNumbers("@ids")}", ids);
        transaction.Audit(by, "traces.deleted", new NodeRef(ExperimentStore.NodeKind, ExperimentStore.Text(experiment)), before: new { traces = rows.Select(row => row.TraceId) });
        return rows.Count;
    }

    private List<TraceRecord> Load(DbConnection connection, IReadOnlyList<string> traceIds)
    {
        var numbers = connection.Query<(string TraceId, long Id)>(
                $"SELECT trace_id, id FROM traces WHERE trace_id {database.Dialect.InTexts("@ids")}", new { ids = JsonSerializer.Serialize(traceIds) })
            .ToDictionary(row => row.TraceId, row => row.Id, StringComparer.Ordinal);
        return Load(connection, [.. traceIds.Distinct(StringComparer.Ordinal).Where(numbers.ContainsKey).Select(id => numbers[id])]);
    }

    // The order of the ids is kept.
    private List<TraceRecord> Load(DbConnection connection, List<long> traces)
    {
        if (traces.Count == 0)
        {
            return [];
        }

        var ids = new { ids = $"[{string.Join(',', traces)}]" };
        var chosen = database.Dialect.InNumbers("@ids");
        var rows = connection.Query<TraceRow>(
            $"""
            SELECT id AS Id, trace_id AS TraceId, experiment_id AS Experiment, at_ms AS AtMs, duration_ms AS DurationMs, state AS State,
                   client_request_id AS ClientRequestId, request_preview AS RequestPreview, response_preview AS ResponsePreview
              FROM traces WHERE id {chosen}
            """,
            ids).ToDictionary(row => row.Id);
        var tags = connection.Query<(long Trace, string Key, string Value)>($"SELECT trace, key, value FROM trace_tags WHERE trace {chosen}", ids).ToLookup(row => row.Trace);
        var metadata = connection.Query<(long Trace, string Key, string Value)>($"SELECT trace, key, value FROM trace_metadata WHERE trace {chosen}", ids).ToLookup(row => row.Trace);
        var judged = assessments.Load(connection, traces);
        return [.. traces.Select(id =>
        {
            var row = rows[id];
            return new TraceRecord(
                row.TraceId, ExperimentStore.Text(row.Experiment), row.AtMs, row.DurationMs, row.State, row.ClientRequestId, row.RequestPreview, row.ResponsePreview,
                metadata[id].ToDictionary(pair => pair.Key, pair => pair.Value, StringComparer.Ordinal),
                tags[id].ToDictionary(pair => pair.Key, pair => pair.Value, StringComparer.Ordinal),
                [.. judged[id]]);
        })];
    }

    private static List<JsonElement> Spans(DbConnection connection, string traceId) =>
        connection.Query<string>(
                "SELECT s.content FROM spans s JOIN traces t ON t.id = s.trace WHERE t.trace_id = @traceId ORDER BY s.start_ns, s.span_id", new { traceId })
            .Select(content => JsonSerializer.Deserialize<JsonElement>(content)).ToList();

    private sealed class TraceRow
    {
        public long Id { get; init; }

        public string TraceId { get; init; } = "";

        public long Experiment { get; init; }

        public long AtMs { get; init; }

        public long? DurationMs { get; init; }

        public string State { get; init; } = "";

        public string? ClientRequestId { get; init; }

        public string? RequestPreview { get; init; }

        public string? ResponsePreview { get; init; }
    }
}
