using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Definitions;
using Slipway.Monitoring.Drift;
using Slipway.Monitoring.Performance;
using Slipway.Serving.Predictions;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Monitoring;

/// <summary>Owns the monitors' tables; reads what the windows left.</summary>
public sealed class MonitorStore
{
    private const string AlertColumns =
        """
        id AS Id, monitor AS Monitor, model AS Model, kind AS Kind, severity AS Severity, status AS Status, message AS Message, subject AS Subject, metric AS Metric,
        value AS Value, limit_value AS LimitValue, peak AS Peak, subjects AS Subjects, windows AS Windows, times_opened AS TimesOpened, owner AS Owner, procedure AS Procedure,
        first_window_end_ms AS FirstWindowEndMs, last_window_end_ms AS LastWindowEndMs, closed_window_end_ms AS ClosedWindowEndMs, opened_at_ms AS OpenedAtMs,
        closed_at_ms AS ClosedAtMs, acknowledged_by AS AcknowledgedBy, acknowledged_at_ms AS AcknowledgedAtMs, comment AS Comment
        """;

    private readonly Database _database;
    private readonly DefinitionStore _definitions;
    private readonly PredictionLog _predictions;
    private readonly BaselineSource _baselines;

    internal MonitorStore(Database database, DefinitionStore definitions, PredictionLog predictions, BaselineSource baselines)
    {
        _database = database;
        _definitions = definitions;
        _predictions = predictions;
        _baselines = baselines;
    }

    /// <summary>All monitors by name.</summary>
    public IReadOnlyList<MonitorSummary> List() => [.. _definitions.List(MonitorDefinition.Kind).Select(Summarize)];

    /// <summary>One monitor as of now.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public MonitorStatus Status(string name)
    {
        var definition = Definition(name);
        var monitor = MonitorDefinition.Parse(DefinitionYaml.Parse(definition.Yaml));
        var summary = Summarize(definition);
        var (version, rows) = _database.Read(connection => connection.QueryFirstOrDefault<(string?, long)>(
            "SELECT version, rows FROM monitor_windows WHERE monitor = @name ORDER BY window_end_ms DESC LIMIT 1", new { name }));
        var results = _database.Read(connection => Newest(connection, name));
        return new MonitorStatus(
            summary, version, rows, _predictions.Watermark(monitor.Model), monitor.Cadence, monitor.Window, Limits(monitor, version), Method(monitor), results,
            Alerts(name, openOnly: true), Actions(name));
    }

    /// <summary>Values over event time, oldest first.</summary>
    /// <param name="monitor">The monitor.</param>
    /// <param name="subject">A feature reference, <c>prediction</c> or <c>performance</c>; null: all.</param>
    /// <param name="metric">Such as <c>psi</c>; null: all.</param>
    /// <param name="fromMs">Windows that end after this.</param>
    /// <param name="toMs">Windows that end at or before this.</param>
    /// <param name="pointsMax">Points per series; of more, every n-th window is taken, counted from the newest.</param>
    public IReadOnlyList<ResultPoint> Series(string monitor, string? subject, string? metric, long fromMs, long toMs, int pointsMax) => _database.Read(connection =>
        connection.Query<ResultRow>(
            """
            WITH chosen AS (
                SELECT subject, metric, value, band, n, window_end_ms,
                       row_number() OVER (PARTITION BY subject, metric ORDER BY window_end_ms DESC) - 1 AS position,
                       count(*) OVER (PARTITION BY subject, metric) AS points
                  FROM monitor_results
                 WHERE monitor = @monitor AND (@subject IS NULL OR subject = @subject) AND (@metric IS NULL OR metric = @metric)
                   AND window_end_ms > @fromMs AND window_end_ms <= @toMs)
            SELECT subject AS Subject, metric AS Metric, value AS Value, band AS Band, n AS N, window_end_ms AS WindowEndMs FROM chosen
             WHERE position % ((points + @pointsMax - 1) / @pointsMax) = 0 ORDER BY subject, metric, window_end_ms
            """,
            new { monitor, subject, metric, fromMs, toMs, pointsMax = Math.Clamp(pointsMax, 1, 100_000) }).Select(row => row.ToPoint()).ToList());

    /// <summary>Drift of each feature and of the prediction over whole calendar months, by month and version; versions without a readable baseline are left out.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public IReadOnlyList<DriftByMonth> ByMonth(string monitor)
    {
        var definition = MonitorDefinition.Parse(DefinitionYaml.Parse(Definition(monitor).Yaml));
        var months = _database.Read(connection => connection.Query<(string Month, string Version, long Rows, string Counts)>(
            "SELECT month, version, rows, counts FROM monitor_months WHERE monitor = @monitor ORDER BY month, version", new { monitor }).AsList());
        var table = new List<DriftByMonth>();
        foreach (var month in months)
        {
            if (_baselines.Find(definition.Model, month.Version) is { } layout)
            {
                table.AddRange(MonthRows(definition, layout, month.Month, month.Rows, JsonSerializer.Deserialize<long[]>(month.Counts)!));
            }
        }

        return table;
    }

    /// <summary>Alerts, newest first.</summary>
    /// <param name="monitor">Of this monitor; null: of all.</param>
    /// <param name="openOnly">Only those that stand.</param>
    public IReadOnlyList<AlertRecord> Alerts(string? monitor, bool openOnly) => _database.Read(connection => connection.Query<AlertRow>(
        $"""
        SELECT {AlertColumns} FROM alerts
         WHERE (@monitor IS NULL OR monitor = @monitor) AND (@openOnly = 0 OR status = 'open') ORDER BY first_window_end_ms DESC, id DESC LIMIT 1000
        """, new { monitor, openOnly }).Select(row => row.ToRecord()).ToList());

    /// <summary>Actions a monitor took, newest first.</summary>
    public IReadOnlyList<MonitorActionRecord> Actions(string? monitor) => _database.Read(connection => connection.Query<ActionRow>(
        """
        SELECT id AS Id, monitor AS Monitor, alert_id AS AlertId, action AS Action, trigger_kind AS TriggerKind, pipeline AS Pipeline, reason AS Reason, parameters AS Parameters,
               window_end_ms AS WindowEndMs, status AS Status, pipeline_run_id AS PipelineRunId, error AS Error, decided_at_ms AS DecidedAtMs
          FROM monitor_actions WHERE @monitor IS NULL OR monitor = @monitor ORDER BY window_end_ms DESC, id DESC LIMIT 1000
        """, new { monitor }).Select(row => row.ToRecord()).ToList());

    /// <summary>Records that somebody has seen an alert and what they do about it.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public async Task<AlertRecord> AcknowledgeAsync(string id, string? comment, Caller by, CancellationToken cancellationToken)
    {
        await _database.WriteAsync(transaction =>
        {
            var before = Find(transaction.Connection, id) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no alert '{id}'; GET /api/slipway/v1/alerts lists them.");
            transaction.Connection.Execute(
                "UPDATE alerts SET acknowledged_by = @by, acknowledged_at_ms = @now, comment = @comment WHERE id = @id", new { id, by = by.Name, now = transaction.NowMs, comment });
            transaction.Audit(by, "alert.acknowledged", new NodeRef(NodeKinds.Monitor, before.Monitor), comment, new { alert = id, before.AcknowledgedBy }, new { alert = id, acknowledged_by = by.Name });
        }, cancellationToken);
        return _database.Read(connection => Find(connection, id))!;
    }

    private static AlertRecord? Find(DbConnection connection, string id) =>
        connection.QueryFirstOrDefault<AlertRow>($"SELECT {AlertColumns} FROM alerts WHERE id = @id", new { id })?.ToRecord();

    private Definition Definition(string name) => _definitions.Find(MonitorDefinition.Kind, name)
        ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no monitor '{name}'; GET /api/slipway/v1/monitors lists them.");

    private MonitorSummary Summarize(Definition definition)
    {
        var monitor = MonitorDefinition.Parse(DefinitionYaml.Parse(definition.Yaml));
        return _database.Read(connection =>
        {
            var (windows, end) = connection.QueryFirst<(long, long?)>("SELECT count(*), max(window_end_ms) FROM monitor_windows WHERE monitor = @Name", new { monitor.Name });
            var open = connection.ExecuteScalar<int>("SELECT count(*) FROM alerts WHERE monitor = @Name AND status = 'open'", new { monitor.Name });
            var newest = end is null ? [] : Newest(connection, monitor.Name);
            return new MonitorSummary(
                monitor.Name, monitor.Model, monitor.Owner, monitor.Procedure, definition.Version, Worst(newest), windows, end is { } ms ? At(ms) : null, open);
        });
    }

    // The newest drift window, and of performance the newest window that was computed.
    private static List<ResultPoint> Newest(DbConnection connection, string monitor) => connection.Query<ResultRow>(
        """
        SELECT subject AS Subject, metric AS Metric, value AS Value, band AS Band, n AS N, window_end_ms AS WindowEndMs FROM monitor_results
         WHERE monitor = @monitor AND subject <> 'performance'
           AND window_end_ms = (SELECT max(window_end_ms) FROM monitor_windows WHERE monitor = @monitor)
        UNION ALL
        SELECT subject, metric, value, band, n, window_end_ms FROM monitor_results
         WHERE monitor = @monitor AND subject = 'performance'
           AND window_end_ms = (SELECT max(window_end_ms) FROM monitor_windows WHERE monitor = @monitor AND labels > 0)
        """,
        new { monitor }).Select(row => row.ToPoint()).ToList();

    private static MonitorBand Worst(List<ResultPoint> results)
    {
        static int Rank(MonitorBand band) => band switch
        {
            MonitorBand.Act or MonitorBand.Critical => 4,
            MonitorBand.Investigate or MonitorBand.Warning => 3,
            MonitorBand.Ok => 2,
            MonitorBand.Insufficient => 1,
            _ => 0,
        };

        return results.Count == 0 ? MonitorBand.None : results.MaxBy(point => Rank(point.Band))!.Band;
    }

    private static IEnumerable<DriftByMonth> MonthRows(MonitorDefinition monitor, BinLayout layout, string month, long rows, long[] counts)
    {
        for (var i = 0; i < layout.Subjects && counts.Length == layout.Width; i++)
        {
            var slots = layout.Slots(i);
            var subject = layout.Subject(i);
            var present = DriftEvaluation.Sum(counts.AsSpan(slots));
            if (present > 0 && DriftEvaluation.Sum(layout.Reference.AsSpan(slots)) > 0 && (i == layout.Features.Count || monitor.Watches(subject)))
            {
                var psi = DriftEvaluation.PsiOf(layout.Reference.AsSpan(slots), counts.AsSpan(slots));
                var ks = DriftEvaluation.KsOf(layout.Edges(i), layout.Reference.AsSpan(slots), counts.AsSpan(slots));
                yield return new DriftByMonth(
                    month, layout.Version, subject, psi, rows < monitor.MinRows ? MonitorBand.Insufficient : DriftEvaluation.BandOf(psi, monitor),
                    ks?.Statistic ?? 0, (double)counts[slots][^1] / present, rows);
            }
        }
    }

    private MonitorLimits Limits(MonitorDefinition monitor, string? version)
    {
        if (monitor.Performance is not { } performance)
        {
            return new MonitorLimits(monitor.PsiInvestigate, monitor.PsiAct, null, null, null, null);
        }

        var metric = JsonNamingPolicy.SnakeCaseLower.ConvertName(performance.Metric.ToString());
        if (version is null || _baselines.Find(monitor.Model, version) is not { } layout)
        {
            return new MonitorLimits(monitor.PsiInvestigate, monitor.PsiAct, metric, null, null, null);
        }

        var (baseline, warning, critical) = ScoreCounts.Limits(performance, layout.Baseline.Performance);
        return new MonitorLimits(monitor.PsiInvestigate, monitor.PsiAct, metric, baseline, warning, critical);
    }

    private static MonitorMethod Method(MonitorDefinition monitor) => new(
        monitor.Reference == ReferenceKind.Training
            ? "the training data of the version that served the newest row of the window; predictions: its test split"
            : $"what the same version served {monitor.Season.TotalDays:0.##} days earlier; its training data while that has fewer than {monitor.MinRows} rows",
        "inner edges of the version's baseline (training deciles, or mid-points between at most 20 values), open at both ends; missing values are one more bin when either side has any",
        "a side's empty bin gets the share 0.0001, or a millionth of that side's smallest share when it is 0.0001 or less; the other shares stay as they are",
        "largest gap of the distribution functions at the edges, never above the exact statistic; p-value of the asymptotic two-sided law at N = n m / (n + m), below 2e-7 its upper bound 2 exp(-2 N d²)",
        monitor.Performance is { } performance
            ? $"labelled rows of the last {performance.Window.TotalDays:0.##} days; AUC over {ScoreCounts.Bins} score bins, calibration error over 10 bins; a label received later replaces an earlier one"
            : "not watched");

    private static DateTimeOffset At(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms);

    private static T Parse<T>(string name) where T : struct, Enum => Enum.Parse<T>(name, ignoreCase: true);

    private sealed class ResultRow
    {
        public string Subject { get; init; } = "";

        public string Metric { get; init; } = "";

        public double Value { get; init; }

        public string Band { get; init; } = "";

        public long N { get; init; }

        public long WindowEndMs { get; init; }

        public ResultPoint ToPoint() => new(Subject, Metric, Value, Parse<MonitorBand>(Band), N, At(WindowEndMs));
    }

    private sealed class AlertRow
    {
        public string Id { get; init; } = "";

        public string Monitor { get; init; } = "";

        public string Model { get; init; } = "";

        public string Kind { get; init; } = "";

        public string Severity { get; init; } = "";

        public string Status { get; init; } = "";

        public string Message { get; init; } = "";

        public string Subject { get; init; } = "";

        public string Metric { get; init; } = "";

        public double Value { get; init; }

        public double LimitValue { get; init; }

        public double Peak { get; init; }

        public string Subjects { get; init; } = "[]";

        public long Windows { get; init; }

        public long TimesOpened { get; init; }

        public string Owner { get; init; } = "";

        public string Procedure { get; init; } = "";

        public long FirstWindowEndMs { get; init; }

        public long LastWindowEndMs { get; init; }

        public long? ClosedWindowEndMs { get; init; }

        public long OpenedAtMs { get; init; }

        public long? ClosedAtMs { get; init; }

        public string? AcknowledgedBy { get; init; }

        public long? AcknowledgedAtMs { get; init; }

        public string? Comment { get; init; }

        public AlertRecord ToRecord() => new(
            Id, Monitor, Model, Parse<AlertKind>(Kind), Parse<AlertSeverity>(Severity), Parse<AlertStatus>(Status), Message, Subject, Metric, Value, LimitValue, Peak,
            JsonSerializer.Deserialize<string[]>(Subjects)!, (int)Windows, (int)TimesOpened, Owner, Procedure, At(FirstWindowEndMs), At(LastWindowEndMs),
            ClosedWindowEndMs is { } closed ? At(closed) : null, At(OpenedAtMs), ClosedAtMs is { } closedAt ? At(closedAt) : null,
            AcknowledgedBy, AcknowledgedAtMs is { } acknowledged ? At(acknowledged) : null, Comment);
    }

    private sealed class ActionRow
    {
        public string Id { get; init; } = "";

        public string Monitor { get; init; } = "";

        public string AlertId { get; init; } = "";

        public string Action { get; init; } = "";

        public string TriggerKind { get; init; } = "";

        public string Pipeline { get; init; } = "";

        public string Reason { get; init; } = "";

        public string Parameters { get; init; } = "{}";

        public long WindowEndMs { get; init; }

        public string Status { get; init; } = "";

        public string? PipelineRunId { get; init; }

        public string? Error { get; init; }

        public long DecidedAtMs { get; init; }

        public MonitorActionRecord ToRecord() => new(
            Id, Monitor, AlertId, Action, TriggerKind, Pipeline, Reason, JsonSerializer.Deserialize<Dictionary<string, string>>(Parameters)!, At(WindowEndMs),
            Parse<MonitorActionStatus>(Status), PipelineRunId, Error, At(DecidedAtMs));
    }
}
