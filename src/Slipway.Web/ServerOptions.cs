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

    /// <summary>The database: a path or <c>sqlite://</c> address; null keeps it in the data folder.</summary>
    public string? Database { get; init; }

    /// <summary>Where artifacts are kept: a path or <c>file://</c> address; null keeps them in the data folder.</summary>
    public string? ArtifactRoot { get; init; }

    /// <summary>Largest request body in bytes; uploads of datasets and artifacts are streamed and have their own limit.</summary>
    public long MaxBodyBytes { get; init; } = 64 << 20;

    /// <summary>Extra names a request's Host header may carry.</summary>
    public IReadOnlyList<string> AllowedHosts { get; init; } = [];

    /// <summary>Name of the environment, shown on every page: dev, staging or production.</summary>
    public string Environment { get; init; } = "dev";

    /// <summary>Whether only this machine can reach the server.</summary>
    public bool IsLoopback => Host is "localhost" || (System.Net.IPAddress.TryParse(Host, out var address) && System.Net.IPAddress.IsLoopback(address));
}
