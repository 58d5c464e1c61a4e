using Slipway.Contracts;

namespace Slipway.Pipelines.Runs;

/// <summary>Which faults are worth another attempt, and when.</summary>
internal static class Retry
{
    /// <summary>A fault that may pass by itself: something is busy, full or slow. A wrong input or setting will not.</summary>
    public static bool IsTransient(Exception e) => e switch
    {
        SlipwayException failure => failure.Code is ErrorCode.Unavailable or ErrorCode.ResourceExhausted,
        FileNotFoundException or DirectoryNotFoundException => false,
        IOException or TimeoutException => true,
        _ => false,
    };

    /// <summary>1 s after the first failure, doubling, at most 30 s.</summary>
    public static TimeSpan DelayAfter(int attempt) => TimeSpan.FromSeconds(Math.Min(30, Math.Pow(2, attempt - 1)));
}
