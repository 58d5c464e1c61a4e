using Dapper;
using Slipway.Contracts.Audit;
using Slipway.Contracts.Governance;
using Slipway.Contracts.Registry;
using Slipway.Governance.Documents;
using Slipway.Governance.Verification;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;

namespace Slipway.Governance.Audit;

/// <summary>
/// Owns <c>audit_findings</c>. The gate asks once, when a version goes to production; this asks again as long as it is there: are its files,
/// lineage and approvals still what they were, does it still meet the policy that is in force now, is its card of today.
/// </summary>
public sealed class PolicyAudit
{
    private static readonly TimeSpan LeaseTime = TimeSpan.FromMinutes(30);
    private static readonly Caller By = Caller.System("audit");

    // Of a version that is there already these ask something else: they belong to the moment of the promotion.
    private static readonly HashSet<string> OfTheMoment = ["source_stage", "approvals", "rollback_plan", "improves_on_production", "integrity", "lineage", "model_card"];

    private readonly Database _database;
    private readonly Leases _leases;
    private readonly ModelRegistry _registry;
    private readonly BlobStore _blobs;
    private readonly DocumentStore _documents;
    private readonly AuditTrail _trail;
    private readonly AuditCheckpoints _checkpoints;
    private readonly LineageCheck _lineage;

    internal PolicyAudit(
        Database database, Leases leases, ModelRegistry registry, BlobStore blobs, DocumentStore documents, AuditTrail trail, AuditCheckpoints checkpoints, LineageCheck lineage) =>
        (_database, _leases, _registry, _blobs, _documents, _trail, _checkpoints, _lineage) = (database, leases, registry, blobs, documents, trail, checkpoints, lineage);

    /// <summary>Every finding: those that stand first, then the newest.</summary>
    public IReadOnlyList<AuditFinding> Findings() => _database.Read(connection => connection
        .Query<(string Kind, string Id, string Check, string Detail, long Opened, long Seen, long? Closed)>(
            """
            SELECT subject_kind, subject_id, check_name, detail, opened_at_ms, seen_at_ms, closed_at_ms FROM audit_findings
             ORDER BY CASE WHEN closed_at_ms IS NULL THEN 0 ELSE 1 END, opened_at_ms DESC, subject_kind, subject_id, check_name LIMIT 1000
            """)
        .Select(row => new AuditFinding($"{row.Kind}:{row.Id}", row.Check, row.Detail, Instant(row.Opened), Instant(row.Seen), row.Closed is { } closed ? Instant(closed) : null)).ToList());

    /// <summary>Looks at every version in production and at the trail, unless another server does so now.</summary>
    /// <returns>Whether it looked.</returns>
    public async Task<bool> RunAsync(CancellationToken cancellationToken)
    {
        if (await _leases.TryAcquireAsync("policy-audit", LeaseTime, cancellationToken) is not { } lease)
        {
            return false;
        }

        try
        {
            var found = new List<Finding>(TrailFaults(cancellationToken));
            var cards = (await _documents.ListAsync(cancellationToken)).Where(document => document is { Type: DocumentType.ModelCard, Newest: true }).ToLookup(document => document.Model);
            foreach (var version in _registry.ListModels().Select(model => _registry.FindInStage(model.Name, Stage.Production)).OfType<ModelVersionRecord>())
            {
                found.AddRange((await LookAsync(version, cards[version.Model].FirstOrDefault(), cancellationToken)).Select(fault => new Finding(version.Node, fault.Check, fault.Detail)));
            }

            await _database.WriteAsync(
                transaction =>
                {
                    Leases.Demand(transaction, lease);
                    Record(transaction, found);
                },
                cancellationToken);
            return true;
        }
        finally
        {
            await _leases.ReleaseAsync(lease, CancellationToken.None);
        }
    }

    private IEnumerable<Finding> TrailFaults(CancellationToken cancellationToken)
    {
        var verified = _trail.Verify(_checkpoints, new VerifyAudit(), (_, _) => { }, cancellationToken);
        if (!verified.Passed)
        {
            yield return new Finding(new NodeRef("audit_trail", "all"), "audit_trail",
                verified.BrokenAtSeq is { } seq ? $"row {seq}: {verified.Reason}" : string.Join("; ", verified.CheckpointFaults));
        }
    }

    private async Task<List<(string Check, string Detail)>> LookAsync(ModelVersionRecord version, DocumentInfo? card, CancellationToken cancellationToken)
    {
        var faults = new List<(string, string)>();
        var (files, _, _) = await BlobCheck.RunAsync(_blobs, _registry.ReferencedBlobs(version), cancellationToken);
        faults.AddRange(files.Where(check => !check.Passed).Select(check => ("files", check.Detail)));
        if (_lineage.Run(version) is { Passed: false } lineage)
        {
            faults.Add(("lineage", lineage.Detail));
        }

        if (ApprovalFault(version) is { } approval)
        {
            faults.Add(("approvals", approval));
        }

        if (faults.TrueForAll(fault => fault.Item1 != "files")) // The gate reads the evaluation, which may be what is damaged.
        {
            var gate = await _registry.CheckAsync(version.Model, version.Version, Stage.Production, cancellationToken);
            faults.AddRange(gate.Items.Where(item => !item.Passed && !OfTheMoment.Contains(item.Name)).Select(item => ($"policy:{item.Name}", $"{item.Detail} ({gate.Policy})")));
        }

        if (card is null || card.Stale)
        {
            faults.Add(("model_card", card is null ? "no model card was published" : $"{card.Id} is stale: {card.StaleReason}"));
        }

        return faults;
    }

    private string? ApprovalFault(ModelVersionRecord version)
    {
        var promotion = _registry.ListPromotions(version.Model)
            .FirstOrDefault(promotion => promotion is { Status: PromotionStatus.Executed, To: Stage.Production } && promotion.Version == version.Version);
        return promotion is null ? "no promotion to production was carried out for it"
            : promotion.LastGate?.Items.FirstOrDefault(item => item.Name == "approvals") is not { Passed: true } ? $"{promotion.Id} was carried out without the approvals that its policy asked for"
            : promotion.Decisions.Any(decision => decision.Approved && (decision.By == promotion.RequestedBy || decision.By == version.CreatedBy)) ? $"{promotion.Id} was approved by its own requester or author"
            : null;
    }

    private static void Record(WriteTransaction transaction, List<Finding> found)
    {
        var open = transaction.Connection.Query<(string Kind, string Id, string Check, string Detail)>(
            "SELECT subject_kind, subject_id, check_name, detail FROM audit_findings WHERE closed_at_ms IS NULL").ToDictionary(row => (row.Kind, row.Id, row.Check), row => row.Detail);
        foreach (var (subject, check, detail) in found.DistinctBy(finding => (finding.Subject, finding.Check)))
        {
            transaction.Connection.Execute(
                """
                INSERT INTO audit_findings (subject_kind, subject_id, check_name, detail, opened_at_ms, seen_at_ms) VALUES (@Kind, @Id, @check, @detail, @now, @now)
                ON CONFLICT (subject_kind, subject_id, check_name) DO UPDATE SET detail = excluded.detail, seen_at_ms = excluded.seen_at_ms, closed_at_ms = NULL,
                       opened_at_ms = CASE WHEN audit_findings.closed_at_ms IS NULL THEN audit_findings.opened_at_ms ELSE excluded.opened_at_ms END
                """,
                new { subject.Kind, subject.Id, check, detail, now = transaction.NowMs });
            if (!open.Remove((subject.Kind, subject.Id, check)))
            {
                transaction.Audit(By, "audit_finding.opened", subject, detail, null, new { check });
            }
        }

        foreach (var ((kind, id, check), detail) in open)
        {
            transaction.Connection.Execute(
                "UPDATE audit_findings SET closed_at_ms = @now WHERE subject_kind = @kind AND subject_id = @id AND check_name = @check", new { kind, id, check, now = transaction.NowMs });
            transaction.Audit(By, "audit_finding.closed", new NodeRef(kind, id), null, new { check, detail });
        }
    }

    private static DateTimeOffset Instant(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms);

    private sealed record Finding(NodeRef Subject, string Check, string Detail);
}
