using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Client.Runs;

/// <summary>Sends a journal to its server, from where it was last acknowledged. Sending a part twice changes nothing there.</summary>
internal sealed class JournalSender(SlipwayClient client, string path, Action<string> problem)
{
    private const int ReadBytes = 256 * 1024;

    private readonly string _runId = Path.GetFileNameWithoutExtension(path);
    private bool _restarted;

    /// <summary>How far the server has the journal.</summary>
    public long Offset { get; private set; } = ReadSent(path, client.Server);

    /// <summary>Forgets what was acknowledged and begins at the journal's start.</summary>
    public void Restart()
    {
        Offset = 0;
        _restarted = true;
    }

    /// <summary>Sends whole lines up to an offset, or up to the first that must wait.</summary>
    /// <param name="upTo">A length of the journal, at the end of a line.</param>
    /// <param name="progress">Told the offset after each acknowledged part; null when nobody looks.</param>
    /// <param name="cancellationToken">Ends the sending; what was acknowledged stays so.</param>
    public async Task<SendResult> SendAsync(long upTo, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, FileOptions.Asynchronous);
        var buffer = new byte[ReadBytes];
        var filled = 0;
        if (Offset > RandomAccess.GetLength(file))
        {
            Offset = 0; // The note is of another journal.
        }

        while (Offset < upTo)
        {
            var wanted = (int)Math.Min(buffer.Length - filled, upTo - Offset - filled);
            var read = wanted == 0 ? 0 : await RandomAccess.ReadAsync(file, buffer.AsMemory(filled, wanted), Offset + filled, cancellationToken);
            filled += read;
            var end = buffer.AsSpan(0, filled).LastIndexOf((byte)'\n') + 1;
            if (end == 0)
            {
                if (read == 0 && wanted > 0)
                {
                    break; // Cut off before its end of line.
                }

                Array.Resize(ref buffer, buffer.Length * 2);
                continue;
            }

            var (result, taken) = await SendLinesAsync(buffer.AsMemory(0, end), cancellationToken);
            Advance(taken);
            progress?.Report(Offset);
            if (result.Refusal?.Code is ErrorCode.NotFound && !_restarted)
            {
                // The server has lost the run, or is another one at the same address: it gets all of it.
                _restarted = true;
                Offset = 0;
                filled = 0;
                continue;
            }

            if (!result.Ok)
            {
                return result;
            }

            buffer.AsSpan(end, filled - end).CopyTo(buffer);
            filled -= end;
        }

        return default;
    }

    // Neighbouring metric lines are one request. Answers how many bytes are settled: taken by the server, or set aside.
    private async Task<(SendResult Result, int Taken)> SendLinesAsync(ReadOnlyMemory<byte> lines, CancellationToken cancellationToken)
    {
        var start = 0;
        while (start < lines.Length)
        {
            var end = start;
            while (end < lines.Length && lines.Span[end..].StartsWith(JournalLine.MetricStart))
            {
                end = EndOfLine(lines, end);
            }

            var metrics = end > start;
            end = metrics ? end : EndOfLine(lines, start);
            var part = lines[start..end];
            var result = metrics ? await SendMetricsAsync(part, cancellationToken) : await SendRecordAsync(part, cancellationToken);
            if (result.RequestAtFault)
            {
                SetAside(part.Span, result.Refusal!.Message);
            }
            else if (!result.Ok)
            {
                return (result, start);
            }

            start = end;
        }

        return (default, start);
    }

    private static int EndOfLine(ReadOnlyMemory<byte> lines, int start) => start + lines.Span[start..].IndexOf((byte)'\n') + 1;

    private Task<SendResult> SendMetricsAsync(ReadOnlyMemory<byte> lines, CancellationToken cancellationToken)
    {
        var content = new ReadOnlyMemoryContent(lines);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        return client.TrySendAsync(HttpMethod.Post, $"runs/{_runId}/metrics", content, cancellationToken);
    }

    private async Task<SendResult> SendRecordAsync(ReadOnlyMemory<byte> line, CancellationToken cancellationToken)
    {
        switch (JournalLine.Parse(line.Span))
        {
            case { Run: { } run }:
                return await client.TrySendAsync(HttpMethod.Put, $"runs/{_runId}", JsonContent.Create(run, options: JsonDefaults.Options), cancellationToken);
            case { Inputs: { } inputs }:
                return await client.TrySendAsync(HttpMethod.Post, $"runs/{_runId}/inputs", JsonContent.Create(new Contracts.Tracking.PostInputs(inputs), options: JsonDefaults.Options), cancellationToken);
            case { Environment: { } environment }:
                return await client.TrySendAsync(HttpMethod.Put, $"runs/{_runId}/environment", JsonContent.Create(environment, options: JsonDefaults.Options), cancellationToken);
            case { Artifact: { } artifact }:
                return await SendFileAsync(artifact, cancellationToken);
            default:
                return new SendResult(new SlipwayException(ErrorCode.InvalidArgument, "A line of the journal is damaged."));
        }
    }

    private async Task<SendResult> SendFileAsync(JournalArtifact artifact, CancellationToken cancellationToken)
    {
        var file = Path.Combine(RunJournal.FilesOf(path), Path.GetFileName(artifact.File));
        if (!File.Exists(file))
        {
            // A file is not kept once a server has it.
            if (_restarted)
            {
                problem($"'{artifact.Path}' of run {_runId} was sent before and is not kept here; the server that asks for it again must get it from the other.");
            }

            return default;
        }

        SendResult result;
        await using (var content = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1, FileOptions.Asynchronous | FileOptions.SequentialScan))
        {
            var body = new StreamContent(content, 128 * 1024);
            body.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
            result = await client.TrySendAsync(
                HttpMethod.Put, $"runs/{_runId}/artifacts/{string.Join('/', artifact.Path.Split('/').Select(Uri.EscapeDataString))}", body, cancellationToken);
        }

        if (result.Ok)
        {
            File.Delete(file);
        }

        return result;
    }

    private void SetAside(ReadOnlySpan<byte> lines, string why)
    {
        var refused = RunJournal.RefusedOf(path);
        using (var file = new FileStream(refused, FileMode.Append, FileAccess.Write))
        {
            file.Write(lines);
        }

        problem($"The server refused a part of run {_runId}: {why} The part is kept in '{refused}'.");
    }

    /// <summary>Notes that the server has this much more.</summary>
    public void Advance(int bytes)
    {
        if (bytes > 0)
        {
            Offset += bytes;
            File.WriteAllText(RunJournal.SentOf(path), JsonSerializer.Serialize(new SentNote(client.Server.ToString(), Offset), JsonDefaults.Options));
        }
    }

    // A note for another server, or one that was being written when the process died, is none.
    private static long ReadSent(string path, Uri server)
    {
        try
        {
            return JsonSerializer.Deserialize<SentNote>(File.ReadAllText(RunJournal.SentOf(path)), JsonDefaults.Options) is { } note && note.Server == server.ToString() ? note.Offset : 0;
        }
        catch (Exception e) when (e is IOException or JsonException)
        {
            return 0;
        }
    }

    private sealed record SentNote(string Server, long Offset);
}
