using System.Collections.Concurrent;
using System.Security.Cryptography;
using Slipway.Contracts;
using Slipway.Contracts.Governance;
using Slipway.Storage.Blobs;

namespace Slipway.Governance.Verification;

/// <summary>Recomputes the digest of every blob that a record rests on: each blob once, however many records share it.</summary>
internal static class BlobCheck
{
    public const string Name = "blobs";

    public static async Task<(IReadOnlyList<VerificationCheck> Checks, int Blobs, long Bytes)> RunAsync(
        BlobStore blobs, IReadOnlyList<BlobReference> references, CancellationToken cancellationToken)
    {
        var findings = new ConcurrentDictionary<string, Finding>(StringComparer.Ordinal);
        await Parallel.ForEachAsync(
            references.Select(reference => reference.Sha256).Distinct(StringComparer.Ordinal), cancellationToken,
            async (sha256, ct) => findings[sha256] = await CheckAsync(blobs, sha256, ct));

        var checks = references.GroupBy(reference => reference.Subject)
            .OrderBy(group => group.Key.Kind, StringComparer.Ordinal).ThenBy(group => group.Key.Id, StringComparer.Ordinal)
            .Select(group => Describe(group.Key.ToString(), [.. group], findings));
        return ([.. checks], findings.Count, findings.Values.Sum(finding => finding.SizeBytes));
    }

    private static VerificationCheck Describe(string subject, IReadOnlyList<BlobReference> parts, ConcurrentDictionary<string, Finding> findings)
    {
        var faults = parts.Where(part => findings[part.Sha256].Fault is not null)
            .Select(part => $"'{part.Part}' ({part.Sha256}) {findings[part.Sha256].Fault}").ToList();
        return faults.Count > 0
            ? new VerificationCheck(Name, subject, false, $"{string.Join("; ", faults)}.")
            : new VerificationCheck(Name, subject, true, $"{parts.Count} {(parts.Count == 1 ? "file has the SHA-256" : "files have the SHA-256s")} on record, {parts.Sum(part => findings[part.Sha256].SizeBytes):N0} bytes.");
    }

    private static async Task<Finding> CheckAsync(BlobStore blobs, string sha256, CancellationToken cancellationToken)
    {
        try
        {
            await using var file = new FileStream(blobs.PathOf(sha256), new FileStreamOptions { BufferSize = 0, Options = FileOptions.SequentialScan });
            var found = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
            return new Finding(file.Length, found == sha256 ? null : $"was changed on disk: its content now has SHA-256 {found}");
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound)
        {
            return new Finding(0, "is gone");
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.InvalidArgument)
        {
            return new Finding(0, "is not named by a SHA-256");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A disk that cannot read one file must not hide what became of the others.
            return new Finding(0, $"cannot be read: {e.Message}");
        }
    }

    private sealed record Finding(long SizeBytes, string? Fault);
}
