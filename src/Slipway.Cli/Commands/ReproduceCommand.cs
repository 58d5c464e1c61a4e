using System.CommandLine;
using System.Globalization;
using Slipway.Contracts.Pipelines;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway registry reproduce flight-delay 1.0.0</c></summary>
internal static class ReproduceCommand
{
    public static Command Create(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string>("version") { Description = "1.0.0, 3, production or @alias." };
        var detach = new Option<bool>("--detach") { Description = "Return at once instead of following the run." };
        var command = new Command("reproduce", "Build a version again from its data, pipeline, parameters and seed, and compare: 0 reproduced, 1 not.") { model, version, detach };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var route = $"models/{Uri.EscapeDataString(args.GetRequiredValue(model))}/versions/{Uri.EscapeDataString(args.GetRequiredValue(version))}";
            var reproduction = await client.PostAsync<Reproduction>($"{route}/reproduce", null, ct);
            if (reproduction.RunId is { } run && !args.GetValue(detach))
            {
                await PipelineCommand.FollowAsync(client, run, connection.Json(args) ? null : ConnectionOptions.ProgressConsole, ct);

                // By the version it was started for: an alias or a stage may have moved on meanwhile.
                var list = await client.GetAsync<ReproductionList>(
                    $"models/{Uri.EscapeDataString(reproduction.Model)}/versions/{Uri.EscapeDataString(reproduction.Version)}/reproductions", ct);
                reproduction = list.Reproductions.First(found => found.RunId == run);
            }

            _ = connection.Print(args, reproduction, console => Draw(console, reproduction));
            return reproduction.Outcome is ReproductionOutcome.Reproduced or ReproductionOutcome.Running ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    private static void Draw(IAnsiConsole console, Reproduction reproduction)
    {
        // What is the same and decides nothing would only hide the rest.
        var shown = reproduction.Checks.Where(check => check.Decides || !check.Same).ToList();
        if (shown.Count > 0)
        {
            var table = new Table().Border(TableBorder.Rounded).AddColumns("Compared", "Then", "Now").AddColumn(new TableColumn("Difference").RightAligned()).AddColumn("");
            foreach (var check in shown)
            {
                table.AddRow(Markup.Escape(check.Name), Markup.Escape(check.Then ?? "-"), Markup.Escape(check.Now ?? "-"),
                    check.Same ? "" : check.Difference?.ToString("+0.0000;-0.0000", CultureInfo.InvariantCulture) ?? "", check.Same ? "same" : "[yellow]differs[/]");
            }

            console.Write(table);
        }

        var word = reproduction.Outcome switch
        {
            ReproductionOutcome.Reproduced => "[green]reproduced[/]",
            ReproductionOutcome.Differs => "[red]differs[/]",
            ReproductionOutcome.NotReproducible => "[red]not reproducible[/]",
            _ => "[grey]running[/]",
        };
        console.MarkupLine($"{word}: {Markup.Escape(reproduction.Summary)}");
        if (reproduction.RunId is { } run)
        {
            console.WriteLine($"Run {run}.");
        }
    }
}
