using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Slipway.Contracts;
using Slipway.Contracts.Audit;
using Slipway.Storage.Audit;

namespace Slipway.Governance.Audit;

/// <summary>An audit report as a file: its body, and a seal with the body's digest, the place in the trail and a signature over both.</summary>
public static partial class SealedReport
{
    private const string SealHeading = "## Seal\n";

    private static readonly JsonSerializerOptions Indented = JsonDefaults.Apply(new JsonSerializerOptions { WriteIndented = true });

    /// <summary>The report as JSON.</summary>
    public static string Json(AuditReport report, AuditSigningKey key)
    {
        var body = JsonSerializer.Serialize(report, Indented);
        return $"{{\n\"report\": {body},\n\"seal\": {JsonSerializer.Serialize(Seal(body, report.Trail, key), Indented)}\n}}\n";
    }

    /// <summary>The report as Markdown.</summary>
    public static string Markdown(AuditReport report, AuditSigningKey key)
    {
        var body = AuditReportPrinter.Markdown(report);
        var seal = Seal(body, report.Trail, key);
        return string.Create(CultureInfo.InvariantCulture,
            $"{body}{SealHeading}\nCheck it with `slipway audit verify --report FILE`.\n\n- SHA-256 of all above this heading: `{seal.Sha256}`\n- Row of the audit trail: {seal.Seq}\n- Its hash: `{seal.Hash}`\n- Key: `{seal.KeyId}`\n- Signature: `{seal.Signature}`\n");
    }

    /// <summary>Checks a report file.</summary>
    /// <param name="text">The whole file.</param>
    /// <param name="publicKeys">Keys that are trusted, PEM or base64.</param>
    /// <returns>The seal, and what is wrong; null when nothing is.</returns>
    /// <exception cref="SlipwayException">InvalidArgument: it is no report, or a key is none.</exception>
    public static (AuditReportSeal Seal, string? Fault) Check(string text, IEnumerable<string> publicKeys)
    {
        var (body, seal) = text.TrimStart().StartsWith('{') ? SplitJson(text) : SplitMarkdown(text);
        var keys = publicKeys.Select(AuditSigningKey.ReadPublicKey).ToDictionary(AuditSigningKey.IdOf, StringComparer.Ordinal);
        return (seal, Digest(body) != seal.Sha256 ? "its body was changed: the SHA-256 is another"
            : !keys.TryGetValue(seal.KeyId, out var key) ? $"it is signed by key {seal.KeyId}, which was not named"
            : !AuditSigningKey.Verify(key, Text(seal), seal.Signature) ? "its signature does not hold"
            : null);
    }

    private static AuditReportSeal Seal(string body, AuditTrailPosition position, AuditSigningKey key)
    {
        var seal = new AuditReportSeal(Digest(body), position.Seq, position.Hash, key.KeyId, "");
        return seal with { Signature = key.Sign(Text(seal)) };
    }

    private static string Text(AuditReportSeal seal) =>
        string.Create(CultureInfo.InvariantCulture, $"slipway-audit-report-v1\nsha256={seal.Sha256}\nseq={seal.Seq}\nhash={seal.Hash}\nkey={seal.KeyId}\n");

    private static string Digest(string body) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(body)));

    private static (string Body, AuditReportSeal Seal) SplitJson(string text)
    {
        try
        {
            using var json = JsonDocument.Parse(text);
            return json.RootElement.TryGetProperty("report", out var report) && json.RootElement.TryGetProperty("seal", out var seal)
                ? (report.GetRawText(), seal.Deserialize<AuditReportSeal>(JsonDefaults.Options)!)
                : throw NoReport(null);
        }
        catch (JsonException e)
        {
            throw NoReport(e);
        }
    }

    private static (string Body, AuditReportSeal Seal) SplitMarkdown(string text)
    {
        text = text.ReplaceLineEndings("\n");
        var at = text.LastIndexOf("\n" + SealHeading, StringComparison.Ordinal) + 1;
        return at > 0 && SealLines().Match(text, at) is { Success: true } seal && long.TryParse(seal.Groups[2].Value, CultureInfo.InvariantCulture, out var seq)
            ? (text[..at], new AuditReportSeal(seal.Groups[1].Value, seq, seal.Groups[3].Value, seal.Groups[4].Value, seal.Groups[5].Value))
            : throw NoReport(null);
    }

    private static SlipwayException NoReport(Exception? e) => e is null
        ? new SlipwayException(ErrorCode.InvalidArgument, "The file is no audit report with a seal; slipway audit report writes one.")
        : new SlipwayException(ErrorCode.InvalidArgument, "The file is no audit report with a seal; slipway audit report writes one.", e);

    [GeneratedRegex(@"SHA-256[^`]*`([0-9a-f]{64})`\n- [^:]*: (\d+)\n- [^:]*: `([0-9a-f]{64})`\n- [^:]*: `([0-9a-f]+)`\n- [^:]*: `([A-Za-z0-9+/=]+)`\s*$")]
    private static partial Regex SealLines();
}
