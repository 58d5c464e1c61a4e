namespace Slipway.Serving.Remote;

/// <summary>
/// Keeps requests from a server that fails: after five failures in a row none goes there for 60 seconds, then one does; when it succeeds all do again,
/// and when it fails the wait begins anew.
/// </summary>
internal sealed class CircuitBreaker(TimeProvider clock)
{
    public const int FailuresMax = 5;
    public static readonly TimeSpan Pause = TimeSpan.FromSeconds(60);

    private readonly Lock _lock = new();
    private int _failures;
    private long _openedAt;
    private bool _isTrying;

    /// <summary>Whether a request may go.</summary>
    /// <param name="wait">How long none may; zero when it may.</param>
    /// <param name="isTrial">Whether it is the one that goes after the wait; the same is said when it ends.</param>
    public bool TryEnter(out TimeSpan wait, out bool isTrial)
    {
        lock (_lock)
        {
            (wait, isTrial) = (TimeSpan.Zero, false);
            if (_failures < FailuresMax)
            {
                return true;
            }

            var left = Pause - clock.GetElapsedTime(_openedAt);
            if (left <= TimeSpan.Zero && !_isTrying)
            {
                return isTrial = _isTrying = true;
            }

            wait = left > TimeSpan.FromSeconds(1) ? left : TimeSpan.FromSeconds(1);
            return false;
        }
    }

    /// <summary>A request that went was answered.</summary>
    public void Succeed(bool isTrial)
    {
        lock (_lock)
        {
            _failures = 0;
            _isTrying &= !isTrial;
        }
    }

    /// <summary>A request that went was not answered as it should.</summary>
    public void Fail(bool isTrial)
    {
        lock (_lock)
        {
            // One that went before the wait began does not make it longer.
            if (isTrial || ++_failures == FailuresMax)
            {
                _openedAt = clock.GetTimestamp();
            }

            _failures = Math.Min(_failures, FailuresMax);
            _isTrying &= !isTrial;
        }
    }

    /// <summary>A request that went says nothing: nobody waited for its answer.</summary>
    public void Abandon(bool isTrial)
    {
        lock (_lock)
        {
            _isTrying &= !isTrial;
        }
    }
}
