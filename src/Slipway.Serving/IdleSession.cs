using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Native.Onnx;
using Slipway.Serving.Queues;

namespace Slipway.Serving;

/// <summary>A loaded graph that may be given back while nobody asks for it, and is loaded again by whoever asks next. Runs may overlap on any number of threads.</summary>
/// <remarks>
/// Requests come by the version's queue, which lets none run while it sleeps, so that they never meet a graph that is gone. What runs beside the queue, such as a shadow,
/// wakes it before; should it fall asleep in between, that run loads it and tries again.
/// </remarks>
internal sealed class IdleSession
{
    private static readonly Task<SlipwayException?> Awake = Task.FromResult<SlipwayException?>(null);

    private readonly Lock _gate = new();
    private readonly string _name;
    private readonly Func<OnnxSession>? _load;
    private readonly ILogger? _logger;
    private volatile OnnxSession? _session;
    private Task<SlipwayException?>? _waking;
    private ModelQueue? _queue;
    private long _wakes;

    /// <summary>A graph that stays.</summary>
    public IdleSession(OnnxSession session) => (_session, _name) = (session, "The graph");

    /// <summary>A graph that can be loaded again.</summary>
    /// <param name="session">It.</param>
    /// <param name="name">The version, for the log and for callers.</param>
    /// <param name="load">Loads the same graph; throws when it cannot.</param>
    /// <param name="logger">Told of each time.</param>
    public IdleSession(OnnxSession session, string name, Func<OnnxSession> load, ILogger logger) => (_session, _name, _load, _logger) = (session, name, load, logger);

    public bool IsAsleep => _session is null;

    /// <summary>How often it was loaded again.</summary>
    public long Wakes => Volatile.Read(ref _wakes);

    /// <summary>The queue by which requests come, which waits while it sleeps.</summary>
    public void Attach(ModelQueue queue)
    {
        _queue = queue;
        queue.Wake = () => _ = WakeAsync();
    }

    /// <summary>Gives the graph's memory back, unless somebody runs it or waits for it.</summary>
    public bool TrySleep()
    {
        OnnxSession? given = null;
        if (_load is null || _queue?.TrySleep(() => (given, _session) = (_session, null)) is not true)
        {
            return false;
        }

        given?.Dispose();
        return true;
    }

    /// <summary>Loads it, once however many ask, on a thread of its own.</summary>
    /// <returns>Why it could not be loaded; null when it is.</returns>
    public Task<SlipwayException?> WakeAsync()
    {
        lock (_gate)
        {
            return _session is not null ? Awake : _waking ??= BeginWake();
        }
    }

    public void RunMatrix(ReadOnlySpan<float> features, int rows, Span<float> output)
    {
        while (true)
        {
            var session = _session ?? Woken();
            try
            {
                session.RunMatrix(features, rows, output);
                return;
            }
            catch (ObjectDisposedException) when (_session != session)
            {
                // It fell asleep before the run began.
            }
        }
    }

    public OnnxResult Run(ReadOnlySpan<OnnxInput> inputs)
    {
        while (true)
        {
            var session = _session ?? Woken();
            try
            {
                return session.Run(inputs);
            }
            catch (ObjectDisposedException) when (_session != session)
            {
                // As above.
            }
        }
    }

    private Task<SlipwayException?> BeginWake() => Task.Factory.StartNew(Wake, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private SlipwayException? Wake()
    {
        var began = Stopwatch.GetTimestamp();
        var next = _queue?.NextOrder ?? 0;
        try
        {
            var loaded = _load!();
            lock (_gate)
            {
                _session = loaded;
                _waking = null;
                _wakes++;
                _queue?.Open();
            }

            _logger?.LogInformation("{Version} was loaded again in {Ms:0} ms", _name, Stopwatch.GetElapsedTime(began).TotalMilliseconds);
            return null;
        }
        catch (Exception e)
        {
            _logger?.LogError(e, "{Version} could not be loaded again; the next request tries once more", _name);
            var failure = e as SlipwayException
                ?? new SlipwayException(ErrorCode.Unavailable, $"{_name} could not be loaded again{(e is OnnxException ? $": {e.Message.TrimEnd('.')}" : "; the server's log says why")}.", e);
            lock (_gate)
            {
                _waking = _queue?.Refuse(failure.Message, next) is true ? BeginWake() : null;
            }

            return failure;
        }
    }

    // Blocks: of what runs beside the queue, and only when it fell asleep between being woken and being run.
    private OnnxSession Woken()
    {
        while (true)
        {
            if (WakeAsync().GetAwaiter().GetResult() is { } failure)
            {
                throw failure;
            }

            if (_session is { } session)
            {
                return session;
            }
        }
    }
}
