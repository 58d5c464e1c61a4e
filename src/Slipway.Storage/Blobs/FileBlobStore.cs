using System.Globalization;

namespace Slipway.Storage.Blobs;

/// <summary>Blobs as files under one folder.</summary>
internal sealed class FileBlobStore(StorageOptions options) : BlobStore(Path.Combine(options.BlobDirectory, "tmp"))
{
    private readonly string _root = options.BlobDirectory;

    public override string Place => _root;

    public override Task CheckAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override string PathOf(string sha256)
    {
        var path = Locate(sha256);
        return File.Exists(path) ? path : throw Missing(sha256);
    }

    public override bool Exists(string sha256) => File.Exists(Locate(sha256));

    public override Task<Stream> OpenReadAsync(string sha256, CancellationToken cancellationToken) => Task.FromResult<Stream>(
        new FileStream(PathOf(sha256), new FileStreamOptions { BufferSize = 0, Options = FileOptions.Asynchronous | FileOptions.SequentialScan }));

    public override IEnumerable<string> List() =>
        Directory.EnumerateDirectories(_root).Where(folder => Path.GetFileName(folder).Length == 2)
            .SelectMany(Directory.EnumerateFiles).Select(file => Path.GetFileName(file)!);

    private protected override string? Mark(string sha256)
    {
        var file = new FileInfo(Locate(sha256));
        return file.Exists ? string.Create(CultureInfo.InvariantCulture, $"{file.Length} {file.LastWriteTimeUtc.Ticks}") : null;
    }

    private protected override Task<bool> AdoptAsync(string temporary, string sha256, long size, CancellationToken cancellationToken)
    {
        var target = Locate(sha256);
        var folder = Path.GetDirectoryName(target)!;
        if (!Directory.Exists(folder))
        {
            Directory.CreateDirectory(folder);
            FlushDirectory(_root);
        }

        // Also over one that is there: it may have been changed on disk, and whoever put it may not have come to the flush yet.
        File.Move(temporary, target, overwrite: true);
        FlushDirectory(folder);
        return Task.FromResult(true);
    }

    // Without this a power cut can lose the name of a file whose content is safe.
    private static void FlushDirectory(string path)
    {
        if (!OperatingSystem.IsWindows())
        {
            Native.Files.DirectoryFlush.Flush(path);
        }
    }

    private string Locate(string sha256)
    {
        CheckName(sha256);
        return Path.Combine(_root, sha256[..2], sha256);
    }
}
