using System.CommandLine;
using System.Globalization;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway pipeline …</c></summary>
internal static class PipelineCommand
{
    public static Command Create(ConnectionOptions connection) => new("pipeline", "Training pipelines and their runs.") { Run(connection), Status(connection) };

    private static Command Run(ConnectionOptions connection)
    {
        var pipeline = new Argument<string>("pipeline");
        var reason = new Option<string?>("--reason") { Description = "Why, for the record." };
        var parameters = new Option<string[]>("--parameter", "-p") { Description = "key=value; repeat for more." };
        var detach = new Option<bool>("--detach") { Description = "Return at once instead of following the run." };
        var command = new Command("run", "Start a pipeline run and follow it.") { pipeline, reason, parameters, detach };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var request = new StartPipelineRun("manual", args.GetValue(reason) ?? "asked for on the command line", Pairs(args.GetValue(parameters) ?? []));
            var run = await client.PostAsync<PipelineRun>($"pipelines/{Uri.EscapeDataString(args.GetRequiredValue(pipeline))}/runs", request, ct);
            if (!args.GetValue(detach))
            {
                run = await FollowAsync(client, run.Id, connection.Json(args) ? null : AnsiConsole.Console, ct);
            }

            _ = connection.Print(args, run, console => Draw(console, run));
            return run.Status is PipelineRunStatus.Failed or PipelineRunStatus.Rejected ? ExitCode.FailedCheck : ExitCode.Ok;
        });
        return command;
    }

    private static Command Status(ConnectionOptions connection)
    {
        var id = new Argument<string?>("run") { Arity = ArgumentArity.ZeroOrOne, Description = "A run's id; all pipelines when left out." };
        var command = new Command("status", "Show a run's stages, or every pipeline's last run.") { id };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            if (args.GetValue(id) is { } run)
            {
                var found = await client.GetAsync<PipelineRun>($"pipelines/runs/{Uri.EscapeDataString(run)}", ct);
                return connection.Print(args, found, console => Draw(console, found));
            }

            var pipelines = await client.GetAsync<IReadOnlyList<PipelineInfo>>("pipelines", ct);
            return connection.Print(args, pipelines, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Pipeline", "Model", "Stages", "Last run", "Status");
                foreach (var pipeline in pipelines)
                {
                    table.AddRow(Markup.Escape(pipeline.Name), Markup.Escape(pipeline.Model), string.Join(" → ", pipeline.Stages.Select(stage => stage.Name)),
                        pipeline.LastRunId ?? "-", pipeline.LastRunStatus?.ToString() ?? "-");
                }

                console.Write(table);
            });
        });
        return command;
    }

    /// <summary>Waits for a run's end, with a progress bar where there is a console.</summary>
    internal static async Task<PipelineRun> FollowAsync(SlipwayClient client, string id, IAnsiConsole? console, CancellationToken ct)
    {
        async Task<PipelineRun> PollAsync(Action<PipelineProgress>? report)
        {
            while (true)
            {
                var run = await client.GetAsync<PipelineRun>($"pipelines/runs/{id}", ct);
                report?.Invoke(run.Progress);
                if (run.Status is not (PipelineRunStatus.Queued or PipelineRunStatus.Running))
                {
                    return run;
                }

                await Task.Delay(200, ct);
            }
        }

        return console is null
            ? await PollAsync(null)
            : await console.Progress().Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn()).StartAsync(async progress =>
            {
                var task = progress.AddTask("Pipeline", maxValue: 1);
                var run = await PollAsync(now =>
                {
                    task.Description = Markup.Escape(now.Stage is null ? "Pipeline" : $"Pipeline: {now.Stage}");
                    task.Value = now.ShareDone;
                });
                task.Value = 1;
                return run;
            });
    }

    internal static void Draw(IAnsiConsole console, PipelineRun run)
    {
        var table = new Table().Border(TableBorder.Rounded).AddColumns("Stage", "Status").AddColumn(new TableColumn("Seconds").RightAligned()).AddColumn("What it found");
        foreach (var stage in run.Stages)
        {
            table.AddRow(Markup.Escape(stage.Name), stage.Status.ToString(), stage.WallSeconds?.ToString("0.0", CultureInfo.InvariantCulture) ?? "-", Markup.Escape(stage.Message ?? stage.Cache ?? ""));
        }

        console.Write(table);
        console.MarkupLineInterpolated($"Run {run.Id}: [bold]{run.Status}[/]. {run.Error ?? run.VerdictReason ?? ""}");
        if (run.ModelVersion is { } version)
        {
            console.MarkupLineInterpolated($"Registered {run.Model} {version}.");
        }
    }

    private static Dictionary<string, string> Pairs(string[] texts)
    {
        var pairs = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var text in texts)
        {
            var equals = text.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"--parameter '{text}' must be key=value.");
            }

            pairs[text[..equals]] = text[(equals + 1)..];
        }

        return pairs;
    }
}
