using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Security.Cryptography;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Tracking;

/// <summary>
/// Files that come in parts, several at once and in any order. Parts wait on this server's disk until the last one is there; then they
/// become one file of the run like any other. An upload ends with the server, and a day after it began.
/// </summary>
/// <remarks>
/// MLflow hands out addresses of the store itself. Here a part comes to this server: a blob's name is its digest, which only one who has
/// seen all of it can tell.
/// </remarks>
public sealed class MultipartUploads(StorageOptions options, ArtifactStore artifacts, TimeProvider clock)
{
    /// <summary>As many as S3 takes.</summary>
    public const int PartsMax = 10_000;

    private const int OpenMax = 200;
    private static readonly TimeSpan Life = TimeSpan.FromHours(24);

    private readonly ConcurrentDictionary<string, Upload> _uploads = new(StringComparer.Ordinal);

    /// <summary>Begins an upload.</summary>
    /// <returns>A secret: whoever knows it may put parts.</returns>
    /// <exception cref="SlipwayException">InvalidArgument: the path or the number of parts; NotFound: the run; ResourceExhausted: too many have begun.</exception>
    public string Begin(string runId, string path, long? parts)
    {
        var canonical = ArtifactPath.Parse(path);
        if (parts is not (>= 1 and <= PartsMax))
        {
            throw RunLimits.Invalid($"Invalid value {parts} for parameter 'num_parts' supplied: it must be from 1 to {PartsMax}.");
        }

        artifacts.DemandOwner(runId);
        foreach (var (old, upload) in _uploads)
        {
            if (clock.GetUtcNow() - upload.BegunAt > Life)
            {
                Forget(old);
            }
        }

        if (_uploads.Count >= OpenMax)
        {
            throw new SlipwayException(ErrorCode.ResourceExhausted, $"{OpenMax} uploads in parts are open; complete or abort some, then try again.");
        }

        var id = RandomNumberGenerator.GetHexString(64, lowercase: true);
        Directory.CreateDirectory(Folder(id));
        _uploads[id] = new Upload(runId, canonical, (int)parts, clock.GetUtcNow());
        return id;
    }

    /// <summary>Takes one part; the same number again replaces it.</summary>
    /// <returns>Its mark, to be named at the end.</returns>
    /// <exception cref="SlipwayException">NotFound: the upload or the part; TooLarge.</exception>
    public async Task<string> PutPartAsync(string id, int number, Stream content, long limitBytes, CancellationToken cancellationToken)
    {
        var upload = Find(id);
        if (number < 1 || number > upload.Parts)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"The upload has parts 1 to {upload.Parts}, not {number}.");
        }

        var temporary = Path.Combine(Folder(id), $"{number}.{Guid.NewGuid():N}");
        try
        {
            var (digest, _) = await BlobReceiver.ReceiveAsync(content, temporary, limitBytes, cancellationToken);
            File.Move(temporary, Part(id, number), overwrite: true);
            upload.Marks[number] = digest;
            return digest;
        }
        catch (DirectoryNotFoundException e)
        {
            throw new SlipwayException(ErrorCode.NotFound, "The upload ended while the part was on its way.", e);
        }
        finally
        {
            if (Directory.Exists(Folder(id)))
            {
                File.Delete(temporary);
            }
        }
    }

    /// <summary>Makes the parts one file of the run.</summary>
    /// <exception cref="SlipwayException">NotFound: the upload, or it is of another file; InvalidArgument: a part is missing or is another than was put.</exception>
    public async Task<RunArtifact> CompleteAsync(
        string id, string runId, string path, IReadOnlyList<(long Number, string Mark)> parts, Caller by, long limitBytes, CancellationToken cancellationToken)
    {
        var upload = Find(id, runId, path);
        for (var number = 1; number <= upload.Parts; number++)
        {
            if (parts.Count != upload.Parts || parts.Count(part => part.Number == number) != 1)
            {
                throw RunLimits.Invalid($"Invalid value for parameter 'parts' supplied: it must name each of the parts 1 to {upload.Parts} once.");
            }

            if (!upload.Marks.TryGetValue(number, out var mark) || parts.Single(part => part.Number == number).Mark.Trim('"') != mark)
            {
                throw RunLimits.Invalid($"Part {number} has not come, or has another 'etag' than its answer had; send it again.");
            }
        }

        var pipe = new Pipe();
        var joining = JoinAsync(id, upload.Parts, pipe.Writer, cancellationToken);
        RunArtifact file;
        try
        {
            await using var content = pipe.Reader.AsStream();
            file = await artifacts.LogAsync(upload.RunId, upload.Path, content, by, cancellationToken, limitBytes);
        }
        finally
        {
            await joining;
        }

        Forget(id);
        return file;
    }

    /// <summary>Throws the parts away.</summary>
    /// <exception cref="SlipwayException">NotFound: the upload, or it is of another file.</exception>
    public void Abort(string id, string runId, string path)
    {
        Find(id, runId, path);
        Forget(id);
    }

    private async Task JoinAsync(string id, int parts, PipeWriter to, CancellationToken cancellationToken)
    {
        try
        {
            for (var number = 1; number <= parts; number++)
            {
                await using var part = new FileStream(Part(id, number), FileMode.Open, FileAccess.Read, FileShare.Read, 128 * 1024, useAsync: true);
                await part.CopyToAsync(to, cancellationToken);
            }

            await to.CompleteAsync();
        }
        catch (Exception e)
        {
            await to.CompleteAsync(e); // Whoever reads meets it.
        }
    }

    private Upload Find(string id) => _uploads.TryGetValue(id, out var upload) ? upload : throw NoUpload();

    private Upload Find(string id, string runId, string path) =>
        Find(id) is var upload && upload.RunId == runId && upload.Path == path ? upload : throw NoUpload();

    private void Forget(string id)
    {
        if (_uploads.TryRemove(id, out _))
        {
            Directory.Delete(Folder(id), recursive: true);
        }
    }

    private string Folder(string id) => Path.Combine(options.TemporaryDirectory, "uploads", id);

    private string Part(string id, int number) => Path.Combine(Folder(id), $"{number}");

    // The id is a secret and is not repeated.
    private static SlipwayException NoUpload() => new(ErrorCode.NotFound, "There is no such upload of this file; it was completed, aborted or has ended with the server. Begin a new one.");

    private sealed record Upload(string RunId, string Path, int Parts, DateTimeOffset BegunAt)
    {
        public ConcurrentDictionary<int, string> Marks { get; } = [];
    }
}
