using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Net.Sockets;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Serving.Protocol;
using Slipway.Storage.Redis;

namespace Slipway.Serving.Streams;

/// <summary>Keeps a worker for each declared stream that is not paused, and tells how they do.</summary>
internal sealed class StreamService : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly StreamStore _store;
    private readonly Inference _inference;
    private readonly ModelRouter _router;
    private readonly ServedModels _models;
    private readonly RedisAddress? _redis;
    private readonly TimeProvider _clock;
    private readonly ILogger<StreamService> _logger;
    private readonly ConcurrentDictionary<string, Running> _running = new(StringComparer.Ordinal);

    public StreamService(
        StreamStore store, Inference inference, ModelRouter router, ServedModels models, ServingOptions options, TimeProvider clock, IMeterFactory meters, ILogger<StreamService> logger)
    {
        (_store, _inference, _router, _models, _redis, _clock, _logger) = (store, inference, router, models, options.Redis, clock, logger);
        var meter = meters.Create("Slipway.Serving.Streams");
        foreach (var (name, value, what) in new (string, Func<StreamWorker, long>, string)[]
            { ("scored", worker => worker.Scored, "Events answered"), ("retried", worker => worker.Retried, "Events taken up again"), ("dead_lettered", worker => worker.DeadLettered, "Events set aside") })
        {
            meter.CreateObservableCounter($"slipway.serving.stream_{name}", () => _running.Values.Select(running => new Measurement<long>(
                value(running.Worker), new("stream", running.Worker.Spec.Name), new KeyValuePair<string, object?>("model", running.Worker.Spec.Model))), "{event}", what);
        }
    }

    /// <summary>All streams, with what Redis knows of them.</summary>
    public async Task<IReadOnlyList<StreamReport>> ListAsync(CancellationToken cancellationToken)
    {
        var specs = _store.Specs();
        var paused = _store.Paused();
        IReadOnlyList<RedisReply> groups = [];
        string? unreachable = null;
        try
        {
            if (_redis is not null && specs.Count > 0)
            {
                await using var redis = await RedisConnection.OpenAsync(_redis, cancellationToken);
                groups = await redis.SendAsync([.. specs.Select(spec => (object[])["XINFO", "GROUPS", spec.Input])], cancellationToken);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or System.Security.Authentication.AuthenticationException)
        {
            unreachable = e.Message;
        }

        return [.. specs.Select((spec, i) => Report(spec, i < groups.Count ? groups[i] : null, unreachable, paused.TryGetValue(spec.Name, out var pause) ? pause : null))];
    }

    /// <summary>One stream.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public async Task<StreamReport> GetAsync(string name, CancellationToken cancellationToken)
    {
        _ = _store.Get(name);
        return (await ListAsync(cancellationToken)).First(report => report.Name == name);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            using var timer = new PeriodicTimer(Interval, _clock);
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                try
                {
                    await FollowAsync(stoppingToken);
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    _logger.LogError(e, "The streams could not be looked up; trying again");
                }
            }
        }
        finally
        {
            await Task.WhenAll(_running.Values.Select(running => running.StopAsync()));
        }
    }

    private async Task FollowAsync(CancellationToken stoppingToken)
    {
        if (_redis is null)
        {
            return;
        }

        var paused = _store.Paused();
        var wanted = _store.Specs().Where(spec => !paused.ContainsKey(spec.Name)).ToDictionary(spec => spec.Name, StringComparer.Ordinal);
        foreach (var (name, running) in _running)
        {
            if (running.Task.IsCompleted || !wanted.TryGetValue(name, out var spec) || spec != running.Worker.Spec)
            {
                if (running.Task.IsFaulted)
                {
                    _logger.LogError(running.Task.Exception, "Stream {Stream} stopped; starting it again", name);
                }

                _running.TryRemove(name, out _);
                await running.StopAsync();
            }
        }

        foreach (var spec in wanted.Values.Where(spec => !_running.ContainsKey(spec.Name)))
        {
            var stop = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
            var worker = new StreamWorker(spec, _redis, Environment.MachineName, _inference, _router, _models, _clock, _logger);
            _running[spec.Name] = new Running(worker, stop, Task.Run(() => worker.RunAsync(stop.Token), CancellationToken.None));
        }
    }

    private StreamReport Report(StreamSpec spec, RedisReply? groups, string? unreachable, (string By, string Reason)? pause)
    {
        long? lag = null, pending = null, consumers = null;
        foreach (var group in (groups?.Items ?? []).Select(Fields).Where(fields => fields["name"].Text == spec.Group))
        {
            (lag, pending, consumers) = (group.GetValueOrDefault("lag")?.Integer, group.GetValueOrDefault("pending")?.Integer, group.GetValueOrDefault("consumers")?.Integer);
        }

        var worker = _running.GetValueOrDefault(spec.Name)?.Worker;
        var state = pause is not null ? "paused" : _redis is null ? "off" : worker is { IsConnected: true } && _router.Find(spec.Model) is not null ? "running" : "waiting";
        return new StreamReport(
            spec.Name, spec.Model, spec.Input, spec.Output, state, lag, pending, consumers, worker?.Scored ?? 0, worker?.Retried ?? 0, worker?.DeadLettered ?? 0,
            _redis is null ? "No Redis server is set; start this one with --redis redis://host:6379." : unreachable ?? worker?.LastError, pause?.By, pause?.Reason);
    }

    private static Dictionary<string, RedisReply> Fields(RedisReply group) =>
        Enumerable.Range(0, group.Items!.Count / 2).ToDictionary(i => group.Items[2 * i].Text, i => group.Items[(2 * i) + 1], StringComparer.Ordinal);

    private sealed record Running(StreamWorker Worker, CancellationTokenSource Stop, Task Task)
    {
        public async Task StopAsync()
        {
            await Stop.CancelAsync();
            await Task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            Stop.Dispose();
        }
    }
}
