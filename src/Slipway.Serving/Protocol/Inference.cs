using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Native.Onnx;
using Slipway.Serving.Grpc;
using Slipway.Serving.Predictions;
using Slipway.Serving.Queues;
using Slipway.Serving.Remote;

namespace Slipway.Serving.Protocol;

/// <summary>
/// The way of every request, whatever protocol it came by: one table lookup for the version, the request read for it, features, score.
/// The caller writes the answer and calls <see cref="Complete"/>; logging and mirroring copy and return, nothing here waits for them.
/// </summary>
internal sealed class Inference(ModelRouter router, PinnedVersions pinned, PredictionLog log, ShadowMirror mirror, TimeProvider clock, ILogger<Inference> logger)
{
    /// <summary>The version named by the caller; null for the ordinary way, the version in production.</summary>
    /// <exception cref="SlipwayException">NotFound; Unavailable: it cannot be loaded.</exception>
    public Arm? Named(string model, string? version) =>
        string.IsNullOrEmpty(version) || string.Equals(version, "production", StringComparison.OrdinalIgnoreCase) ? null : pinned.Get(model, version);

    /// <summary>
    /// Reads, routes and scores; the outcome says who answered, or why nobody did. Where it <see cref="Outcome.MustWait"/>, because the version's runs
    /// are all taken, <see cref="WaitAsync"/> goes on with it.
    /// </summary>
    public Outcome Score(InferScratch mine, string model, Arm? named, in RequestBody body)
    {
        var outcome = Prepare(mine, model, named, body);
        if (outcome.Message is not null)
        {
            return outcome;
        }

        var queue = outcome.Arm!.Model.Queue;
        if (!mine.IsTensors && queue.Cache is { } cache && cache.TryGet(mine.Request.Features, mine.Request.Outputs))
        {
            var now = Stopwatch.GetTimestamp();
            return outcome with { Entered = now, Scored = now };
        }

        if (outcome.Arm.Model.Waits || !queue.TryEnter())
        {
            return outcome with { Status = Outcome.Waiting };
        }

        var ran = Run(mine, outcome, queue);
        return ran.Status >= StatusCodes.Status500InternalServerError ? FallBack(mine, ran) : ran;
    }

    /// <summary>Waits for the version, and scores. The body must stay as it is until then.</summary>
    /// <param name="mine">The thread's, which gets another.</param>
    /// <param name="prepared">What <see cref="Score"/> gave.</param>
    /// <param name="cancellationToken">Nobody waits for the answer any more.</param>
    /// <returns>The outcome: whoever gets it writes the answer and releases <paramref name="mine"/>. What throws has released it.</returns>
    public Task<Outcome> WaitAsync(InferScratch mine, Outcome prepared, CancellationToken cancellationToken) => WaitDetachedAsync(mine.Detach(), prepared, cancellationToken);

    private Outcome Prepare(InferScratch mine, string model, Arm? named, in RequestBody body)
    {
        var started = Stopwatch.GetTimestamp();
        var table = router.Find(model);
        var expected = named ?? table?.Stable ?? table?.Candidate;
        if (expected is null)
        {
            var (status, message) = pinned.WhyNotServed(model);
            return Outcome.Refused(status, message);
        }

        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        mine.Begin(body.Tensors);
        if (Read(mine, expected.Model, body, nowMs) is { } fault)
        {
            return Outcome.Refused(StatusCodes.Status400BadRequest, fault);
        }

        mine.SetPredictionId(nowMs);

        // The key says which version answers. A version with other inputs than the one assumed so far reads the request again.
        var arm = named ?? (table!.IsByFlag ? table.ChooseByFlag(mine.Flag)
            : !table.Splits ? table.Choose(default)
            : table.Sticky && !mine.FirstKey.IsEmpty ? table.Choose(mine.FirstKey)
            : mine.Drawn is { } position ? table.ChooseAt(position) : table.Choose(mine.PredictionId))!;
        if (arm.Model.InputKey != expected.Model.InputKey && Read(mine, arm.Model, body, nowMs) is { } otherFault)
        {
            return Outcome.Refused(StatusCodes.Status400BadRequest, otherFault);
        }

        var request = mine.Request;
        if (!mine.IsTensors && request.NeedsFeatures && request.BuildFeatures(arm.Model) is { } unbuilt)
        {
            return Outcome.Refused(StatusCodes.Status400BadRequest, unbuilt);
        }

        var ready = Stopwatch.GetTimestamp();
        return new Outcome(arm, table, started, ready, ready, ready, nowMs, StatusCodes.Status200OK, null);
    }

    /// <summary>Runs a request by itself, on a run that was taken for it and is given back.</summary>
    private Outcome Run(InferScratch mine, in Outcome prepared, ModelQueue queue)
    {
        var entered = Stopwatch.GetTimestamp();
        try
        {
            return RunOne(mine, prepared, entered);
        }
        finally
        {
            queue.Leave(entered);
        }
    }

    /// <summary>Runs a request on another server, on a run that was taken for it and is given back. It holds no thread meanwhile.</summary>
    private async Task<Outcome> RunAsync(InferScratch mine, Outcome prepared, ModelQueue queue, CancellationToken cancellationToken)
    {
        var entered = Stopwatch.GetTimestamp();
        var arm = prepared.Arm!;
        string? failure = null;
        var (status, retryAfter) = (StatusCodes.Status500InternalServerError, 0);
        try
        {
            if (mine.IsTensors)
            {
                await arm.Model.Tensors!.RunAsync(mine.Tensors!, mine.Answer, cancellationToken);
            }
            else
            {
                await arm.Model.ScoreAsync(mine.Request.FeaturesMemory, mine.Request.Rows, mine.Request.OutputsMemory, cancellationToken);
                failure = CheckOutputs(arm, mine.Request.Outputs);
            }
        }
        catch (Exception e) when (e is BackendException { Status: StatusCodes.Status400BadRequest } or OnnxException { Code: OnnxErrorCode.InvalidArgument })
        {
            // Of a candidate, the version in production says whether the inputs are at fault or it is.
            if (arm.Role != ArmRole.Candidate || await RefusesAsync(prepared.Table?.Stable?.Model, arm.Model, mine, cancellationToken))
            {
                return Outcome.Refused(StatusCodes.Status400BadRequest, $"Model '{arm.Model.Model}' version {arm.Version} refuses these inputs: {e.Message.Split('\n')[0].TrimEnd('.', ' ')}.");
            }

            (failure, status) = e is BackendException ? ($"Model '{arm.Model.Model}' version {arm.Version} failed on this request: {e.Message}.", StatusCodes.Status502BadGateway) : (Failed(arm, e), status);
        }
        catch (BackendException e)
        {
            logger.LogWarning(e.InnerException, "Version {Version} of {Model}, which {Server} runs, failed a request: {Why}", arm.Version, arm.Model.Model, e.Server ?? "another server", e.Message);
            failure = $"Model '{arm.Model.Model}' version {arm.Version} failed on this request: {e.Message}.";
            (status, retryAfter) = (e.Status, e.RetryAfterSeconds);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            failure = Failed(arm, e);
        }
        finally
        {
            queue.Leave(entered);
        }

        return prepared with { Entered = entered, Scored = Stopwatch.GetTimestamp(), Status = failure is null ? StatusCodes.Status200OK : status, Message = failure, RetryAfterSeconds = retryAfter };
    }

    /// <summary>What the version that the model's definition falls back on answers in place of one that failed; the failure, when that is none or not free.</summary>
    private Outcome FallBack(InferScratch mine, in Outcome failed)
    {
        if (FallbackOf(failed) is not { Model.Waits: false } arm)
        {
            return failed;
        }

        if (arm.Model.Queue.IsAsleep)
        {
            // Only who waits can wait for it to be loaded. The version that failed is asked once more on the way there.
            return failed with { Status = Outcome.Waiting, Message = null };
        }

        if (!TryTakeOver(mine, failed, arm))
        {
            return failed;
        }

        return Run(mine, failed with { Arm = arm, Message = null }, arm.Model.Queue) is { Message: null } answered ? answered : Outcome.Refused(failed.Status, failed.Message!);
    }

    private async Task<Outcome> FallBackAsync(InferScratch mine, Outcome failed, CancellationToken cancellationToken)
    {
        if (FallbackOf(failed) is not { } arm || await arm.Model.TryWakeAsync(cancellationToken) is false || !TryTakeOver(mine, failed, arm))
        {
            return failed;
        }

        var prepared = failed with { Arm = arm, Message = null, RetryAfterSeconds = 0 };
        var answered = arm.Model.Waits ? await RunAsync(mine, prepared, arm.Model.Queue, cancellationToken) : Run(mine, prepared, arm.Model.Queue);
        return answered.Message is null ? answered : Outcome.Refused(failed.Status, failed.Message!, failed.RetryAfterSeconds);
    }

    // With a run of the fallback's, and the features as that version defines them. The failure has been counted and logged with its own.
    private bool TryTakeOver(InferScratch mine, in Outcome failed, Arm fallback)
    {
        if (!fallback.Model.Queue.TryEnter(joins: false))
        {
            return false;
        }

        Complete(mine, failed);
        if (mine.IsTensors || !mine.Request.NeedsFeatures || mine.Request.BuildFeatures(fallback.Model) is not { } unbuilt)
        {
            return true;
        }

        fallback.Model.Queue.GiveBack();
        logger.LogWarning("Version {Version} of {Model} cannot stand in for {Failed}: {Why}", fallback.Version, fallback.Model.Model, failed.Arm!.Version, unbuilt);
        return false;
    }

    private Arm? FallbackOf(in Outcome failed)
    {
        var arm = failed.Arm!;
        if (arm.Model.Fallback is not { } version || version == arm.Version || !arm.Counts)
        {
            return null;
        }

        try
        {
            var fallback = pinned.Get(arm.Model.Model, version).Model;
            if (fallback.InputKey == arm.Model.InputKey)
            {
                return new Arm(ArmRole.Fallback, fallback);
            }

            logger.LogWarning("Version {Version} of {Model} cannot stand in for {Failed}: it takes other inputs", version, arm.Model.Model, arm.Version);
        }
        catch (SlipwayException e)
        {
            logger.LogWarning("Version {Version} of {Model} cannot stand in for {Failed}: {Why}", version, arm.Model.Model, arm.Version, e.Message);
        }

        return null;
    }

    private Outcome RunOne(InferScratch mine, in Outcome prepared, long entered)
    {
        var arm = prepared.Arm!;
        var failure = mine.IsTensors ? Run(arm, prepared.Table, mine, out var refused) : Run(arm, mine.Request, out refused);
        return refused ? Outcome.Refused(StatusCodes.Status400BadRequest, failure!)
            : prepared with { Entered = entered, Scored = Stopwatch.GetTimestamp(), Status = failure is null ? StatusCodes.Status200OK : StatusCodes.Status500InternalServerError, Message = failure };
    }

    private async Task<Outcome> WaitDetachedAsync(InferScratch mine, Outcome prepared, CancellationToken cancellationToken)
    {
        prepared = prepared with { Status = StatusCodes.Status200OK };
        var queue = prepared.Arm!.Model.Queue;
        try
        {
            var wait = mine.Timeout > TimeSpan.Zero && mine.Timeout < queue.Settings.WaitMax ? mine.Timeout : queue.Settings.WaitMax;
            var request = new QueuedRequest(mine, prepared, mine.Priority, prepared.Started + (long)(wait.TotalSeconds * Stopwatch.Frequency));
            var end = await queue.WaitAsync(request, prepared.Arm.Model.Waits ? null : RunTogether, cancellationToken);
            if (end == QueueEnd.Turn && (cancellationToken.IsCancellationRequested || request.Deadline <= Stopwatch.GetTimestamp()))
            {
                // Its turn came too late by the time the thread pool came to it.
                queue.GiveBack();
                cancellationToken.ThrowIfCancellationRequested();
                end = QueueEnd.Expired;
            }

            var outcome = end switch
            {
                QueueEnd.Turn when prepared.Arm.Model.Waits => await RunAsync(mine, prepared, queue, cancellationToken),
                QueueEnd.Turn => Run(mine, prepared, queue),
                QueueEnd.Ran => request.Outcome,
                QueueEnd.Unloaded => prepared with { Entered = Stopwatch.GetTimestamp(), Scored = Stopwatch.GetTimestamp(), Status = StatusCodes.Status503ServiceUnavailable, Message = request.Refusal },
                QueueEnd.Full => Overloaded(prepared, queue, StatusCodes.Status429TooManyRequests,
                    $"{queue.Waiting} requests wait for version {prepared.Arm!.Version} of '{prepared.Arm.Model.Model}' already; try again in {queue.RetryAfterSeconds} s, or send less."),
                _ => Overloaded(prepared, queue, StatusCodes.Status503ServiceUnavailable,
                    $"The request waited {wait.TotalMilliseconds:0} ms for version {prepared.Arm!.Version} of '{prepared.Arm.Model.Model}' and was not run; try again in {queue.RetryAfterSeconds} s, or allow more time."),
            };
            return outcome.Arm is not null && outcome.Status >= StatusCodes.Status500InternalServerError ? await FallBackAsync(mine, outcome, cancellationToken) : outcome;
        }
        catch
        {
            mine.Release();
            throw;
        }
    }

    // Too few runs for what is asked is no fault of the caller's: a version that is slow must not look well by refusing.
    private static Outcome Overloaded(in Outcome prepared, ModelQueue queue, int status, string message)
    {
        var arm = prepared.Arm!;
        arm.Statistics.Record(
            (long)Stopwatch.GetElapsedTime(prepared.Started).TotalMicroseconds, 0, failed: true, new StageTimes(0, 0, 0, 0, prepared.NowMs));
        arm.Statistics.RecordRefused();
        return Outcome.Refused(status, message, queue.RetryAfterSeconds);
    }

    private void RunTogether(List<QueuedRequest> batch)
    {
        var entered = Stopwatch.GetTimestamp();
        try
        {
            RunTogether(batch, entered);
        }
        catch (Exception e)
        {
            // Not the model's own failures, which are outcomes: no memory for the joined rows, say.
            foreach (var request in batch)
            {
                request.Outcome = request.Outcome with { Entered = entered, Scored = Stopwatch.GetTimestamp(), Status = StatusCodes.Status500InternalServerError, Message = Failed(request.Outcome.Arm!, e) };
            }
        }
    }

    /// <summary>Runs several requests of one version as one; each by itself when that fails, so that no request suffers from another's.</summary>
    private void RunTogether(List<QueuedRequest> batch, long entered)
    {
        var model = batch[0].Outcome.Arm!.Model;
        if (batch.Count > 1 && (model.Tensors is { } tensors ? tensors.TryRunTogether(batch) : TryRunTogether(model, batch)))
        {
            var scored = Stopwatch.GetTimestamp();
            foreach (var request in batch)
            {
                var failure = model.Tensors is null ? CheckOutputs(request.Outcome.Arm!, request.Scratch.Request.Outputs) : null;
                request.Outcome = request.Outcome with
                {
                    Entered = entered,
                    Scored = scored,
                    Status = failure is null ? StatusCodes.Status200OK : StatusCodes.Status500InternalServerError,
                    Message = failure,
                };
            }

            return;
        }

        foreach (var request in batch)
        {
            request.Outcome = RunOne(request.Scratch, request.Outcome, entered);
        }
    }

    private static bool TryRunTogether(LoadedModel model, List<QueuedRequest> batch)
    {
        var width = model.FeatureNames.Count;
        var rows = batch.Sum(request => request.Scratch.Rows);
        var features = ArrayPool<float>.Shared.Rent(rows * width);
        var outputs = ArrayPool<float>.Shared.Rent(rows);
        try
        {
            var at = 0;
            foreach (var request in batch)
            {
                request.Scratch.Request.Features.CopyTo(features.AsSpan(at));
                at += request.Scratch.Request.Features.Length;
            }

            model.Score(features.AsSpan(0, rows * width), rows, outputs.AsSpan(0, rows));
            at = 0;
            foreach (var request in batch)
            {
                outputs.AsSpan(at, request.Scratch.Rows).CopyTo(request.Scratch.Request.Outputs);
                at += request.Scratch.Rows;
            }

            return true;
        }
        catch (Exception)
        {
            return false; // Each is run again by itself, and the one that fails is logged.
        }
        finally
        {
            ArrayPool<float>.Shared.Return(features);
            ArrayPool<float>.Shared.Return(outputs);
        }
    }

    /// <summary>Counts, logs and mirrors a request that a version answered or failed; once its answer is written.</summary>
    public void Complete(InferScratch mine, in Outcome outcome)
    {
        var arm = outcome.Arm!;
        var ended = Stopwatch.GetTimestamp();
        var latencyUs = (long)Stopwatch.GetElapsedTime(outcome.Started, ended).TotalMicroseconds;
        var failed = outcome.Status != StatusCodes.Status200OK;
        arm.Statistics.Record(latencyUs, mine.Rows, failed, new StageTimes(
            Nanoseconds(outcome.Started, outcome.Ready), Nanoseconds(outcome.Ready, outcome.Entered), Nanoseconds(outcome.Entered, outcome.Scored),
            Nanoseconds(outcome.Scored, ended), outcome.NowMs));
        if (!failed && !mine.IsTensors && outcome.Entered < outcome.Scored)
        {
            arm.Model.Queue.Cache?.Put(mine.Request.Features, mine.Request.Outputs);
        }

        if (mine.IsTensors)
        {
            // One row a request: tensors of any shape have no columns of their own.
            log.AppendTensors(arm, mine.PredictionId, mine.FirstKey, outcome.NowMs, latencyUs, outcome.Status, mine.Tensors!.Inputs, failed ? [] : mine.Answer);
            if (!failed && arm.Role == ArmRole.Stable && outcome.Table?.Shadow is not null)
            {
                mirror.MirrorTensors(outcome.Table, mine.Tensors!, mine.Answer, mine.FirstKey, mine.PredictionId, outcome.NowMs);
            }

            return;
        }

        var request = mine.Request;
        log.Append(
            arm, mine.PredictionId, request.Keys, request.KeyEnds, outcome.NowMs, request.EventMs, latencyUs, outcome.Status, request.Rows, request.Features,
            failed ? default : request.Outputs, request.Ages);
        if (!failed && arm.Role == ArmRole.Stable && outcome.Table?.Shadow is not null)
        {
            mirror.Mirror(outcome.Table, arm.Model, request, mine.PredictionId, outcome.NowMs);
        }
    }

    /// <summary>
    /// What an answer that its format cannot carry comes to: numbers that are none, of inputs that were, are the version's failure; all else is the
    /// caller's choice of values and format.
    /// </summary>
    public Outcome Uncarried(InferScratch mine, in Outcome outcome, string message)
    {
        if (IsBroken(mine.Outputs(outcome.Arm!.Model), mine.Tensors))
        {
            return outcome with { Status = StatusCodes.Status500InternalServerError, Message = message };
        }

        Complete(mine, outcome);
        return Outcome.Refused(StatusCodes.Status400BadRequest, message);
    }

    /// <summary>Whether a version gave numbers that are none for inputs that all were; <paramref name="request"/> is null when its reader let no others pass.</summary>
    public static bool IsBroken(IReadOnlyList<AnswerTensor> answers, TensorRequest? request) =>
        answers.Any(output => output.Datatype is Datatype.FP32 or Datatype.FP64 && output.CheckJson() is not null) && request?.IsFinite is not false;

    private static long Nanoseconds(long from, long to) => (long)((to - from) * (1e9 / Stopwatch.Frequency));

    private static string? Read(InferScratch mine, LoadedModel model, in RequestBody body, long nowMs)
    {
        mine.IsTensors = model.Tensors is not null;
        if (body.IsMessage && mine.Tensors is null && OneTensorMessage.TryRead(body.Bytes.FirstSpan, out var message))
        {
            if (InferRequest.Takes(message, model))
            {
                return mine.Request.Read(message, model, nowMs);
            }

            mine.Tensors = TensorRequest.Of(message);
        }

        if (mine.Tensors is null || body.HeaderLength == 0)
        {
            if (!mine.IsTensors && body.HeaderLength is null)
            {
                return mine.Request.Read(body.Bytes, model, nowMs);
            }

            // Read once: another version checks the same tensors. Bytes alone are read for each, by its own signature.
            var tensors = new TensorRequest();
            if ((body.HeaderLength == 0 ? TensorReader.ReadRaw(body.Bytes, model, tensors) : TensorReader.Read(body.Bytes, body.HeaderLength, tensors)) is { } fault)
            {
                return fault;
            }

            mine.Tensors = tensors;
        }

        mine.TakeKey();
        return mine.IsTensors ? model.Tensors!.Check(mine.Tensors, model) : mine.Request.Read(mine.Tensors, model, nowMs);
    }

    /// <summary>Null, or what the caller is told: when the version itself fails or, <paramref name="refused"/>, when it refuses the request.</summary>
    private string? Run(Arm arm, RouteTable? table, InferScratch mine, out bool refused)
    {
        refused = false;
        try
        {
            arm.Model.Tensors!.Run(mine.Tensors!, mine.Answer);
            return null;
        }
        catch (OnnxException e) when (arm.Role is ArmRole.Candidate && table?.Stable?.Model.Tensors is { Waits: false } stable ? Refuses(stable, mine.Tensors!) : e.Code is OnnxErrorCode.InvalidArgument)
        {
            refused = true;
            return $"Model '{arm.Model.Model}' version {arm.Version} refuses these inputs: {e.Message.Split('\n')[0].TrimEnd('.', ' ')}.";
        }
        catch (Exception e)
        {
            return Failed(arm, e);
        }
    }

    // What the runtime says does not tell sizes that do not go together from a fault of the graph. The version in production does: whoever could
    // make a candidate fail by what he sends could have it rolled back, and a candidate that fails by itself must not pass for one that was asked wrongly.
    private static bool Refuses(TensorModel stable, TensorRequest request)
    {
        try
        {
            stable.Run(request, []);
            return false;
        }
        catch (OnnxException)
        {
            return true;
        }
    }

    // As above, of versions whose runs are waited for. One with other inputs cannot say.
    private static async Task<bool> RefusesAsync(LoadedModel? stable, LoadedModel candidate, InferScratch mine, CancellationToken cancellationToken)
    {
        if (stable is null || (mine.IsTensors ? stable.Tensors is null || stable.Tensors.Check(mine.Tensors!, stable) is not null : stable.Tensors is not null || stable.JournalKey != candidate.JournalKey))
        {
            return false;
        }

        try
        {
            if (mine.IsTensors)
            {
                await stable.Tensors!.RunAsync(mine.Tensors!, [], cancellationToken);
            }
            else
            {
                await stable.ScoreAsync(mine.Request.FeaturesMemory, mine.Request.Rows, new float[mine.Request.Rows], cancellationToken);
            }

            return false;
        }
        catch (Exception e) when (e is BackendException or OnnxException)
        {
            return true; // Or it is away, and cannot say: what nobody can judge counts against nobody.
        }
    }

    private string? Run(Arm arm, InferRequest request, out bool refused)
    {
        refused = false;
        var outputs = request.Outputs;
        try
        {
            arm.Model.Score(request.Features, request.Rows, outputs);
        }
        catch (Exception e)
        {
            return Failed(arm, e);
        }

        return CheckOutputs(arm, outputs);
    }

    private static string? CheckOutputs(Arm arm, ReadOnlySpan<float> outputs)
    {
        foreach (var output in outputs)
        {
            if (!float.IsFinite(output))
            {
                return $"Model '{arm.Model.Model}' version {arm.Version} gave an output that is not a finite number.";
            }
        }

        return null;
    }

    private string Failed(Arm arm, Exception e)
    {
        logger.LogError(e, "Version {Version} of {Model} failed a request", arm.Version, arm.Model.Model);
        return $"Model '{arm.Model.Model}' version {arm.Version} failed on this request; the server's log says why.";
    }
}

/// <summary>A request as it came.</summary>
/// <param name="Bytes">The whole body.</param>
/// <param name="HeaderLength">Bytes of its JSON, which tensors follow; 0 for tensors alone, null for JSON alone.</param>
/// <param name="Tensors">The request, when its protocol's reader has read it already; then there are no bytes.</param>
/// <param name="IsMessage">Whether the bytes are a <see cref="OneTensorMessage"/>, in one piece.</param>
internal readonly record struct RequestBody(ReadOnlySequence<byte> Bytes, long? HeaderLength, TensorRequest? Tensors, bool IsMessage = false)
{
    public static RequestBody Of(TensorRequest tensors) => new(default, null, tensors);
}

/// <summary>Who answered a request, or why nobody did.</summary>
/// <param name="Arm">The version; null when the request was refused before one ran.</param>
/// <param name="Table">The model's routes at that moment.</param>
/// <param name="Started">When its body was here, in stopwatch ticks.</param>
/// <param name="Ready">When its inputs were.</param>
/// <param name="Entered">When a run was free.</param>
/// <param name="Scored">When the version had run.</param>
/// <param name="NowMs">Unix milliseconds.</param>
/// <param name="Status">HTTP's: 200, or why not.</param>
/// <param name="Message">One sentence; null with 200.</param>
/// <param name="RetryAfterSeconds">When to come again, where the version has too much to do; else 0.</param>
internal readonly record struct Outcome(
    Arm? Arm, RouteTable? Table, long Started, long Ready, long Entered, long Scored, long NowMs, int Status, string? Message, int RetryAfterSeconds = 0)
{
    /// <summary>A status that is none of HTTP's.</summary>
    public const int Waiting = 0;

    /// <summary>Whether the version's runs are all taken.</summary>
    public bool MustWait => Arm is not null && Status == Waiting;

    public static Outcome Refused(int status, string message, int retryAfterSeconds = 0) => new(null, null, 0, 0, 0, 0, 0, status, message, retryAfterSeconds);
}

/// <summary>
/// What one request needs while it runs. One per thread, used again and again: reading a request, scoring it and writing the answer leave the thread
/// only when the request has to wait, and then it takes its scratch along.
/// </summary>
internal sealed class InferScratch
{
    private const int SpareMax = 1024;
    private const long TimeoutUsMax = 3_600_000_000; // An hour, the most that a definition lets requests wait.

    private static readonly ConcurrentBag<InferScratch> Spare = [];

    private byte[] _predictionId = new byte[128];
    private int _predictionIdLength;
    private byte[] _key = [];
    private int _keyLength;

    [ThreadStatic]
    private static InferScratch? mine;

    public static InferScratch Mine => mine ??= Spare.TryTake(out var spare) ? spare : new InferScratch();

    /// <summary>The request, when the version scores features.</summary>
    public InferRequest Request { get; } = new();

    /// <summary>The request as tensors; null when it was read into <see cref="Request"/> at once.</summary>
    public TensorRequest? Tensors { get; set; }

    /// <summary>Whether the version takes tensors rather than features.</summary>
    public bool IsTensors { get; set; }

    /// <summary>The outputs of a version that takes tensors.</summary>
    public List<AnswerTensor> Answer { get; } = [];

    public ResponseBuffer Response { get; } = new();

    public ReadOnlySpan<byte> PredictionId => _predictionId.AsSpan(0, _predictionIdLength);

    /// <summary>Where a request stands between 0 and 1 whose id was made here: at random, so that no hash of the id is needed. Null where its own id stands for its prediction.</summary>
    public double? Drawn { get; private set; }

    /// <summary>Keeps a user on one version; empty when there is no key.</summary>
    public ReadOnlySpan<byte> FirstKey => IsTensors ? _key.AsSpan(0, _keyLength) : Request.FirstKey;

    public int Rows => IsTensors ? Tensors!.Inputs is [{ Shape: [>= 1 and <= int.MaxValue and var rows, ..] }, ..] ? (int)rows : 1 : Request.Rows;

    /// <summary>Forgets the request before.</summary>
    /// <param name="tensors">The request, when its protocol's reader has read it already.</param>
    public void Begin(TensorRequest? tensors)
    {
        Tensors = tensors;
        _keyLength = 0;
    }

    /// <summary>Keeps the key of a request that was read as tensors.</summary>
    public void TakeKey()
    {
        if (IsTensors)
        {
            _keyLength = Encoding.UTF8.GetByteCount(Tensors!.EntityKey);
            _key = _key.Length >= _keyLength ? _key : new byte[_keyLength];
            Encoding.UTF8.GetBytes(Tensors.EntityKey, _key);
        }
    }

    /// <summary>The request's own id, when it can stand for its prediction, else a new one.</summary>
    public void SetPredictionId(long nowMs)
    {
        var id = IsTensors ? Encoding.UTF8.GetBytes(Tensors!.Id) : Request.Id;
        if (Protocol.PredictionId.IsUniqueLooking(id))
        {
            id.CopyTo(_predictionId);
            _predictionIdLength = id.Length;
            Drawn = null;
        }
        else
        {
            Drawn = Protocol.PredictionId.Create(nowMs, _predictionId);
            _predictionIdLength = Protocol.PredictionId.Length;
        }
    }

    /// <summary>The outputs as tensors, whatever the version is.</summary>
    public IReadOnlyList<AnswerTensor> Outputs(LoadedModel model)
    {
        if (!IsTensors)
        {
            Answer.Clear();
            Answer.Add(new AnswerTensor(
                model.OutputName, Datatype.FP32, [Request.Rows, 1], System.Runtime.InteropServices.MemoryMarshal.AsBytes(Request.Outputs).ToArray(), Request.BinaryOutput));
            if (Request.WantsAges)
            {
                Answer.Add(new AnswerTensor(
                    "feature_age_ms", Datatype.INT64, [Request.Rows, model.FeatureNames.Count], System.Runtime.InteropServices.MemoryMarshal.AsBytes(Request.Ages).ToArray(), Request.BinaryOutput));
            }
        }

        return Answer;
    }

    /// <summary>The age of the oldest feature that the store gave, milliseconds; null when it gave none.</summary>
    public long? OldestAgeMs
    {
        get
        {
            if (IsTensors || Request.Ages is not { IsEmpty: false } ages)
            {
                return null;
            }

            var oldest = -1L;
            foreach (var age in ages)
            {
                oldest = Math.Max(oldest, age);
            }

            return oldest < 0 ? null : oldest;
        }
    }

    /// <summary>What the caller's flag says, where one chooses the version; empty when the request has none.</summary>
    public ReadOnlySpan<byte> Flag => Tensors is not null ? Encoding.UTF8.GetBytes(Tensors.Flag) : Request.Flag;

    /// <summary>What it holds while it waits.</summary>
    public long Bytes => Tensors?.Inputs.Sum(input => (long)input.Data.Count) ?? Request.BodyBytes;

    /// <summary>How long the request allows for waiting; zero when it does not say.</summary>
    public TimeSpan Timeout => TimeSpan.FromMicroseconds(Math.Min(Tensors?.TimeoutUs ?? Request.TimeoutUs, TimeoutUsMax));

    /// <summary>Lower numbers run first; 0 when the request does not say.</summary>
    public ulong Priority => Tensors?.Priority ?? Request.Priority;

    /// <summary>Takes it from its thread, which gets another.</summary>
    public InferScratch Detach()
    {
        mine = null;
        return this;
    }

    /// <summary>Ends its use, and lets what an unusually big request left behind go.</summary>
    public void Release()
    {
        Trim();
        if (!ReferenceEquals(mine, this) && Spare.Count < SpareMax)
        {
            Spare.Add(this);
        }
    }

    private void Trim()
    {
        Request.Trim();
        Answer.Clear();
        Tensors = null;
        if (_key.Length > 4096)
        {
            _key = [];
        }
    }
}
