using System.CommandLine;
using Slipway.Contracts.Identity;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway user …</c>: who may do what.</summary>
internal static class UserCommand
{
    public static Command Create(ConnectionOptions connection)
    {
        var name = new Argument<string>("name");
        var role = new Option<string>("--role") { Required = true, Description = "viewer, service, engineer, approver or admin." };
        var add = new Command("add", "Make a user; prints the token once.") { name, role };
        add.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var user = await client.PostAsync<CreatedUser>("users", new CreateUserRequest(args.GetRequiredValue(name), args.GetRequiredValue(role)), ct);
            return connection.Print(args, user, console => console.MarkupLineInterpolated($"{user.Name} ({user.Role}): {user.Token}"));
        });
        var list = new Command("list", "List users and roles.");
        list.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var users = await client.GetAsync<UserList>("users", ct);
            return connection.Print(args, users, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Name", "Role");
                foreach (var user in users.Users)
                {
                    table.AddRow(Markup.Escape(user.Name), user.Role.ToString());
                }

                console.Write(table);
            });
        });
        return new Command("user", "Users and their roles.") { add, list };
    }
}
