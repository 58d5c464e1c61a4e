using Slipway.Contracts;

namespace Slipway.Client.Runs;

/// <summary>What came of a request that may fail without harm: sent later, it will do the same.</summary>
/// <param name="Refusal">The server's own refusal; null when it took the request or was not reached.</param>
/// <param name="Trouble">Why trying again later may work; null otherwise.</param>
/// <param name="RetryAfter">When the server said how long to wait.</param>
internal readonly record struct SendResult(SlipwayException? Refusal, string? Trouble = null, TimeSpan? RetryAfter = null)
{
    public bool Ok => Refusal is null && Trouble is null;

    /// <summary>Whether the request itself is at fault, so that others may still be taken.</summary>
    public bool RequestAtFault => Refusal?.Code is ErrorCode.InvalidArgument or ErrorCode.TooLarge or ErrorCode.AlreadyExists;
}
