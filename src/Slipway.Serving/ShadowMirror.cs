using System.Collections.Concurrent;
using System.Diagnostics;
using System.Threading.Channels;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Serving.Predictions;
using Slipway.Serving.Protocol;

namespace Slipway.Serving;

/// <summary>Scores copies of the stable version's requests with the shadow, beside the request path: bounded, dropping and counting when full.</summary>
internal sealed class ShadowMirror : BackgroundService
{
    // Requests have no usual size; beside the number of copies that wait, their bytes are bounded.
    private const long WaitingBytesMax = 256L << 20;

    private readonly ModelRouter _router;
    private readonly PredictionLog _log;
    private readonly ILogger<ShadowMirror> _logger;
    private readonly Channel<Copy> _copies;
    private readonly ConcurrentBag<Copy> _free = [];
    private long _waitingBytes;

    public ShadowMirror(ServingOptions options, ModelRouter router, PredictionLog log, ILogger<ShadowMirror> logger)
    {
        _router = router;
        _log = log;
        _logger = logger;
        _copies = Channel.CreateBounded<Copy>(new BoundedChannelOptions(options.MirrorRequestsMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
    }

    /// <summary>Queues a copy of an answered request; never waits.</summary>
    public void Mirror(RouteTable table, LoadedModel answered, InferRequest request, ReadOnlySpan<byte> id, long atMs)
    {
        var shadow = table.Shadow!;
        var comparison = table.Comparison!;
        if (shadow.Model.JournalKey != answered.JournalKey)
        {
            // Another set of features: there is no tensor to compare on.
            comparison.CountIncomparable();
            return;
        }

        var copy = _free.TryTake(out var used) ? used : new Copy();
        copy.Set(shadow, comparison, request, id, atMs);
        if (!TryQueue(copy) && copy.IsSmall)
        {
            _free.Add(copy);
        }
    }

    private bool TryQueue(Copy copy)
    {
        if (Interlocked.Add(ref _waitingBytes, copy.Bytes) <= WaitingBytesMax && _copies.Writer.TryWrite(copy))
        {
            return true;
        }

        Interlocked.Add(ref _waitingBytes, -copy.Bytes);
        copy.Comparison.CountDropped();
        return false;
    }

    /// <summary>Queues a copy of an answered request of tensors, which may not change any more; never waits.</summary>
    public void MirrorTensors(RouteTable table, TensorRequest request, IReadOnlyList<AnswerTensor> answers, ReadOnlySpan<byte> key, ReadOnlySpan<byte> id, long atMs)
    {
        var shadow = table.Shadow!;
        var comparison = table.Comparison!;
        if (shadow.Model.Tensors is not { } tensors || tensors.Check(request, shadow.Model) is not null)
        {
            // It takes other inputs, or gives other outputs: there is nothing to compare.
            comparison.CountIncomparable();
            return;
        }

        var copy = new Copy();
        copy.SetTensors(shadow, comparison, request, [.. answers], key, id, atMs);
        TryQueue(copy);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await foreach (var copy in _copies.Reader.ReadAllAsync(stoppingToken))
        {
            // A slow shadow leaves thousands of copies behind; once its step is over they would only take time from the answers.
            if (_router.Find(copy.Shadow.Model.Model)?.Shadow == copy.Shadow)
            {
                Interlocked.Increment(ref copy.Shadow.Model.Copies);
                await (copy.Request is null ? ScoreAsync(copy, stoppingToken) : ScoreTensorsAsync(copy, stoppingToken));
            }

            Interlocked.Add(ref _waitingBytes, -copy.Bytes);
            if (copy.IsSmall)
            {
                _free.Add(copy);
            }
        }
    }

    private async Task ScoreAsync(Copy copy, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        var failed = false;
        try
        {
            await copy.Shadow.Model.WakeAsync();
            await copy.Shadow.Model.ScoreAsync(copy.Features, copy.Rows, copy.ShadowOutputs, cancellationToken);
            for (var row = 0; row < copy.Rows; row++)
            {
                // As a candidate it would have failed the request.
                if (!float.IsFinite(copy.ShadowOutputs.Span[row]))
                {
                    failed = true;
                    continue;
                }

                copy.Comparison.Record(copy.StableOutputs.Span[row], copy.ShadowOutputs.Span[row]);
                copy.Comparison.CountInputs(copy.Features.Span.Slice(row * copy.Shadow.Model.FeatureNames.Count, copy.Shadow.Model.FeatureNames.Count));
            }
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            failed = true;
            Warn(copy, e);
        }

        var latencyUs = (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds;
        copy.Comparison.RecordRun(latencyUs, failed);
        _log.Append(
            copy.Shadow, copy.Id, copy.Keys, copy.KeyEnds, copy.AtMs, copy.EventMs, latencyUs, failed ? 500 : 200, copy.Rows, copy.Features.Span, failed ? default : copy.ShadowOutputs.Span);
    }

    private async Task ScoreTensorsAsync(Copy copy, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        var failed = false;
        var answers = new List<AnswerTensor>();
        try
        {
            await copy.Shadow.Model.WakeAsync();
            await copy.Shadow.Model.Tensors!.RunAsync(copy.Request!, answers, cancellationToken);
            failed = Inference.IsBroken(answers, copy.Request!);
            if (!failed)
            {
                copy.Comparison.Record(copy.StableAnswers, answers);
            }
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            failed = true;
            Warn(copy, e);
        }

        var latencyUs = (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds;
        copy.Comparison.RecordRun(latencyUs, failed);
        _log.AppendTensors(copy.Shadow, copy.Id, copy.Keys, copy.AtMs, latencyUs, failed ? 500 : 200, copy.Request!.Inputs, failed ? [] : answers);
    }

    private void Warn(Copy copy, Exception e) => _logger.LogWarning(e, "Shadow version {Version} of {Model} failed a copied request", copy.Shadow.Version, copy.Shadow.Model.Model);

    private sealed class Copy
    {
        private byte[] _id = [];
        private byte[] _keys = [];
        private int[] _keyEnds = [];
        private long[] _eventMs = [];
        private float[] _features = [];
        private float[] _stable = [];
        private float[] _outputs = [];
        private (int Id, int Keys, int KeyEnds, int Features) _lengths;

        public Arm Shadow { get; private set; } = null!;

        public ShadowStatistics Comparison { get; private set; } = null!;

        public int Rows { get; private set; }

        public long AtMs { get; private set; }

        public ReadOnlySpan<byte> Id => _id.AsSpan(0, _lengths.Id);

        public ReadOnlySpan<byte> Keys => _keys.AsSpan(0, _lengths.Keys);

        public ReadOnlySpan<int> KeyEnds => _keyEnds.AsSpan(0, _lengths.KeyEnds);

        public ReadOnlySpan<long> EventMs => _eventMs.AsSpan(0, Rows);

        public ReadOnlyMemory<float> Features => _features.AsMemory(0, _lengths.Features);

        public ReadOnlyMemory<float> StableOutputs => _stable.AsMemory(0, Rows);

        public Memory<float> ShadowOutputs => _outputs.AsMemory(0, Rows);

        /// <summary>Null of a request of features.</summary>
        public TensorRequest? Request { get; private set; }

        public IReadOnlyList<AnswerTensor> StableAnswers { get; private set; } = [];

        /// <summary>Of its values.</summary>
        public long Bytes { get; private set; }

        public bool IsSmall => _features.Length <= 1024 && _outputs.Length <= 1024 && _keys.Length <= 8192 && Request is null;

        public void SetTensors(
            Arm shadow, ShadowStatistics comparison, TensorRequest request, IReadOnlyList<AnswerTensor> answers, ReadOnlySpan<byte> key, ReadOnlySpan<byte> id, long atMs)
        {
            (Shadow, Comparison, Rows, AtMs, Request, StableAnswers) = (shadow, comparison, 1, atMs, request, answers);
            Bytes = request.Inputs.Sum(input => (long)input.Data.Count) + answers.Sum(answer => (long)answer.Data.Length);
            _lengths = (id.Length, key.Length, 0, 0);
            CopyTo(id, ref _id);
            CopyTo(key, ref _keys);
        }

        public void Set(Arm shadow, ShadowStatistics comparison, InferRequest request, ReadOnlySpan<byte> id, long atMs)
        {
            Shadow = shadow;
            Comparison = comparison;
            Rows = request.Rows;
            AtMs = atMs;
            _lengths = (id.Length, request.Keys.Length, request.KeyEnds.Length, request.Features.Length);
            Bytes = request.Keys.Length + ((long)request.Features.Length * sizeof(float)) + ((long)Rows * ((2 * sizeof(float)) + sizeof(long)));
            CopyTo(id, ref _id);
            CopyTo(request.Keys, ref _keys);
            CopyTo(request.KeyEnds, ref _keyEnds);
            CopyTo(request.EventMs, ref _eventMs);
            CopyTo(request.Features, ref _features);
            CopyTo(request.Outputs, ref _stable);
            if (_outputs.Length < Rows)
            {
                _outputs = new float[Rows];
            }
        }

        private static void CopyTo<T>(ReadOnlySpan<T> source, ref T[] target)
        {
            if (target.Length < source.Length)
            {
                target = new T[source.Length];
            }

            source.CopyTo(target);
        }
    }
}
