using Slipway.Contracts.Audit;
using Slipway.Governance.Audit;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Web;

/// <summary>Checks of audit trails and reports without the server they come from: what <c>slipway audit verify</c> does offline.</summary>
public static class ServerAudit
{
    /// <summary>Recounts a trail. Of data folder, database and backup, the last that is given is read.</summary>
    /// <param name="dataDirectory">A data folder; null for none.</param>
    /// <param name="database">A database; null for the data folder's.</param>
    /// <param name="backup">A backup file; null for none.</param>
    /// <param name="checkpoints">Lines of a checkpoint file; null for the data folder's own file.</param>
    /// <param name="publicKeys">Only these keys count, PEM or base64; none for all on record.</param>
    /// <param name="progress">Told the rows read and the rows there are.</param>
    /// <param name="cancellationToken">Interrupts between rows.</param>
    public static AuditVerification Verify(
        string? dataDirectory, string? database, string? backup, IEnumerable<string>? checkpoints, IReadOnlyList<string> publicKeys, Action<long, long> progress, CancellationToken cancellationToken)
    {
        var file = dataDirectory is null ? null : AuditCheckpoints.FileIn(dataDirectory);
        var lines = checkpoints ?? (File.Exists(file) ? File.ReadLines(file) : []);
        var archive = backup is not null ? AuditArchive.Of(backup) : AuditArchive.Of(StorageOptions.Resolve(dataDirectory ?? ".", database));
        return AuditArchive.Verify(archive, lines, publicKeys, progress, cancellationToken);
    }

    /// <summary>Checks the seal of a report.</summary>
    /// <param name="text">The whole file.</param>
    /// <param name="publicKeys">Keys that are trusted, PEM or base64.</param>
    /// <returns>The seal, and what is wrong; null when nothing is.</returns>
    public static (AuditReportSeal Seal, string? Fault) CheckReport(string text, IReadOnlyList<string> publicKeys) => SealedReport.Check(text, publicKeys);

    /// <summary>A public key as a PEM file.</summary>
    public static string Pem(string publicKey) => AuditSigningKey.Pem(publicKey);
}
