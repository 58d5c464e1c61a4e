using Slipway.Identity.OpenId;
using Slipway.Registry.External;
using Slipway.Storage.S3;

namespace Slipway.Web;

/// <summary>How one server runs.</summary>
public sealed record ServerOptions
{
    /// <summary>Address to listen on; loopback unless configured.</summary>
    public string Host { get; init; } = "127.0.0.1";

    /// <summary>HTTP port; 0 picks a free one.</summary>
    public int Port { get; init; } = 5000;

    /// <summary>gRPC port; 0 switches it off.</summary>
    public int GrpcPort { get; init; } = 5001;

    /// <summary>Folder of the embedded stores.</summary>
    public string DataDirectory { get; init; } = "./.slipway";

    /// <summary>The database: a path, an <c>sqlite://</c> or a <c>postgresql://</c> address (with its password: never print it); null keeps it in the data folder.</summary>
    public string? Database { get; init; }

    /// <summary>Where clients are told to write the files of runs: <c>file:///path</c> or <c>s3://bucket/prefix</c>; null or <c>mlflow-artifacts:/</c> sends them to this server.</summary>
    public string? ArtifactRoot { get; init; }

    /// <summary>Where this server keeps the files it is sent and its own: a path or <c>s3://bucket/prefix</c>; null for the artifact root when that is in S3, else the data folder.</summary>
    public string? ArtifactsDestination { get; init; }

    /// <summary>How S3 is reached.</summary>
    public S3Settings S3 { get; init; } = new();

    /// <inheritdoc cref="S3Settings.FromEnvironment"/>
    public static S3Settings S3FromEnvironment(string? endpoint, string? pathStyle) => S3Settings.FromEnvironment(endpoint, pathStyle);

    /// <summary>The MLflow server whose registry this server puts its gates over; null when the registry is this server's own.</summary>
    public ExternalRegistryOptions? ExternalRegistry { get; init; }

    /// <summary>Reads the registry's settings; credentials come from the environment alone, so that no list of processes shows them.</summary>
    /// <inheritdoc cref="ExternalRegistryOptions.Resolve" path="/exception"/>
    public static ExternalRegistryOptions? RegistryFromEnvironment(string? provider, string? uri, string? movedFrom) => ExternalRegistryOptions.Resolve(
        provider, uri, System.Environment.GetEnvironmentVariable("SLIPWAY_REGISTRY_USERNAME"), System.Environment.GetEnvironmentVariable("SLIPWAY_REGISTRY_PASSWORD"),
        System.Environment.GetEnvironmentVariable("SLIPWAY_REGISTRY_TOKEN"), movedFrom);

    /// <summary>A folder of models in Triton's layout, served without being registered; null for none.</summary>
    public string? ModelRepository { get; init; }

    /// <summary>Largest request body in bytes; uploads of datasets and artifacts are streamed and have their own limit.</summary>
    public long MaxBodyBytes { get; init; } = 64 << 20;

    /// <summary>Extra names a request's Host header may carry.</summary>
    public IReadOnlyList<string> AllowedHosts { get; init; } = [];

    /// <summary>Hosts, each with an optional port, that webhooks may reach in a private network and over http.</summary>
    public IReadOnlyList<string> WebhookHosts { get; init; } = [];

    /// <summary>Hosts with their port that registered models may be run on, each perhaps with <c>=VARIABLE</c> for the environment's variable that holds its token.</summary>
    public IReadOnlyList<string> RemoteHosts { get; init; } = [];

    /// <summary>The Redis server whose streams models score (with its password: never print it); null for none.</summary>
    public string? Redis { get; init; }

    /// <summary>Whether even this very machine has to sign in. Null: only where other machines reach the server, by its own address or by a public one. At its own address it cannot be switched off.</summary>
    public bool? RequireLogin { get; init; }

    /// <summary>The first administrator's password on an empty database, or on one that no administrator could get into; never print it.</summary>
    public string? AdminPassword { get; init; }

    /// <summary>The OpenID provider at which users sign in (with this server's secret there: never print it).</summary>
    public OpenIdOptions OpenId { get; init; } = new();

    /// <summary>Name of the environment, shown on every page: dev, staging or production.</summary>
    public string Environment { get; init; } = "dev";

    /// <summary>Folder of the audit checkpoint file; null for the data folder. On another disk it outlives the database.</summary>
    public string? AuditCheckpointDirectory { get; init; }

    /// <summary>An audit checkpoint is signed once this many rows have come.</summary>
    public int AuditCheckpointRows { get; init; } = 1000;

    /// <summary>An audit checkpoint is signed once a row has waited this long for one.</summary>
    public TimeSpan AuditCheckpointInterval { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Names of fields whose values never reach the audit trail, besides passwords, tokens and the like.</summary>
    public IReadOnlyList<string> RedactedFields { get; init; } = [];

    /// <summary>How often the versions in production are audited; zero never.</summary>
    public TimeSpan PolicyAuditInterval { get; init; } = TimeSpan.FromHours(6);

    /// <summary>Folder that holds a Markdown page per model, kept like the registry; null for none.</summary>
    public string? PagesDirectory { get; init; }

    /// <summary>Whether changed model pages are committed to the git checkout that the folder belongs to. Nothing is pushed.</summary>
    public bool CommitPages { get; init; }

    /// <summary>The address at which users reach this server, for links and commands on model pages; null for the one it listens on.</summary>
    public string? PublicAddress { get; init; }

    /// <summary><see cref="PublicAddress"/>, for building links and telling our own pages from others'.</summary>
    public Uri? PublicUrl => PublicAddress is null ? null : new Uri(PublicAddress);

    /// <inheritdoc cref="OpenIdOptions.Of"/>
    public ServerOptions WithOpenId(
        string? issuer, string? clientId, string? clientSecret, string? scopes, string? nameClaim, string? roleClaim, string? groupsClaim, string? roleMap, string? defaultRole, string? audience) =>
        this with { OpenId = OpenIdOptions.Of(issuer, clientId, clientSecret, scopes, nameClaim, roleClaim, groupsClaim, roleMap, defaultRole, audience) };

    /// <summary>
    /// Whether requests of this machine without credentials act as its administrator. Not of itself where users reach the server at
    /// another address: a proxy on this machine stands before it then, and not every proxy says for whom it asks.
    /// </summary>
    public bool HasLocalAdministrator => IsLoopback && !(RequireLogin ?? PublicUrl is { IsLoopback: false });

    /// <summary>Whether only this machine can reach the server.</summary>
    public bool IsLoopback => Host is "localhost" || (System.Net.IPAddress.TryParse(Host, out var address) && System.Net.IPAddress.IsLoopback(address));
}
