using System.CommandLine;
using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway rollout …</c></summary>
internal static class RolloutCommand
{
    public static Command Create(ConnectionOptions connection) => new("rollout", "Shadow, canary and what stopped them.")
    {
        Start(connection), Status(connection), Pause(connection), Resume(connection), Promote(connection), Abort(connection), Replay(connection),
    };

    private static Command Start(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string>("version");
        var reason = new Option<string>("--reason") { Required = true, Description = "Why." };
        var spec = new Option<string?>("--spec") { Description = "The rollout definition to follow; the one named like the model when left out." };
        var command = new Command("start", "Start the rollout of a version.") { model, version, reason, spec };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var rollout = await client.PostAsync<RolloutResponse>(
                "rollouts", new StartRolloutRequest(args.GetRequiredValue(model), args.GetRequiredValue(version), args.GetRequiredValue(reason), args.GetValue(spec)), ct);
            return connection.Print(args, rollout, console => Draw(console, rollout));
        });
        return command;
    }

    private static Command Status(ConnectionOptions connection)
    {
        var id = new Argument<string?>("rollout") { Arity = ArgumentArity.ZeroOrOne, Description = "A rollout's id; all of them when left out." };
        var command = new Command("status", "Show rollouts, or one with its steps and evidence.") { id };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            if (args.GetValue(id) is { } chosen)
            {
                var rollout = await client.GetAsync<RolloutResponse>($"rollouts/{Uri.EscapeDataString(chosen)}", ct);
                return connection.Print(args, rollout, console => Draw(console, rollout));
            }

            var rollouts = await client.GetAsync<RolloutListResponse>("rollouts", ct);
            return connection.Print(args, rollouts, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Rollout", "Model", "Version", "Status", "Step", "Why");
                foreach (var rollout in rollouts.Rollouts)
                {
                    table.AddRow(rollout.Id, Markup.Escape(rollout.Model), rollout.Version, rollout.Status.ToString(), $"{rollout.Step}/{rollout.Steps.Count}", Markup.Escape(rollout.EndReason ?? ""));
                }

                console.Write(table);
            });
        });
        return command;
    }

    private static Command Abort(ConnectionOptions connection) =>
        Tell(connection, "abort", "End a rollout and send all traffic back to the stable version.", (_, reason, _) => new AbortRolloutRequest(reason));

    private static Command Pause(ConnectionOptions connection) =>
        Tell(connection, "pause", "Keep a rollout in its step with its traffic as it is; a breach still takes it back.", (_, reason, _) => new PauseRolloutRequest(reason));

    private static Command Resume(ConnectionOptions connection) => Tell(connection, "resume", "Let a paused rollout go on.", (_, reason, _) => new ResumeRolloutRequest(reason));

    private static Command Promote(ConnectionOptions connection)
    {
        var full = new Option<bool>("--to-full") { Description = "Finish: make the version the production version." };
        var from = new Option<int?>("--from-step") { Description = "The step it must be in, from 1; the one it is in now when left out." };
        var command = Tell(connection, "promote", "Begin the next step without waiting for this one's conditions.",
            (args, reason, rollout) => new PromoteRolloutRequest(reason, args.GetValue(full), args.GetValue(from) ?? rollout.Step));
        command.Add(full);
        command.Add(from);
        return command;
    }

    private static Command Tell(ConnectionOptions connection, string verb, string description, Func<ParseResult, string, RolloutResponse, object> request)
    {
        var id = new Argument<string>("rollout");
        var reason = new Option<string>("--reason") { Required = true, Description = "Why; kept in the audit trail." };
        var command = new Command(verb, description) { id, reason };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var path = $"rollouts/{Uri.EscapeDataString(args.GetRequiredValue(id))}";
            var before = await client.GetAsync<RolloutResponse>(path, ct);
            var rollout = await client.PostAsync<RolloutResponse>($"{path}/{verb}", request(args, args.GetRequiredValue(reason), before), ct);
            return connection.Print(args, rollout, console => Draw(console, rollout));
        });
        return command;
    }

    private static Command Replay(ConnectionOptions connection)
    {
        var id = new Argument<string>("rollout");
        var spec = new Option<FileInfo?>("--spec") { Description = "A file with another rollout definition: what would have happened under it." };
        var command = new Command("replay", "Ask the rules about a rollout's stored evidence again; fails when a decision comes out otherwise.") { id, spec };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var file = args.GetValue(spec);
            if (file is { Exists: false })
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'--spec' names no file '{file}'; give it the path of a rollout definition.");
            }

            var definition = file is null ? null : await File.ReadAllTextAsync(file.FullName, ct);
            var replay = await client.PostAsync<RolloutReplayResponse>($"rollouts/{Uri.EscapeDataString(args.GetRequiredValue(id))}/replay", new ReplayRolloutRequest(definition), ct);
            _ = connection.Print(args, replay, console => Draw(console, replay, file is not null));
            // Under another definition a difference is the answer, not a fault.
            return replay.Differences == 0 || file is not null ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    private static void Draw(IAnsiConsole console, RolloutReplayResponse replay, bool otherDefinition)
    {
        var table = new Table().Border(TableBorder.Rounded).AddColumn(new TableColumn("#").RightAligned()).AddColumns("When", "Step", "Decided", "Replayed", "Equal", "Why");
        foreach (var look in replay.Looks)
        {
            table.AddRow(
                look.Seq.ToString(CultureInfo.InvariantCulture), look.At.UtcDateTime.ToString("s", CultureInfo.InvariantCulture), look.Step.ToString(CultureInfo.InvariantCulture),
                look.Stored.ToString(), look.Replayed?.ToString() ?? "-", look.Equal switch { true => "yes", false => "[red]no[/]", null => "-" }, Markup.Escape(look.Text));
        }

        console.Write(table);
        var asked = replay.Looks.Count(look => look.Equal is not null);
        console.MarkupLineInterpolated($"Rollout {replay.Rollout} under {replay.Definition}: {asked} of {replay.Looks.Count} decisions asked again, [bold]{replay.Differences} different[/].");
        if (otherDefinition && replay.Differences > 0)
        {
            console.MarkupLine("After the first different decision, the evidence is still that of the rollout as it went.");
        }
    }

    private static void Draw(IAnsiConsole console, RolloutResponse rollout)
    {
        var table = new Table().Border(TableBorder.Rounded).AddColumns("Step", "Traffic", "Status")
            .AddColumn(new TableColumn("Requests").RightAligned()).AddColumn(new TableColumn("Errors").RightAligned()).AddColumn("Checks");
        foreach (var step in rollout.Steps)
        {
            table.AddRow(
                step.Number.ToString(CultureInfo.InvariantCulture), step.Shadow ? "shadow" : step.Percent < 0 ? "by flag" : string.Create(CultureInfo.InvariantCulture, $"{step.Percent} %"), step.Status.ToString(),
                step.Requests.ToString("N0", CultureInfo.InvariantCulture), step.Errors.ToString("N0", CultureInfo.InvariantCulture),
                Markup.Escape(string.Join(Environment.NewLine, step.Gates.Select(gate => $"{gate.Verdict}: {gate.Text}"))));
        }

        console.Write(table);
        console.MarkupLineInterpolated($"Rollout {rollout.Id} of {rollout.Model} {rollout.Version} (stable {rollout.StableVersion}): [bold]{rollout.Status}[/]. {rollout.EndReason ?? ""}");
        if (rollout.Pause is { } pause)
        {
            console.MarkupLineInterpolated($"[yellow]Paused[/] by {pause.By}: {pause.Reason}. A breach still takes it back; [bold]slipway rollout resume {rollout.Id} --reason WHY[/] lets it go on.");
        }
    }
}
