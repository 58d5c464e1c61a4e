using System.Diagnostics;
using Slipway.Tests.Hosting;

namespace Slipway.EndToEnd.Postgres;

/// <summary>A PostgreSQL of the test's own, on loopback, with fsync on: it is stopped and killed while the server writes.</summary>
internal sealed class PostgresCluster : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("slipway-postgres-").FullName;
    private readonly string _binaries;
    private readonly int _port = FreePort.Next();

    private PostgresCluster(string binaries) => _binaries = binaries;

    /// <summary>Folder of the newest installed server's programs; null when there is none.</summary>
    public static string? Binaries => Directory.Exists("/usr/lib/postgresql")
        ? Directory.EnumerateDirectories("/usr/lib/postgresql").Select(version => Path.Combine(version, "bin")).Where(bin => File.Exists(Path.Combine(bin, "initdb"))).Max()
        : null;

    public string Address => $"postgresql://slipway@127.0.0.1:{_port}/postgres";

    public static async Task<PostgresCluster> StartAsync(CancellationToken ct)
    {
        var cluster = new PostgresCluster(Binaries!);
        if (IsRoot)
        {
            // PostgreSQL does not run as root.
            await cluster.RunAsync(asServer: false, "chown", ["postgres", cluster._folder], ct);
        }

        await cluster.RunAsync(asServer: true, "initdb", ["-D", cluster.Data, "-U", "slipway", "-A", "trust", "-E", "UTF8", "--locale=C"], ct);
        await cluster.StartServerAsync(ct);
        return cluster;
    }

    public Task StartServerAsync(CancellationToken ct) => RunAsync(asServer: true, "pg_ctl",
        ["-D", Data, "-w", "-l", Path.Combine(_folder, "log"), "-o", $"-p {_port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={_folder}", "start"], ct);

    /// <param name="ct">The test's.</param>
    /// <param name="mode"><c>fast</c>: transactions are rolled back; <c>immediate</c>: as after a power cut.</param>
    public Task StopServerAsync(string mode, CancellationToken ct) => RunAsync(asServer: true, "pg_ctl", ["-D", Data, "-w", "-m", mode, "stop"], ct);

    public async ValueTask DisposeAsync()
    {
        if (File.Exists(Path.Combine(Data, "postmaster.pid")))
        {
            await StopServerAsync("immediate", CancellationToken.None);
        }

        Directory.Delete(_folder, recursive: true);
    }

    private static bool IsRoot => Environment.UserName == "root";

    private string Data => Path.Combine(_folder, "data");

    private async Task RunAsync(bool asServer, string program, string[] arguments, CancellationToken ct)
    {
        var path = asServer ? Path.Combine(_binaries, program) : program;
        string[] all = asServer && IsRoot ? ["runuser", "-u", "postgres", "--", path, .. arguments] : [path, .. arguments];
        // The server that pg_ctl leaves behind would keep a pipe open: its output goes nowhere.
        var start = new ProcessStartInfo("/bin/sh") { WorkingDirectory = _folder, UseShellExecute = false };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add("exec \"$@\" >/dev/null 2>&1");
        start.ArgumentList.Add("sh");
        foreach (var argument in all)
        {
            start.ArgumentList.Add(argument);
        }

        using var process = Process.Start(start)!;
        await process.WaitForExitAsync(ct);
        Assert.True(process.ExitCode == 0, $"{string.Join(' ', all)} ended with {process.ExitCode}");
    }
}
