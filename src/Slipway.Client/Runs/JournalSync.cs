using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Client.Runs;

/// <summary>What became of one journal.</summary>
public enum SyncOutcome
{
    /// <summary>The server has all of it; the journal has gone.</summary>
    Sent,

    /// <summary>A living process writes it; that process sends it too.</summary>
    Running,

    /// <summary>The server does not answer, or asks to come later.</summary>
    Unreachable,

    /// <summary>The server does not take it.</summary>
    Refused,
}

/// <summary>One journal after a synchronisation.</summary>
/// <param name="RunId">Its run.</param>
/// <param name="Path">Its file.</param>
/// <param name="Outcome">What became of it.</param>
/// <param name="Bytes">Length of what the server did not have before.</param>
/// <param name="Message">What is to be said of it; null when nothing is.</param>
public sealed record SyncedRun(string RunId, string Path, SyncOutcome Outcome, long Bytes, string? Message);

/// <summary>How far a synchronisation is.</summary>
/// <param name="RunId">The run being sent.</param>
/// <param name="SentBytes">Of all journals, taken by the server so far.</param>
/// <param name="AllBytes">Of all journals, to be sent.</param>
public readonly record struct SyncProgress(string RunId, long SentBytes, long AllBytes);

/// <summary>Sends the journals of a folder: of runs computed offline, and of processes that were killed.</summary>
internal static class JournalSync
{
    public static async Task<IReadOnlyList<SyncedRun>> SyncAsync(
        SlipwayClient client, string directory, bool fromStart, IProgress<SyncProgress>? progress, CancellationToken cancellationToken)
    {
        var paths = RunJournal.In(directory);
        var all = paths.Sum(path => new FileInfo(path).Length);
        var done = 0L;
        var synced = new List<SyncedRun>();
        foreach (var path in paths)
        {
            var length = new FileInfo(path).Length;
            var before = done;
            var runId = Path.GetFileNameWithoutExtension(path);
            synced.Add(await SyncAsync(client, path, runId, fromStart, sent => progress?.Report(new SyncProgress(runId, before + sent, all)), cancellationToken));
            done += length;
        }

        return synced;
    }

    private static async Task<SyncedRun> SyncAsync(SlipwayClient client, string path, string runId, bool fromStart, Action<long> sent, CancellationToken cancellationToken)
    {
        if (RunJournal.TryLock(path) is not { } locked)
        {
            return new SyncedRun(runId, path, SyncOutcome.Running, 0, "A process writes this run now and sends it itself.");
        }

        try
        {
            var problems = new List<string>();
            var sender = new JournalSender(client, path, problems.Add);
            if (fromStart)
            {
                sender.Restart();
            }

            var (whole, file, ended) = await ScanAsync(path, cancellationToken);
            if (file > whole)
            {
                problems.Add($"The last {file - whole} bytes were cut off by the end of the process and are left out.");
            }

            var start = sender.Offset;
            var result = await sender.SendAsync(whole, new Reporter(sent), cancellationToken);
            if (result.Ok && !ended)
            {
                result = await EndKilledAsync(client, path, runId, cancellationToken);
            }

            if (!result.Ok)
            {
                problems.Add(result.Refusal?.Message ?? result.Trouble!);
                return new SyncedRun(runId, path, result.Refusal is null ? SyncOutcome.Unreachable : SyncOutcome.Refused, sender.Offset - start, string.Join(' ', problems));
            }

            RunJournal.Delete(path);
            return new SyncedRun(runId, path, SyncOutcome.Sent, whole - start, problems.Count == 0 ? null : string.Join(' ', problems));
        }
        finally
        {
            RunJournal.Release(locked, path);
        }
    }

    // Nobody wrote the run's end: its process was killed, at about the time it last wrote.
    private static Task<SendResult> EndKilledAsync(SlipwayClient client, string path, string runId, CancellationToken cancellationToken) =>
        client.TrySendAsync(HttpMethod.Put, $"runs/{runId}", System.Net.Http.Json.JsonContent.Create(new PutRun
        {
            Status = RunStatus.Killed,
            EndTimeMs = new DateTimeOffset(File.GetLastWriteTimeUtc(path)).ToUnixTimeMilliseconds(),
            Tags = new Dictionary<string, string> { [RunRecord.FailureReasonTag] = "The process was killed before it ended its run." },
        }, options: JsonDefaults.Options), cancellationToken);

    private static async Task<(long WholeLines, long Length, bool Ended)> ScanAsync(string path, CancellationToken cancellationToken)
    {
        var ended = false;
        var whole = 0L;
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 128 * 1024, FileOptions.Asynchronous | FileOptions.SequentialScan);
        var reader = System.IO.Pipelines.PipeReader.Create(file);
        while (true)
        {
            var read = await reader.ReadAsync(cancellationToken);
            var buffer = read.Buffer;
            while (System.Buffers.BuffersExtensions.PositionOf(buffer, (byte)'\n') is { } end)
            {
                var line = buffer.Slice(0, end);
                whole += line.Length + 1;
                if (line.Length < 64 * 1024 && JournalStatus(line) is { } status)
                {
                    ended = status is not (RunStatus.Running or RunStatus.Scheduled);
                }

                buffer = buffer.Slice(buffer.GetPosition(1, end));
            }

            reader.AdvanceTo(buffer.Start, buffer.End);
            if (read.IsCompleted)
            {
                return (whole, whole + buffer.Length, ended);
            }
        }
    }

    private static RunStatus? JournalStatus(System.Buffers.ReadOnlySequence<byte> line)
    {
        ReadOnlySpan<byte> start = "{\"run\":"u8;
        return line.FirstSpan.StartsWith(start) || (line.FirstSpan.Length < start.Length && line.Length > start.Length)
            ? JournalLine.Parse(System.Buffers.BuffersExtensions.ToArray(line))?.Run?.Status
            : null;
    }

    private sealed class Reporter(Action<long> report) : IProgress<long>
    {
        public void Report(long value) => report(value);
    }
}
