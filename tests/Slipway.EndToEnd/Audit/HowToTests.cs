using System.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts.Identity;
using Slipway.EndToEnd.Pages;
using Slipway.Identity;
using Slipway.Storage;
using Slipway.Web;

namespace Slipway.EndToEnd.Audit;

/// <summary>The commands of docs/how-to/prove-what-happened.md and docs/how-to/publish-model-pages.md, run as they stand there.</summary>
public sealed class HowToTests : ServerFixture
{
    private readonly string _folder = Directory.CreateTempSubdirectory("slipway-howto-").FullName;
    private string _token = "";

    [Fact, Trait("capability", "GOV-01"), Trait("capability", "GOV-02")]
    public async Task What_happened_is_proven_by_the_commands_of_the_page()
    {
        await RunAsync("slipway audit checkpoint");
        foreach (var command in Commands("prove-what-happened.md"))
        {
            await RunAsync(command);
        }

        Assert.StartsWith("-----BEGIN PUBLIC KEY-----", await File.ReadAllTextAsync(Path.Combine(_folder, "slipway-audit.pem"), Cancel), StringComparison.Ordinal);
        Assert.Contains("## Versions deployed", await File.ReadAllTextAsync(Path.Combine(_folder, "report.md"), Cancel), StringComparison.Ordinal);
        Assert.Contains("signed checkpoints agree", await RunAsync("slipway audit verify"), StringComparison.Ordinal); // After the change of key.
        Assert.Contains("signed checkpoints agree", await RunAsync("slipway audit verify --data ./.slipway --public-key slipway-audit.pem"), StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "REG-25")]
    public async Task Model_pages_are_written_by_the_commands_of_the_page_and_by_a_server_that_is_told_to()
    {
        foreach (var command in Commands("publish-model-pages.md"))
        {
            await RunAsync(command);
        }

        Assert.Contains("## Runbook", await File.ReadAllTextAsync(Path.Combine(_folder, "model-pages", "flight-delay.md"), Cancel), StringComparison.Ordinal);
        var data = SlipwayProgram.NewDataFolder();
        await Seed.WriteAsync(data);
        var pages = Path.Combine(_folder, "kept");
        await using (await RunningServer.StartAsync(data, Cancel, "--docs-dir", pages, "--public-url", "http://slipway.example.org"))
        {
            while (!File.Exists(Path.Combine(pages, "index.md")))
            {
                await Task.Delay(50, Cancel);
            }
        }

        Assert.Contains("slipway --server http://slipway.example.org verify", await File.ReadAllTextAsync(Path.Combine(pages, "flight-delay.md"), Cancel), StringComparison.Ordinal);
        Directory.Delete(data, recursive: true);
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
        GC.SuppressFinalize(this);
    }

    protected override async Task SeedAsync(string dataDirectory)
    {
        await Seed.WriteAsync(dataDirectory);
        await using var app = SlipwayServer.Build(new ServerOptions { DataDirectory = dataDirectory, Port = 0, GrpcPort = 0 });
        _token = (await app.Services.GetRequiredService<UserStore>().CreateAsync("root", Role.Administrator, Caller.System("test"), Cancel)).Token;
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    // Starting a server is left out: one runs, on the data folder that the commands call ./.slipway.
    private static IEnumerable<string> Commands(string page) => File.ReadAllLines(Path.Combine(SlipwayProgram.Root, "docs", "how-to", page))
        .SkipWhile(line => line != "```sh").Where(line => (line.StartsWith("slipway ", StringComparison.Ordinal) && !line.StartsWith("slipway server", StringComparison.Ordinal)) || line.StartsWith("git ", StringComparison.Ordinal));

    private async Task<string> RunAsync(string command)
    {
        var data = Path.Combine(_folder, ".slipway");
        if (!Directory.Exists(data))
        {
            Directory.CreateSymbolicLink(data, DataDirectory);
        }

        var start = new ProcessStartInfo("bash", ["-c", command]) { WorkingDirectory = _folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["PATH"] = $"{Path.GetDirectoryName(SlipwayProgram.Path)}:{Environment.GetEnvironmentVariable("PATH")}";
        start.Environment["SLIPWAY_SERVER"] = Server.Address.ToString();
        start.Environment["SLIPWAY_TOKEN"] = _token;
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(Cancel), process.StandardError.ReadToEndAsync(Cancel));
        await process.WaitForExitAsync(Cancel);
        Assert.True(process.ExitCode == 0, $"{command}: {process.ExitCode} {await output} {await error}");
        return await output;
    }
}
