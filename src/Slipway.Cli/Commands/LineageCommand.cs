using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Lineage;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway lineage …</c>: where things came from, what came of them, what a change would reach.</summary>
internal static class LineageCommand
{
    private const string NodeHelp = "KIND:ID, such as model_version:flight-delay@1.0.0 or feature_view:airport_late (all its versions).";

    public static Command Create(ConnectionOptions connection) =>
        new("lineage", "Where things came from, what came of them, what a change would reach.")
        {
            Show(connection), Path(connection), Impact(connection), Dependencies(connection), Deployments(connection), Requirements(connection), Export(connection), Link(connection),
        };

    private static Command Show(ConnectionOptions connection)
    {
        var node = new Argument<string>("node") { Description = NodeHelp };
        var direction = Direction();
        var depth = new Option<int?>("--depth") { Description = "Steps at most." };
        var kinds = new Option<string[]>("--kind") { Description = "Only this kind, such as model_version; may be repeated." };
        var (limit, history) = (Limit(), History());
        var command = new Command("show", "Show what a thing was made from and what came of it.") { node, direction, depth, kinds, limit, history };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            Task<LineageView> Ask(LineageSide side) => client.GetLineageAsync(
                args.GetRequiredValue(node), side, args.GetValue(depth), args.GetValue(kinds), args.GetValue(limit), args.GetValue(history), ct);
            var side = args.GetValue(direction);
            if (side is LineageSide.Both && !connection.Json(args))
            {
                // One question for each way, so that each thing stands under the way it was found.
                Draw(AnsiConsole.Console, await Ask(LineageSide.Upstream));
                Draw(AnsiConsole.Console, await Ask(LineageSide.Downstream));
                return ExitCode.Ok;
            }

            var view = await Ask(side);
            return connection.Print(args, view, console => Draw(console, view));
        });
        return command;
    }

    private static Command Path(ConnectionOptions connection)
    {
        var from = new Argument<string>("from") { Description = NodeHelp };
        var to = new Argument<string>("to") { Description = NodeHelp };
        var limit = Limit();
        var command = new Command("path", "Show a shortest way between two things. Exit code 1 when there is none.") { from, to, limit };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var path = await client.GetLineagePathAsync(args.GetRequiredValue(from), args.GetRequiredValue(to), args.GetValue(limit), ct);
            _ = connection.Print(args, path, console =>
            {
                if (!path.Found)
                {
                    console.WriteLine(path.Truncated ? "None was found before the search met its limit; widen it with --limit." : "There is none.");
                }

                foreach (var (index, thing) in path.Nodes.Index())
                {
                    // "version produced_by run": the relation is seen from the lower end.
                    console.WriteLine($"{thing.Kind}:{thing.Id}{State(thing)}");
                    if (index < path.Edges.Count)
                    {
                        console.WriteLine($"  ↓ {path.Edges[index].Relation}");
                    }
                }

                if (path.Found && path.Truncated)
                {
                    console.WriteLine("A shorter one may exist: the search met its limit; widen it with --limit.");
                }
            });
            return path.Found ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    private static Command Impact(ConnectionOptions connection)
    {
        var node = new Argument<string>("node") { Description = NodeHelp + " Or feature:ENTITY:NAME for a single feature." };
        var limit = new Option<int?>("--limit") { Description = "Versions to name at most." };
        var command = new Command("impact", "List the model versions, and what hangs on them, that a change would reach.") { node, limit };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var impact = await client.GetLineageImpactAsync(args.GetRequiredValue(node), args.GetValue(limit), ct);
            return connection.Print(args, impact, console =>
            {
                console.WriteLine($"A change of {string.Join(", ", impact.Subjects.Select(subject => $"{subject.Kind}:{subject.Id}"))} reaches {impact.VersionsTotal} model versions{(impact.Truncated ? $"; {impact.Versions.Count} are named" : "")}.");
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Version", "Stage", "Owner", "Serves", "Monitors", "Documents", "Applications");
                foreach (var version in impact.Versions)
                {
                    table.AddRow(
                        Markup.Escape($"{version.Model} {version.Version}"), version.Stage?.ToString() ?? "-", Markup.Escape(version.Owner ?? "-"),
                        Names(version.Deployments), Names(version.Monitors), Names(version.Documents), Names(version.Applications));
                }

                console.Write(table);
                console.WriteLine($"To tell: {(impact.Owners.Count == 0 ? "nobody" : string.Join(", ", impact.Owners))}.");
            });
        });
        return command;
    }

    private static Command Dependencies(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string>("version") { Description = "1.0.0, 3, production or @alias." };
        var command = new Command("dependencies", "List what a version was made from, and what uses it.") { model, version };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var found = await client.GetDependenciesAsync(args.GetRequiredValue(model), args.GetRequiredValue(version), ct);
            return connection.Print(args, found, console =>
            {
                console.WriteLine($"{found.Model} {found.Version}");
                var grid = new Grid().AddColumn().AddColumn();
                foreach (var (name, things) in new (string, IReadOnlyList<LineageThing>)[]
                {
                    ("Data", found.Datasets), ("Feature views", found.FeatureViews), ("Feature services", found.FeatureServices), ("Training sets", found.TrainingSets),
                    ("Experiments", found.Runs), ("Pipeline runs", found.PipelineRuns), ("Commits", found.Commits), ("Evaluations", found.EvaluationReports), ("Other models", found.Models),
                })
                {
                    grid.AddRow($"[grey]{name}[/]", Names(things));
                }

                grid.AddRow("[grey]Features[/]", Markup.Escape(string.Join(", ", found.Features)));
                grid.AddRow("[grey]Descends from[/]", found.Parent ?? "-");
                grid.AddRow("[grey]Used by[/]", found.Consumers.Count == 0 ? "-" : Markup.Escape(string.Join("\n", found.Consumers.Select(thing => $"{thing.Kind}:{thing.Id}{State(thing)}"))));
                console.Write(grid);
            });
        });
        return command;
    }

    private static Command Deployments(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string?>("version") { Arity = ArgumentArity.ZeroOrOne, Description = "All versions when left out." };
        var command = new Command("deployments", "List where a model's versions serve now, and where they served.") { model, version };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var found = await client.GetDeploymentsOfAsync(args.GetRequiredValue(model), args.GetValue(version), ct);
            return connection.Print(args, found, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Version", "Stage", "Role", "Endpoint", "From", "Until", "State");
                foreach (var (record, thing) in found.Versions.SelectMany(each => each.Current.Concat(each.Past).Select(thing => (each, thing))))
                {
                    var facts = thing.Facts;
                    table.AddRow(
                        record.Version, record.Stage.ToString(), Detail(facts, "arm"), Detail(facts, "endpoint"), Time(facts?.StartedAt), Time(facts?.EndedAt), Markup.Escape(facts?.State ?? "-"));
                }

                console.Write(table);
            });
        });
        return command;
    }

    private static Command Requirements(ConnectionOptions connection)
    {
        var command = new Command("requirements", "List requirements and the models that answer to them; those of no model are named last.");
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var map = await client.GetRequirementsAsync(ct);
            return connection.Print(args, map, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Requirement", "Text", "Models", "Status");
                foreach (var requirement in map.Requirements)
                {
                    table.AddRow(
                        Markup.Escape(requirement.Id), Markup.Escape(requirement.Text),
                        Markup.Escape(string.Join(", ", requirement.Models.Select(model => model.ProductionVersion is null ? model.Model : $"{model.Model} {model.ProductionVersion}"))),
                        requirement.Status.ToString());
                }

                console.Write(table);
                console.WriteLine(map.Unmapped.Count == 0 ? "Every requirement names a model." : $"Without a model: {string.Join(", ", map.Unmapped)}.");
            });
        });
        return command;
    }

    private static Command Export(ConnectionOptions connection)
    {
        var node = new Argument<string>("node") { Description = NodeHelp };
        var format = new Option<string>("--format") { Description = "json: nodes and edges. openlineage: run events of OpenLineage 2-0-2, one per line.", DefaultValueFactory = _ => "json" };
        format.AcceptOnlyFromAmong("json", "openlineage");
        var output = new Option<string?>("--output") { Description = "A file to write; standard output when left out." };
        var (direction, limit, history) = (Direction(), Limit(), History());
        var command = new Command("export", "Export a part of the graph for other tools.") { node, format, output, direction, limit, history };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var path = args.GetValue(output);
            await using var file = path is null ? null : new StreamWriter(path);
            var writer = file ?? args.InvocationConfiguration.Output;
            if (args.GetValue(format) == "openlineage")
            {
                var events = 0;
                await foreach (var line in client.ExportOpenLineageAsync(args.GetRequiredValue(node), args.GetValue(direction), args.GetValue(limit), args.GetValue(history), ct))
                {
                    await writer.WriteLineAsync(line);
                    events++;
                }

                ConnectionOptions.ProgressConsole.WriteLine($"{events} events{(path is null ? "" : $" in {path}")}.");
                return ExitCode.Ok;
            }

            var view = await client.GetLineageAsync(args.GetRequiredValue(node), args.GetValue(direction), limit: args.GetValue(limit), history: args.GetValue(history), cancellationToken: ct);
            await writer.WriteLineAsync(JsonSerializer.Serialize(view, Indented));
            ConnectionOptions.ProgressConsole.WriteLine($"{view.Nodes.Count} nodes and {view.Edges.Count} edges{(path is null ? "" : $" in {path}")}{(view.Truncated ? "; there are more: raise --limit" : "")}.");
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Link(ConnectionOptions connection)
    {
        var from = new Argument<string>("from") { Description = "The version that is used, as model_version:NAME@VERSION." };
        var relation = new Argument<string>("relation") { Description = "consumed_by (an application) or depends_on (another model's version)." };
        var to = new Argument<string>("to") { Description = "What uses it: application:NAME or model_version:NAME@VERSION." };
        var reason = new Option<string>("--reason") { Required = true, Description = "Why." };
        var command = new Command("link", "Declare a use of a version that the server cannot see.") { from, relation, to, reason };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var link = new DeclareLink(args.GetRequiredValue(from), args.GetRequiredValue(relation), args.GetRequiredValue(to), args.GetRequiredValue(reason));
            await client.DeclareLinkAsync(link, ct);
            return connection.Print(args, link, console => console.WriteLine($"{link.From} {link.Relation} {link.To}"));
        });
        return command;
    }

    private static Option<LineageSide> Direction() => new("--direction") { Description = "upstream, downstream or both.", DefaultValueFactory = _ => LineageSide.Both };

    private static Option<int?> Limit() => new("--limit") { Description = "Things to meet at most each way; the nearest are kept." };

    private static Option<bool> History() => new("--history") { Description = "Go on behind parent versions and what asked for a run." };

    private static void Draw(IAnsiConsole console, LineageView view)
    {
        var table = new Table().Border(TableBorder.Rounded).Title(view.Direction is LineageSide.Upstream ? "Made from" : view.Direction is LineageSide.Downstream ? "What came of it" : "Around it")
            .AddColumn(new TableColumn("Steps").RightAligned()).AddColumns("Kind", "Id", "Name", "State", "Owner");
        foreach (var node in view.Nodes)
        {
            table.AddRow(
                node.Depth.ToString(CultureInfo.InvariantCulture), node.Kind, Markup.Escape(node.Id), Markup.Escape(node.Facts?.Title ?? ""), Markup.Escape(node.Facts?.State ?? ""),
                Markup.Escape(node.Facts?.Owner ?? ""));
        }

        console.Write(table);
        if (view.Truncated)
        {
            console.WriteLine($"These are the nearest {view.Nodes.Count}; there are more: raise --limit.");
        }
    }

    private static string Names(IReadOnlyList<LineageThing> things) =>
        things.Count == 0 ? "-" : Markup.Escape(string.Join("\n", things.Select(thing => thing is { Kind: "deployment" or "run" or "pipeline_run", Facts.Title: { Length: > 0 } title } ? $"{title} ({Short(thing.Id)})" : thing.Id)));

    private static string Short(string id) => id[..Math.Min(8, id.Length)];

    private static string State(LineageThing thing) => thing.Facts?.State is { } state ? $" ({state})" : "";

    private static string Detail(NodeFacts? facts, string name) => Markup.Escape(facts?.Details.GetValueOrDefault(name) ?? "-");

    private static string Time(DateTimeOffset? at) => at is { } instant ? RegistryCommand.Time(instant) : "-";

    private static readonly JsonSerializerOptions Indented = JsonDefaults.Apply(new JsonSerializerOptions { WriteIndented = true });
}
