using System.CommandLine;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway user …</c> and <c>slipway whoami</c>: who may come in, and as what.</summary>
internal static class UserCommand
{
    private const string RoleNames = "viewer, service, data_scientist, ml_engineer, approver, auditor or administrator.";

    public static Command Create(ConnectionOptions connection) => new("user", "Users and service accounts: their roles, groups and passwords.")
    {
        Add(connection), List(connection), Show(connection), SetRole(connection), SetGroups(connection), Password(connection), Link(connection),
        SetState(connection, "disable", "Shut a user out and end its sessions; its keys come back with 'enable'.", active: false),
        SetState(connection, "enable", "Let a user in again.", active: true), Delete(connection), SignOut(connection),
    };

    public static Command WhoAmI(ConnectionOptions connection)
    {
        var command = new Command("whoami", "Show whom the server takes you for, and what you may do.");
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var me = await client.GetAsync<WhoAmI>("whoami", ct);
            return connection.Print(args, me, console =>
            {
                console.MarkupLineInterpolated($"{me.Name} ({RoleName(me.Role)}){(me.Groups.Count == 0 ? "" : $", for {string.Join(", ", me.Groups)}")}");
                console.MarkupLineInterpolated($"may {string.Join(", ", me.Permissions.Select(KeyCommand.PermissionName))}");
                if (me.Limits is { } limits)
                {
                    console.MarkupLineInterpolated($"with a key for {limits.Describe()}");
                }
            });
        });
        return command;
    }

    private static Command Add(ConnectionOptions connection)
    {
        var name = Name();
        var role = new Option<string>("--role") { Required = true, Description = RoleNames };
        var groups = new Option<string[]>("--group") { Description = "On whose behalf the user may approve a policy's named step, such as ethics; repeat for more." };
        var password = new Option<bool>("--password") { Description = "Ask for a password instead of making a token; SLIPWAY_NEW_PASSWORD gives it to scripts." };
        var add = new Command("add", "Make a user; prints its token once.") { name, role, groups, password };
        add.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var request = new CreateUserRequest(args.GetRequiredValue(name), args.GetRequiredValue(role), args.GetValue(groups), args.GetValue(password) ? NewPassword() : null);
            var user = await client.PostAsync<CreatedUser>("users", request, ct);
            return connection.Print(args, user, console => console.MarkupLineInterpolated($"{user.Name} ({RoleName(user.Role)}){(user.Token is null ? "" : $": {user.Token}")}"));
        });
        return add;
    }

    private static Command List(ConnectionOptions connection)
    {
        var list = new Command("list", "List users, roles and groups.");
        list.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var users = await client.GetAsync<UserList>("users", ct);
            return connection.Print(args, users, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Name", "Role", "Groups", "State", "Signs in by");
                foreach (var user in users.Users)
                {
                    table.AddRow(Markup.Escape(user.Name), RoleName(user.Role), Markup.Escape(string.Join(", ", user.Groups)), user.State.ToString().ToLowerInvariant(), Ways(user));
                }

                console.Write(table);
            });
        });
        return list;
    }

    private static Command Show(ConnectionOptions connection)
    {
        var name = Name();
        var show = new Command("show", "Show a user with its keys and grants.") { name };
        show.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var user = await client.GetAsync<UserResponse>(Path(args.GetRequiredValue(name)), ct);
            var keys = await client.GetAsync<KeyList>($"keys?user={Uri.EscapeDataString(user.Name)}", ct);
            var grants = await client.GetAsync<GrantList>($"grants?user={Uri.EscapeDataString(user.Name)}", ct);
            return connection.Print(args, new { user, keys.Keys, grants.Grants }, console =>
            {
                Draw(console, user);
                console.Write(KeyCommand.Table(keys.Keys));
                console.Write(GrantCommand.Table(grants.Grants));
            });
        });
        return show;
    }

    private static Command SetRole(ConnectionOptions connection)
    {
        var name = Name();
        var role = new Argument<string>("role") { Description = RoleNames };
        var set = new Command("set-role", "Give a user another role.") { name, role };
        set.SetAction((args, ct) => ChangeAsync(connection, args, args.GetRequiredValue(name), new ChangeUserRequest(Role: args.GetRequiredValue(role)), ct));
        return set;
    }

    private static Command SetGroups(ConnectionOptions connection)
    {
        var name = Name();
        var groups = new Argument<string[]>("groups") { Arity = ArgumentArity.ZeroOrMore, Description = "All groups from now on; none takes them away." };
        var set = new Command("set-groups", "Say on whose behalf a user may approve.") { name, groups };
        set.SetAction((args, ct) => ChangeAsync(connection, args, args.GetRequiredValue(name), new ChangeUserRequest(Groups: args.GetValue(groups) ?? []), ct));
        return set;
    }

    private static Command SetState(ConnectionOptions connection, string verb, string description, bool active)
    {
        var name = Name();
        var set = new Command(verb, description) { name };
        set.SetAction((args, ct) => ChangeAsync(connection, args, args.GetRequiredValue(name), new ChangeUserRequest(Active: active), ct));
        return set;
    }

    private static Command Password(ConnectionOptions connection)
    {
        var name = Name();
        var set = new Command("password", "Set a user's password, which is asked for; SLIPWAY_NEW_PASSWORD and SLIPWAY_CURRENT_PASSWORD give them to scripts.") { name };
        set.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var user = args.GetRequiredValue(name);
            var me = await client.GetAsync<WhoAmI>("whoami", ct);
            var known = await client.GetAsync<UserResponse>(Path(user), ct);
            var current = known.HasPassword && !me.Permissions.Contains(Permission.Admin) ? Secret("Current password", "SLIPWAY_CURRENT_PASSWORD") : null;
            await client.PutAsync<object?>($"{Path(user)}/password", new ChangePasswordRequest(NewPassword(), current), ct);
            return connection.Print(args, new { user, changed = true }, console => console.MarkupLineInterpolated($"{user} has a new password; its browsers are signed out."));
        });
        return set;
    }

    private static Command Link(ConnectionOptions connection)
    {
        var name = Name();
        var make = new Command("link", "Make a link that lets a user in once, to choose a password.") { name };
        make.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var link = await client.PostAsync<SignInLink>($"{Path(args.GetRequiredValue(name))}/link", null, ct);
            return connection.Print(args, link, console => console.MarkupLineInterpolated($"{link.Url} (until {link.ExpiresAt:yyyy-MM-dd HH:mm} UTC)"));
        });
        return make;
    }

    private static Command Delete(ConnectionOptions connection)
    {
        var name = Name();
        var delete = new Command("delete", "Take all access of a user away for good; the name stays taken.") { name };
        delete.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            await client.DeleteAsync(Path(args.GetRequiredValue(name)), ct);
            return connection.Print(args, new { user = args.GetRequiredValue(name), deleted = true }, console => console.MarkupLineInterpolated($"{args.GetRequiredValue(name)} is deleted."));
        });
        return delete;
    }

    private static Command SignOut(ConnectionOptions connection)
    {
        var name = Name();
        var signOut = new Command("sign-out", "Sign a user's browsers out.") { name };
        signOut.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            await client.DeleteAsync($"{Path(args.GetRequiredValue(name))}/sessions", ct);
            return connection.Print(args, new { user = args.GetRequiredValue(name), signed_out = true }, console => console.MarkupLineInterpolated($"{args.GetRequiredValue(name)} is signed out everywhere."));
        });
        return signOut;
    }

    private static async Task<int> ChangeAsync(ConnectionOptions connection, ParseResult args, string name, ChangeUserRequest change, CancellationToken ct)
    {
        using var client = connection.Connect(args);
        var user = await client.PatchAsync<UserResponse>(Path(name), change, ct);
        return connection.Print(args, user, console => Draw(console, user));
    }

    private static void Draw(IAnsiConsole console, UserResponse user) => console.MarkupLineInterpolated(
        $"{user.Name} ({RoleName(user.Role)}){(user.Groups.Count == 0 ? "" : $", for {string.Join(", ", user.Groups)}")}{(user.State is UserState.Active ? "" : ", disabled")}");

    private static string Ways(UserResponse user) => user.Provider ? "OpenID" : user.HasPassword ? "password, key" : "key";

    private static string NewPassword() => Secret("New password", "SLIPWAY_NEW_PASSWORD");

    // Never an argument: everyone on the machine can read those.
    private static string Secret(string prompt, string variable)
    {
        if (Environment.GetEnvironmentVariable(variable) is { Length: > 0 } given)
        {
            return given;
        }

        return Console.IsInputRedirected
            ? Console.In.ReadLine() is { Length: > 0 } line ? line : throw new SlipwayException(ErrorCode.InvalidArgument, $"No password was given; type it, pipe it in, or set {variable}.")
            : ConnectionOptions.ProgressConsole.Prompt(new TextPrompt<string>($"{prompt}:").Secret());
    }

    private static Argument<string> Name() => new("name") { Description = "The user's name." };

    private static string Path(string name) => $"users/{Uri.EscapeDataString(name)}";

    private static string RoleName(Role role) => JsonNamingPolicy.SnakeCaseLower.ConvertName(role.ToString());
}
