using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Client.Runs;

/// <summary>One record of a journal that is not a line of metric points: one of its parts is set.</summary>
internal sealed record JournalLine
{
    /// <summary>What a metric line begins with; it goes to the server as it is.</summary>
    public static ReadOnlySpan<byte> MetricStart => "{\"key\":"u8;

    public PutRun? Run { get; init; }

    public IReadOnlyList<RunInput>? Inputs { get; init; }

    public RunEnvironment? Environment { get; init; }

    public JournalArtifact? Artifact { get; init; }

    public byte[] ToBytes() => [.. JsonSerializer.SerializeToUtf8Bytes(this, JsonDefaults.Options), (byte)'\n'];

    /// <summary>The record; null when the line is damaged.</summary>
    public static JournalLine? Parse(ReadOnlySpan<byte> line)
    {
        try
        {
            return JsonSerializer.Deserialize<JournalLine>(line, JsonDefaults.Options);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>A file that waits beside the journal.</summary>
/// <param name="Path">Its path in the run.</param>
/// <param name="File">Its name in the journal's folder of files.</param>
internal sealed record JournalArtifact(string Path, string File);
