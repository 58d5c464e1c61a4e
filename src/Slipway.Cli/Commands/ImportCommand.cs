using System.CommandLine;
using System.Globalization;
using Slipway.Cli.Import;
using Slipway.Contracts;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway import mlflow ADDRESS</c>: brings another tracker's records over.</summary>
internal static class ImportCommand
{
    public static Command Create(ConnectionOptions connection) => new("import", "Bring the records of another tracker over.") { Mlflow(connection) };

    private static Command Mlflow(ConnectionOptions connection)
    {
        var address = new Argument<string>("uri")
        {
            Description = "sqlite:///mlflow.db, a path to the file, postgresql://user:password@host/database, or http(s)://host:port of a running MLflow server.",
        };
        var dryRun = new Option<bool>("--dry-run") { Description = "Count what the source holds; write nothing." };
        var artifacts = new Option<string>("--artifacts") { Description = "copy or skip (default): whether the files of runs come too.", DefaultValueFactory = _ => "skip" };
        artifacts.AcceptOnlyFromAmong("copy", "skip");
        var folder = new Option<string?>("--artifact-source") { Description = "The folder that holds MLflow's artifacts, for --artifacts copy; a running server is asked for them without it." };
        var leave = new Option<string[]>("--leave") { Description = $"A kind that may stay behind: {string.Join(", ", Kinds.All)}. May be repeated.", AllowMultipleArgumentsPerToken = false };
        var command = new Command("mlflow", "Import an MLflow database or server. May be stopped and run again: it goes on, and doubles nothing. Exit code 1 when counts differ.")
        {
            address, dryRun, artifacts, folder, leave,
        };
        command.SetAction(async (args, ct) =>
        {
            var from = args.GetRequiredValue(address);
            var left = (args.GetValue(leave) ?? []).ToHashSet(StringComparer.Ordinal);
            if (left.Except(Kinds.All).FirstOrDefault() is { } unknown)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"--leave '{unknown}' is no kind; the kinds are {string.Join(", ", Kinds.All)}.");
            }

            using var client = connection.Connect(args);
            await using var source = await MlflowAddress.OpenAsync(from, ct);
            var files = args.GetRequiredValue(artifacts) == "copy" ? FilesOf(source, args.GetValue(folder)) : null;
            var target = new ImportTarget(client, TimeSpan.FromMilliseconds(500));
            // A database tells its numbers of points; only a server needs the journal.
            Func<ImportJournal>? journal = source is RestMlflowSource ? () => ImportJournal.Open(MlflowAddress.WithoutPassword(from), client.Server) : null;
            var report = await WithProgressAsync(
                progress => new MlflowImport(source, target, new ImportOptions(args.GetValue(dryRun), left, files, journal), progress).RunAsync(source.Description, ct));
            _ = connection.Print(args, report, console => Draw(console, report));
            return report.Complete ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    private static IArtifactSource FilesOf(IMlflowSource source, string? folder) =>
        folder is not null ? new ArtifactFolder(folder)
        : source as IArtifactSource ?? throw new SlipwayException(ErrorCode.InvalidArgument,
            "--artifacts copy needs --artifact-source DIR: a database holds no files; name the folder given to 'mlflow server --artifacts-destination' or '--default-artifact-root'.");

    private static Task<ImportReport> WithProgressAsync(Func<IImportProgress, Task<ImportReport>> import) =>
        ConnectionOptions.ProgressConsole.Progress()
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn(), new RemainingTimeColumn())
            .StartAsync(progress => import(new Bars(progress.AddTask("Runs"), progress.AddTask("Metric points"))));

    private static void Draw(IAnsiConsole console, ImportReport report)
    {
        console.WriteLine($"From {report.Source}");
        console.WriteLine(report.DryRun ? "Nothing was written." : $"Into {report.Target}");
        var table = new Table().Border(TableBorder.Rounded).AddColumns("Kind", "Source", "Imported", "");
        table.Columns[1].RightAligned();
        table.Columns[2].RightAligned();
        foreach (var kind in report.Kinds)
        {
            table.AddRow(kind.Kind, Number(kind.Source), kind.Target is { } here ? Number(here) : "", Markup.Escape(kind.Note ?? (report.DryRun ? "" : "equal")));
        }

        console.Write(table);
        foreach (var mapping in report.Experiments)
        {
            console.WriteLine($"Experiment {mapping.SourceId} '{mapping.Name}' is {mapping.ExperimentId} here: {mapping.Note}.");
        }

        foreach (var difference in report.Differences)
        {
            console.WriteLine(difference);
        }

        if (report.DifferencesInAll > report.Differences.Count)
        {
            console.WriteLine($"… and {Number(report.DifferencesInAll - report.Differences.Count)} more.");
        }

        if (!report.DryRun)
        {
            console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{report.RunsWritten:N0} runs written, {report.RunsAlreadyThere:N0} were here already, in {report.Seconds:F1} s. {(report.Complete ? "Nothing is missing." : "Not everything is here.")}"));
        }
    }

    private static string Number(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    private sealed class Bars(ProgressTask runs, ProgressTask points) : IImportProgress
    {
        public void Runs(long done, long? all) => Show(runs, done, all);

        public void Points(long done, long? all) => Show(points, done, all);

        private static void Show(ProgressTask task, long done, long? all)
        {
            task.IsIndeterminate = all is null;
            task.MaxValue = Math.Max(all ?? 0, done);
            task.Value = done;
        }
    }
}
