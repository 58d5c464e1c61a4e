using System.CommandLine;
using System.Globalization;
using Slipway.Contracts.Serving;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway slo …</c>: what callers were promised, and how it is kept.</summary>
internal static class SloCommand
{
    public static Command Create(ConnectionOptions connection) => new("slo", "Service level objectives and their error budgets.") { List(connection), Show(connection) };

    private static Command List(ConnectionOptions connection)
    {
        var command = new Command("list", "Show all objectives. Exit code 1 while an alert stands.");
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var reports = await client.GetAsync<IReadOnlyList<SloReport>>("slos", ct);
            _ = connection.Print(args, reports, console => Draw(console, reports));
            return ExitOf(reports);
        });
        return command;
    }

    private static Command Show(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var command = new Command("show", "Show a model's objectives, burn rates and alerts. Exit code 1 while an alert stands.") { model };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var details = await client.GetAsync<SloDetails>($"slos/{Uri.EscapeDataString(args.GetRequiredValue(model))}", ct);
            _ = connection.Print(args, details, console =>
            {
                Draw(console, [details.Now]);
                foreach (var objective in details.Now.Objectives)
                {
                    console.MarkupLineInterpolated($"  {objective.Name}: {objective.Says}; burn rate {string.Join(", ", objective.Burn.Select(pair => string.Create(CultureInfo.InvariantCulture, $"{pair.Long:0.##} over {pair.LongMinutes} min and {pair.Short:0.##} over {pair.ShortMinutes} min (alert over {pair.Limit:0.#})")))}");
                }

                foreach (var alert in details.Alerts)
                {
                    console.MarkupLineInterpolated($"  {(alert.ClosedAt is null ? "✗" : "✓")} {alert.OpenedAt.UtcDateTime:yyyy-MM-dd HH:mm} to {(alert.ClosedAt is { } closed ? closed.UtcDateTime.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) : "now")} {alert.Level}: {alert.Reason}");
                }
            });
            return ExitOf([details.Now]);
        });
        return command;
    }

    private static int ExitOf(IEnumerable<SloReport> reports) =>
        reports.SelectMany(report => report.Objectives).All(objective => objective.Alert is SloAlertLevel.None) ? ExitCode.Ok : ExitCode.FailedCheck;

    private static void Draw(IAnsiConsole console, IReadOnlyList<SloReport> reports)
    {
        if (reports.Count == 0)
        {
            console.MarkupLine("No model has objectives; apply a definition of the kind slo.");
            return;
        }

        var table = new Table().Border(TableBorder.Rounded).AddColumns("Model", "Objective", "Target", "Attained", "Bad", "Of", "Budget left", "Alert");
        foreach (var report in reports)
        {
            foreach (var objective in report.Objectives)
            {
                table.AddRow(
                    Markup.Escape(report.Model), objective.Name, Share(objective.Target), objective.Attained is { } attained ? Share(attained) : "-",
                    objective.Bad.ToString("N0", CultureInfo.InvariantCulture), $"{objective.Total.ToString("N0", CultureInfo.InvariantCulture)} {objective.Unit} in {report.Window.ToString("0.#", CultureInfo.InvariantCulture)} d",
                    objective.BudgetLeft is { } left ? left.ToString("0%", CultureInfo.InvariantCulture) : "-", objective.Alert.ToString());
            }
        }

        console.Write(table);
    }

    private static string Share(double share) => share.ToString("0.####%", CultureInfo.InvariantCulture);
}
