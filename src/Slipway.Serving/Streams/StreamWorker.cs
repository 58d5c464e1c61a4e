using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Serving.Protocol;
using Slipway.Storage.Redis;

namespace Slipway.Serving.Streams;

/// <summary>
/// Reads one stream's events, scores them as requests and adds the answers to the output, at least once: an event is acknowledged in the transaction that adds its
/// answer, and what was not acknowledged for a while is taken up again by whoever is there.
/// </summary>
internal sealed class StreamWorker(StreamSpec spec, RedisAddress address, string consumer, Inference inference, ModelRouter router, ServedModels models, TimeProvider clock, ILogger logger)
{
    private const string RequestField = "request";
    private const int BlockMs = 1000;
    private const int FieldsKept = 1000; // Of an event that is set aside: a script takes some thousand arguments for one command.
    private static readonly TimeSpan PauseMax = TimeSpan.FromSeconds(30);

    // A transaction would acknowledge an event whose answer the output refuses, as it goes on after a command that fails; a script stops there.
    // Of each event the id, the place of the stream that it goes to among the keys, and how many arguments of XADD follow.
    private const string AddAndAcknowledge =
        """
        local at, done = 2, {}
        while at <= #ARGV do
            local count, add = tonumber(ARGV[at + 2]), {}
            for i = 1, count do add[i] = ARGV[at + 2 + i] end
            redis.call('XADD', KEYS[tonumber(ARGV[at + 1])], unpack(add))
            done[#done + 1] = ARGV[at]
            at = at + 3 + count
        end
        return redis.call('XACK', KEYS[1], ARGV[1], unpack(done))
        """;

    private DateTimeOffset _claimedAt;
    private long _scored;
    private long _retried;
    private long _deadLettered;

    public StreamSpec Spec { get; } = spec;

    public long Scored => Volatile.Read(ref _scored);

    public long Retried => Volatile.Read(ref _retried);

    public long DeadLettered => Volatile.Read(ref _deadLettered);

    /// <summary>Null while all is well.</summary>
    public string? LastError { get; private set; }

    public bool IsConnected { get; private set; }

    /// <summary>Runs until it is cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var pause = TimeSpan.FromMilliseconds(250);
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                await using var redis = await RedisConnection.OpenAsync(address, cancellationToken);
                await CreateGroupAsync(redis, cancellationToken);
                IsConnected = true;
                if (LastError is not null)
                {
                    logger.LogInformation("Stream {Stream}: {Redis} answers again", Spec.Name, address);
                    LastError = null;
                }

                pause = TimeSpan.FromMilliseconds(250);
                await ReadAsync(redis, cancellationToken);
            }
            catch (Exception e) when (e is IOException or SocketException or System.Security.Authentication.AuthenticationException && !cancellationToken.IsCancellationRequested)
            {
                IsConnected = false;
                if (LastError != e.Message)
                {
                    logger.LogWarning("Stream {Stream}: {Redis}: {Why}; its events wait there", Spec.Name, address, e.Message.TrimEnd('.'));
                }

                LastError = e.Message;
                // Not all servers at the same moment when Redis comes back.
                await Task.Delay(pause * (0.5 + Random.Shared.NextDouble()), clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                pause = pause * 2 < PauseMax ? pause * 2 : PauseMax;
            }
        }
    }

    private async Task CreateGroupAsync(RedisConnection redis, CancellationToken cancellationToken)
    {
        var reply = (await redis.SendAsync([["XGROUP", "CREATE", Spec.Input, Spec.Group, "0", "MKSTREAM"]], cancellationToken))[0];
        if (reply.Error is { } error && !error.StartsWith("BUSYGROUP", StringComparison.Ordinal))
        {
            RedisConnection.Demand(reply);
        }

        foreach (var key in new[] { Spec.Output, Spec.DeadLetter })
        {
            if (await redis.CallAsync(cancellationToken, "TYPE", key) is { Text: not ("stream" or "none") and var type })
            {
                throw new RedisException($"'{key}' is a {type}, and answers go to a stream; delete it or name another");
            }
        }
    }

    private async Task ReadAsync(RedisConnection redis, CancellationToken cancellationToken)
    {
        _claimedAt = default;
        while (true)
        {
            if (router.Find(Spec.Model) is null)
            {
                // Its events are not taken before somebody can score them.
                LastError = $"Model '{Spec.Model}' is not served.";
                await Task.Delay(TimeSpan.FromSeconds(1), clock, cancellationToken);
                continue;
            }

            // Half as long as the time after which others would take them up.
            if (clock.GetUtcNow() - _claimedAt > Spec.Retry / 2)
            {
                _claimedAt = clock.GetUtcNow();
                await ClaimAsync(redis, cancellationToken);
            }

            var reply = await redis.CallAsync(
                cancellationToken, "XREADGROUP", "GROUP", Spec.Group, consumer, "COUNT", Spec.Batch, "BLOCK", BlockMs, "STREAMS", Spec.Input, ">");
            if (reply.Items is [{ Items: [_, { Items: { Count: > 0 } entries }] }, ..])
            {
                await ScoreAsync(redis, [.. entries.Select(entry => StreamEvent.Of(entry, 1))], cancellationToken);
            }
        }
    }

    // What was read and not acknowledged: by this server when the model failed on it, by another that has stopped.
    private async Task ClaimAsync(RedisConnection redis, CancellationToken cancellationToken)
    {
        for (var from = "0-0"; ;)
        {
            var reply = await redis.CallAsync(cancellationToken, "XAUTOCLAIM", Spec.Input, Spec.Group, consumer, (long)Spec.Retry.TotalMilliseconds, from, "COUNT", Spec.Batch);
            if (reply.Items is not [var next, { Items: { } entries }, ..])
            {
                throw new RedisException("Redis answers XAUTOCLAIM otherwise than version 6.2 and later do.");
            }

            // Version 6.2 lists those that were deleted while they were pending as nothing.
            entries = [.. entries.Where(entry => entry.Items is not null)];
            if (entries.Count > 0)
            {
                var deliveries = await DeliveriesAsync(redis, entries[0].Items![0].Text, entries[^1].Items![0].Text, cancellationToken);
                Interlocked.Add(ref _retried, entries.Count);
                await ScoreAsync(redis, [.. entries.Select(entry => StreamEvent.Of(entry, deliveries.GetValueOrDefault(entry.Items![0].Text, 1)))], cancellationToken);
            }

            if (next.Text == "0-0")
            {
                return;
            }

            from = next.Text;
        }
    }

    private async Task<Dictionary<string, long>> DeliveriesAsync(RedisConnection redis, string first, string last, CancellationToken cancellationToken)
    {
        var pending = await redis.CallAsync(cancellationToken, "XPENDING", Spec.Input, Spec.Group, first, last, Spec.Batch * 4, consumer);
        return (pending.Items ?? []).Where(entry => entry.Items is { Count: 4 }).ToDictionary(entry => entry.Items![0].Text, entry => entry.Items![3].Integer ?? 1, StringComparer.Ordinal);
    }

    private async Task ScoreAsync(RedisConnection redis, IReadOnlyList<StreamEvent> events, CancellationToken cancellationToken)
    {
        // Together, so that they batch where the model does.
        var answers = await Task.WhenAll(events.Select(one => TryScoreAsync(one, cancellationToken)));
        var script = new List<object> { "EVAL", AddAndAcknowledge, 3, Spec.Input, Spec.Output, Spec.DeadLetter, Spec.Group };
        var acknowledged = 0;
        var wait = TimeSpan.Zero;
        for (var i = 0; i < events.Count; i++)
        {
            var (one, answer) = (events[i], answers[i]);
            object[] add;
            if (answer.Fields is { } fields)
            {
                add = [.. Spec.KeepOutput is { } keep ? (object[])["MAXLEN", "~", keep] : [], "*", .. fields];
            }
            else if (answer.IsHopeless || one.Deliveries >= Spec.DeliveriesMax)
            {
                add = ["*", "source", one.Id, "error", answer.Error!, "deliveries", one.Deliveries, .. one.Fields.Count > FieldsKept ? (object[])["left_out", one.Fields.Count - FieldsKept] : [], .. one.Fields.Take(FieldsKept).SelectMany(field => new object[] { field.Name, field.Value })];
            }
            else
            {
                // It stays pending, and comes again after a while.
                LastError = answer.Error;
                wait = answer.Wait > wait ? answer.Wait : wait;
                continue;
            }

            acknowledged++;
            script.AddRange([one.Id, answer.Fields is not null ? 2 : 3, add.Length, .. add]);
        }

        if (acknowledged > 0)
        {
            RedisConnection.Demand((await redis.SendAsync([[.. script]], cancellationToken))[0]);
            var scored = answers.Count(answer => answer.Fields is not null);
            Interlocked.Add(ref _scored, scored);
            Interlocked.Add(ref _deadLettered, acknowledged - scored);
            LastError = scored == events.Count ? null : answers.Last(answer => answer.Fields is null).Error;
        }

        if (wait > TimeSpan.Zero)
        {
            // The model has too much to do: what is not read waits in Redis.
            await Task.Delay(wait < PauseMax ? wait : PauseMax, clock, cancellationToken);
        }
    }

    // One event's trouble must not keep the others, nor itself from being set aside.
    private async Task<StreamAnswer> TryScoreAsync(StreamEvent one, CancellationToken cancellationToken)
    {
        try
        {
            return await ScoreAsync(one, cancellationToken);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            logger.LogError(e, "Stream {Stream}: event {Event} could not be scored", Spec.Name, one.Id);
            return StreamAnswer.Failed("Scoring it failed; the server's log says why.", isHopeless: false, TimeSpan.Zero);
        }
    }

    private async Task<StreamAnswer> ScoreAsync(StreamEvent one, CancellationToken cancellationToken)
    {
        TensorRequest request;
        try
        {
            request = Read(one);
        }
        catch (SlipwayException e)
        {
            return StreamAnswer.Failed(e.Message, isHopeless: e.Code is ErrorCode.InvalidArgument, TimeSpan.Zero);
        }

        // The same for each delivery, so that a second answer is known for one, and a label finds both.
        request.Id = request.Id.Length > 0 ? request.Id : $"{Spec.Name}-{one.Id}";
        var mine = InferScratch.Mine;
        var outcome = inference.Score(mine, Spec.Model, null, RequestBody.Of(request));
        if (outcome.MustWait)
        {
            outcome = await inference.WaitAsync(mine, outcome, cancellationToken);
        }

        try
        {
            string? uncarried = null;
            if (outcome.Message is null)
            {
                _ = JsonAnswer.Mine.WriteTensors(mine, outcome.Arm!, out uncarried);
            }

            if (uncarried is not null)
            {
                outcome = inference.Uncarried(mine, outcome, uncarried);
            }

            if (outcome.Arm is not null)
            {
                inference.Complete(mine, outcome);
            }

            return outcome.Message is { } message
                ? StreamAnswer.Failed(message, outcome.Status is StatusCodes.Status400BadRequest, TimeSpan.FromSeconds(outcome.RetryAfterSeconds))
                : new StreamAnswer(
                    ["source", one.Id, "prediction_id", Encoding.UTF8.GetString(mine.PredictionId), "version", outcome.Arm!.Version, "arm", outcome.Arm.Name, "response", mine.Response.Written.ToArray()],
                    null, false, TimeSpan.Zero);
        }
        finally
        {
            mine.Release();
        }
    }

    // The whole request in one field, or an input in each.
    private TensorRequest Read(StreamEvent one)
    {
        if (one.Fields is [{ Name: RequestField, Value: var body }])
        {
            var request = new TensorRequest();
            return TensorReader.Read(new System.Buffers.ReadOnlySequence<byte>(body), null, request) is { } fault ? throw new SlipwayException(ErrorCode.InvalidArgument, fault) : request;
        }

        if (one.Fields.Count == 0)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The event has no fields: it was deleted from the stream before it was scored.");
        }

        static string Cell(string text) => $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
        var csv = $"{string.Join(',', one.Fields.Select(field => Cell(field.Name)))}\n{string.Join(',', one.Fields.Select(field => Cell(Encoding.UTF8.GetString(field.Value))))}\n";
        return new RowsReader(models.Get(Spec.Model, null)).ReadCsv(Encoding.UTF8.GetBytes(csv));
    }

    private sealed record StreamAnswer(object[]? Fields, string? Error, bool IsHopeless, TimeSpan Wait)
    {
        public static StreamAnswer Failed(string error, bool isHopeless, TimeSpan wait) => new(null, error, isHopeless, wait);
    }

    private sealed record StreamEvent(string Id, IReadOnlyList<(string Name, byte[] Value)> Fields, long Deliveries)
    {
        public static StreamEvent Of(RedisReply entry, long deliveries)
        {
            if (entry.Items is not [var id, var fields])
            {
                throw new RedisException("Redis answers an entry of a stream otherwise than with its id and fields.");
            }

            // One that was deleted while it was pending has an id alone.
            var values = fields.Items ?? [];
            return new StreamEvent(id.Text, [.. Enumerable.Range(0, values.Count / 2).Select(i => (values[2 * i].Text, values[(2 * i) + 1].Bytes ?? []))], deliveries);
        }
    }
}
