using System.CommandLine;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway registry inventory</c> and <c>describe</c>: which models there are, whose, what for, and how risky.</summary>
internal static class InventoryCommand
{
    private static readonly string[] Columns = ["model", "kind", "type", "framework", "provider", "owner", "purpose", "risk_class", "licence", "newest_version", "production_version"];

    public static Command Create(ConnectionOptions connection)
    {
        var csv = new Option<bool>("--csv") { Description = "Print CSV for a spreadsheet." };
        var command = new Command("inventory", "List every model with its type, framework, owner, purpose and risk class.") { csv };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var inventory = await client.GetAsync<ModelInventory>("inventory", ct);
            if (args.GetValue(csv))
            {
                var output = args.InvocationConfiguration.Output;
                await output.WriteLineAsync(string.Join(',', Columns));
                foreach (var entry in inventory.Models)
                {
                    await output.WriteLineAsync(string.Join(',', Cells(entry).Select(Quote)));
                }

                return ExitCode.Ok;
            }

            return connection.Print(args, inventory, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Model", "Kind", "Type", "Framework", "Provider", "Owner", "Purpose", "Risk", "Licence", "Newest", "Production");
                foreach (var entry in inventory.Models)
                {
                    table.AddRow([.. Cells(entry).Select(Markup.Escape)]);
                }

                console.Write(table);
            });
        });
        return command;
    }

    public static Command CreateDescribe(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var risk = new Option<RiskClass?>("--risk-class")
        {
            Description = "How much harm a wrong answer can do: low, medium, high or very-high.",
            CustomParser = argument =>
            {
                if (Enum.TryParse<RiskClass>(argument.Tokens[0].Value.Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal), ignoreCase: true, out var parsed) && Enum.IsDefined(parsed))
                {
                    return parsed;
                }

                argument.AddError("--risk-class must be low, medium, high or very-high.");
                return null;
            },
        };
        var purpose = new Option<string?>("--purpose") { Description = "What it is for." };
        var owner = new Option<string?>("--owner") { Description = "Who answers for it." };
        var kind = new Option<ModelKind?>("--kind") { Description = "trained, fine-tuned, foundation or saas.", CustomParser = argument => RegisterCommand.ParseKind(argument) };
        var reason = new Option<string?>("--reason") { Description = "Why it is changed." };
        var command = new Command("describe", "Say what a model is for, whose it is and how risky.") { model, risk, purpose, owner, kind, reason };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var summary = await client.PatchAsync<ModelSummary>(
                $"models/{Uri.EscapeDataString(args.GetRequiredValue(model))}",
                new DescribeModel(args.GetValue(risk), args.GetValue(purpose), args.GetValue(owner), args.GetValue(kind), args.GetValue(reason)), ct);
            return connection.Print(args, summary, console => console.MarkupLineInterpolated(
                $"{summary.Name}: {Text(summary.Kind)}, risk {Text(summary.RiskClass)}, owner {summary.Owner}, purpose {(summary.Purpose.Length > 0 ? summary.Purpose : "not said")}"));
        });
        return command;
    }

    private static string[] Cells(InventoryEntry entry) =>
    [
        entry.Model, Text(entry.Kind), entry.Type is { } type ? Text(type) : "", entry.Framework ?? "", entry.Provider ?? "", entry.Owner, entry.Purpose, Text(entry.RiskClass), entry.Licence ?? "", entry.NewestVersion ?? "",
        entry.ProductionVersion ?? "",
    ];

    private static string Text<T>(T value)
        where T : struct, Enum => System.Text.Json.JsonSerializer.Serialize(value, JsonDefaults.Options).Trim('"');

    // A cell that a spreadsheet would take for a formula is made a text.
    private static string Quote(string cell)
    {
        var safe = cell is ['=' or '+' or '-' or '@', ..] ? "'" + cell : cell;
        return safe.AsSpan().IndexOfAny(",\"\r\n") < 0 ? safe : $"\"{safe.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
    }
}
