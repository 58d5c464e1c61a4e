using System.CommandLine;
using System.Globalization;
using Slipway.Cli.Scoring;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway score delay flights.parquet scored.parquet</c></summary>
internal static class ScoreCommand
{
    public static Command Create(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var input = new Argument<string>("input") { Description = "A .csv or .parquet file with a column for each input of the model." };
        var output = new Argument<string>("output") { Description = "A .csv or .parquet file: all columns of the input, the prediction and the version." };
        var version = new Option<string?>("--version") { Description = "Version, number, stage or alias such as @champion; production when left out. All rows are scored by the version it stands for at the start." };
        var onError = new Option<string>("--on-error") { Description = "fail: a row that the model refuses ends the job. keep: it stays without a prediction, and OUTPUT.errors.csv says why.", DefaultValueFactory = _ => "fail" };
        onError.AcceptOnlyFromAmong("fail", "keep");
        var columns = new Option<string?>("--columns") { Description = "For a model whose one input is a table without names: its columns in order, as a,b,c." };
        var experiment = new Option<string>("--experiment") { Description = "Where the run is recorded.", DefaultValueFactory = _ => "batch-scoring" };
        var overwrite = new Option<bool>("--overwrite") { Description = "Replace OUTPUT where it exists." };
        var restart = new Option<bool>("--restart") { Description = "Throw away what an interrupted job has scored." };
        var command = new Command("score", "Score a file with one version of a model; the same command again goes on after an interruption.")
        {
            model, input, output, version, onError, columns, experiment, overwrite, restart,
        };
        command.SetAction(async (args, ct) =>
        {
            var job = new ScoreJob(args.GetRequiredValue(model), args.GetValue(version), args.GetRequiredValue(input), args.GetRequiredValue(output))
            {
                Columns = args.GetValue(columns)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [],
                KeepErrors = args.GetRequiredValue(onError) == "keep",
                Experiment = args.GetRequiredValue(experiment),
                Overwrite = args.GetValue(overwrite),
                Restart = args.GetValue(restart),
            };
            using var client = connection.Connect(args);
            ScoreResult result = null!;
            await ConnectionOptions.ProgressConsole.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn()).StartAsync(async bars =>
            {
                var tasks = new Dictionary<string, ProgressTask>(StringComparer.Ordinal);
                result = await new FileScorer(client, job, TimeProvider.System, (what, done, of) =>
                {
                    var task = tasks.TryGetValue(what, out var known) ? known : tasks[what] = bars.AddTask(what);
                    (task.MaxValue, task.Value) = (Math.Max(of, 1), done);
                }).RunAsync(ct);
            });
            return connection.Print(args, result, console =>
            {
                console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{result.Rows:N0} rows scored by {result.Model} {result.Version} into {result.Output}{(result.ResumedRows > 0 ? $", {result.ResumedRows:N0} of them by an earlier attempt" : "")}; {result.RowsPerSecond:N0} rows/s."));
                if (result.ErrorsFile is { } errors)
                {
                    console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{result.FailedRows:N0} rows have no prediction; {errors} says why."));
                }

                console.WriteLine($"Recorded as run {result.RunId}.");
            });
        });
        return command;
    }
}
