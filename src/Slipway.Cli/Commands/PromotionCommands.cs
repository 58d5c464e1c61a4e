using System.CommandLine;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary>The parts of <c>slipway registry</c> that move versions: check, ask, approve, carry out, go back.</summary>
internal static class PromotionCommands
{
    private const string TargetHelp = "staging, production, archived, or an environment of the model's policy such as canary-eu.";

    public static Command Check(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string>("version");
        var target = new Option<string>("--to") { Required = true, Description = TargetHelp };
        var command = new Command("check", "Show what stands between a version and a stage; exit code 1 when anything does.") { model, version, target };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var report = await client.GetAsync<GateReport>(
                $"{Paths.Version(args.GetRequiredValue(model), args.GetRequiredValue(version))}/gate?to={Uri.EscapeDataString(args.GetRequiredValue(target))}", ct);
            _ = connection.Print(args, report, console => Draw(console, report));
            return report.Passed ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    public static Command Promote(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string>("version");
        var target = new Option<string?>("--to") { Description = TargetHelp };
        var reason = new Option<string>("--reason") { Required = true, Description = "Why." };
        var rollbackTo = new Option<string?>("--rollback-to") { Description = "For production: the version that takes over on failure; the one in production now when left out." };
        var auto = new Option<bool>("--auto") { Description = "The server carries it out by itself once the last approval is there and the gate passes." };
        var execute = new Option<bool>("--execute") { Description = "Carry the promotion out; without it, the request is opened and waits for approvals." };
        var server = new Option<string?>("--to-env") { Description = "Copy the version to the server of another environment instead, such as https://production.example:5000." };
        var token = new Option<string?>("--token-env") { Description = "Name of the variable that holds your token for that server." };
        var command = new Command("promote", "Ask for a promotion, carry out an approved one (--execute), or copy a version to another server (--to-env).")
        {
            model, version, target, reason, rollbackTo, auto, execute, server, token,
        };
        command.Validators.Add(args =>
        {
            if (args.GetValue(target) is null == args.GetValue(server) is null)
            {
                args.AddError("Give either --to, for a stage or environment of this server, or --to-env, for another server.");
            }
        });
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var (name, chosen) = (args.GetRequiredValue(model), args.GetRequiredValue(version));
            if (args.GetValue(server) is { } address)
            {
                return await CopyAsync(connection, args, client, name, chosen, args.GetRequiredValue(reason), address, args.GetValue(token), ct);
            }

            var to = PromotionTarget.Parse(args.GetValue(target)!);
            if (args.GetValue(execute))
            {
                return await ExecuteAsync(connection, args, client, name, chosen, to, ct);
            }

            var request = new RequestPromotion(name, chosen, to.Stage, args.GetRequiredValue(reason), args.GetValue(rollbackTo)) { Environment = to.Environment, Auto = args.GetValue(auto) };
            var opened = await client.PostAsync<PromotionRecord>("promotions", request, ct);
            return connection.Print(args, opened, console =>
            {
                console.MarkupLineInterpolated($"Promotion [bold]{opened.Id}[/] of {opened.Model} {opened.Version} to {opened.Target.Name} is {opened.Status}.");
                DrawSteps(console, opened);
                if (opened.Status is PromotionStatus.Pending)
                {
                    console.MarkupLineInterpolated($"Another user approves it with: slipway registry approve {opened.Id} --comment …");
                }
            });
        });
        return command;
    }

    public static Command Approvals(ConnectionOptions connection)
    {
        var model = new Option<string?>("--model") { Description = "Of one model only." };
        var command = new Command("approvals", "List the requests that wait for approvals or to be carried out.") { model };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var open = await client.GetAsync<PromotionList>($"approvals{(args.GetValue(model) is { } name ? $"?model={Uri.EscapeDataString(name)}" : "")}", ct);
            return connection.Print(args, open, console =>
            {
                if (open.Promotions.Count == 0)
                {
                    console.WriteLine("No request is open.");
                }

                foreach (var promotion in open.Promotions)
                {
                    console.MarkupLineInterpolated($"[bold]{promotion.Id}[/] {promotion.Model} {promotion.Version} to {promotion.Target.Name}: {promotion.Status}, asked by {promotion.RequestedBy} {RegistryCommand.Time(promotion.RequestedAt)}, open until {(promotion.ExpiresAt is { } end ? RegistryCommand.Time(end) : "closed")}");
                    console.WriteLine($"  {promotion.Reason}");
                    DrawSteps(console, promotion);
                }
            });
        });
        return command;
    }

    public static Command Approve(ConnectionOptions connection)
    {
        var id = new Argument<string>("promotion") { Description = "The promotion's id." };
        var comment = new Option<string>("--comment") { Required = true, Description = "Why." };
        var reject = new Option<bool>("--reject") { Description = "Reject instead." };
        var command = new Command("approve", "Approve (or reject) a promotion that another user asked for.") { id, comment, reject };
        command.SetAction((args, ct) => ActAsync(connection, args, args.GetRequiredValue(id), args.GetValue(reject) ? "reject" : "approve", args.GetRequiredValue(comment), ct));
        return command;
    }

    public static Command Comment(ConnectionOptions connection)
    {
        var id = new Argument<string>("promotion") { Description = "The promotion's id." };
        var comment = new Argument<string>("comment") { Description = "What you have to say; it decides nothing." };
        var command = new Command("comment", "Comment on an open promotion.") { id, comment };
        command.SetAction((args, ct) => ActAsync(connection, args, args.GetRequiredValue(id), "comments", args.GetRequiredValue(comment), ct));
        return command;
    }

    public static Command Withdraw(ConnectionOptions connection)
    {
        var id = new Argument<string>("promotion") { Description = "The promotion's id." };
        var reason = new Option<string>("--reason") { Required = true, Description = "Why." };
        var command = new Command("withdraw", "Close a promotion that shall not be carried out.") { id, reason };
        command.SetAction((args, ct) => ActAsync(connection, args, args.GetRequiredValue(id), "withdraw", args.GetRequiredValue(reason), ct));
        return command;
    }

    public static Command Rollback(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var to = new Option<string?>("--to") { Description = "A version that was in production before; the last known good one when left out." };
        var reason = new Option<string?>("--reason") { Description = "Why." };
        var plan = new Option<bool>("--plan") { Description = "Show what a rollback would do, and try its target; exit code 1 when it could not take over." };
        var command = new Command("rollback", "Return production to a version that served before.") { model, to, reason, plan };
        command.Validators.Add(args =>
        {
            if (args.GetValue(reason) is null && !args.GetValue(plan))
            {
                args.AddError("Option '--reason' is required: it is kept with the rollback.");
            }
        });
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var name = Uri.EscapeDataString(args.GetRequiredValue(model));
            if (args.GetValue(plan))
            {
                var planned = await client.GetAsync<RollbackPlan>($"models/{name}/rollback-plan", ct);
                _ = connection.Print(args, planned, console => console.MarkupLineInterpolated(
                    $"{planned.Model} {planned.Production ?? "none"} in production; a rollback leads to [bold]{planned.Target ?? "nothing"}[/]: {planned.Detail}."));
                return planned.Ready ? ExitCode.Ok : ExitCode.FailedCheck;
            }

            var record = await client.PostAsync<ModelVersionRecord>($"models/{name}/rollback", new RollbackModel(args.GetValue(to), args.GetValue(reason)!), ct);
            return connection.Print(args, record, console => console.MarkupLineInterpolated($"{record.Model} {record.Version} is in [bold]{record.Stage}[/] again."));
        });
        return command;
    }

    private static async Task<int> ActAsync(ConnectionOptions connection, ParseResult args, string id, string verb, string comment, CancellationToken ct)
    {
        using var client = connection.Connect(args);
        var path = $"promotions/{Uri.EscapeDataString(id)}/{verb}";
        var promotion = await client.PostAsync<PromotionRecord>(path, new DecidePromotion(comment), ct);
        return connection.Print(args, promotion, console =>
        {
            console.MarkupLineInterpolated($"Promotion {promotion.Id} of {promotion.Model} {promotion.Version} to {promotion.Target.Name} is [bold]{promotion.Status}[/].");
            DrawSteps(console, promotion);
        });
    }

    private static async Task<int> ExecuteAsync(
        ConnectionOptions connection, ParseResult args, SlipwayClient client, string model, string version, PromotionTarget to, CancellationToken ct)
    {
        var record = await client.GetAsync<ModelVersionRecord>(Paths.Version(model, version), ct);
        var open = (await client.GetAsync<PromotionList>($"approvals?model={Uri.EscapeDataString(model)}", ct)).Promotions
            .FirstOrDefault(promotion => promotion.Version == record.Version && promotion.Target == to)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no open promotion of {model} {record.Version} to {to.Name}; ask for one without --execute first.");
        var done = await client.PostAsync<ModelVersionRecord>($"promotions/{open.Id}/execute", null, ct);
        return connection.Print(args, done, console => console.MarkupLineInterpolated($"{done.Model} {done.Version} is now in [bold]{to.Environment ?? done.Stage.ToString()}[/]."));
    }

    private static async Task<int> CopyAsync(
        ConnectionOptions connection, ParseResult args, SlipwayClient client, string model, string version, string reason, string address, string? tokenVariable, CancellationToken ct)
    {
        string? token = null;
        if (tokenVariable is not null && string.IsNullOrEmpty(token = Environment.GetEnvironmentVariable(tokenVariable)))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"--token-env names {tokenVariable}, which is not set; put your token for {address} into it.");
        }

        using var target = ConnectionOptions.Connect(address, token);
        var progress = new Progress<ArtifactFile>(blob => ConnectionOptions.ProgressConsole.MarkupLineInterpolated($"[grey]sent {blob.Path}, {blob.SizeBytes:N0} bytes[/]"));
        var imported = await client.CopyVersionAsync(target, model, version, reason, progress, ct);
        return connection.Print(args, imported, console => console.MarkupLineInterpolated(
            $"{imported.Version.Model} {imported.Version.Version} {(imported.Created ? "is now registered" : "was registered already")} at {address} in [bold]{imported.Version.Stage}[/]; manifest {imported.Manifest[..12]} verified there."));
    }

    private static void Draw(IAnsiConsole console, GateReport report)
    {
        foreach (var item in report.Items)
        {
            console.MarkupLine($"{(item.Passed ? "[green]✓[/]" : "[red]✗[/]")} {Markup.Escape(item.Name)}: {Markup.Escape(item.Detail)}");
            foreach (var evidence in item.Passed ? [] : item.Evidence)
            {
                console.MarkupLine($"    [grey]{Markup.Escape(evidence)}[/]");
            }
        }
    }

    private static void DrawSteps(IAnsiConsole console, PromotionRecord promotion)
    {
        foreach (var step in promotion.Steps)
        {
            var who = $"{string.Join(" or ", step.Roles)}{(step.Groups.Count > 0 ? $" in {string.Join(" or ", step.Groups)}" : "")}";
            console.MarkupLine(
                $"  {(step.Complete ? "[green]✓[/]" : "[yellow]…[/]")} {Markup.Escape(step.Name)}: {step.By.Count} of {step.Needed} from {Markup.Escape(who)} ({Markup.Escape(step.Why)}){(step.By.Count > 0 ? $", by {Markup.Escape(string.Join(", ", step.By))}" : "")}");
        }
    }
}
