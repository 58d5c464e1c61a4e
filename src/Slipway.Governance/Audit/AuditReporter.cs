using Slipway.Contracts;
using Slipway.Contracts.Audit;
using Slipway.Contracts.Registry;
using Slipway.Datasets;
using Slipway.Governance.Documents;
using Slipway.Monitoring;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Governance.Audit;

/// <summary>Gathers what the records say of one model over a time. The same records give the same report, byte for byte.</summary>
public sealed class AuditReporter(
    ModelRegistry registry, DeploymentStore deployments, MonitorStore monitors, DatasetStore datasets, DocumentStore documents, AuditTrail trail, AuditCheckpoints checkpoints)
{
    private const int PointsMax = 1000;

    // Nothing is ever removed from the trail; a shorter time would have to be a rule of its own, with a mark in the chain where rows were.
    private static readonly IReadOnlyList<(string Class, string Kept, string[] Actions)> Retention =
    [
        ("training", "without limit", ["run.", "experiment.", "logged_model.", "pipeline_run.", "training_set.", "dataset_version.", "evaluation_dataset.", "model_version.registered"]),
        ("deployment", "without limit", ["deployment.", "rollout.", "model_version.promoted", "model_version.archived", "model_version.rolled_back", "model_version.rollout"]),
        ("decision", "without limit", ["promotion."]),
        ("change", "without limit", [""]),
    ];

    /// <summary>Makes the report.</summary>
    /// <param name="model">The model.</param>
    /// <param name="from">Nothing before this; null from the beginning.</param>
    /// <param name="to">Nothing from this on; null up to now.</param>
    /// <param name="cancellationToken">Interrupts reading.</param>
    /// <exception cref="SlipwayException">NotFound: the model; InvalidArgument: the times are the wrong way round.</exception>
    public async Task<AuditReport> MakeAsync(string model, DateTimeOffset? from, DateTimeOffset? to, CancellationToken cancellationToken)
    {
        if (from >= to)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'from' ({from:u}) must lie before 'to' ({to:u}).");
        }

        var all = registry.ListVersions(model);
        if (all.Count == 0)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}' with a version; GET /api/slipway/v1/models lists models.");
        }

        bool Within(DateTimeOffset at) => (from is null || at >= from) && (to is null || at < to);
        var verified = trail.Verify(checkpoints, new VerifyAudit(), (_, _) => { }, cancellationToken);
        var position = trail.Find(verified.Events);
        var served = deployments.List(model, int.MaxValue).Where(row => (to is null || row.StartedAt < to) && (from is null || row.EndedAt is not { } end || end >= from)).Reverse().ToList();
        var changes = registry.History(model).Where(change => Within(change.At)).ToList();
        var promotions = registry.ListPromotions(model).Where(promotion => Within(promotion.RequestedAt) || (promotion.ClosedAt is { } closed && Within(closed))).Reverse().ToList();
        var named = served.Select(row => row.Version).Concat(changes.Select(change => change.Version)).Concat(promotions.Select(promotion => promotion.Version)).ToHashSet(StringComparer.Ordinal);
        var versions = all.Where(version => named.Contains(version.Version)).OrderBy(version => version.Number).ToList();
        var evaluations = await EvaluationsAsync(versions, cancellationToken);
        var events = Events(model, from, to, served.Select(row => row.Id)).Where(row => row.Seq <= verified.Events).ToList();
        return new AuditReport(
            "slipway-audit-report-1", model, from, to,
            new AuditTrailPosition(
                verified.Events, position?.Hash ?? new string('0', 64), verified.Passed, verified.Reason ?? (verified.CheckpointFaults.Count > 0 ? string.Join("; ", verified.CheckpointFaults) : null),
                verified.LastCheckpoint?.Seq),
            [.. served.Select(row => new ReportedDeployment(row.Id, row.Version, row.Arm, row.StartedAt, row.EndedAt, row.Outcome, row.Reason))],
            [.. versions.Select(version => Reported(version, evaluations[version.Version]))],
            [.. promotions.Select(promotion => Reported(promotion, versions.First(version => version.Version == promotion.Version), evaluations))],
            changes, [.. changes.Where(change => change.Cause == "rollback")], [.. events.Where(IsDeprecation)], Approvers(promotions, Within), DataSources(versions), Metrics(model, from, to),
            events, [.. Retention.Select(kept => new ReportedRetention(kept.Class, kept.Kept, events.Count(row => ClassOf(row.Action) == kept.Class)))]);
    }

    private async Task<Dictionary<string, (EvaluationReport? Report, string? Fault)>> EvaluationsAsync(IReadOnlyList<ModelVersionRecord> versions, CancellationToken cancellationToken)
    {
        var evaluations = new Dictionary<string, (EvaluationReport?, string?)>(StringComparer.Ordinal);
        foreach (var version in versions)
        {
            try
            {
                evaluations[version.Version] = (await registry.ReadReportAsync(version, cancellationToken), null);
            }
            catch (SlipwayException e)
            {
                evaluations[version.Version] = (null, e.Message); // A damaged evaluation is a finding of the report, not its end.
            }
        }

        return evaluations;
    }

    private static ReportedVersion Reported(ModelVersionRecord version, (EvaluationReport? Report, string? Fault) evaluation) => new(
        version.Version, Name(version.Stage), version.CreatedAt, version.CreatedBy, version.Owner, version.RunId, version.Commit,
        version.EvaluationReportSha256, evaluation.Report?.TestSetSha256,
        new SortedDictionary<string, double>(evaluation.Report?.Metrics.ToDictionary() ?? [], StringComparer.Ordinal), evaluation.Fault);

    private ReportedPromotion Reported(PromotionRecord promotion, ModelVersionRecord version, Dictionary<string, (EvaluationReport? Report, string? Fault)> evaluations) => new(
        promotion.Id, promotion.Version, Name(promotion.From), Name(promotion.To), Name(promotion.Status), promotion.Reason, promotion.RequestedBy, promotion.RequestedAt,
        promotion.ClosedBy, promotion.ClosedAt, promotion.Decisions, promotion.LastGate?.Policy, promotion.LastGate?.Items ?? [],
        promotion.LastGate is null ? [] : ComplianceCheckpoints.Of(promotion, version, evaluations[version.Version].Report, documents.CardsOf(promotion.Model)));

    private static List<ReportedApprover> Approvers(IEnumerable<PromotionRecord> promotions, Func<DateTimeOffset, bool> within) =>
        [.. promotions.SelectMany(promotion => promotion.Decisions).Where(decision => within(decision.At)).GroupBy(decision => decision.By, StringComparer.Ordinal)
            .OrderBy(group => group.Key, StringComparer.Ordinal)
            .Select(group => new ReportedApprover(
                group.Key, [.. group.Select(decision => decision.Role).Distinct().Order(StringComparer.Ordinal)], group.Count(decision => decision.Approved), group.Count(decision => !decision.Approved)))];

    private List<ReportedDataSource> DataSources(IReadOnlyList<ModelVersionRecord> versions) =>
        [.. versions.SelectMany(version => version.Datasets.Select(dataset => (Dataset: dataset, version.Version)))
            .GroupBy(use => use.Dataset).OrderBy(group => group.Key.Name, StringComparer.Ordinal).ThenBy(group => group.Key.Version)
            .Select(group => DataSource(group.Key, [.. group.Select(use => use.Version)]))];

    private ReportedDataSource DataSource(DatasetRef dataset, IReadOnlyList<string> usedBy)
    {
        var stored = datasets.Find(dataset.Name, dataset.Version);
        var source = datasets.ListDefinitions().FirstOrDefault(definition => definition.Name == dataset.Name)?.Source;
        var validation = stored is null ? null : datasets.FindValidation(dataset.Name, dataset.Version);
        return new ReportedDataSource(
            dataset.Name, dataset.Version, dataset.Sha256, stored?.Rows, source is null ? null : source.Url is { } url ? $"{source.Type}, {url}" : source.Type, source?.Owner, source?.Licence, source?.Pii,
            validation is null ? null : $"{(validation.Passed ? "passed" : "failed")}, {validation.Checks.Count(check => check.Passed)} of {validation.Checks.Count} checks", usedBy);
    }

    private List<ReportedMetric> Metrics(string model, DateTimeOffset? from, DateTimeOffset? to)
    {
        // Windows count by their end, which belongs to the window.
        var (fromMs, toMs) = (from?.ToUnixTimeMilliseconds() ?? long.MinValue, to?.ToUnixTimeMilliseconds() ?? long.MaxValue);
        var readings = new List<ReportedMetric>();
        foreach (var monitor in monitors.List().Where(monitor => monitor.Model == model).Select(monitor => monitor.Name).Order(StringComparer.Ordinal))
        {
            readings.AddRange(monitors.Series(monitor, "performance", null, fromMs, toMs, PointsMax)
                .Select(point => new ReportedMetric(monitor, point.Metric, point.Subject, point.WindowEnd, point.Value, Name(point.Band), point.N)));
            readings.AddRange(monitors.Series(monitor, null, "psi", fromMs, toMs, PointsMax).GroupBy(point => point.WindowEnd).OrderBy(window => window.Key)
                .Select(window => window.OrderByDescending(point => point.Value).ThenBy(point => point.Subject, StringComparer.Ordinal).First())
                .Select(point => new ReportedMetric(monitor, "psi", point.Subject, point.WindowEnd, point.Value, Name(point.Band), point.N)));
        }

        return readings;
    }

    private IEnumerable<ReportedEvent> Events(string model, DateTimeOffset? from, DateTimeOffset? to, IEnumerable<string> deploymentIds)
    {
        var subjects = deploymentIds.Select(id => new NodeRef(NodeKinds.Deployment, id))
            .Concat(monitors.List().Where(monitor => monitor.Model == model).Select(monitor => new NodeRef(NodeKinds.Monitor, monitor.Name)))
            .Concat(documents.CardsOf(model).Select(card => card.Node));
        return subjects.Select(subject => new AuditFilter { Subject = subject, From = from, To = to }).Prepend(new AuditFilter { Model = model, From = from, To = to })
            .SelectMany(All).OrderBy(row => row.Seq)
            .Select(row => new ReportedEvent(row.Seq, row.At, row.Actor, row.Action, row.Subject.ToString(), row.Reason, row.Hash));
    }

    private IEnumerable<AuditEvent> All(AuditFilter filter)
    {
        const int page = 1000;
        for (IReadOnlyList<AuditEvent> rows; (rows = trail.List(filter, page)).Count > 0; filter = filter with { BeforeSeq = rows[^1].Seq })
        {
            foreach (var row in rows)
            {
                yield return row;
            }
        }
    }

    private static bool IsDeprecation(ReportedEvent row) =>
        row.Action.Contains("deprecat", StringComparison.Ordinal) || row.Action.Contains("retire", StringComparison.Ordinal) || row.Action.Contains("end_of_life", StringComparison.Ordinal);

    private static string ClassOf(string action) => Retention.First(kept => kept.Actions.Any(beginning => action.StartsWith(beginning, StringComparison.Ordinal))).Class;

    private static string Name<T>(T value) where T : struct, Enum => System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString());
}
