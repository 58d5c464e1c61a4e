namespace Slipway.Serving.Remote;

/// <summary>Why a version that another server runs gave no answer.</summary>
/// <param name="status">HTTP's: 502 for an answer that is none, 503 while nothing is asked there, 504 for none in time; 400 when it refused the inputs.</param>
/// <param name="message">A clause without a full stop, which goes to callers.</param>
/// <param name="retryAfterSeconds">When to come again; 0 when nobody knows.</param>
/// <param name="inner">What happened.</param>
/// <param name="server">Which server, for the log: callers have no business to know.</param>
public sealed class BackendException(int status, string message, int retryAfterSeconds = 0, Exception? inner = null, string? server = null) : Exception(message, inner)
{
    /// <summary>Host and port; null when no one server is meant.</summary>
    public string? Server { get; } = server;

    /// <summary>HTTP's.</summary>
    public int Status { get; } = status;

    /// <summary>When to come again; 0 when nobody knows.</summary>
    public int RetryAfterSeconds { get; } = retryAfterSeconds;
}
