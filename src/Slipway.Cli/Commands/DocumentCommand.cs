using System.CommandLine;
using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Governance;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway document …</c>: papers written from the records.</summary>
internal static class DocumentCommand
{
    private static readonly Dictionary<string, DocumentType> Types = new(StringComparer.Ordinal)
    {
        ["model-card"] = DocumentType.ModelCard,
        ["strategy"] = DocumentType.Strategy,
        ["maturity"] = DocumentType.Maturity,
    };

    public static Command Create(ConnectionOptions connection) =>
        new("document", "Model cards, strategy, maturity: every figure marked with its evidence.") { Generate(connection), List(connection), Show(connection) };

    private static Command Generate(ConnectionOptions connection)
    {
        var type = new Argument<string>("type") { Description = "model-card, strategy or maturity." };
        type.AcceptOnlyFromAmong([.. Types.Keys]);
        var model = new Option<string?>("--model") { Description = "The model; needed for a model card, all models when left out otherwise." };
        var version = new Option<string?>("--version") { Description = "The version that a model card describes, such as a candidate; the one in production when left out." };
        var texts = new Option<string[]>("--text") { Description = "Text that only people can give, as key=text; kept for later versions. Repeatable." };
        var requirements = new Option<FileInfo?>("--requirements") { Description = "A text file with one requirement per line, for the strategy." };
        var command = new Command("generate", "Write a document from the records of now; nothing is written when no fact has changed.") { type, model, version, texts, requirements };
        command.SetAction(async (args, ct) =>
        {
            var supplied = Supplied(args.GetValue(texts) ?? []);
            if (args.GetValue(requirements) is { } file)
            {
                supplied["requirements"] = await File.ReadAllTextAsync(file.FullName, ct);
            }

            using var client = connection.Connect(args);
            var written = await client.PostAsync<GeneratedDocument>("documents", new GenerateDocument(Types[args.GetRequiredValue(type)], args.GetValue(model), supplied) { ModelVersion = args.GetValue(version) }, ct);
            foreach (var warning in written.Warnings)
            {
                await args.InvocationConfiguration.Error.WriteLineAsync($"Warning: {warning}");
            }

            return connection.Print(args, written, _ =>
            {
                var output = args.InvocationConfiguration.Output;
                output.WriteLine(written.Created
                    ? $"{written.Document.Id} written to {written.Document.File}; {written.Checks.Count} quality checks passed."
                    : $"No fact has changed since {written.Document.Id}; nothing was written.");
                foreach (var point in written.Validation)
                {
                    output.WriteLine($"{(point.Passed ? "settled" : "open   ")}  {point.Name}: {point.Detail}");
                }
            });
        });
        return command;
    }

    private static Command List(ConnectionOptions connection)
    {
        var command = new Command("list", "List documents; a card whose facts have changed is flagged.");
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var list = await client.GetAsync<DocumentList>("documents", ct);
            return connection.Print(args, list, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Document", "Title", "Written", "By", "State");
                foreach (var document in list.Documents)
                {
                    table.AddRow(document.Id, Markup.Escape(document.Title), document.CreatedAt.UtcDateTime.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture),
                        Markup.Escape(document.CreatedBy), document.Stale ? $"[yellow]stale[/]: {Markup.Escape(document.StaleReason!)}" : "current");
                }

                console.Write(table);
            });
        });
        return command;
    }

    private static Command Show(ConnectionOptions connection)
    {
        var id = new Argument<string>("id") { Description = "Such as ARC-FLIGHT-DELAY-MCARD-v1.0; without the version, the newest." };
        var command = new Command("show", "Print a document as Markdown.") { id };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            await foreach (var line in client.LinesAsync($"documents/{Uri.EscapeDataString(args.GetRequiredValue(id))}", ct))
            {
                await args.InvocationConfiguration.Output.WriteLineAsync(line);
            }

            return ExitCode.Ok;
        });
        return command;
    }

    private static Dictionary<string, string> Supplied(string[] texts)
    {
        var supplied = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var text in texts)
        {
            var equals = text.IndexOf('=', StringComparison.Ordinal);
            supplied[equals > 0 ? text[..equals] : throw new SlipwayException(ErrorCode.InvalidArgument, $"--text '{text}' must be key=text, such as risk_tier=Low.")] = text[(equals + 1)..];
        }

        return supplied;
    }
}
