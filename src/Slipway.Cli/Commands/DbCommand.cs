using System.CommandLine;
using Slipway.Contracts;
using Slipway.Contracts.Host;
using Slipway.Web;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway db …</c>: looks after the database itself, beside the server and on the same settings.</summary>
internal static class DbCommand
{
    private const string WhatIsMissing = "Files under the artifact root and in the data folder are not part of it; copy them as they are.";

    public static Command Create(ConnectionOptions connection)
    {
        var data = ServerCommand.DataOption();
        var database = ServerCommand.DatabaseOption();
        data.Recursive = database.Recursive = true;
        var command = new Command("db", "Look after the database of a server: schema, backup, restore, moving to PostgreSQL.") { data, database };
        ServerOptions Settings(ParseResult args) => new()
        {
            DataDirectory = Path.GetFullPath(args.GetValue(data) is { Length: > 0 } folder ? folder
                : throw new SlipwayException(ErrorCode.InvalidArgument, "--data is empty; name a folder such as ./.slipway.")),
            Database = ServerCommand.Database(args, database),
        };

        var status = new Command("status", "Print engine, size and schema.");
        status.SetAction(args =>
        {
            var found = ServerDatabase.Status(Settings(args));
            return connection.Print(args, found, console => Draw(console, found));
        });

        var migrate = new Command("migrate", "Bring the schema up to this build without serving.");
        migrate.SetAction(args =>
        {
            var done = ServerDatabase.Migrate(Settings(args));
            return connection.Print(args, done, console =>
            {
                foreach (var file in done.Applied)
                {
                    console.MarkupLineInterpolated($"Applied {file}");
                }

                console.MarkupLineInterpolated($"{done.Location} is up to date.");
            });
        });

        var target = new Argument<string>("file") { Description = "The backup to write; must not be there yet." };
        var backup = new Command("backup", "Write all rows to one file, while the server may go on.") { target };
        backup.SetAction(args =>
        {
            var file = Path.GetFullPath(args.GetRequiredValue(target));
            var done = WithProgress("Backup", progress => ServerDatabase.Backup(Settings(args), file, progress));
            return connection.Print(args, done, console => console.MarkupLineInterpolated($"{done.Rows} rows of {done.Tables} tables are in {done.File}. {WhatIsMissing}"));
        });

        var source = new Argument<string>("file") { Description = "A backup, of SQLite or PostgreSQL." };
        var force = new Option<bool>("--force") { Description = "Throw away what the database holds now." };
        var restore = new Command("restore", "Fill an empty database from a backup; stop its servers first.") { source, force };
        restore.SetAction(args =>
        {
            var file = Path.GetFullPath(args.GetRequiredValue(source));
            var done = WithProgress("Restore", progress => ServerDatabase.Restore(Settings(args), file, args.GetValue(force), progress));
            return connection.Print(args, done, console => console.MarkupLineInterpolated(
                $"{done.Location} holds the {done.Rows} rows of {done.Tables} tables of {done.CreatedAt:yyyy-MM-dd HH:mm:ss} UTC ({done.Engine}). {WhatIsMissing}"));
        });

        command.Add(status);
        command.Add(migrate);
        command.Add(backup);
        command.Add(restore);
        return command;
    }

    private static void Draw(IAnsiConsole console, DatabaseStatus status)
    {
        console.MarkupLineInterpolated($"{status.Location}: {status.Engine}, {status.SizeBytes / 1048576.0:0.0} MB");
        var table = new Table().Border(TableBorder.Rounded).AddColumns("Area", "Applied", "Known", "Pending");
        foreach (var area in status.Areas)
        {
            table.AddRow(area.Area, $"{area.Applied}", $"{area.Known}", Markup.Escape(area.Pending.Count == 0 ? "" : string.Join(", ", area.Pending)));
        }

        console.Write(table);
        if (!status.UpToDate)
        {
            console.WriteLine("The schema is behind this build; the server brings it up to date when it starts, and so does slipway db migrate.");
        }
    }

    private static DatabaseBackup WithProgress(string what, Func<Action<long, long>, DatabaseBackup> work) =>
        ConnectionOptions.ProgressConsole.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn()).Start(progress =>
        {
            var task = progress.AddTask(what);
            return work((done, of) =>
            {
                task.MaxValue = Math.Max(of, 1);
                task.Value = Math.Min(done, task.MaxValue);
            });
        });
}
