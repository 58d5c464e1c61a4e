using System.CommandLine;
using System.Globalization;
using Slipway.Contracts.Monitoring;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway monitor …</c>: what changed since training.</summary>
internal static class MonitorCommand
{
    public static Command Create(ConnectionOptions connection) => new("monitor", "Drift and performance of what is served.") { Run(connection), Status(connection) };

    private static Command Run(ConnectionOptions connection)
    {
        var monitor = new Argument<string>("monitor");
        var command = new Command("run", "Evaluate every window that has closed, now instead of on schedule.") { monitor };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var report = await client.PostAsync<MonitorRunReport>($"monitors/{Uri.EscapeDataString(args.GetRequiredValue(monitor))}/run", null, ct);
            return connection.Print(args, report, console => console.MarkupLineInterpolated(
                $"{report.Monitor}: {report.WindowsEvaluated} drift windows and {report.PerformanceWindows} performance windows evaluated up to {Time(report.Watermark)}; {report.AlertsOpened} alerts opened, {report.AlertsClosed} closed, {report.ActionsDecided} actions."));
        });
        return command;
    }

    private static Command Status(ConnectionOptions connection)
    {
        var monitor = new Argument<string?>("monitor") { Arity = ArgumentArity.ZeroOrOne, Description = "A monitor's name; all of them when left out." };
        var command = new Command("status", "Show the newest values, alerts and actions. Exit code 1 while an alert stands.") { monitor };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            if (args.GetValue(monitor) is { } name)
            {
                var status = await client.GetAsync<MonitorStatus>($"monitors/{Uri.EscapeDataString(name)}", ct);
                var drift = await client.GetAsync<IReadOnlyList<DriftByMonth>>($"monitors/{Uri.EscapeDataString(name)}/drift?by=month", ct);
                _ = connection.Print(args, status, console => Draw(console, status, drift));
                return status.OpenAlerts.Count == 0 ? ExitCode.Ok : ExitCode.FailedCheck;
            }

            var monitors = await client.GetAsync<IReadOnlyList<MonitorSummary>>("monitors", ct);
            _ = connection.Print(args, monitors, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Monitor", "Model", "Worst band", "Newest window", "Windows", "Open alerts", "Owner");
                foreach (var row in monitors)
                {
                    table.AddRow(Markup.Escape(row.Name), Markup.Escape(row.Model), row.Band.ToString(), Time(row.LastWindowEnd),
                        row.Windows.ToString("N0", CultureInfo.InvariantCulture), row.OpenAlerts.ToString(CultureInfo.InvariantCulture), Markup.Escape(row.Owner));
                }

                console.Write(table);
            });
            return monitors.All(row => row.OpenAlerts == 0) ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    private static void Draw(IAnsiConsole console, MonitorStatus status, IReadOnlyList<DriftByMonth> drift)
    {
        console.MarkupLineInterpolated($"[bold]{status.Summary.Name}[/] watches {status.Summary.Model} {status.Version ?? "-"}; newest window ends {Time(status.Summary.LastWindowEnd)}, {status.Rows:N0} predictions.");
        console.Write(DriftTable(drift));
        foreach (var result in status.Results.Where(result => result.Subject == "performance"))
        {
            console.MarkupLineInterpolated($"  {result.Metric}: {RegistryCommand.Figure(result.Value)} ({result.Band}, n = {result.N:N0})");
        }

        foreach (var alert in status.OpenAlerts)
        {
            console.MarkupLineInterpolated($"[red]✗ {alert.Severity}[/] {alert.Message} Owner: {alert.Owner}. {alert.Procedure}");
        }

        foreach (var action in status.Actions)
        {
            console.MarkupLineInterpolated($"  {action.Action} {action.Pipeline} ({action.Status}, run {action.PipelineRunId ?? "-"}): {action.Reason}");
        }
    }

    /// <summary>PSI of each feature, a column per month and version.</summary>
    internal static Table DriftTable(IReadOnlyList<DriftByMonth> drift)
    {
        var columns = drift.Select(row => (row.Month, row.Version)).Distinct().Order().ToList();
        var table = new Table().Border(TableBorder.Rounded).AddColumn("PSI against training");
        foreach (var (month, version) in columns)
        {
            table.AddColumn(new TableColumn($"{month} ({version})").RightAligned());
        }

        foreach (var subject in drift.GroupBy(row => row.Subject))
        {
            table.AddRow([
                Markup.Escape(subject.Key),
                .. columns.Select(column => subject.FirstOrDefault(row => (row.Month, row.Version) == column) is { } row
                    ? $"[{Colour(row.Band)}]{row.Psi.ToString("0.000", CultureInfo.InvariantCulture)}{Sign(row.Band)}[/]" : "-"),
            ]);
        }

        return table;
    }

    private static string Colour(MonitorBand band) => band switch { MonitorBand.Ok => "green", MonitorBand.None => "grey", MonitorBand.Investigate => "yellow", _ => "red" };

    // Meaning is never colour alone.
    private static string Sign(MonitorBand band) => band switch { MonitorBand.Ok => " ✓", MonitorBand.None => " -", MonitorBand.Investigate => " ▲", _ => " ✗" };

    private static string Time(DateTimeOffset? time) => time is { } known ? RegistryCommand.Time(known) : "-";
}
