using System.Globalization;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Audit;

namespace Slipway.Storage.Audit;

/// <summary>The texts that are signed, and the lines of the checkpoint file.</summary>
internal static class AuditSeal
{
    /// <summary>What a checkpoint's signature covers.</summary>
    public static string Text(AuditCheckpoint checkpoint) => string.Create(CultureInfo.InvariantCulture,
        $"slipway-audit-checkpoint-v1\nseq={checkpoint.Seq}\nhash={checkpoint.Hash}\ncount={checkpoint.Count}\ntime={Instant(checkpoint.Time)}\nkey={checkpoint.KeyId}\n");

    /// <summary>What the key before it signs about a new key.</summary>
    public static string Text(AuditPublicKey key) => $"slipway-audit-key-v1\nkey={key.KeyId}\npublic_key={key.PublicKey}\ntime={Instant(key.Time)}\nendorsed_by={key.EndorsedBy}\n";

    /// <summary>A line of the checkpoint file.</summary>
    public static string Line<T>(T entry) => JsonSerializer.Serialize(entry, JsonDefaults.Options);

    /// <summary>Reads the lines of a checkpoint file: checkpoints, and the keys that sign them.</summary>
    /// <returns>What was read, and the lines that are neither.</returns>
    public static (IReadOnlyList<AuditCheckpoint> Checkpoints, IReadOnlyList<AuditPublicKey> Keys, IReadOnlyList<string> Faults) Read(IEnumerable<string> lines)
    {
        var (checkpoints, keys, faults, number) = (new List<AuditCheckpoint>(), new List<AuditPublicKey>(), new List<string>(), 0);
        foreach (var line in lines)
        {
            number++;
            if (string.IsNullOrWhiteSpace(line))
            {
                continue;
            }

            try
            {
                if (line.Contains("\"public_key\"", StringComparison.Ordinal))
                {
                    keys.Add(JsonSerializer.Deserialize<AuditPublicKey>(line, Strict)!);
                }
                else
                {
                    checkpoints.Add(JsonSerializer.Deserialize<AuditCheckpoint>(line, Strict)!);
                }
            }
            catch (JsonException)
            {
                faults.Add($"line {number} of the checkpoint file is no checkpoint");
            }
        }

        return (checkpoints, keys, faults);
    }

    private static readonly JsonSerializerOptions Strict = new(JsonDefaults.Options)
    {
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
    };

    private static string Instant(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
}
