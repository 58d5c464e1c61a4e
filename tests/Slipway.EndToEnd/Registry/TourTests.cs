using System.Diagnostics;

namespace Slipway.EndToEnd.Registry;

public sealed class TourTests
{
    [Fact]
    [Trait("capability", "REG-14")]
    [Trait("capability", "REG-15")]
    public async Task The_tour_of_the_registry_runs_from_its_first_refusal_to_its_last_question()
    {
        var ct = TestContext.Current.CancellationToken;
        var start = new ProcessStartInfo("bash", [Path.Combine(SlipwayProgram.Root, "examples", "registry", "tour.sh")])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.Environment["SLIPWAY"] = SlipwayProgram.Path;
        using var tour = Process.Start(start)!;
        var output = tour.StandardOutput.ReadToEndAsync(ct);
        var error = tour.StandardError.ReadToEndAsync(ct);
        await tour.WaitForExitAsync(ct);
        var said = await output;

        Assert.True(tour.ExitCode == 0, $"{said}\n{await error}");
        var at = 0;
        foreach (var line in new[]
        {
            "✗ approvals: 1 needed from approver or administrator", "delay 1.0.0 is now in Staging", "delay 1.0.0 is now in Production", "✗ improves_on_production: auc",
            "DeLong's test on 400 common rows", "Prefer: ", "is now registered at", "was registered already at",
            "delay 1.0.0 is in Production again", "data flights@1", "approved by grace (approver)", "is deprecated: never better than the first", "evaluation_report", "model_version.rolled_back", "The tour is over.",
        })
        {
            var found = said.IndexOf(line, at, StringComparison.Ordinal);
            Assert.True(found >= 0, $"'{line}' is missing after character {at} of:\n{said}");
            at = found;
        }
    }
}
