using System.Collections.Concurrent;
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
    private readonly ConcurrentDictionary<string, long> _dropped = new(StringComparer.Ordinal);
    private uint _looked; // In the order of the answers, which ids of one millisecond would not have of themselves.
    private DateTimeOffset _forgot;

    /// <summary>Cases of a model left out since the start.</summary>
    public long Dropped(string model) => _dropped.GetValueOrDefault(model);

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
            Drop(model.Model, 1);
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

            foreach (var ofModel in batch.GroupBy(one => one.Case.Model))
            {
                await StoreAsync(ofModel.Last().Spec, [.. ofModel.Select(one => one.Case)], stoppingToken);
            }

            try
            {
                await ForgetAsync(stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                logger.LogError(e, "Decided cases could not be deleted; next attempt in {Interval}", ForgetsEvery);
            }
        }
    }

    private async Task StoreAsync(ReviewSpec spec, IReadOnlyList<ReviewCase> cases, CancellationToken cancellationToken)
    {
        try
        {
            Drop(spec.Model, await store.AddAsync(spec, cases, cancellationToken));
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            Drop(spec.Model, cases.Count);
            logger.LogError(e, "{Count} cases for review of {Model} could not be stored", cases.Count, spec.Model);
        }
    }

    private void Drop(string model, int count)
    {
        if (count > 0)
        {
            _dropped.AddOrUpdate(model, count, (_, before) => before + count);
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
