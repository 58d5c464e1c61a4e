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
        var data = DataOption();
        var artifactRoot = Setting("--artifact-root", "Where clients are told to write the files of runs: file:///path or s3://bucket/prefix; default mlflow-artifacts:/, which sends them to this server.", null);
        var destination = Setting("--artifacts-destination", "Where this server keeps the files it is sent and its own: a path or s3://bucket/prefix; default the artifact root when that is in S3, else <data>/blobs.", null);
        var s3Endpoint = Setting("--s3-endpoint", "Address of an S3-compatible store; default AWS_ENDPOINT_URL, else Amazon's.", null);
        var s3PathStyle = Setting("--s3-path-style", "Whether the bucket stands in the path (true or false); default true exactly when there is an endpoint.", null);
        var database = DatabaseOption();
        var modelRepository = Setting("--model-repository", "Also serve the models of this folder, in Triton's layout (name/1/model.onnx, perhaps name/config.pbtxt), without registering them.", null);
        var registryProvider = Setting("--registry-provider", "Where models are registered: slipway (this server) or mlflow, an MLflow server that this one puts its gates over; credentials in SLIPWAY_REGISTRY_TOKEN, or SLIPWAY_REGISTRY_USERNAME and SLIPWAY_REGISTRY_PASSWORD.", "slipway");
        var registryUri = Setting("--registry-uri", "That MLflow server's address.", null);
        var registryMovedFrom = Setting("--registry-moved-from", "Its former address, once after it has moved.", null);
        var environment = Setting("--environment", "Name shown on the pages: dev, staging or production.", "dev");
        var maxBody = new Option<long>("--max-body") { Description = "Largest request body in bytes.", DefaultValueFactory = _ => 64 << 20 };
        var checkpointDirectory = Setting("--audit-checkpoint-dir", "Folder of audit-checkpoints.jsonl, best on another disk; default the data folder.", null);
        var checkpointRows = Number("--audit-checkpoint-rows", "Sign an audit checkpoint every so many rows.", 1000);
        var checkpointSeconds = Number("--audit-checkpoint-seconds", "Sign an audit checkpoint when a row has waited so long for one.", 3600);
        var redact = Setting("--redact", "Names of fields, between commas, whose values never reach the audit trail, besides passwords, tokens and the like.", null);
        var auditSeconds = Number("--policy-audit-seconds", "Audit the versions in production so often; 0 = never.", 21600);
        var docs = Setting("--docs-dir", "Keep a Markdown page per model in this folder; default none.", null);
        var docsGit = new Option<bool>("--docs-git") { Description = "Commit changed model pages to the git checkout that the folder belongs to; nothing is pushed (SLIPWAY_DOCS_GIT=true).", DefaultValueFactory = _ => FromEnvironment("--docs-git") is "true" or "1" };
        var publicUrl = Setting("--public-url", "Address at which users reach this server, for links and commands on model pages; default the one it listens on.", null);
        var allowedHosts = new Option<string[]>("--allowed-host") { Description = "A further name that requests may be addressed to; repeat for more." };
        var webhookHosts = new Option<string[]>("--webhook-host") { Description = "A host, with an optional port, that webhooks may reach though it is private or speaks http; repeat for more." };
        var remoteHosts = new Option<string[]>("--remote-host") { Description = "A host:port that registered models may be run on, perhaps with =VARIABLE for the environment's variable that holds its token; repeat for more (SLIPWAY_REMOTE_HOST, between commas)." };
        var redis = new Option<string?>("--redis") { Description = "The Redis server whose streams models score (SLIPWAY_REDIS): redis://[user:password@]host[:port][/database], or rediss:// for TLS." };
        var requireLogin = Setting("--require-login", "Whether even this machine has to sign in (true or false); default false on 127.0.0.1 without a --public-url elsewhere, and always true on other addresses.", null);
        var openId = new OpenIdFlags();
        var command = new Command("server", "Start the server.")
        {
            host, port, grpcPort, data, artifactRoot, destination, s3Endpoint, s3PathStyle, database, modelRepository, registryProvider, registryUri, registryMovedFrom, environment, maxBody, allowedHosts, webhookHosts, remoteHosts, redis, checkpointDirectory, checkpointRows,
            checkpointSeconds, redact, auditSeconds, docs, docsGit, publicUrl, requireLogin,
        };
        openId.AddTo(command);
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

            if (args.GetValue(auditSeconds) < 0 || args.GetValue(docs) is "")
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, args.GetValue(docs) is "" ? "--docs-dir is empty; leave it out or name a folder." : "--policy-audit-seconds must be 0 or more.");
            }

            if (args.GetValue(publicUrl) is { } reached && !(Uri.TryCreate(reached, UriKind.Absolute, out var address) && address.Scheme is "http" or "https"))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"--public-url '{reached}' must be an address such as https://slipway.example.org.");
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
                Database = Database(args, database),
                ArtifactRoot = args.GetValue(artifactRoot),
                ArtifactsDestination = args.GetValue(destination),
                S3 = ServerOptions.S3FromEnvironment(args.GetValue(s3Endpoint), args.GetValue(s3PathStyle)),
                ExternalRegistry = ServerOptions.RegistryFromEnvironment(args.GetValue(registryProvider), args.GetValue(registryUri), args.GetValue(registryMovedFrom)),
                ModelRepository = args.GetValue(modelRepository) is { } models ? Path.GetFullPath(models) : null,
                MaxBodyBytes = args.GetValue(maxBody),
                AllowedHosts = args.GetValue(allowedHosts) ?? [],
                WebhookHosts = args.GetValue(webhookHosts) ?? [],
                Redis = Database(args, redis), // Help prints default values, and this one may hold a password too.
                RemoteHosts = args.GetValue(remoteHosts) is { Length: > 0 } remote ? remote : FromEnvironment("--remote-host")?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [],
                Environment = args.GetValue(environment)!,
                AuditCheckpointDirectory = args.GetValue(checkpointDirectory),
                AuditCheckpointRows = args.GetValue(checkpointRows),
                AuditCheckpointInterval = TimeSpan.FromSeconds(args.GetValue(checkpointSeconds)),
                PolicyAuditInterval = TimeSpan.FromSeconds(args.GetValue(auditSeconds)),
                PagesDirectory = args.GetValue(docs) is { } folder ? Path.GetFullPath(folder) : null,
                CommitPages = args.GetValue(docsGit),
                PublicAddress = ParseAddress("--public-url", args.GetValue(publicUrl)),
                RedactedFields = args.GetValue(redact)?.Split(',', StringSplitOptions.TrimEntries) ?? [],
                RequireLogin = ParseFlag("--require-login", args.GetValue(requireLogin)),
                // Only by variable: the arguments of a process can be read by everyone on the machine.
                AdminPassword = Environment.GetEnvironmentVariable("SLIPWAY_ADMIN_PASSWORD") is { Length: > 0 } password ? password : null,
            };
            return SlipwayServer.RunAsync(openId.Read(args, options), args.InvocationConfiguration.Output, args.InvocationConfiguration.Error, ct);
        });
        return command;
    }

    /// <summary><c>--data</c> (SLIPWAY_DATA), which <c>slipway db</c> takes too.</summary>
    public static Option<string?> DataOption() => Setting("--data", "Folder of the embedded stores.", "./.slipway");

    /// <summary><c>--database</c>, which <c>slipway db</c> takes too; read it with <see cref="Database"/>.</summary>
    public static Option<string?> DatabaseOption() => new("--database")
    {
        Description = "The database (SLIPWAY_DATABASE): a path, sqlite:// or postgresql://user:password@host:port/name; default <data>/slipway.db.",
    };

    /// <summary>The flag's value, else the environment's. That is no default value of the option: help prints those, and this one may hold a password.</summary>
    public static string? Database(ParseResult args, Option<string?> option) => args.GetValue(option) ?? FromEnvironment(option.Name);

    private static bool? ParseFlag(string flag, string? text) => text?.ToLowerInvariant() switch
    {
        null or "" => null,
        "true" => true,
        "false" => false,
        _ => throw new SlipwayException(ErrorCode.InvalidArgument, $"{flag} must be true or false, not '{text}'."),
    };

    private static string? ParseAddress(string flag, string? text) => string.IsNullOrEmpty(text) ? null
        : Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is "http" or "https" && address.AbsolutePath == "/" ? text
        : throw new SlipwayException(ErrorCode.InvalidArgument, $"{flag} '{text}' must be an address without a path, such as https://models.example.com.");

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

    // How users sign in at an OpenID provider. Its secret comes by variable alone.
    private sealed class OpenIdFlags
    {
        private readonly Option<string?> _issuer = Setting("--oidc-issuer", "OpenID provider at which users sign in, exactly as its tokens name it.", null);
        private readonly Option<string?> _clientId = Setting("--oidc-client-id", "This server's name at the provider; its secret comes by SLIPWAY_OIDC_CLIENT_SECRET.", null);
        private readonly Option<string?> _scopes = Setting("--oidc-scopes", "What the provider is asked for; default 'openid profile email'.", null);
        private readonly Option<string?> _nameClaim = Setting("--oidc-name-claim", "Claim that holds the user's name; default preferred_username.", null);
        private readonly Option<string?> _roleClaim = Setting("--oidc-role-claim", "Claim that decides on the role; default roles.", null);
        private readonly Option<string?> _groupsClaim = Setting("--oidc-groups-claim", "Claim that holds the groups; default groups.", null);
        private readonly Option<string?> _roleMap = Setting("--oidc-role-map", "Role by value of the role claim: value=role, with commas between; default our own names of roles.", null);
        private readonly Option<string?> _defaultRole = Setting("--oidc-default-role", "Role of those whose claim says nothing; without it they are refused.", null);
        private readonly Option<string?> _audience = Setting("--oidc-audience", "Audience of tokens that programs may send as Bearer; without it none are taken.", null);

        public void AddTo(Command command)
        {
            foreach (var option in new[] { _issuer, _clientId, _scopes, _nameClaim, _roleClaim, _groupsClaim, _roleMap, _defaultRole, _audience })
            {
                command.Add(option);
            }
        }

        public ServerOptions Read(ParseResult args, ServerOptions options) => options.WithOpenId(
            args.GetValue(_issuer), args.GetValue(_clientId), Environment.GetEnvironmentVariable("SLIPWAY_OIDC_CLIENT_SECRET"), args.GetValue(_scopes), args.GetValue(_nameClaim),
            args.GetValue(_roleClaim), args.GetValue(_groupsClaim), args.GetValue(_roleMap), args.GetValue(_defaultRole), args.GetValue(_audience));
    }
}
