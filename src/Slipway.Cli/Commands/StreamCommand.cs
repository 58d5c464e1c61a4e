using System.CommandLine;
using System.Globalization;
using Slipway.Contracts.Serving;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway stream …</c>: events that models score.</summary>
internal static class StreamCommand
{
    public static Command Create(ConnectionOptions connection) => new("stream", "Events of Redis streams that models score.")
    {
        List(connection), Show(connection), Change(connection, "pause", "Stop reading a stream, on every server; its events wait in Redis."), Change(connection, "resume", "Read a paused stream again."),
    };

    private static Command List(ConnectionOptions connection)
    {
        var command = new Command("list", "Show all streams and what waits in them.");
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var reports = await client.GetAsync<IReadOnlyList<StreamReport>>("streams", ct);
            return connection.Print(args, reports, console => Draw(console, reports));
        });
        return command;
    }

    private static Command Show(ConnectionOptions connection)
    {
        var name = new Argument<string>("name");
        var command = new Command("show", "Show one stream. Exit code 1 unless it runs without an error.") { name };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var report = await client.GetAsync<StreamReport>($"streams/{Uri.EscapeDataString(args.GetRequiredValue(name))}", ct);
            _ = connection.Print(args, report, console => Draw(console, [report]));
            return report is { State: "running", LastError: null } ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    private static Command Change(ConnectionOptions connection, string verb, string description)
    {
        var name = new Argument<string>("name");
        var reason = new Option<string>("--reason") { Description = "Why; shown and audited.", Required = true };
        var command = new Command(verb, description) { name, reason };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var report = await client.PostAsync<StreamReport>($"streams/{Uri.EscapeDataString(args.GetRequiredValue(name))}/{verb}", new ChangeStreamRequest(args.GetRequiredValue(reason)), ct);
            return connection.Print(args, report, console => Draw(console, [report]));
        });
        return command;
    }

    private static void Draw(IAnsiConsole console, IReadOnlyList<StreamReport> reports)
    {
        if (reports.Count == 0)
        {
            console.MarkupLine("No stream is declared; apply a definition of the kind stream.");
            return;
        }

        var table = new Table().Border(TableBorder.Rounded).AddColumns("Stream", "Model", "From, to", "State", "Unread", "Unanswered", "Scored here", "Taken up again", "Set aside");
        foreach (var report in reports)
        {
            table.AddRow(
                Markup.Escape(report.Name), Markup.Escape(report.Model), Markup.Escape($"{report.Input} → {report.Output}"), report.State, Count(report.Lag), Count(report.Pending),
                Count(report.Scored), Count(report.Retried), Count(report.DeadLettered));
        }

        console.Write(table);
        foreach (var report in reports)
        {
            if (report.PausedBy is { } by)
            {
                console.MarkupLineInterpolated($"{report.Name} was paused by {by}: {report.PauseReason}");
            }

            if (report.LastError is { } error)
            {
                console.MarkupLineInterpolated($"[red]✗[/] {report.Name}: {error}");
            }
        }
    }

    private static string Count(long? count) => count?.ToString("N0", CultureInfo.InvariantCulture) ?? "-";
}
