using System.CommandLine;
using System.Globalization;
using Slipway.Contracts.Identity;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway grant …</c>: who may do what with one model or experiment, beside what the role says.</summary>
internal static class GrantCommand
{
    public static Command Create(ConnectionOptions connection) => new("grant", "Who may do what with one model or experiment.") { Add(connection), List(connection), Remove(connection) };

    private static Command Add(ConnectionOptions connection)
    {
        var level = new Argument<string>("permission") { Description = "NO_PERMISSIONS, READ, USE, EDIT or MANAGE." };
        var (user, group, model, experiment) = (User(), Group(), Model(), Experiment());
        var environment = new Option<string?>("--environment") { Description = "The only environment of the model that it speaks of, such as staging." };
        var add = new Command("add", "Give a user or group a permission; one that it has there is replaced.") { level, user, group, model, experiment, environment };
        add.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var request = new GrantRequest(args.GetValue(user), args.GetValue(group), args.GetValue(model), args.GetValue(experiment), args.GetValue(environment), args.GetRequiredValue(level));
            // An environment alone means that environment of every model.
            var grant = await client.PostAsync<GrantResponse>("grants", request is { Model: null, Experiment: null, Environment: not null } ? request with { Model = "*" } : request, ct);
            return connection.Print(args, grant, console => console.MarkupLineInterpolated($"{grant.Id}: {Subject(grant)} has {grant.Permission} on {Object(grant)}"));
        });
        return add;
    }

    private static Command List(ConnectionOptions connection)
    {
        var (user, group, model, experiment) = (User(), Group(), Model(), Experiment());
        var list = new Command("list", "List grants.") { user, group, model, experiment };
        list.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var filters = new[] { ("user", args.GetValue(user)), ("group", args.GetValue(group)), ("model", args.GetValue(model)), ("experiment", args.GetValue(experiment)) }
                .Where(filter => filter.Item2 is not null).Select(filter => $"{filter.Item1}={Uri.EscapeDataString(filter.Item2!)}");
            var grants = await client.GetAsync<GrantList>($"grants?{string.Join('&', filters)}", ct);
            return connection.Print(args, grants, console => console.Write(Table(grants.Grants)));
        });
        return list;
    }

    private static Command Remove(ConnectionOptions connection)
    {
        var id = new Argument<long>("id") { Description = "The grant's number, as 'slipway grant list' shows it." };
        var remove = new Command("remove", "Take a grant back; the role's permissions count again.") { id };
        remove.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var number = args.GetRequiredValue(id).ToString(CultureInfo.InvariantCulture);
            await client.DeleteAsync($"grants/{number}", ct);
            return connection.Print(args, new { id = args.GetRequiredValue(id), removed = true }, console => console.MarkupLineInterpolated($"Grant {number} is taken back."));
        });
        return remove;
    }

    /// <summary>Grants as a table.</summary>
    public static Table Table(IReadOnlyList<GrantResponse> grants)
    {
        var table = new Table().Border(TableBorder.Rounded).AddColumns("Grant", "To", "On", "Permission", "By");
        foreach (var grant in grants)
        {
            table.AddRow(grant.Id.ToString(CultureInfo.InvariantCulture), Markup.Escape(Subject(grant)), Markup.Escape(Object(grant)), grant.Permission, Markup.Escape(grant.CreatedBy));
        }

        return table;
    }

    private static string Subject(GrantResponse grant) => grant.User is { } user ? user : $"group {grant.Group}";

    private static string Object(GrantResponse grant) =>
        (grant.Model is { } model ? model == "*" ? "all models" : $"model {model}" : grant.Experiment == "*" ? "all experiments" : $"experiment {grant.Experiment}")
        + (grant.Environment is { } environment ? $" in {environment}" : "");

    private static Option<string?> User() => new("--user") { Description = "The user." };

    private static Option<string?> Group() => new("--group") { Description = "The group." };

    private static Option<string?> Model() => new("--model") { Description = "The model's name; * for all." };

    private static Option<string?> Experiment() => new("--experiment") { Description = "The experiment's id; * for all." };
}
