using System.CommandLine;
using System.Globalization;
using Slipway.Contracts;
using Slipway.Web;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway server</c>: starts the host in this process.</summary>
internal static class ServerCommand
{
    public static Command Create()
    {
        var host = Setting("--host", "Address to listen on.", "127.0.0.1");
        var port = Number("--port", "HTTP port; 0 picks a free one.", 5000);
        var grpcPort = Number("--grpc-port", "gRPC port; 0 = off.", 5001);
        var data = Setting("--data", "Folder of the embedded stores.", "./.slipway");
        var artifactRoot = Setting("--artifact-root", "Where artifacts are kept: a path or file:// address; default <data>/blobs.", null);
        var database = Setting("--database", "The database: a path or sqlite:// address; default <data>/slipway.db.", null);
        var environment = Setting("--environment", "Name shown on the pages: dev, staging or production.", "dev");
        var maxBody = new Option<long>("--max-body") { Description = "Largest request body in bytes.", DefaultValueFactory = _ => 64 << 20 };
        var allowedHosts = new Option<string[]>("--allowed-host") { Description = "A further name that requests may be addressed to; repeat for more." };
        var command = new Command("server", "Start the server.") { host, port, grpcPort, data, artifactRoot, database, environment, maxBody, allowedHosts };
        command.SetAction((args, ct) =>
        {
            foreach (var option in new[] { port, grpcPort })
            {
                if (args.GetValue(option) is < 0 or > 65535)
                {
                    throw new SlipwayException(ErrorCode.InvalidArgument, $"{option.Name} must be a port from 0 to 65535.");
                }
            }

            if (args.GetValue(maxBody) < 1)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"--max-body must be at least 1 byte, not {args.GetValue(maxBody)}.");
            }

            if (string.IsNullOrWhiteSpace(args.GetValue(data)))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, "--data is empty; name a folder such as ./.slipway.");
            }

            var options = new ServerOptions
            {
                Host = args.GetValue(host)!,
                Port = args.GetValue(port),
                GrpcPort = args.GetValue(grpcPort),
                DataDirectory = Path.GetFullPath(args.GetValue(data)!),
                Database = args.GetValue(database),
                ArtifactRoot = args.GetValue(artifactRoot),
                MaxBodyBytes = args.GetValue(maxBody),
                AllowedHosts = args.GetValue(allowedHosts) ?? [],
                Environment = args.GetValue(environment)!,
            };
            return SlipwayServer.RunAsync(options, args.InvocationConfiguration.Output, args.InvocationConfiguration.Error, ct);
        });
        return command;
    }

    // A setting's environment variable is its flag's name: --grpc-port is SLIPWAY_GRPC_PORT.
    private static string? FromEnvironment(string flag) =>
        Environment.GetEnvironmentVariable("SLIPWAY_" + flag.TrimStart('-').Replace('-', '_').ToUpperInvariant());

    private static Option<string?> Setting(string flag, string description, string? fallback) =>
        new(flag) { Description = description, DefaultValueFactory = _ => FromEnvironment(flag) ?? fallback };

    private static Option<int> Number(string flag, string description, int fallback) => new(flag)
    {
        Description = description,
        DefaultValueFactory = _ => FromEnvironment(flag) is not { } text ? fallback
            : int.TryParse(text, CultureInfo.InvariantCulture, out var value) ? value
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"The environment's value for {flag} must be a number, not '{text}'."),
    };
}
