using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Slipway.Contracts;

namespace Slipway.Registry.External;

/// <summary>The MLflow server whose registry this server puts its gates over.</summary>
public sealed class ExternalRegistryOptions
{
    private ExternalRegistryOptions(Uri address, AuthenticationHeaderValue? authorization)
    {
        Address = address;
        Authorization = authorization;
    }

    /// <summary>The one address that is ever called; ends in '/'.</summary>
    public Uri Address { get; }

    /// <summary>How often changes are asked for.</summary>
    public TimeSpan Interval { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>How often everything is compared, which also finds deletions and moved aliases.</summary>
    public TimeSpan FullInterval { get; set; } = TimeSpan.FromMinutes(10);

    /// <summary>Least time between two looks that readers cause by asking for what is not here.</summary>
    public TimeSpan DemandInterval { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>The same while the server does not answer; the mirror itself goes on asking, with pauses of up to 30 seconds.</summary>
    public TimeSpan DemandIntervalWhenDown { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>Limit of one call, up to its answer's headers; files may take longer.</summary>
    public TimeSpan CallTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Limit of one file's download.</summary>
    public TimeSpan FileTimeout { get; set; } = TimeSpan.FromMinutes(30);

    /// <summary>Bytes that the files of one version may have to be copied.</summary>
    public long VersionBytesMax { get; set; } = 20L << 30;

    /// <summary>The address that an existing mirror was made from, when the server has moved to <see cref="Address"/>.</summary>
    public string? MovedFrom { get; init; }

    internal AuthenticationHeaderValue? Authorization { get; }

    /// <summary>Reads the settings a user may give.</summary>
    /// <param name="provider">Null or <c>slipway</c> for none, else <c>mlflow</c>.</param>
    /// <param name="uri">Such as <c>https://mlflow.example.org</c>.</param>
    /// <param name="user">For basic authentication.</param>
    /// <param name="password">For basic authentication.</param>
    /// <param name="token">Sent as a bearer token; goes before user and password.</param>
    /// <param name="movedFrom">See <see cref="MovedFrom"/>.</param>
    /// <returns>Null when the registry is this server's own.</returns>
    /// <exception cref="SlipwayException">InvalidArgument: a setting; its message never holds a credential.</exception>
    public static ExternalRegistryOptions? Resolve(string? provider, string? uri, string? user = null, string? password = null, string? token = null, string? movedFrom = null)
    {
        if (provider is null or "" or "slipway")
        {
            return string.IsNullOrEmpty(uri) ? null : throw Invalid("--registry-uri names an external registry, but --registry-provider does not say of which kind; add --registry-provider mlflow.");
        }

        if (provider != "mlflow")
        {
            throw Invalid($"--registry-provider must be slipway (this server's own registry) or mlflow, not '{provider}'.");
        }

        if (!Uri.TryCreate(uri, UriKind.Absolute, out var given) || given.Scheme is not ("http" or "https"))
        {
            throw Invalid("--registry-provider mlflow needs --registry-uri, the server's address such as https://mlflow.example.org.");
        }

        // An address is shown in pages, logs and the list of processes.
        if (given.UserInfo.Length > 0 || given.Query.Length > 0 || given.Fragment.Length > 0)
        {
            throw Invalid("--registry-uri may hold no credentials, query or fragment; give SLIPWAY_REGISTRY_TOKEN, or SLIPWAY_REGISTRY_USERNAME and SLIPWAY_REGISTRY_PASSWORD.");
        }

        var authorization = !string.IsNullOrEmpty(token) ? new AuthenticationHeaderValue("Bearer", token)
            : !string.IsNullOrEmpty(user) ? new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{password}")))
            : null;
        if (authorization is not null && given.Scheme == "http" && !IsLoopback(given))
        {
            throw Invalid($"--registry-uri is {given.GetLeftPart(UriPartial.Authority)}, over which the credentials would travel in the clear; use https.");
        }

        return new ExternalRegistryOptions(new Uri(given.GetLeftPart(UriPartial.Path).TrimEnd('/') + "/"), authorization) { MovedFrom = movedFrom };
    }

    private static bool IsLoopback(Uri address) => address.IsLoopback || (IPAddress.TryParse(address.Host, out var ip) && IPAddress.IsLoopback(ip));

    private static SlipwayException Invalid(string message) => new(ErrorCode.InvalidArgument, message);
}
