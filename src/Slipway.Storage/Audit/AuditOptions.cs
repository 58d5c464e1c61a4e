using Slipway.Contracts;

namespace Slipway.Storage.Audit;

/// <summary>How the audit trail is sealed, and what never enters it.</summary>
public sealed record AuditOptions
{
    /// <summary>Folder of the checkpoint file; null for the data folder. On another disk it outlives the database.</summary>
    public string? CheckpointDirectory { get; init; }

    /// <summary>A checkpoint is signed once this many rows have come since the last one.</summary>
    public int CheckpointRows { get; init; } = 1000;

    /// <summary>A checkpoint is signed once a row is this old and no checkpoint covers it.</summary>
    public TimeSpan CheckpointInterval { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Field names that are hidden besides the usual ones; see <see cref="AuditRedaction"/>.</summary>
    public IReadOnlyList<string> RedactedFields { get; init; } = [];

    /// <summary>Refuses what cannot be meant.</summary>
    /// <exception cref="SlipwayException">InvalidArgument.</exception>
    public AuditOptions Checked() =>
        CheckpointRows < 1 ? throw new SlipwayException(ErrorCode.InvalidArgument, $"--audit-checkpoint-rows must be at least 1, not {CheckpointRows}.")
        : CheckpointInterval < TimeSpan.FromSeconds(1) ? throw new SlipwayException(ErrorCode.InvalidArgument, $"--audit-checkpoint-seconds must be at least 1, not {CheckpointInterval.TotalSeconds:0}.")
        : CheckpointDirectory is { } folder && string.IsNullOrWhiteSpace(folder) ? throw new SlipwayException(ErrorCode.InvalidArgument, "--audit-checkpoint-dir is empty; leave it out or name a folder.")
        : RedactedFields.Any(string.IsNullOrWhiteSpace) ? throw new SlipwayException(ErrorCode.InvalidArgument, "--redact holds an empty name; give field names between commas, such as --redact ssn,email.")
        : this;
}
