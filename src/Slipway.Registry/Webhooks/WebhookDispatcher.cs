using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Registry.Webhooks;

/// <summary>Carries the registry's events from the outbox to their receivers, beside every request. Of the servers that share a database, one at a time does.</summary>
internal sealed class WebhookDispatcher(
    Database database, Outbox outbox, Leases leases, WebhookStore store, WebhookSender sender, WebhookOptions options, TimeProvider clock, ILogger<WebhookDispatcher> logger) : BackgroundService
{
    private const string Reader = "webhooks";
    private static readonly string[] Topics = [WebhookEvents.Topic];
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(10);

    private Lease? _lease;

    /// <inheritdoc/>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        if (_lease is { } lease)
        {
            await leases.ReleaseAsync(lease, cancellationToken);
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var sealedAll = false;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (!sealedAll)
                {
                    await store.SealOldAsync(stoppingToken);
                    sealedAll = true;
                }

                await outbox.WaitAsync(Reader, Topics, UntilNextDue(), clock, stoppingToken);
                await WorkAsync(stoppingToken);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                logger.LogError(e, "Webhooks could not be delivered; the next attempt is in {Rest}", Rest);
                await Task.Delay(Rest, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task WorkAsync(CancellationToken cancellationToken)
    {
        // Nothing to do takes no lease, which would be a write.
        if (outbox.Read(Reader, Topics, limit: 1).Count == 0 && UntilNextDue() > TimeSpan.Zero)
        {
            return;
        }

        // Longer than a round of attempts, so that no other server sends what this one is sending.
        if (await leases.TryAcquireAsync(Reader, (options.Timeout * 2) + TimeSpan.FromSeconds(30), cancellationToken) is not { } lease)
        {
            await Task.Delay(TimeSpan.FromSeconds(1), clock, cancellationToken);
            return;
        }

        _lease = lease;
        while (outbox.Read(Reader, Topics) is { Count: > 0 } events)
        {
            await database.WriteAsync(transaction =>
            {
                Leases.Demand(transaction, lease);
                foreach (var published in events)
                {
                    WebhookStore.Enqueue(transaction, published.Payload);
                }

                Outbox.Acknowledge(transaction, Reader, events[^1].Seq);
            }, cancellationToken);
        }

        var due = store.Due(clock.GetUtcNow().ToUnixTimeMilliseconds(), options.ConcurrencyMax);
        await Task.WhenAll(due.Select(delivery => DeliverAsync(lease, delivery, cancellationToken)));
    }

    private async Task DeliverAsync(Lease lease, WebhookDelivery delivery, CancellationToken cancellationToken)
    {
        var answer = await AttemptAsync(delivery, cancellationToken);
        TimeSpan? retryAfter = !answer.IsSuccess && answer.MayPass && delivery.Attempts + 1 < options.AttemptsMax
            ? TimeSpan.FromTicks(Math.Min(options.RetryAfterMax.Ticks, options.RetryAfter.Ticks << (int)Math.Min(delivery.Attempts, 20)))
            : null;
        if (!answer.IsSuccess && retryAfter is null)
        {
            logger.LogWarning("Webhook {Webhook} did not take delivery {Delivery} in {Attempts} attempts: {Answer}",
                delivery.WebhookId, delivery.Id, delivery.Attempts + 1, answer.Error ?? $"status {answer.Status}");
        }

        await store.NoteAsync(lease, delivery, answer, retryAfter, cancellationToken);
    }

    private async Task<WebhookAnswer> AttemptAsync(WebhookDelivery delivery, CancellationToken cancellationToken)
    {
        string? secret;
        try
        {
            secret = store.FindSecret(delivery.WebhookId);
        }
        catch (SlipwayException e)
        {
            return new WebhookAnswer(null, null, e.Message); // Never unsigned instead.
        }

        return await sender.SendAsync(delivery.Url, secret, delivery.Id, delivery.Body, cancellationToken);
    }

    private TimeSpan UntilNextDue() => store.NextDueMs() is { } due
        ? TimeSpan.FromMilliseconds(Math.Clamp(due - clock.GetUtcNow().ToUnixTimeMilliseconds(), 0, (long)Rest.TotalMilliseconds))
        : Rest;
}
