using System.CommandLine;
using Slipway.Contracts;
using Spectre.Console;

namespace Slipway.Cli.Demo;

/// <summary><c>slipway demo</c>: a server and the whole lifecycle on three million flights.</summary>
internal static class DemoCommand
{
    public static Command Create()
    {
        var port = new Option<int>("--port") { Description = "HTTP port of the demo's server.", DefaultValueFactory = _ => 5000 };
        var grpcPort = new Option<int>("--grpc-port") { Description = "gRPC port; 0 = off.", DefaultValueFactory = _ => 5001 };
        var data = new Option<string>("--data") { Description = "Folder of the server's stores; kept, so that the next start continues there.", DefaultValueFactory = _ => "./.slipway" };
        var examples = new Option<string?>("--examples") { Description = "The folder of definitions; default examples/flights of this checkout." };
        var exit = new Option<bool>("--exit") { Description = "Stop the server at the end instead of leaving it running until Ctrl-C." };
        var share = new Option<double>("--traffic") { Description = "Share of May's and June's flights that is sent as live traffic, above 0 to 1.", DefaultValueFactory = _ => 0.1 };
        var command = new Command("demo", "Run the whole lifecycle on three million flights against a server of its own.") { port, grpcPort, data, examples, exit, share };
        command.SetAction(async (args, ct) =>
        {
            if (args.GetValue(share) is not (> 0 and <= 1) and var wrong)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"--traffic must be above 0 and at most 1, not {wrong}.");
            }

            var folder = args.GetValue(examples) ?? FindExamples();
            var directory = Path.GetFullPath(args.GetValue(data)!);
            await using var server = await DemoServer.StartAsync(args.GetValue(port), args.GetValue(grpcPort), directory, ct);
            var run = new DemoRun(server, directory, folder, args.GetValue(share));
            var code = await run.RunAsync(ct);
            if (code == ExitCode.Ok && !args.GetValue(exit))
            {
                AnsiConsole.MarkupLine($"The server keeps running at [link]{server.Address}[/]; look around, then press Ctrl-C to stop it.");
                try
                {
                    await server.WaitAsync(ct);
                }
                catch (OperationCanceledException)
                {
                    AnsiConsole.MarkupLine("Stopping the server; everything is kept for the next start.");
                }
            }

            return code;
        });
        return command;
    }

    private static string FindExamples()
    {
        foreach (var start in (ReadOnlySpan<string>)[Environment.CurrentDirectory, AppContext.BaseDirectory])
        {
            for (var folder = new DirectoryInfo(start); folder is not null; folder = folder.Parent)
            {
                var candidate = Path.Combine(folder.FullName, "examples", "flights");
                if (Directory.Exists(candidate))
                {
                    return candidate;
                }
            }
        }

        throw new SlipwayException(ErrorCode.InvalidArgument, "There is no folder examples/flights above here; name the definitions with --examples.");
    }
}
