using System.Diagnostics;
using Slipway.Storage.S3;

namespace Slipway.Tests.Hosting;

/// <summary>A real S3 server (s3rver) with one empty bucket, on a free loopback port.</summary>
internal sealed class S3Server : IAsyncDisposable
{
    public const string Bucket = "slipway-test";

    private readonly Process _process;
    private readonly string _folder;

    private S3Server(Process process, string folder, Uri address)
    {
        _process = process;
        _folder = folder;
        Address = address;
    }

    public Uri Address { get; }

    /// <summary>What it lets in.</summary>
    public S3Settings Settings => With("S3RVER", "S3RVER");

    public S3Settings With(string? accessKey, string? secretKey) => new() { Endpoint = Address, PathStyle = true, AccessKey = accessKey, SecretKey = secretKey };

    public static async Task<S3Server> StartAsync()
    {
        var script = Path.Combine(Root(), "tests", "clients", "node_modules", "s3rver", "bin", "s3rver.js");
        Assert.SkipUnless(File.Exists(script), "The S3 server is not fetched: run npm ci --ignore-scripts in tests/clients.");
        var folder = Directory.CreateTempSubdirectory("slipway-s3-").FullName;
        var process = Process.Start(new ProcessStartInfo("node", [script, "-d", folder, "-a", "127.0.0.1", "-p", "0", "--silent", "--configure-bucket", Bucket])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        _ = process.StandardError.ReadToEndAsync();
        string? line;
        do
        {
            line = await process.StandardOutput.ReadLineAsync();
            Assert.NotNull(line); // It ended instead of listening.
        }
        while (!line.Contains("listening on ", StringComparison.Ordinal));
        _ = process.StandardOutput.ReadToEndAsync();
        return new S3Server(process, folder, new Uri("http://" + line[(line.LastIndexOf(' ') + 1)..].Trim()));
    }

    /// <summary>Ends it as a power cut would.</summary>
    public void Kill()
    {
        _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
    }

    public ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            Kill();
        }

        _process.Dispose();
        Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }

    private static string Root()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Slipway.slnx")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? throw new DirectoryNotFoundException("The tests run from inside a checkout: no Slipway.slnx above them.");
    }
}
