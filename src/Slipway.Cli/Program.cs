using System.CommandLine;
using Slipway.Cli;
using Slipway.Cli.Commands;
using Slipway.Cli.Demo;
using Slipway.Client;
using Slipway.Contracts;

if (args is [Slipway.Web.ModelTrialProgram.Command])
{
    return Slipway.Web.ModelTrialProgram.Run();
}

var isServer = args is ["server", ..];
if (Console.IsOutputRedirected && !isServer)
{
    // A log has no edge; folding tables at 80 columns would only make them hard to read there.
    Spectre.Console.AnsiConsole.Profile.Width = 180;
    Spectre.Console.AnsiConsole.Profile.Capabilities.Ansi = false;
    Spectre.Console.AnsiConsole.Profile.Capabilities.Links = false;
    Spectre.Console.AnsiConsole.Profile.Capabilities.Interactive = false;
}

var root = new RootCommand("Slipway carries a model through its whole life: data, features, training, registry, serving, monitoring, retraining.");
var connection = new ConnectionOptions();
connection.AddTo(root);
root.Add(ServerCommand.Create());
// The server is started more often than anything else, and waits for nothing that it does not need.
if (!isServer)
{
    root.Add(ApplyCommand.Create(connection));
    root.Add(RegistryCommand.Create(connection));
    root.Add(PipelineCommand.Create(connection));
    root.Add(ScoreCommand.Create(connection));
    root.Add(LoadTestCommand.Create(connection));
    root.Add(RolloutCommand.Create(connection));
    root.Add(ExportCommand.Create(connection));
    root.Add(MonitorCommand.Create(connection));
    root.Add(SloCommand.Create(connection));
    root.Add(StreamCommand.Create(connection));
    root.Add(ReviewCommand.Create(connection));
    root.Add(LineageCommand.Create(connection));
    root.Add(VerifyCommand.Create(connection));
    root.Add(AuditCommand.Create(connection));
    root.Add(DocumentCommand.Create(connection));
    root.Add(ImportCommand.Create(connection));
    root.Add(DemoCommand.Create());
    root.Add(UserCommand.Create(connection));
    root.Add(KeyCommand.Create(connection));
    root.Add(GrantCommand.Create(connection));
    root.Add(UserCommand.WhoAmI(connection));
    root.Add(DbCommand.Create(connection));
}

try
{
    // Parsing reads defaults from the environment, which may be wrong too.
    var parsed = root.Parse(args);
    if (parsed.Errors.Count > 0)
    {
        foreach (var error in parsed.Errors)
        {
            Console.Error.WriteLine(error.Message);
        }

        Console.Error.WriteLine("Try 'slipway --help'.");
        return ExitCode.Usage;
    }

    return await parsed.InvokeAsync(new InvocationConfiguration
    {
        EnableDefaultExceptionHandler = false,
        // The host's own limit for requests under way is 30 seconds; a shorter one here would cut its shutdown off.
        ProcessTerminationTimeout = TimeSpan.FromSeconds(40),
    });
}
catch (ServerUnreachableException e)
{
    Console.Error.WriteLine(e.Message);
    return ExitCode.ServerUnreachable;
}
catch (SlipwayException e)
{
    Console.Error.WriteLine(e.Message);
    return e.Code switch
    {
        ErrorCode.InvalidArgument => ExitCode.Usage,
        ErrorCode.PermissionDenied or ErrorCode.Unauthenticated => ExitCode.NotPermitted,
        _ => ExitCode.FailedCheck,
    };
}
catch (Exception e) when (e is IOException or UnauthorizedAccessException)
{
    Console.Error.WriteLine(e.Message);
    return ExitCode.FailedCheck;
}
catch (OperationCanceledException)
{
    Console.Error.WriteLine("Stopped.");
    return ExitCode.FailedCheck;
}
