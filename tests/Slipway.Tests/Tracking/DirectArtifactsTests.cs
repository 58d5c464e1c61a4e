using System.Diagnostics;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

/// <summary>Files that others put below the artifact root, and what else they may put there.</summary>
[Trait("database", "none")]
public sealed class DirectArtifactsTests : IDisposable
{
    private readonly string _data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
    private readonly string _root;
    private readonly string _folder;
    private readonly DirectArtifacts _artifacts;

    public DirectArtifactsTests()
    {
        // The root itself may be reached by a link; that is its owner's choice.
        Directory.CreateDirectory(Path.Combine(_data, "disk", "runs"));
        Directory.CreateSymbolicLink(Path.Combine(_data, "link"), "disk");
        _root = Path.Combine(_data, "link", "runs");
        _folder = Directory.CreateDirectory(Path.Combine(_root, "0", "run-1", "artifacts")).FullName;
        _artifacts = new DirectArtifacts(new StorageOptions { DataDirectory = _data, DatabasePath = "none", BlobDirectory = "none", ArtifactRoot = $"file://{_root}" });
    }

    private RunRecord Run => new("run-1", "0", "run", "ada", RunStatus.Finished, 0, null, false, [], new Dictionary<string, string>(), new Dictionary<string, string>(), [], null, null, [])
    {
        ArtifactLocation = $"file://{_root}/0",
    };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _artifacts.Dispose();
        Directory.Delete(_data, recursive: true);
    }

    [Fact]
    public async Task A_file_is_read_and_seeks()
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "notes.txt"), "by hand", Cancel);

        using var stream = new StreamReader((await _artifacts.OpenAsync(Run, "notes.txt", Cancel))!);

        Assert.Equal(7, stream.BaseStream.Length);
        Assert.Equal("by hand", await stream.ReadToEndAsync(Cancel));
        Assert.Null(await _artifacts.OpenAsync(Run, "none.txt", Cancel));
        Assert.Null(await _artifacts.OpenAsync(Run, "notes.txt/below", Cancel));
    }

    [Fact]
    public async Task A_pipe_is_refused_and_nobody_waits_for_it()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Pipes have no path there.");
        using var made = Process.Start("mkfifo", Path.Combine(_folder, "pipe"));
        await made.WaitForExitAsync(Cancel);

        var refused = await Assert.ThrowsAsync<SlipwayException>(() => Task.Run(() => _artifacts.OpenAsync(Run, "pipe", Cancel)).WaitAsync(TimeSpan.FromMinutes(2), Cancel));

        Assert.Equal(ErrorCode.NotFound, refused.Code);
        Assert.Contains("no regular file", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_link_that_is_swapped_in_is_seen_once_the_file_is_open()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux tells where an open file is.");
        File.WriteAllText(Path.Combine(_data, "secret"), "not below the root");
        File.CreateSymbolicLink(Path.Combine(_folder, "file"), Path.Combine(_data, "secret"));
        Directory.CreateSymbolicLink(Path.Combine(_folder, "sub"), _data);

        Assert.Null(PlainFiles.OpenRead(_root, Path.Combine(_folder, "file")));
        Assert.Null(PlainFiles.OpenRead(_root, Path.Combine(_folder, "sub", "secret")));
    }

    [Fact]
    public async Task What_the_server_may_not_read_is_told()
    {
        if (OperatingSystem.IsWindows() || Environment.IsPrivilegedProcess)
        {
            Assert.Skip("Nothing is kept from root.");
            return;
        }

        var file = Path.Combine(_folder, "kept.txt");
        await File.WriteAllTextAsync(file, "kept", Cancel);
        File.SetUnixFileMode(file, UnixFileMode.None);
        var sub = Directory.CreateDirectory(Path.Combine(_folder, "kept"), UnixFileMode.None).FullName;

        foreach (var refused in new[]
        {
            await Assert.ThrowsAsync<SlipwayException>(() => _artifacts.OpenAsync(Run, "kept.txt", Cancel)), await Assert.ThrowsAsync<SlipwayException>(() => _artifacts.ListAsync(Run, "kept", Cancel)),
        })
        {
            Assert.Equal(ErrorCode.Unavailable, refused.Code);
            Assert.StartsWith($"The server may not read {sub}", refused.Message, StringComparison.Ordinal);
        }

        Directory.Delete(sub);
    }
}
