using System.CommandLine;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway key …</c>: API keys, by which programs act as their user.</summary>
internal static class KeyCommand
{
    public static Command Create(ConnectionOptions connection) => new("key", "API keys of users and service accounts.") { Make(connection), List(connection), Revoke(connection) };

    private static Command Make(ConnectionOptions connection)
    {
        var name = new Argument<string>("name") { Description = "What the key is for, such as nightly-build." };
        var user = new Option<string?>("--user") { Description = "Whose key; default your own." };
        var allow = new Option<Permission[]>("--allow") { Description = "The only thing it may do: read, predict, write, operate, approve, audit or admin; repeat for more." };
        var models = new Option<string[]>("--model") { Description = "The only model it is for; repeat for more." };
        var experiments = new Option<string[]>("--experiment") { Description = "The only experiment it is for, by id; repeat for more." };
        var environments = new Option<string[]>("--environment") { Description = "The only environment in which it changes what runs, such as staging; repeat for more." };
        var expires = new Option<string?>("--expires") { Description = "How long it works, such as 90d or 12h; default for ever." };
        var create = new Command("create", "Make a key; prints it once.") { name, user, allow, models, experiments, environments, expires };
        create.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var owner = args.GetValue(user) ?? (await client.GetAsync<WhoAmI>("whoami", ct)).Name;
            var request = new CreateKeyRequest(
                args.GetRequiredValue(name), Some(args.GetValue(allow)), Some(args.GetValue(models)), Some(args.GetValue(experiments)), Some(args.GetValue(environments)), args.GetValue(expires));
            var key = await client.PostAsync<KeyResponse>($"users/{Uri.EscapeDataString(owner)}/keys", request, ct);
            return connection.Print(args, key, console => console.MarkupLineInterpolated($"{key.Id} of {key.User}, for {key.Limits.Describe()}: {key.Token}"));
        });
        return create;
    }

    private static Command List(ConnectionOptions connection)
    {
        var user = new Option<string?>("--user") { Description = "Whose keys; default your own, or all for administrators and auditors." };
        var list = new Command("list", "List keys, newest first.") { user };
        list.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var keys = await client.GetAsync<KeyList>(args.GetValue(user) is { } name ? $"keys?user={Uri.EscapeDataString(name)}" : "keys", ct);
            return connection.Print(args, keys, console => console.Write(Table(keys.Keys)));
        });
        return list;
    }

    private static Command Revoke(ConnectionOptions connection)
    {
        var id = new Argument<string>("id") { Description = "Such as key-7, as 'slipway key list' shows it." };
        var revoke = new Command("revoke", "Withdraw a key: the next request with it is refused.") { id };
        revoke.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            await client.DeleteAsync($"keys/{Uri.EscapeDataString(args.GetRequiredValue(id))}", ct);
            return connection.Print(args, new { id = args.GetRequiredValue(id), revoked = true }, console => console.MarkupLineInterpolated($"{args.GetRequiredValue(id)} is withdrawn."));
        });
        return revoke;
    }

    /// <summary>Keys as a table.</summary>
    public static Table Table(IReadOnlyList<KeyResponse> keys)
    {
        var table = new Table().Border(TableBorder.Rounded).AddColumns("Key", "User", "Name", "For", "Last used", "Works until");
        foreach (var key in keys)
        {
            var until = key.RevokedAt is not null ? "withdrawn" : key.ExpiresAt is { } end ? $"{end:yyyy-MM-dd HH:mm}" : "for ever";
            table.AddRow(Markup.Escape(key.Id), Markup.Escape(key.User), Markup.Escape(key.Name), Markup.Escape(key.Limits.Describe()), key.LastUsedAt is { } used ? $"{used:yyyy-MM-dd HH:mm}" : "never", until);
        }

        return table;
    }

    public static string PermissionName(Permission permission) => permission.ToString().ToLowerInvariant();

    private static T[]? Some<T>(T[]? values) => values is { Length: > 0 } ? values : null;
}
