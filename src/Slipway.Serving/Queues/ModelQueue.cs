using System.Diagnostics;
using Slipway.Serving.Protocol;

namespace Slipway.Serving.Queues;

/// <summary>How a request's waiting ended.</summary>
internal enum QueueEnd
{
    /// <summary>It may run now, and leaves when it has.</summary>
    Turn,

    /// <summary>It was run together with others.</summary>
    Ran,

    /// <summary>It waited too long, and was not run.</summary>
    Expired,

    /// <summary>No more may wait.</summary>
    Full,

    /// <summary>The version could not be loaded.</summary>
    Unloaded,
}

/// <summary>A request that waits for its run. It keeps its own scratch, as its thread goes on to others.</summary>
internal sealed class QueuedRequest(InferScratch scratch, Outcome prepared, ulong priority, long deadline)
{
    private readonly TaskCompletionSource<QueueEnd> _end = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public InferScratch Scratch { get; } = scratch;

    /// <summary>Read and routed; after <see cref="QueueEnd.Ran"/> what came of it.</summary>
    public Outcome Outcome { get; set; } = prepared;

    /// <summary>Lower ones run first; as in Triton, 0 is the lowest of all.</summary>
    public ulong Priority { get; } = priority == 0 ? ulong.MaxValue : priority;

    /// <summary>In stopwatch ticks.</summary>
    public long Deadline { get; } = deadline;

    /// <summary>Its place among those of its priority.</summary>
    public long Order { get; set; }

    public Task<QueueEnd> End => _end.Task;

    /// <summary>After <see cref="QueueEnd.Unloaded"/> why, one sentence.</summary>
    public string Refusal { get; private set; } = "";

    public void Complete(QueueEnd end) => _end.TrySetResult(end);

    public void Refuse(string why)
    {
        Refusal = why;
        Complete(QueueEnd.Unloaded);
    }

    public void Cancel(CancellationToken cancellationToken) => _end.TrySetCanceled(cancellationToken);
}

/// <summary>
/// One version's bounded queue. A request that finds a free run takes it at once, on its own thread, for the price of two atomic additions;
/// only one that has to wait costs objects. Several that wait can go in one run.
/// </summary>
/// <remarks>
/// "Waiting" is counted where requests have been read and wait for the model, not in the kernel or the thread pool before. Expired and
/// cancelled requests leave the queue and are never run.
/// </remarks>
internal sealed class ModelQueue : IDisposable
{
    private const double FastSeconds = 0.001;

    // Of a version that sleeps so many more run than do: more than any limit, and so the check of each request for a free run is that for sleep too.
    private const int Asleep = 1 << 30;

    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50);

    private readonly Lock _lock = new();
    private readonly SortedSet<QueuedRequest> _waiting = new(Comparer<QueuedRequest>.Create((x, y) => (x.Priority, x.Order).CompareTo((y.Priority, y.Order))));
    private readonly Timer _timer;
    private volatile QueueSettings _settings = QueueSettings.Default;
    private Action<List<QueuedRequest>>? _runTogether;
    private int _running;
    private int _waitingCount;
    private int _waitingRows;
    private long _waitingBytes;
    private int _batchesCalled;
    private bool _timerSet;
    private long _order;
    private long _batchDue;
    private double _meanSeconds; // Of a run, divided by the requests in it; exponentially weighted.
    private long _rejected;
    private long _expired;
    private long _together;

    public ModelQueue() => _timer = new Timer(_ => Tick());

    /// <summary>Set at any time; what waits already keeps its deadline.</summary>
    public QueueSettings Settings
    {
        get => _settings;
        set
        {
            _settings = value;
            Cache = value.CacheEntries > 0 ? new AnswerCache(value.CacheEntries) : null;
            Dispatch();
        }
    }

    /// <summary>Null when answers are not kept.</summary>
    public AnswerCache? Cache { get; private set; }

    public int Waiting => Volatile.Read(ref _waitingCount);

    public int Running => Volatile.Read(ref _running) & (Asleep - 1);

    /// <summary>Whether the version is not in memory, and all have to wait until it is.</summary>
    public bool IsAsleep => Volatile.Read(ref _running) >= Asleep;

    /// <summary>Called for each request that finds the version asleep, which waits by then: begins to load it and returns.</summary>
    public Action? Wake { get; set; }

    /// <summary>Requests refused because no more could wait.</summary>
    public long Rejected => Volatile.Read(ref _rejected);

    /// <summary>Requests that waited too long.</summary>
    public long Expired => Volatile.Read(ref _expired);

    /// <summary>Requests that went along in the run of another: so many runs were saved.</summary>
    public long Together => Volatile.Read(ref _together);

    // Runs that cost less than changing threads need no limit but one; what is batched gathers only while it may not run.
    private int Limit => _settings.Instances ?? (_settings.BatchRowsMax <= 1 && Volatile.Read(ref _meanSeconds) < FastSeconds ? 8 * Environment.ProcessorCount : Environment.ProcessorCount);

    /// <summary>Takes a run when one is free and nobody waits for it; <see cref="Leave"/> gives it back.</summary>
    /// <param name="joins">Whether what is batched waits, so that others join it on its way; false for a request that has waited already.</param>
    public bool TryEnter(bool joins = true)
    {
        if (Volatile.Read(ref _waitingCount) > 0 || (joins && _settings.BatchRowsMax > 1))
        {
            return false;
        }

        if (Interlocked.Increment(ref _running) <= Limit)
        {
            return true;
        }

        // Whoever is refused here goes on to wait, which looks again for a free run: one that ended in between is not forgotten.
        Interlocked.Decrement(ref _running);
        return false;
    }

    /// <summary>Ends a run.</summary>
    /// <param name="began">In stopwatch ticks.</param>
    /// <param name="requests">How many it was for.</param>
    public void Leave(long began, int requests = 1)
    {
        var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds / requests;
        var mean = Volatile.Read(ref _meanSeconds);
        Volatile.Write(ref _meanSeconds, mean == 0 ? seconds : mean + ((seconds - mean) * 0.05)); // A lost update of two at once does not matter.
        GiveBack();
    }

    /// <summary>Gives back a run that nothing was done with.</summary>
    public void GiveBack()
    {
        Interlocked.Decrement(ref _running);
        if (Volatile.Read(ref _waitingCount) > 0)
        {
            Dispatch();
        }
    }

    /// <summary>Waits for a run.</summary>
    /// <param name="request">Keeps its own scratch.</param>
    /// <param name="runTogether">Runs several requests and leaves each its outcome; never throws. Null when this version's requests run by themselves.</param>
    /// <param name="cancellationToken">Gives the place in the queue to others.</param>
    /// <exception cref="OperationCanceledException">Nobody waits for the answer any more.</exception>
    public async Task<QueueEnd> WaitAsync(QueuedRequest request, Action<List<QueuedRequest>>? runTogether, CancellationToken cancellationToken)
    {
        if (!Add(request, runTogether))
        {
            Interlocked.Increment(ref _rejected);
            Dispatch();
            return QueueEnd.Full;
        }

        await using var cancelled = cancellationToken.UnsafeRegister((state, token) => ((ModelQueue)state!).Remove(request, token), this);
        return await request.End;
    }

    /// <summary>Seconds after which a place should be free: what waits, divided by what is done in a second. At least 1.</summary>
    public int RetryAfterSeconds => (int)Math.Clamp(Math.Ceiling(Waiting * Volatile.Read(ref _meanSeconds) / Math.Max(1, Limit)), 1, 3600);

    /// <summary>Lets none run any more, unless some do or wait.</summary>
    /// <param name="asleep">Called before any other can come.</param>
    public bool TrySleep(Action asleep)
    {
        lock (_lock)
        {
            if (_waiting.Count > 0 || Interlocked.CompareExchange(ref _running, Asleep, 0) != 0)
            {
                return false;
            }

            asleep();
            return true;
        }
    }

    /// <summary>Lets all run again that <see cref="TrySleep"/> made wait.</summary>
    public void Open()
    {
        if (IsAsleep)
        {
            Interlocked.Add(ref _running, -Asleep);
        }

        Dispatch();
    }

    /// <summary>The place of the next request that has to wait: all that wait already have lower ones.</summary>
    public long NextOrder
    {
        get
        {
            lock (_lock)
            {
                return _order;
            }
        }
    }

    /// <summary>Ends what waits for a version which could not be loaded.</summary>
    /// <param name="why">One sentence.</param>
    /// <param name="before">Of requests with lower places only: those behind came when the load had begun, and what it met may have changed since.</param>
    /// <returns>Whether others still wait.</returns>
    public bool Refuse(string why, long before)
    {
        List<QueuedRequest> refused;
        bool others;
        lock (_lock)
        {
            refused = [.. _waiting.Where(request => request.Order < before)];
            refused.ForEach(request =>
            {
                _waiting.Remove(request);
                Count(request, -1);
            });
            others = _waiting.Count > 0;
        }

        refused.ForEach(request => request.Refuse(why));
        return others;
    }

    public void Dispose() => _timer.Dispose();

    private bool Add(QueuedRequest request, Action<List<QueuedRequest>>? runTogether)
    {
        lock (_lock)
        {
            _runTogether = runTogether;
            if (_waiting.Count >= _settings.WaitingMax || (_waiting.Count > 0 && _waitingBytes + request.Scratch.Bytes > _settings.WaitingBytesMax))
            {
                return false;
            }

            if (_waiting.Count == 0)
            {
                _batchDue = Stopwatch.GetTimestamp() + Ticks(_settings.BatchDelay);
            }

            request.Order = _order++;
            _waiting.Add(request);
            Count(request, 1);
            SetTimer();
        }

        if (IsAsleep)
        {
            Wake?.Invoke();
        }

        Dispatch();
        return true;
    }

    private void Count(QueuedRequest request, int sign)
    {
        Volatile.Write(ref _waitingCount, _waitingCount + sign);
        _waitingRows += sign * request.Scratch.Rows;
        _waitingBytes += sign * request.Scratch.Bytes;
    }

    private void Remove(QueuedRequest request, CancellationToken token)
    {
        lock (_lock)
        {
            if (!_waiting.Remove(request))
            {
                return;
            }

            Count(request, -1);
        }

        request.Cancel(token);
    }

    // Gives free runs to what waits.
    private void Dispatch()
    {
        while (true)
        {
            QueuedRequest? next = null;
            lock (_lock)
            {
                if (_waiting.Count == 0 || Volatile.Read(ref _running) >= Limit || (IsTogether && !IsBatchDue))
                {
                    return;
                }

                if (IsTogether)
                {
                    if (_batchesCalled > 0)
                    {
                        return; // The one that was called takes what is there when a thread comes to it, and looks for more.
                    }

                    _batchesCalled++;
                }
                else if ((next = Take()) is null)
                {
                    return;
                }

                Interlocked.Increment(ref _running);
            }

            if (next is null)
            {
                ThreadPool.UnsafeQueueUserWorkItem(queue => queue.RunBatch(), this, preferLocal: false);
            }
            else
            {
                next.Complete(QueueEnd.Turn);
            }
        }
    }

    // Under the lock, as all below that say nothing else.
    private bool IsTogether => _runTogether is not null && _settings.BatchRowsMax > 1;

    private bool IsBatchDue => _settings.BatchDelay == TimeSpan.Zero || _waitingRows >= _settings.BatchRowsMax || Stopwatch.GetTimestamp() >= _batchDue;

    // On a thread of the pool, with a run taken for it. What came while it waited for the thread goes along.
    private void RunBatch()
    {
        var batch = new List<QueuedRequest>();
        lock (_lock)
        {
            _batchesCalled--;
            var rows = 0;
            while (Take(rows == 0 ? int.MaxValue : _settings.BatchRowsMax - rows) is { } next)
            {
                rows += next.Scratch.Rows;
                batch.Add(next);
            }

            _batchDue = Stopwatch.GetTimestamp() + Ticks(_settings.BatchDelay);
        }

        var began = Stopwatch.GetTimestamp();
        if (batch.Count == 0)
        {
            GiveBack();
            return;
        }

        Interlocked.Add(ref _together, batch.Count - 1);
        Dispatch(); // Another run may begin beside this one.
        try
        {
            _runTogether!(batch);
        }
        finally
        {
            Leave(began, batch.Count);
            foreach (var request in batch)
            {
                request.Complete(QueueEnd.Ran);
            }
        }
    }

    /// <summary>Takes the first one out, when it has no more rows; those that are late go on the way.</summary>
    private QueuedRequest? Take(int rowsMax = int.MaxValue)
    {
        while (_waiting.Min is { } first && first.Scratch.Rows <= rowsMax)
        {
            if (first.Deadline <= Stopwatch.GetTimestamp())
            {
                Expire(first);
                continue;
            }

            _waiting.Remove(first);
            Count(first, -1);
            return first;
        }

        return null;
    }

    private void Expire(QueuedRequest request)
    {
        _waiting.Remove(request);
        Count(request, -1);
        Interlocked.Increment(ref _expired);
        request.Complete(QueueEnd.Expired);
    }

    // A run that hangs frees no place: the clock does.
    private void SetTimer()
    {
        if (!_timerSet && _waiting.Count > 0)
        {
            _timerSet = true;
            var delay = _settings.BatchDelay;
            _timer.Change(delay > TimeSpan.Zero && delay < Look ? delay : Look, Timeout.InfiniteTimeSpan);
        }
    }

    private void Tick()
    {
        Dispatch();
        lock (_lock)
        {
            var now = Stopwatch.GetTimestamp();
            foreach (var late in _waiting.Where(request => request.Deadline <= now).ToList())
            {
                Expire(late);
            }

            _timerSet = false;
            SetTimer();
        }
    }

    private static long Ticks(TimeSpan time) => (long)(time.TotalSeconds * Stopwatch.Frequency);
}
