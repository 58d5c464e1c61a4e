using System.CommandLine;
using System.Globalization;
using Slipway.Contracts.Registry;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway registry …</c>: which version is where, and may the next one go.</summary>
internal static class RegistryCommand
{
    public static Command Create(ConnectionOptions connection) =>
        new("registry", "Models, versions, stages, promotions.")
        {
            List(connection), Info(connection), Promote(connection), Approve(connection), Rollback(connection), Compare(connection), Check(connection),
        };

    private static Command List(ConnectionOptions connection)
    {
        var command = new Command("list", "List models and where their versions stand.");
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var models = await client.GetAsync<ModelList>("models", ct);
            return connection.Print(args, models, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Model", "Production", "Staging", "Newest", "Versions", "Owner");
                foreach (var model in models.Models)
                {
                    table.AddRow(Markup.Escape(model.Name), model.ProductionVersion ?? "-", string.Join(", ", model.StagingVersions), model.NewestVersion,
                        model.Versions.ToString(CultureInfo.InvariantCulture), Markup.Escape(model.Owner));
                }

                console.Write(table);
            });
        });
        return command;
    }

    private static Command Info(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string?>("version") { Arity = ArgumentArity.ZeroOrOne, Description = "1.0.0, 3, production or @alias; all versions when left out." };
        var command = new Command("info", "Show a model's versions, or one version whole.") { model, version };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var name = Uri.EscapeDataString(args.GetRequiredValue(model));
            if (args.GetValue(version) is { } chosen)
            {
                var record = await client.GetAsync<ModelVersionRecord>($"models/{name}/versions/{Uri.EscapeDataString(chosen)}", ct);
                return connection.Print(args, record, console => DrawVersion(console, record));
            }

            _ = await client.GetAsync<ModelSummary>($"models/{name}", ct); // An unknown model is not one without versions.
            var versions = await client.GetAsync<ModelVersionList>($"models/{name}/versions", ct);
            return connection.Print(args, versions, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Version", "Stage", "Registered", "By", "Run", "Why this number");
                foreach (var record in versions.Versions)
                {
                    table.AddRow(record.Version, record.Stage.ToString(), Time(record.CreatedAt), Markup.Escape(record.CreatedBy), record.RunId[..Math.Min(8, record.RunId.Length)], Markup.Escape(record.BumpReason));
                }

                console.Write(table);
            });
        });
        return command;
    }

    private static Command Promote(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string>("version");
        var stage = new Option<Stage>("--to") { Required = true, Description = "staging, production or archived." };
        var reason = new Option<string>("--reason") { Required = true, Description = "Why." };
        var execute = new Option<bool>("--execute") { Description = "Carry the promotion out; without it, the request is opened and waits for approvals." };
        var command = new Command("promote", "Ask for a promotion, or carry out an approved one (--execute).") { model, version, stage, reason, execute };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var request = new RequestPromotion(args.GetRequiredValue(model), args.GetRequiredValue(version), args.GetValue(stage), args.GetRequiredValue(reason));
            if (!args.GetValue(execute))
            {
                var opened = await client.PostAsync<PromotionRecord>("promotions", request, ct);
                return connection.Print(args, opened, console => console.MarkupLineInterpolated(
                    $"Promotion [bold]{opened.Id}[/] of {opened.Model} {opened.Version} to {opened.To} is {opened.Status}. Another user approves it with: slipway registry approve {opened.Id} --comment …"));
            }

            var promotions = await client.GetAsync<PromotionList>($"promotions?model={Uri.EscapeDataString(request.Model)}", ct);
            var open = promotions.Promotions.FirstOrDefault(promotion => promotion.Version == request.Version && promotion.To == request.To && promotion.Status is PromotionStatus.Approved or PromotionStatus.Pending)
                ?? throw new Contracts.SlipwayException(Contracts.ErrorCode.NotFound,
                    $"There is no open promotion of {request.Model} {request.Version} to {request.To}; ask for one without --execute first.");
            var done = await client.PostAsync<ModelVersionRecord>($"promotions/{open.Id}/execute", null, ct);
            return connection.Print(args, done, console => console.MarkupLineInterpolated($"{done.Model} {done.Version} is now in [bold]{done.Stage}[/]."));
        });
        return command;
    }

    private static Command Approve(ConnectionOptions connection)
    {
        var id = new Argument<string>("promotion") { Description = "The promotion's id." };
        var comment = new Option<string>("--comment") { Required = true, Description = "Why." };
        var reject = new Option<bool>("--reject") { Description = "Reject instead." };
        var command = new Command("approve", "Approve (or reject) a promotion that another user asked for.") { id, comment, reject };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var verb = args.GetValue(reject) ? "reject" : "approve";
            var promotion = await client.PostAsync<PromotionRecord>(
                $"promotions/{Uri.EscapeDataString(args.GetRequiredValue(id))}/{verb}", new DecidePromotion(args.GetRequiredValue(comment)), ct);
            return connection.Print(args, promotion, console => console.MarkupLineInterpolated(
                $"Promotion {promotion.Id} of {promotion.Model} {promotion.Version} to {promotion.To} is [bold]{promotion.Status}[/]."));
        });
        return command;
    }

    private static Command Rollback(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var to = new Option<string?>("--to") { Description = "A version that was in production before; the last known good one when left out." };
        var reason = new Option<string>("--reason") { Required = true, Description = "Why." };
        var command = new Command("rollback", "Return production to a version that served before.") { model, to, reason };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var record = await client.PostAsync<ModelVersionRecord>(
                $"models/{Uri.EscapeDataString(args.GetRequiredValue(model))}/rollback", new RollbackModel(args.GetValue(to), args.GetRequiredValue(reason)), ct);
            return connection.Print(args, record, console => console.MarkupLineInterpolated($"{record.Model} {record.Version} is in [bold]{record.Stage}[/] again."));
        });
        return command;
    }

    private static Command Compare(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var a = new Argument<string>("a");
        var b = new Argument<string>("b");
        var command = new Command("compare", "Compare two versions: metrics, size, latency, features, recommendation.") { model, a, b };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var comparison = await client.GetAsync<VersionComparison>(
                $"models/{Uri.EscapeDataString(args.GetRequiredValue(model))}/compare?a={Uri.EscapeDataString(args.GetRequiredValue(a))}&b={Uri.EscapeDataString(args.GetRequiredValue(b))}", ct);
            return connection.Print(args, comparison, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumn("Metric")
                    .AddColumn(new TableColumn(comparison.A).RightAligned()).AddColumn(new TableColumn(comparison.B).RightAligned())
                    .AddColumn(new TableColumn("Difference").RightAligned()).AddColumn(new TableColumn("%").RightAligned());
                foreach (var metric in comparison.Metrics)
                {
                    table.AddRow(metric.Name, Figure(metric.A), Figure(metric.B), Figure(metric.Difference), Figure(metric.RelativePercent, "0.0"));
                }

                console.Write(table);
                if (!comparison.SameTestSet)
                {
                    console.MarkupLine("[yellow]▲ The two reports name different test sets: their metrics do not compare.[/]");
                }

                console.MarkupLineInterpolated($"Prefer: [bold]{comparison.Recommendation ?? "undecided"}[/]");
                foreach (var reason in comparison.Reasons)
                {
                    console.WriteLine($"  {reason}");
                }
            });
        });
        return command;
    }

    private static Command Check(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string>("version");
        var stage = new Option<Stage>("--to") { Required = true, Description = "staging, production or archived." };
        var command = new Command("check", "Show what stands between a version and a stage.") { model, version, stage };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var report = await client.GetAsync<GateReport>(
                $"models/{Uri.EscapeDataString(args.GetRequiredValue(model))}/versions/{Uri.EscapeDataString(args.GetRequiredValue(version))}/gate?to={args.GetValue(stage).ToString().ToLowerInvariant()}", ct);
            _ = connection.Print(args, report, console =>
            {
                foreach (var item in report.Items)
                {
                    console.MarkupLine($"{(item.Passed ? "[green]✓[/]" : "[red]✗[/]")} {Markup.Escape(item.Name)}: {Markup.Escape(item.Detail)}");
                }
            });
            return report.Passed ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    private static void DrawVersion(IAnsiConsole console, ModelVersionRecord record)
    {
        var grid = new Grid().AddColumn().AddColumn();
        void Row(string name, string value) => grid.AddRow($"[grey]{name}[/]", Markup.Escape(value));
        Row("Version", $"{record.Model} {record.Version} (number {record.Number})");
        Row("Stage", record.Stage.ToString());
        Row("Why this number", record.BumpReason);
        Row("Registered", $"{Time(record.CreatedAt)} by {record.CreatedBy}");
        Row("Run", record.RunId);
        Row("Commit", record.Commit ?? "unknown");
        Row("Datasets", string.Join(", ", record.Datasets));
        Row("Features", string.Join(", ", record.FeatureSchema.Features.Select(feature => feature.Name)));
        Row("Files", string.Join(", ", record.Files.Select(file => $"{file.Path} {file.Sha256[..8]} {file.SizeBytes:N0} B")));
        console.Write(grid);
    }

    internal static string Figure(double? value, string format = "0.0000") => value?.ToString(format, CultureInfo.InvariantCulture) ?? "-";

    internal static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
