using System.CommandLine;
using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary>The parts of <c>slipway registry</c> about the life of a version: checklist, environments, history, deprecation, retirement.</summary>
internal static class LifeCommands
{
    public static Command Checklist(ConnectionOptions connection)
    {
        var (model, version) = (new Argument<string>("model"), new Argument<string>("version"));
        var target = new Option<string>("--to") { Description = "The stage or environment whose checklist is meant.", DefaultValueFactory = _ => "production" };
        var tick = new Option<string?>("--tick") { Description = "Item to tick." };
        var open = new Option<string?>("--open") { Description = "Item to open again." };
        var note = new Option<string?>("--note") { Description = "What was found; needed with --tick and --open." };
        var command = new Command("checklist", "Show the deployment checklist of a version, or tick an item; exit code 1 while an item is open.") { model, version, target, tick, open, note };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var path = Paths.Version(args.GetRequiredValue(model), args.GetRequiredValue(version));
            foreach (var (item, end) in new[] { (args.GetValue(tick), ""), (args.GetValue(open), "/open") })
            {
                if (item is not null)
                {
                    await client.PostAsync<object?>($"{path}/checklist/{Uri.EscapeDataString(item)}{end}", new CommentBody(args.GetValue(note)), ct);
                }
            }

            var list = await client.GetAsync<Checklist>($"{path}/checklist?to={Uri.EscapeDataString(args.GetRequiredValue(target))}", ct);
            _ = connection.Print(args, list, console =>
            {
                foreach (var item in list.Items)
                {
                    console.MarkupLine($"{(item.TickedBy is null ? "[red]✗[/]" : "[green]✓[/]")} {Markup.Escape(item.Item)}: {Markup.Escape(item.Text)}{(item.TickedBy is null ? "" : Markup.Escape($" ({item.TickedBy}: {item.Note})"))}");
                }

                if (list.Items.Count == 0)
                {
                    console.WriteLine("The policy sets no checklist for it.");
                }
            });
            return list.Items.All(item => item.TickedBy is not null) ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    public static Command Environments(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var command = new Command("environments", "Show the environments of a model and what is in them.") { model };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var list = await client.GetAsync<ModelEnvironmentList>($"{Paths.Model(args.GetRequiredValue(model))}/environments", ct);
            return connection.Print(args, list, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Order", "Environment", "Version", "Since", "By");
                foreach (var item in list.Environments)
                {
                    table.AddRow(item.Order == 0 ? "-" : $"{item.Order}{(item.Optional ? " optional" : "")}", Markup.Escape(item.Environment), item.Version ?? "-", item.Since is { } since ? RegistryCommand.Time(since) : "-", Markup.Escape(item.By ?? "-"));
                }

                console.Write(table);
            });
        });
        return command;
    }

    /// <summary>One thing that happened to a version.</summary>
    internal sealed record HistoryEvent(DateTimeOffset At, string Version, string What, string By, string Reason);

    public static Command History(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string?>("version") { Arity = ArgumentArity.ZeroOrOne, Description = "One version only." };
        var command = new Command("history", "Show what happened to a model's versions: stages, environments, aliases, deployments.") { model, version };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var path = Paths.Model(args.GetRequiredValue(model));
            var chosen = args.GetValue(version) is { } asked ? (await client.GetAsync<ModelVersionRecord>(Paths.Version(args.GetRequiredValue(model), asked), ct)).Version : null;
            _ = await client.GetAsync<ModelSummary>(path, ct);
            var stages = await client.GetAsync<StageHistory>($"{path}/history", ct);
            var places = await client.GetAsync<PlaceHistory>($"{path}/places", ct);
            var events = stages.Changes.Select(change => new HistoryEvent(change.At, change.Version, $"{change.From?.ToString().ToLowerInvariant() ?? "-"} -> {change.To.ToString().ToLowerInvariant()} ({change.Cause})", change.By, change.Reason))
                .Concat(places.Changes.Select(change => new HistoryEvent(change.At, change.Version ?? change.Was ?? "-", $"{change.Kind} {change.Place}: {change.Was ?? "-"} -> {change.Version ?? "-"}", change.By, change.Reason)))
                .Concat((await DeploymentsAsync(client, args.GetRequiredValue(model), ct)).SelectMany(Described))
                .Where(item => chosen is null || item.Version == chosen)
                .OrderBy(item => item.At).ToList();
            return connection.Print(args, events, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("When", "Version", "What", "By", "Why");
                foreach (var item in events)
                {
                    table.AddRow(RegistryCommand.Time(item.At), item.Version, Markup.Escape(item.What), Markup.Escape(item.By), Markup.Escape(item.Reason));
                }

                console.Write(table);
            });
        });
        return command;
    }

    public static Command AsOf(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var date = new Argument<string>("date") { Description = "A date or instant, such as 2001-05-31 or 2001-05-31T06:00:00Z." };
        var place = new Option<string>("--stage") { Description = "A stage, an environment, or an alias such as @champion.", DefaultValueFactory = _ => "production" };
        var command = new Command("as-of", "Show what stood in a stage at a date, what trained it, and who approved it; exit code 1 when nothing did.") { model, date, place };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var report = await client.GetAsync<AsOfReport>(
                $"{Paths.Model(args.GetRequiredValue(model))}/as-of?at={Uri.EscapeDataString(args.GetRequiredValue(date))}&place={Uri.EscapeDataString(args.GetRequiredValue(place))}", ct);
            _ = connection.Print(args, report, console =>
            {
                console.MarkupLineInterpolated($"{report.Place} of {report.Model} at {RegistryCommand.Time(report.At)}: [bold]{(report.Versions.Count == 0 ? "nothing" : string.Join(", ", report.Versions.Select(found => found.Version)))}[/]");
                foreach (var found in report.Versions)
                {
                    console.WriteLine($"  {found.Version} since {RegistryCommand.Time(found.Since)} ({found.Cause} by {found.By}): {found.Reason}");
                    console.WriteLine($"    data {(found.Datasets.Count == 0 ? "unknown" : string.Join(", ", found.Datasets.Select(dataset => $"{dataset.Name}@{dataset.Version}")))}; run {found.RunId ?? "unknown"}; commit {found.Commit ?? "unknown"}");
                    foreach (var approval in found.Approvals)
                    {
                        console.WriteLine($"    approved by {approval.By} ({approval.Role}) {RegistryCommand.Time(approval.At)}: {approval.Comment}");
                    }
                }
            });
            return report.Versions.Count > 0 ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    public static Command Deprecate(ConnectionOptions connection)
    {
        var (model, version) = (new Argument<string>("model"), new Argument<string>("version"));
        var reason = new Option<string>("--reason") { Required = true, Description = "Why." };
        var end = new Option<string?>("--end-of-life") { Description = "From this date on it is refused; warnings only when left out." };
        var replacement = new Option<string?>("--replacement") { Description = "The version to use instead." };
        var withdraw = new Option<bool>("--withdraw") { Description = "Take the deprecation back." };
        var command = new Command("deprecate", "Say that a version shall no longer be used.") { model, version, reason, end, replacement, withdraw };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var path = $"{Paths.Version(args.GetRequiredValue(model), args.GetRequiredValue(version))}/deprecation";
            if (args.GetValue(withdraw))
            {
                await client.PostAsync<object?>($"{path}/withdraw", new CommentBody(args.GetRequiredValue(reason)), ct);
                return connection.Print(args, new { withdrawn = true }, console => console.WriteLine("The deprecation is taken back."));
            }

            DateTimeOffset? endOfLife = args.GetValue(end) is not { } text ? null
                : DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var parsed) ? parsed
                : throw new SlipwayException(ErrorCode.InvalidArgument, $"--end-of-life must be a date such as 2001-12-31, not '{text}'.");
            var said = await client.PostAsync<Deprecation>(path, new DeprecateVersion(args.GetRequiredValue(reason), endOfLife, args.GetValue(replacement)), ct);
            return connection.Print(args, said, console => console.WriteLine(said.Warning));
        });
        return command;
    }

    public static Command Retire(ConnectionOptions connection)
    {
        var (model, version) = (new Argument<string>("model"), new Argument<string>("version"));
        var step = new Option<string?>("--step") { Description = "notice, migration, archive or deletion; without it, the state is shown." };
        var comment = new Option<string?>("--comment") { Description = "What was done; needed with --step." };
        var command = new Command("retire", "Take a version out of use, step by step.") { model, version, step, comment };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var path = $"{Paths.Version(args.GetRequiredValue(model), args.GetRequiredValue(version))}/retirement";
            var state = args.GetValue(step) is { } next
                ? await client.PostAsync<Retirement>($"{path}/{Uri.EscapeDataString(next)}", new CommentBody(args.GetValue(comment)), ct)
                : await client.GetAsync<Retirement>(path, ct);
            return connection.Print(args, state, console =>
            {
                foreach (var item in state.Steps)
                {
                    console.MarkupLine(item.Done
                        ? $"[green]✓[/] {item.Step}: {Markup.Escape(item.Comment!)} ({Markup.Escape(item.By!)}, {RegistryCommand.Time(item.At!.Value)})"
                        : $"[grey]…[/] {item.Step}{(item.NeedsApprover ? ", by an approver" : "")}");
                }
            });
        });
        return command;
    }

    // A model that was never served has no deployments to tell of.
    private static async Task<IReadOnlyList<DeploymentRecord>> DeploymentsAsync(Client.SlipwayClient client, string model, CancellationToken ct)
    {
        try
        {
            return (await client.GetAsync<DeploymentReport>($"deployments/{Uri.EscapeDataString(model)}", ct)).History;
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound)
        {
            return [];
        }
    }

    private static IEnumerable<HistoryEvent> Described(DeploymentRecord deployment)
    {
        yield return new HistoryEvent(deployment.StartedAt, deployment.Version, $"deployed as {deployment.Arm}", "system:serving", deployment.EndedAt is null ? deployment.Reason : "");
        if (deployment.EndedAt is { } ended)
        {
            yield return new HistoryEvent(ended, deployment.Version, $"no longer {deployment.Arm} ({deployment.Outcome})", "system:serving", deployment.Reason);
        }
    }
}
