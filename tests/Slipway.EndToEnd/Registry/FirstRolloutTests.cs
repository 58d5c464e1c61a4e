using System.Diagnostics;
using System.Text.RegularExpressions;
using Slipway.Tests.Hosting;

namespace Slipway.EndToEnd.Registry;

/// <summary>The commands of the tutorial, as they stand there, one after the other.</summary>
public sealed partial class FirstRolloutTests
{
    [Fact, Trait("capability", "SRV-10"), Trait("capability", "SRV-13"), Trait("capability", "SRV-15")]
    public async Task The_tutorial_of_the_first_rollout_does_what_it_says()
    {
        var cancel = TestContext.Current.CancellationToken;
        var place = Directory.CreateTempSubdirectory("slipway-tutorial-").FullName;
        var address = $"http://127.0.0.1:{FreePort.Next()}";
        var blocks = Commands().Matches(await File.ReadAllTextAsync(Path.Combine(SlipwayProgram.Root, "docs", "tutorials", "first-rollout.md"), cancel))
            .Select(match => match.Groups[1].Value.Replace("http://127.0.0.1:5000", address, StringComparison.Ordinal)).ToList();
        Assert.Equal(10, blocks.Count);
        var script = new StringWriter();
        await script.WriteLineAsync("set -euo pipefail");
        foreach (var block in blocks)
        {
            if (block.StartsWith("./slipway server", StringComparison.Ordinal))
            {
                var server = block.Trim().Replace("./.rollout", place, StringComparison.Ordinal);
                await script.WriteLineAsync($"{server} --port {new Uri(address).Port} --grpc-port 0 >{place}/log 2>&1 &\nuntil curl -sf {address}/health >/dev/null; do kill -0 $! || {{ cat {place}/log; exit 1; }}; sleep 0.1; done");
            }
            else if (block.StartsWith("examples/rollout/traffic.sh", StringComparison.Ordinal))
            {
                await script.WriteLineAsync($"{block.Trim()} >/dev/null &");
            }
            else
            {
                await script.WriteLineAsync(block);
                if (block.Contains("rollout start", StringComparison.Ordinal))
                {
                    await script.WriteLineAsync("for i in $(seq 600); do ./slipway --json rollout status | grep -qE '\"status\": \"running\"' || break; sleep 0.2; done");
                }
            }
        }

        try
        {
            var start = new ProcessStartInfo("bash") { WorkingDirectory = SlipwayProgram.Root, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
            start.Environment["SLIPWAY_SERVER"] = address;
            using var bash = Process.Start(start)!;
            await bash.StandardInput.WriteAsync($"trap 'code=$?; set +e; kill $(jobs -p) 2>/dev/null; wait; exit $code' EXIT\n{script.ToString().Replace("./slipway", SlipwayProgram.Path, StringComparison.Ordinal)}\n");
            bash.StandardInput.Close();
            var output = bash.StandardOutput.ReadToEndAsync(cancel);
            var error = bash.StandardError.ReadToEndAsync(cancel);
            await bash.WaitForExitAsync(cancel);
            var said = await output;

            Assert.True(bash.ExitCode == 0, $"Exit code {bash.ExitCode}:\n{said}\n{await error}");
            var at = 0;
            foreach (var line in new[]
            {
                "late-parcel 1.0.0 is now in Production.", "\"model_version\":\"1.0.0\"", "Registered late-parcel 1.0.1", "Completed", "Registered late-parcel 1.0.2", "RolledBack", "1/4",
                "[disagreement]", "1.0.2", "Staging", "1.0.1", "Production", "1.0.0", "Archived",
            })
            {
                var found = said.IndexOf(line, at, StringComparison.Ordinal);
                Assert.True(found >= 0, $"'{line}' is missing after character {at} of:\n{said}");
                at = found;
            }
        }
        finally
        {
            Directory.Delete(place, recursive: true);
        }
    }

    [GeneratedRegex("^```sh\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Commands();
}
