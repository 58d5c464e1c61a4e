using Slipway.Storage;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Storage;

public sealed class OutboxTests
{
    private static readonly string[] Stages = ["registry.stage_changed"];

    [Fact]
    public async Task An_event_comes_again_until_it_is_acknowledged_also_after_a_restart()
    {
        var folder = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        await using (var stores = new TestStores(folder: folder))
        {
            await Publish(stores, 3);
            Assert.Equal(3, stores.Get<Outbox>().Read("serving", Stages).Count);
            Assert.Equal(3, stores.Get<Outbox>().Read("serving", Stages).Count);
            var first = stores.Get<Outbox>().Read("serving", Stages, limit: 1)[0];
            await stores.Database.WriteAsync(transaction => Outbox.Acknowledge(transaction, "serving", first.Seq), default);
        }

        await using (var stores = new TestStores(folder: folder))
        {
            Assert.Equal(["""{"n":1}""", """{"n":2}"""], stores.Get<Outbox>().Read("serving", Stages).Select(found => found.Payload));
            Assert.Equal(3, stores.Get<Outbox>().Read("monitoring", Stages).Count);
            Assert.Empty(stores.Get<Outbox>().Read("serving", ["another.topic"]));
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task An_acknowledgement_shares_its_effect_s_fate_and_never_moves_back()
    {
        await using var stores = new TestStores();
        await Publish(stores, 3);
        var events = stores.Get<Outbox>().Read("serving", Stages);

        await Assert.ThrowsAsync<InvalidOperationException>(() => stores.Database.WriteAsync(transaction =>
        {
            Outbox.Acknowledge(transaction, "serving", events[2].Seq);
            throw new InvalidOperationException();
        }, default));
        Assert.Equal(3, stores.Get<Outbox>().Read("serving", Stages).Count);

        await stores.Database.WriteAsync(transaction => Outbox.Acknowledge(transaction, "serving", events[2].Seq), default);
        await stores.Database.WriteAsync(transaction => Outbox.Acknowledge(transaction, "serving", events[0].Seq), default);
        Assert.Empty(stores.Get<Outbox>().Read("serving", Stages));
    }

    [Fact]
    public async Task A_waiting_reader_wakes_at_the_commit()
    {
        await using var stores = new TestStores();
        var waiting = stores.Get<Outbox>().WaitAsync("serving", Stages, TimeSpan.FromMinutes(5), TimeProvider.System, default);

        await Publish(stores, 1);

        await waiting.WaitAsync(TimeSpan.FromMinutes(1));

        // Not acknowledged yet: a reader that looked before the commit and waits after it does not sleep.
        await stores.Get<Outbox>().WaitAsync("serving", Stages, TimeSpan.FromMinutes(5), TimeProvider.System, default).WaitAsync(TimeSpan.FromMinutes(1));
        var seen = stores.Get<Outbox>().Read("serving", Stages);
        await stores.Database.WriteAsync(transaction => Outbox.Acknowledge(transaction, "serving", seen[^1].Seq), default);
        using var cancelled = new CancellationTokenSource();
        var second = stores.Get<Outbox>().WaitAsync("serving", Stages, TimeSpan.FromMinutes(5), TimeProvider.System, cancelled.Token);
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => second);
    }

    private static async Task Publish(TestStores stores, int count)
    {
        for (var n = 0; n < count; n++)
        {
            await stores.Database.WriteAsync(transaction => transaction.Publish("registry.stage_changed", new { n }), default);
        }
    }
}
