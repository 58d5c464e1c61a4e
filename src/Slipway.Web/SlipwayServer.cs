using System.Net;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Console;
using Slipway.Contracts;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Governance;
using Slipway.Identity;
using Slipway.Identity.OpenId;
using Slipway.Identity.Sessions;
using Slipway.Monitoring;
using Slipway.Pipelines;
using Slipway.Registry;
using Slipway.Registry.External;
using Slipway.Serving;
using Slipway.Serving.Remote;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;
using Slipway.Storage.Redis;
using Slipway.Tracking;
using Slipway.Web.Http;
using Slipway.Web.Http.Access;
using Slipway.Web.Pages;

namespace Slipway.Web;

/// <summary>Builds and runs the one server: every area's services and routes in the order of the architecture map.</summary>
public static class SlipwayServer
{
    /// <summary>Builds the server without starting it.</summary>
    /// <param name="options">How it runs.</param>
    /// <param name="configure">Last word on the services, for tests.</param>
    public static WebApplication Build(ServerOptions options, Action<IServiceCollection>? configure = null)
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions
        {
            ContentRootPath = AppContext.BaseDirectory,
            EnvironmentName = "Production",
            // Our settings come from flags and variables: nothing is read again while we run, and no folder is watched for it.
            Args = ["--hostBuilder:reloadConfigOnChange=false"],
        });
        builder.Logging.ClearProviders();
        builder.Logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ ";
            console.UseUtcTimestamp = true;
            console.ColorBehavior = LoggerColorBehavior.Disabled;
        });
        builder.Services.Configure<ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        builder.Logging.SetMinimumLevel(LogLevel.Information);
        builder.Logging.AddFilter("Microsoft", LogLevel.Warning);
        // With this category on at any level, hosting makes an activity and a log scope for each request, which nothing here reads;
        // ErrorMiddleware logs what it would say.
        builder.Logging.AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None);
        // A failed start is told in one sentence by RunAsync; our background services log their own errors.
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting", LogLevel.Critical);

        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = options.MaxBodyBytes;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(30); // A stream may be silent for ever; a caller that has vanished answers no ping.
            Listen(kestrel, options.Host, options.Port, HttpProtocols.Http1);
            if (options.GrpcPort != 0)
            {
                Listen(kestrel, options.Host, options.GrpcPort, HttpProtocols.Http2);
            }
        });

        // One system call for each block of a body in place of two: an upload takes a fifth less processor time. An idle connection holds 4 KiB for it.
        builder.WebHost.UseSockets(sockets => sockets.WaitForDataBeforeAllocatingBuffer = false);

        var services = builder.Services;
        services.AddSingleton(options);
        services.ConfigureHttpJsonOptions(json => JsonDefaults.Apply(json.SerializerOptions).Converters.Insert(0, new DeferredJson()));
        services.Configure<RouteHandlerOptions>(routes => routes.ThrowOnBadRequest = true);
        // First, so that it stops last: its checkpoint at shutdown covers what the others write when they stop.
        services.AddSlipwayAuditCheckpoints();
        AddAreas(services, options);
        configure?.Invoke(services);

        var app = builder.Build();
        if (options.GrpcPort != 0)
        {
            app.UseWhen(context => context.Connection.LocalPort == options.GrpcPort, grpc => grpc.UseGrpcCalls());
        }

        app.UseHealth();
        app.UseMiddleware<ErrorMiddleware>();
        app.UseMiddleware<HostCheckMiddleware>();
        KnownRoutes.Use(app);
        app.UseMiddleware<AccessMiddleware>();

        app.MapOperations();
        app.MapDefinitions();
        app.MapMetricSeries();
        app.MapSlipwayIdentity();
        app.MapSlipwayTracking();
        app.MapSlipwayDatasets();
        app.MapSlipwayFeatureStore();
        app.MapSlipwayRegistry();
        app.MapSlipwayServing();
        app.MapSlipwayPipelines();
        app.MapSlipwayMonitoring();
        app.MapSlipwayGovernance();
        app.MapSlipwayPages();
        // Now, so that the handlers can be made while the database is opened.
        app.UseEndpoints(_ => { });
        return app;
    }

    /// <summary>Runs the server until it is told to stop.</summary>
    /// <returns>The process's exit code.</returns>
    public static async Task<int> RunAsync(ServerOptions options, TextWriter output, TextWriter error, CancellationToken cancellationToken)
    {
        try
        {
            DemandLogin(options);
            if (options.ModelRepository is { } repository && !Directory.Exists(repository))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"--model-repository '{repository}' is not a folder; name one that holds a folder for each model, such as simple/1/model.onnx.");
            }

            using var data = DataDirectoryLock.Take(options.DataDirectory);
            ClearTemporary(Path.Combine(options.DataDirectory, "tmp"));
            await using var app = Build(options);
            // The first request would otherwise wait while the handlers of all routes are made; they need nothing of the database.
            _ = Task.Run(() => app.Services.GetRequiredService<EndpointDataSource>().Endpoints.Count, CancellationToken.None);
            // Told now, not by the first upload.
            await app.Services.GetRequiredService<BlobStore>().CheckAsync(cancellationToken);
            // Before the database, which is not touched when this one is spoilt.
            _ = app.Services.GetRequiredService<KeyValueStore>();
            _ = app.Services.GetRequiredService<MetricsText>(); // What is set from now on is kept for whoever asks.
            // Opens the database and applies migrations before the first request can ask.
            var first = await app.Services.GetRequiredService<UserStore>().BootstrapAsync(
                options.AdminPassword, app.Services.GetRequiredService<OpenIdProvider>().MakesAdministrators, cancellationToken);
            if (first.AdministratorKey is not null)
            {
                WriteSecret(Path.Combine(options.DataDirectory, "admin.token"), first.AdministratorKey);
            }

            DemandSomebody(options, first);
            await app.Services.GetRequiredService<ExperimentStore>().PlaceDefaultAsync(Caller.System("tracking"), cancellationToken);
            await StartAsync(app, cancellationToken);
            await output.WriteLineAsync($"Slipway {OperationsEndpoints.Version} listens on {string.Join(" and ", app.Urls)}; data in {options.DataDirectory}.");
            if (first.SignInCode is not null)
            {
                var address = options.PublicUrl?.GetLeftPart(UriPartial.Authority) ?? app.Urls.First().Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal).Replace("[::]", "[::1]", StringComparison.Ordinal);
                await output.WriteLineAsync($"To choose the administrator's password, open this within an hour; it works once: {SignInLinkStore.Address(address, first.SignInCode)}");
            }

            await output.FlushAsync(cancellationToken);
            await app.WaitForShutdownAsync(cancellationToken);
            return 0;
        }
        catch (SlipwayException e)
        {
            await error.WriteLineAsync(e.Message);
            return e.Code is ErrorCode.InvalidArgument or ErrorCode.NotImplemented ? 2 : 1;
        }
        catch (SqliteException e) when (e.SqliteErrorCode != 13)
        {
            await error.WriteLineAsync(
                $"A database in '{options.DataDirectory}' cannot be used ({e.Message.TrimEnd('.')}); restore the folder from a backup, or name another with --data.");
            return 1;
        }
        catch (IOException e) when (e.InnerException is AddressInUseException)
        {
            await error.WriteLineAsync(
                $"Port {options.Port} or gRPC port {options.GrpcPort} on {options.Host} is in use by another program; stop it, or choose others with --port and --grpc-port.");
            return 1;
        }
        catch (Exception e) when (e is SqliteException || (e is IOException && (e.HResult & 0xFFFF) == 28))
        {
            await error.WriteLineAsync($"The disk that holds '{options.DataDirectory}' is full; free some space and start again. Nothing acknowledged was lost.");
            return 1;
        }
        catch (UnauthorizedAccessException e)
        {
            await error.WriteLineAsync($"{e.Message} Choose a folder you may write to with --data.");
            return 1;
        }
    }

    /// <summary>The services of every area; making one opens nothing before it is asked for.</summary>
    internal static void AddAreas(IServiceCollection services, ServerOptions options)
    {
        services.AddSlipwayStorage(StorageOptions.Resolve(options.DataDirectory, options.Database, options.ArtifactRoot, options.ArtifactsDestination, options.S3, new AuditOptions
        {
            CheckpointDirectory = options.AuditCheckpointDirectory is { } folder ? Path.GetFullPath(folder) : null,
            CheckpointRows = options.AuditCheckpointRows,
            CheckpointInterval = options.AuditCheckpointInterval,
            RedactedFields = options.RedactedFields,
        }));
        services.AddSingleton(options.OpenId).AddSingleton(new ServerAddress(options.PublicUrl)).AddSlipwayIdentity();
        services.AddSlipwayTracking();
        services.AddSlipwayDatasets();
        services.AddSlipwayFeatureStore();
        services.AddSlipwayRegistry(webhooks => webhooks.TrustedHosts = options.WebhookHosts);
        services.AddExternalRegistry(options.ExternalRegistry);
        services.AddSlipwayBenchmarks();
        services.AddSlipwayServing(serving =>
        {
            serving.BodyBytesMax = options.MaxBodyBytes;
            serving.ModelRepository = options.ModelRepository;
            serving.Redis = options.Redis is { } redis ? RedisAddress.Parse(redis) : null;
            serving.RemoteHosts = RemoteHosts.Parse(options.RemoteHosts, Environment.GetEnvironmentVariable);
        });
        services.AddSlipwayPipelines();
        services.AddSlipwayMonitoring();
        services.AddSlipwayGovernance(new GovernanceOptions
        {
            PolicyAuditInterval = options.PolicyAuditInterval,
            PagesDirectory = options.PagesDirectory,
            CommitPages = options.CommitPages,
            PublicAddress = options.PublicAddress,
        });
        services.AddSlipwayPages();
        services.AddSingleton<RouteTargets>();
        services.AddSingleton<MetricsText>();
    }

    // A server that others can reach is never open by accident.
    private static void DemandLogin(ServerOptions options)
    {
        if (!options.IsLoopback && options.RequireLogin is false)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument,
                $"--require-login false is for --host 127.0.0.1 only: on {options.Host} other machines reach the server, and everyone on them would be its administrator. Leave it out.");
        }
    }

    private static void DemandSomebody(ServerOptions options, FirstStart first)
    {
        if (!options.IsLoopback && !first.SomebodyCanSignIn)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"The server would be reached from other machines on {options.Host}, but no administrator could sign in: each is disabled or has neither password nor API key. Set SLIPWAY_ADMIN_PASSWORD to let '{UserStore.FirstAdministrator}' in, or set up an OpenID provider.");
        }
    }

    // What a killed server was in the middle of receiving; the lock says that nobody else is.
    private static void ClearTemporary(string folder)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        Directory.CreateDirectory(folder);
    }

    private static async Task StartAsync(WebApplication app, CancellationToken cancellationToken)
    {
        // Made here: one that cannot be made, for its database cannot be opened, would leave a host that can neither start nor stop.
        _ = app.Services.GetServices<IHostedService>().Count();
        try
        {
            await app.StartAsync(cancellationToken);
        }
        catch
        {
            // Background services may run already. Without this, their end is logged as their own fault, before the sentence that says what went wrong.
            await app.StopAsync(CancellationToken.None);
            throw;
        }
    }

    private static void Listen(KestrelServerOptions kestrel, string host, int port, HttpProtocols protocols)
    {
        void Configure(ListenOptions listen) => listen.Protocols = protocols;
        if (host is "localhost")
        {
            kestrel.Listen(IPAddress.Loopback, port, Configure);
        }
        else if (IPAddress.TryParse(host, out var address))
        {
            kestrel.Listen(address, port, Configure);
        }
        else
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"--host '{host}' must be an IP address such as 127.0.0.1 or 0.0.0.0, or localhost.");
        }
    }

    private static void WriteSecret(string path, string secret)
    {
        using var writer = new StreamWriter(path, PrivateFiles.Options(FileMode.Create, FileAccess.Write));
        writer.WriteLine(secret);
    }
}
