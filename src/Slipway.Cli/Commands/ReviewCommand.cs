using System.CommandLine;
using System.Globalization;
using Slipway.Contracts.Serving;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway review …</c>: predictions that a person looks at.</summary>
internal static class ReviewCommand
{
    public static Command Create(ConnectionOptions connection) => new("review", "Close predictions that a person decides.") { List(connection), Show(connection), Decide(connection) };

    private static Command List(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var decided = new Option<bool>("--decided") { Description = "Those that were decided, instead of those that wait." };
        var after = new Option<string?>("--after") { Description = "Where the page begins, as the page before says." };
        var limit = new Option<int>("--limit") { Description = "Most cases, 1 to 1000.", DefaultValueFactory = _ => 50 };
        var command = new Command("list", "Show a model's cases, the oldest first.") { model, decided, after, limit };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var page = await client.GetAsync<ReviewList>(
                string.Create(CultureInfo.InvariantCulture, $"reviews?model={Uri.EscapeDataString(args.GetRequiredValue(model))}&status={(args.GetValue(decided) ? "decided" : "open")}&limit={args.GetValue(limit)}{(args.GetValue(after) is { } from ? $"&after={Uri.EscapeDataString(from)}" : "")}"), ct);
            return connection.Print(args, page, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Case", "Output", "Version", "About", "Why", "At", "Decision");
                foreach (var one in page.Cases)
                {
                    table.AddRow(
                        one.Id, Figure(one.Output), one.Version, Markup.Escape(one.EntityKey?.Replace('\u001f', ' ') ?? "-"), one.Why, one.At.UtcDateTime.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture),
                        one.Decision is { } decision ? Markup.Escape($"{Figure(decision)} by {one.DecidedBy}") : "-");
                }

                console.Write(table);
                console.MarkupLineInterpolated($"{page.Open} wait{(page.Dropped > 0 ? $"; {page.Dropped} were left out, because too many waited" : "")}.{(page.Next is { } next ? $" More with --after {next}" : "")}");
            });
        });
        return command;
    }

    private static Command Show(ConnectionOptions connection)
    {
        var id = new Argument<string>("case");
        var command = new Command("show", "Show one case.") { id };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var one = await client.GetAsync<ReviewCase>($"reviews/{Uri.EscapeDataString(args.GetRequiredValue(id))}", ct);
            return connection.Print(args, one, console => Draw(console, one));
        });
        return command;
    }

    private static Command Decide(ConnectionOptions connection)
    {
        var id = new Argument<string>("case");
        var decision = new Option<double>("--decision") { Description = "1 for yes, 0 for no, or the figure itself.", Required = true };
        var reason = new Option<string>("--reason") { Description = "Why; kept with the case and in the audit trail.", Required = true };
        var command = new Command("decide", "Decide a case, for good.") { id, decision, reason };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var one = await client.PostAsync<ReviewCase>($"reviews/{Uri.EscapeDataString(args.GetRequiredValue(id))}/decide", new DecideCaseRequest(args.GetValue(decision), args.GetRequiredValue(reason)), ct);
            return connection.Print(args, one, console => Draw(console, one));
        });
        return command;
    }

    private static void Draw(IAnsiConsole console, ReviewCase one)
    {
        console.MarkupLineInterpolated($"[bold]{one.Model} {one.Version}[/] ({one.Arm}) answered {Figure(one.Output)} about {one.EntityKey?.Replace('\u001f', ' ') ?? "nobody named"}, {one.At.UtcDateTime:yyyy-MM-dd HH:mm}; prediction {one.PredictionId}.");
        foreach (var (name, value) in one.Features)
        {
            console.MarkupLineInterpolated($"  {name} = {(value is { } figure ? Figure(figure) : "missing")}");
        }

        console.MarkupLineInterpolated($"{(one.Decision is { } decision ? $"{one.DecidedBy} decided {Figure(decision)}: {one.Reason}" : "It waits for a decision.")}");
    }

    private static string Figure(double value) => value.ToString("0.####", CultureInfo.InvariantCulture);
}
