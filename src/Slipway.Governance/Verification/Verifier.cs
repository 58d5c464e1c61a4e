using Slipway.Contracts.Audit;
using Slipway.Contracts.Governance;
using Slipway.Contracts.Registry;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Governance.Documents;
using Slipway.Pipelines;
using Slipway.Registry;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Governance.Verification;

/// <summary>Recounts what the records claim: the audit chain, the SHA-256 of every blob on record, the lineage of every production version.</summary>
public sealed class Verifier(
    AuditTrail audit, AuditCheckpoints checkpoints, BlobStore blobs, LineageCheck lineage, DatasetStore datasets, OfflineStore offline, RunStore runs, ModelRegistry registry,
    PipelineService pipelines, DocumentStore documents, TimeProvider clock)
    : IDisposable
{
    // Reading every blob keeps a disk busy; callers at the same time take turns.
    private readonly SemaphoreSlim _turn = new(1, 1);

    /// <summary>Checks everything. A failed check is an answer, not an exception.</summary>
    public async Task<VerificationReport> VerifyAsync(CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            var (blobChecks, count, bytes) = await BlobCheck.RunAsync(blobs, References(), cancellationToken);
            VerificationCheck[] checks = [AuditChain(cancellationToken), .. blobChecks, .. ProductionVersions().Select(lineage.Run)];
            return new VerificationReport(checks.All(check => check.Passed), clock.GetUtcNow(), count, bytes, checks);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _turn.Dispose();

    private VerificationCheck AuditChain(CancellationToken cancellationToken)
    {
        var found = audit.Verify(checkpoints, new VerifyAudit(), (_, _) => { }, cancellationToken);
        return found.BrokenAtSeq is { } seq
            ? new VerificationCheck("audit_chain", $"audit_event:{seq}", false, $"The chain breaks at row {seq}: {found.Reason}; {found.Events} rows before it hold.")
            : new VerificationCheck("audit_chain", "audit_events", found.Passed,
                found.Passed ? $"{found.Events} rows form one chain; {found.CheckpointsHeld} signed checkpoints agree with it." : $"{string.Join("; ", found.CheckpointFaults)}.");
    }

    private IReadOnlyList<BlobReference> References() =>
        [.. datasets.ReferencedBlobs(), .. offline.ReferencedBlobs(), .. runs.ReferencedBlobs(), .. registry.ReferencedBlobs(), .. pipelines.ReferencedBlobs(), .. documents.ReferencedBlobs()];

    private IEnumerable<ModelVersionRecord> ProductionVersions() =>
        registry.ListModels().Select(model => registry.FindInStage(model.Name, Stage.Production)).OfType<ModelVersionRecord>();
}
