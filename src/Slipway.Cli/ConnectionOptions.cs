using System.CommandLine;
using System.Text.Json;
using Slipway.Client;
using Slipway.Contracts;
using Spectre.Console;

namespace Slipway.Cli;

/// <summary>The options every command that talks to a server shares.</summary>
internal sealed class ConnectionOptions
{
    private readonly Option<string> _server = new("--server")
    {
        Description = "Address of the server (SLIPWAY_SERVER; default http://127.0.0.1:5000).",
        Recursive = true,
        DefaultValueFactory = _ => Environment.GetEnvironmentVariable("SLIPWAY_SERVER") ?? "http://127.0.0.1:5000",
    };

    // Not a default value: help prints those.
    private readonly Option<string?> _token = new("--token")
    {
        Description = "Your token (SLIPWAY_TOKEN). Without one you act as the local user, where the server allows it.",
        Recursive = true,
    };

    private readonly Option<bool> _json = new("--json") { Description = "Print JSON for scripts.", Recursive = true };

    public void AddTo(RootCommand root)
    {
        root.Add(_server);
        root.Add(_token);
        root.Add(_json);
    }

    public bool Json(ParseResult args) => args.GetValue(_json);

    public SlipwayClient Connect(ParseResult args) => Connect(args.GetRequiredValue(_server), args.GetValue(_token) ?? Environment.GetEnvironmentVariable("SLIPWAY_TOKEN"));

    public static SlipwayClient Connect(string server, string? token)
    {
        if (!Uri.TryCreate(server, UriKind.Absolute, out var address) || address.Scheme is not ("http" or "https"))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"--server '{server}' must be an address such as http://127.0.0.1:5000.");
        }

        // A header cannot carry them. The sentence does not show the token: it may be right but for a line end.
        if (token?.Any(c => c is < '!' or > '~') is true)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The token (--token or SLIPWAY_TOKEN) holds a space, a line end or another character that no token has; give it as it was shown when it was made.");
        }

        return new SlipwayClient(address, token);
    }

    /// <summary>Where progress is drawn: standard error, so that <c>--json</c> output stays clean.</summary>
    public static IAnsiConsole ProgressConsole { get; } = AnsiConsole.Create(new AnsiConsoleSettings
    {
        Out = new AnsiConsoleOutput(Console.Error),
        Ansi = Console.IsErrorRedirected ? AnsiSupport.No : AnsiSupport.Detect, // A log shows no colours.
    });

    /// <summary>Prints the value as JSON, or lets the command draw it.</summary>
    public int Print<T>(ParseResult args, T value, Action<IAnsiConsole> draw)
    {
        if (Json(args))
        {
            args.InvocationConfiguration.Output.WriteLine(JsonSerializer.Serialize(value, Indented));
        }
        else
        {
            draw(AnsiConsole.Console);
        }

        return ExitCode.Ok;
    }

    private static readonly JsonSerializerOptions Indented = JsonDefaults.Apply(new JsonSerializerOptions { WriteIndented = true });
}
