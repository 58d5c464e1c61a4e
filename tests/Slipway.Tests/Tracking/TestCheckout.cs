using System.Diagnostics;

namespace Slipway.Tests.Tracking;

/// <summary>A git checkout with one commit and a remote whose URL holds a password.</summary>
internal sealed class TestCheckout : IDisposable
{
    public TestCheckout()
    {
        Git("init", "-q", "-b", "main");
        File.WriteAllText(Path.Combine(Folder, "file.txt"), "one");
        Git("add", ".");
        Git("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "-q", "-m", "One");
        Git("remote", "add", "origin", "https://ada:secret@example.org/flights.git");
        Commit = Git("rev-parse", "HEAD");
    }

    public string Folder { get; } = Directory.CreateTempSubdirectory("slipway-git-").FullName;

    public string Commit { get; }

    public void Dispose() => Directory.Delete(Folder, recursive: true);

    private string Git(params string[] arguments)
    {
        var start = new ProcessStartInfo("git") { WorkingDirectory = Folder, RedirectStandardOutput = true };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        return output.Trim();
    }
}
