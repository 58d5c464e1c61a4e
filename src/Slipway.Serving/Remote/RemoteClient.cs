namespace Slipway.Serving.Remote;

/// <summary>The connections to other servers, shared by all models that run there.</summary>
internal sealed class RemoteClient(ServingOptions options) : IDisposable
{
    /// <summary>Follows no redirects, which could lead anywhere, and reads no longer answers than callers may send requests.</summary>
    public HttpClient Http { get; } = new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        UseProxy = false,
        UseCookies = false,
        ConnectTimeout = TimeSpan.FromSeconds(5),
        PooledConnectionLifetime = TimeSpan.FromMinutes(5), // A name may come to mean another address.
    })
    {
        MaxResponseContentBufferSize = Math.Min(options.BodyBytesMax, int.MaxValue),
        Timeout = Timeout.InfiniteTimeSpan, // Each model has its own.
    };

    public void Dispose() => Http.Dispose();
}
