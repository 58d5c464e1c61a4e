namespace Slipway.Registry.Webhooks;

/// <summary>How webhooks are delivered.</summary>
public sealed class WebhookOptions
{
    /// <summary>Hosts that may lie in a private network and be reached over http, each a name or address with an optional port; all others must be public and answer https.</summary>
    public IReadOnlyList<string> TrustedHosts { get; set; } = [];

    /// <summary>How often a delivery is tried.</summary>
    public int AttemptsMax { get; set; } = 3;

    /// <summary>Wait before the second attempt; doubled for each further one.</summary>
    public TimeSpan RetryAfter { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>Longest wait between two attempts.</summary>
    public TimeSpan RetryAfterMax { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Longest wait for an answer.</summary>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>Deliveries under way at once.</summary>
    public int ConcurrencyMax { get; set; } = 8;
}
