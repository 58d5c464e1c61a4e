using System.Diagnostics;
using System.Text.Json;
using Slipway.Client;
using Slipway.Tests.Import;

namespace Slipway.EndToEnd.Import;

/// <summary>The commands of docs/how-to/move-from-mlflow.md, run as they stand there, and an import that is stopped by Ctrl-C.</summary>
public sealed class MoveFromMlflowTests : ServerFixture
{
    private readonly string _folder = SlipwayProgram.NewDataFolder();

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
        GC.SuppressFinalize(this);
    }

    [Fact, Trait("capability", "X-57")]
    public async Task The_commands_of_the_page_do_what_it_says()
    {
        var ct = TestContext.Current.CancellationToken;
        File.Move(MlflowDatabase.Sqlite(_folder, 2), Path.Combine(_folder, "mlflow.db"));
        var artifacts = Path.Combine(_folder, "mlartifacts", "1", MlflowDatabase.RunId(2), "artifacts");
        Directory.CreateDirectory(artifacts);
        await File.WriteAllTextAsync(Path.Combine(artifacts, "notes.txt"), "kept", ct);
        var oldData = SlipwayProgram.NewDataFolder();
        await using (var old = await RunningServer.StartAsync(oldData, ct))
        {
            // A Slipway server stands for the MLflow server of the page.
            await RunAsync(old.Address, ct, "import", "mlflow", "mlflow.db", "--artifacts", "copy", "--artifact-source", "mlartifacts");
            var commands = (await File.ReadAllLinesAsync(Path.Combine(SlipwayProgram.Root, "docs", "how-to", "move-from-mlflow.md"), ct))
                .Where(line => line.StartsWith("./slipway import", StringComparison.Ordinal) && !line.Contains("postgresql:", StringComparison.Ordinal)).ToList();
            Assert.Equal(6, commands.Count);
            foreach (var command in commands)
            {
                var arguments = command.Replace("http://mlflow.example.org:5000", old.Address.ToString(), StringComparison.Ordinal)
                    .Split('"').SelectMany((part, i) => i % 2 == 1 ? [part] : part.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Skip(1).ToArray();

                var (exitCode, output, error) = await RunAsync(Server.Address, ct, [.. arguments, "--json"]);

                var whole = command.Contains("--dry-run", StringComparison.Ordinal) || command.Contains("--leave", StringComparison.Ordinal) || command.Contains("http:", StringComparison.Ordinal);
                Assert.True(exitCode == (whole ? 0 : 1), $"{command}: {exitCode} {output} {error}");
                using var report = JsonDocument.Parse(output);
                Assert.Equal(whole, report.RootElement.GetProperty("complete").GetBoolean());
                Assert.Equal(0, report.RootElement.GetProperty("differences").GetArrayLength());
                var kinds = report.RootElement.GetProperty("kinds").EnumerateArray().ToDictionary(kind => kind.GetProperty("kind").GetString()!);
                Assert.Equal(120, kinds["runs"].GetProperty("source").GetInt64());
                Assert.Equal(command.Contains("--artifacts", StringComparison.Ordinal), kinds.ContainsKey("artifact files"));
            }
        }

        Directory.Delete(oldData, recursive: true);
        using var client = new SlipwayClient(Server.Address);
        var run = await client.GetRunAsync(MlflowDatabase.RunId(2), ct);
        Assert.Equal("notes.txt", Assert.Single(run.Artifacts).Path);
    }

    [Fact]
    public async Task An_import_stopped_by_an_interrupt_goes_on_and_a_person_reads_why_it_is_not_whole()
    {
        var ct = TestContext.Current.CancellationToken;
        var path = MlflowDatabase.Sqlite(_folder, 3, runs: 600, pointsPerRun: 60);
        using (var import = Start(Server.Address, "import", "mlflow", path))
        {
            using var client = new SlipwayClient(Server.Address);
            while ((await client.GetAsync<JsonElement>("experiments", ct)).GetProperty("experiments").GetArrayLength() < 3)
            {
                Assert.False(import.HasExited);
                await Task.Delay(5, ct);
            }

            using (var interrupt = Process.Start("kill", ["-INT", $"{import.Id}"]))
            {
                await interrupt.WaitForExitAsync(ct);
            }

            var said = await import.StandardError.ReadToEndAsync(ct);
            await import.WaitForExitAsync(ct);
            Assert.NotEqual(0, import.ExitCode);
            Assert.DoesNotContain("   at ", said, StringComparison.Ordinal);
        }

        var (exitCode, output, error) = await RunAsync(Server.Address, ct, "import", "mlflow", path);

        Assert.Equal(1, exitCode);
        Assert.Contains("Not everything is here.", output, StringComparison.Ordinal);
        Assert.Matches(@"model versions +│ +3 │ +0 │ not imported", output);
        Assert.Matches(@"metric points +│ +36,000 │ +36,000 │ equal", output);
        Assert.DoesNotContain('\u001b', error);
    }

    private Task<(int ExitCode, string Output, string Error)> RunAsync(Uri server, CancellationToken ct, params string[] arguments)
    {
        return Wait(Start(server, arguments));

        async Task<(int, string, string)> Wait(Process started)
        {
            using var process = started;
            var output = process.StandardOutput.ReadToEndAsync(ct);
            var error = process.StandardError.ReadToEndAsync(ct);
            await process.WaitForExitAsync(ct);
            return (process.ExitCode, await output, await error);
        }
    }

    private Process Start(Uri server, params string[] arguments)
    {
        var start = new ProcessStartInfo(SlipwayProgram.Path, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            WorkingDirectory = _folder,
        };
        start.Environment["SLIPWAY_SERVER"] = server.ToString();
        start.Environment["XDG_DATA_HOME"] = _folder; // The journal is this test's own.
        return Process.Start(start)!;
    }
}
