using System.Globalization;
using System.Text;
using System.Threading.Channels;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Contracts.Serving;
using Slipway.Serving.Predictions;

namespace Slipway.Serving.Reviews;

/// <summary>Takes the predictions that a person shall see from the prediction log's writer to the database: bounded, dropping and counting when too many come.</summary>
internal sealed class ReviewCollector(ReviewStore store, TimeProvider clock, ILogger<ReviewCollector> logger) : BackgroundService
{
    private const int BatchMax = 256;
    private static readonly TimeSpan ForgetsEvery = TimeSpan.FromHours(1);

    private readonly Channel<(ReviewSpec Spec, ReviewCase Case)> _taken = Channel.CreateBounded<(ReviewSpec, ReviewCase)>(new BoundedChannelOptions(4096) { SingleReader = true });
    private readonly uint _process = (uint)Random.Shared.Next(); // Tells the ids of two servers apart.
    private long _dropped;
    private uint _looked; // In the order of the answers, which ids of one millisecond would not have of themselves.
    private DateTimeOffset _forgot;

    /// <summary>Cases left out since the start.</summary>
    public long Dropped => Volatile.Read(ref _dropped);

    /// <summary>Looks at a row that has been logged; never waits. On the prediction log's own thread, one at a time.</summary>
    public void Look(PredictionEntry entry, int row, ReadOnlySpan<byte> id)
    {
        var model = entry.Arm.Model;
        var output = entry.Output(row);
        if (model.Review is not { } spec || model.Log.RedactsOutput || !entry.Arm.Answers || entry.Status != 200 || float.IsNaN(output) || spec.Why(output, id) is not { } why)
        {
            return;
        }

        var policy = model.Log;
        var features = new Dictionary<string, double?>(StringComparer.Ordinal);
        if (entry.HasFeatures)
        {
            var values = entry.Features(row, model.FeatureNames.Count);
            for (var i = 0; i < values.Length; i++)
            {
                if (!policy.Redacted.Contains(model.FeatureNames[i]))
                {
                    features[model.FeatureNames[i]] = float.IsNaN(values[i]) ? null : Math.Round(values[i], 6);
                }
            }
        }

        var key = policy.RedactsKey || entry.Key(row).IsEmpty ? null : Encoding.UTF8.GetString(entry.Key(row));
        var found = new ReviewCase(
            string.Create(CultureInfo.InvariantCulture, $"{clock.GetUtcNow().ToUnixTimeMilliseconds():x12}{_looked++:x8}{_process:x8}"), model.Model, Encoding.UTF8.GetString(id), model.Version, entry.Arm.Name, output, key, features, why,
            DateTimeOffset.FromUnixTimeMilliseconds(entry.AtMs), DateTimeOffset.FromUnixTimeMilliseconds(entry.EventMs(row)), null, null, null, null);
        if (!_taken.Writer.TryWrite((spec, found)))
        {
            Interlocked.Increment(ref _dropped);
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var batch = new List<(ReviewSpec Spec, ReviewCase Case)>();
        while (await _taken.Reader.WaitToReadAsync(stoppingToken))
        {
            batch.Clear();
            while (batch.Count < BatchMax && _taken.Reader.TryRead(out var one))
            {
                batch.Add(one);
            }

            try
            {
                foreach (var ofModel in batch.GroupBy(one => one.Case.Model))
                {
                    Interlocked.Add(ref _dropped, await store.AddAsync(ofModel.Last().Spec, [.. ofModel.Select(one => one.Case)], stoppingToken));
                }

                await ForgetAsync(stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                Interlocked.Add(ref _dropped, batch.Count);
                logger.LogError(e, "{Count} cases for review could not be stored", batch.Count);
            }
        }
    }

    private async Task ForgetAsync(CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        if (now - _forgot < ForgetsEvery)
        {
            return;
        }

        _forgot = now;
        foreach (var spec in store.Specs())
        {
            await store.ForgetAsync(spec.Model, now - spec.Keep, cancellationToken);
        }
    }
}
