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
            RegisterCommand.Create(connection), VariantCommand.Create(connection), InventoryCommand.Create(connection), InventoryCommand.CreateDescribe(connection),
            List(connection), Info(connection), Compare(connection), ReproduceCommand.Create(connection),
            PromotionCommands.Check(connection), PromotionCommands.Promote(connection), PromotionCommands.Approvals(connection), PromotionCommands.Approve(connection),
            PromotionCommands.Comment(connection), PromotionCommands.Withdraw(connection), PromotionCommands.Rollback(connection),
            LifeCommands.Checklist(connection), LifeCommands.Environments(connection), LifeCommands.History(connection), LifeCommands.AsOf(connection),
            LifeCommands.Deprecate(connection), LifeCommands.Retire(connection),
            RegistryDocsCommand.Create(connection), Sync(connection),
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
                    table.AddRow(Markup.Escape(model.Name), model.ProductionVersion ?? "-", string.Join(", ", model.StagingVersions), model.NewestVersion ?? "-",
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
                    table.AddRow(record.Version, record.Stage.ToString(), Time(record.CreatedAt), Markup.Escape(record.CreatedBy), record.RunId is { } run ? run[..Math.Min(8, run.Length)] : "", Markup.Escape(record.BumpReason));
                }

                console.Write(table);
            });
        });
        return command;
    }

    private static Command Sync(ConnectionOptions connection)
    {
        var full = new Option<bool>("--full") { Description = "Compare everything, not only what changed since the last look." };
        var command = new Command("sync", "Look for changes on the MLflow server that this registry mirrors, and show how the mirror stands.") { full };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var sync = client.PostAsync<ExternalSyncReport>($"registry/external/sync?full={(args.GetValue(full) ? "true" : "false")}", null, ct);
            while (await Task.WhenAny(sync, Task.Delay(TimeSpan.FromSeconds(2), ct)) != sync && !ct.IsCancellationRequested)
            {
                if ((await client.GetAsync<ExternalRegistryStatus>("registry/external", ct)).Pass is { } pass)
                {
                    ConnectionOptions.ProgressConsole.MarkupLineInterpolated($"{pass.VersionsSeen} versions seen, {pass.VersionsAdded} new, {pass.FilesCopied} files, {pass.BytesCopied} bytes");
                }
            }

            await sync;
            var status = await client.GetAsync<ExternalRegistryStatus>("registry/external", ct);
            return connection.Print(args, status, console => DrawExternal(console, status));
        });
        return command;
    }

    private static void DrawExternal(IAnsiConsole console, ExternalRegistryStatus status)
    {
        console.MarkupLineInterpolated($"{status.Models} models with {status.Versions} versions of [bold]{status.Address}[/], {status.AgeSeconds ?? 0:0} seconds old; {status.PendingWrites} changes on their way there.");
        if (status.Pass is { } pass)
        {
            console.MarkupLineInterpolated($"Last look: {pass.VersionsSeen} versions seen, {pass.VersionsAdded} new, {pass.Changes} changes taken over, {pass.FilesCopied} files copied.");
        }

        foreach (var drift in status.Drift)
        {
            console.MarkupLineInterpolated($"[yellow]Past the gates[/]: {drift.Model} {drift.Version} is in {drift.Stage}: {drift.Reason}.");
        }

        foreach (var version in status.Incomplete)
        {
            console.MarkupLineInterpolated($"[yellow]Incomplete[/]: {version.Model} {version.Version}: {version.Reason}.");
        }

        foreach (var skipped in status.Skipped)
        {
            console.MarkupLineInterpolated($"[yellow]Not mirrored[/]: {skipped}.");
        }
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
                    .AddColumn(new TableColumn("Difference").RightAligned()).AddColumn(new TableColumn("%").RightAligned()).AddColumn("Interval");
                foreach (var metric in comparison.Metrics)
                {
                    table.AddRow(metric.Name, Figure(metric.A), Figure(metric.B), Figure(metric.Difference), Figure(metric.RelativePercent, "0.0"),
                        metric.Interval is { } interval ? $"{Figure(interval.Lower)} to {Figure(interval.Upper)}" : metric.IntervalFrom ?? "");
                }

                AddCost(table, "p50 of one row, µs", comparison, benchmark => benchmark.LatencyUsP50);
                AddCost(table, "p95 of one row, µs", comparison, benchmark => benchmark.LatencyUsP95);
                AddCost(table, "p99 of one row, µs", comparison, benchmark => benchmark.LatencyUsP99);
                AddCost(table, "rows/s in batches of 64", comparison, benchmark => benchmark.RowsPerSecondBatch64);
                AddCost(table, "memory, MB", comparison, benchmark => benchmark.PeakMemoryBytes / 1e6);
                AddRow(table, "size of all files, kB", comparison.SizeBytesA / 1e3, comparison.SizeBytesB / 1e3);

                console.Write(table);
                if (!comparison.SameTestSet)
                {
                    console.MarkupLine("[yellow]▲ The two reports name different test sets: their metrics do not compare.[/]");
                }

                foreach (var (what, names) in new[] { ("added", comparison.FeaturesAdded), ("removed", comparison.FeaturesRemoved), ("changed", comparison.FeaturesChanged) })
                {
                    if (names.Count > 0)
                    {
                        console.WriteLine($"Features {what}: {string.Join(", ", names)}");
                    }
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

    private static void AddCost(Table table, string name, VersionComparison comparison, Func<ModelBenchmark, double?> figure) =>
        AddRow(table, name, comparison.BenchmarkA is { } a ? figure(a) : null, comparison.BenchmarkB is { } b ? figure(b) : null);

    private static void AddRow(Table table, string name, double? a, double? b) =>
        table.AddRow(name, Figure(a, "0.0"), Figure(b, "0.0"), Figure(b - a, "0.0"), a is 0 ? "-" : Figure((b - a) / a * 100, "0.0"), "");

    private static void DrawVersion(IAnsiConsole console, ModelVersionRecord record)
    {
        var grid = new Grid().AddColumn().AddColumn();
        void Row(string name, string value) => grid.AddRow($"[grey]{name}[/]", Markup.Escape(value));
        Row("Version", $"{record.Model} {record.Version} (number {record.Number})");
        Row("Stage", record.Stage.ToString());
        Row("Why this number", record.BumpReason);
        Row("Registered", $"{Time(record.CreatedAt)} by {record.CreatedBy}");
        Row("Run", record.RunId ?? "none known");
        Row("Commit", record.Commit ?? "unknown");
        Row("Datasets", string.Join(", ", record.Datasets));
        Row("Features", string.Join(", ", record.FeatureSchema.Features.Select(feature => feature.Name)));
        Row("Files", string.Join(", ", record.Files.Select(file => $"{file.Path} {file.Sha256[..8]} {file.SizeBytes:N0} B")));
        console.Write(grid);
        foreach (var line in ProfileLines.Of(record))
        {
            console.WriteLine(line);
        }
    }

    internal static string Figure(double? value, string format = "0.0000") => value?.ToString(format, CultureInfo.InvariantCulture) ?? "-";

    internal static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
