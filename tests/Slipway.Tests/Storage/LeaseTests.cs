using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Contracts;
using Slipway.Storage;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Storage;

public sealed class LeaseTests : IAsyncDisposable
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    private readonly string _data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
    private readonly ManualClock _clock = new();
    private readonly Database _database;

    public LeaseTests() =>
        _database = Database.Open(TestDatabase.Options(_data), [MigrationSet.Of<Database>("storage")], _clock, NullLogger<Database>.Instance);

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        Directory.Delete(_data, recursive: true);
    }

    [Fact]
    public async Task Only_one_of_many_holds_a_lease_and_keeps_its_token_while_renewing()
    {
        var workers = Enumerable.Range(0, 16).Select(_ => new Leases(_database)).ToList();

        var taken = await Task.WhenAll(workers.Select(worker => worker.TryAcquireAsync("scan", Minute, default)));

        var holder = workers[Array.FindIndex(taken, lease => lease is not null)];
        var lease = Assert.Single(taken, lease => lease is not null)!;
        _clock.Advance(Minute / 2);
        Assert.Equal(lease, await holder.TryAcquireAsync("scan", Minute, default));
        _clock.Advance(Minute / 2 + TimeSpan.FromSeconds(1));
        Assert.Null(await workers.First(worker => worker != holder).TryAcquireAsync("scan", Minute, default));
        Assert.NotNull(await workers.First(worker => worker != holder).TryAcquireAsync("another job", Minute, default));
    }

    [Fact]
    public async Task A_holder_whose_lease_has_passed_on_writes_nothing_more()
    {
        var (slow, next) = (new Leases(_database), new Leases(_database));
        var old = (await slow.TryAcquireAsync("scan", Minute, default))!;
        await _database.WriteAsync(transaction => Leases.Demand(transaction, old), default);

        _clock.Advance(Minute);
        var current = (await next.TryAcquireAsync("scan", Minute, default))!;

        Assert.True(current.Token > old.Token);
        Assert.Null(await slow.TryAcquireAsync("scan", Minute, default));
        await _database.WriteAsync(transaction => Leases.Demand(transaction, current), default);
        var error = await Assert.ThrowsAsync<SlipwayException>(() => _database.WriteAsync(transaction => Leases.Demand(transaction, old), default));
        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
    }

    [Fact]
    public async Task A_lease_given_back_is_free_at_once_and_an_old_holder_cannot_give_back_anothers()
    {
        var (first, second) = (new Leases(_database), new Leases(_database));
        var lease = (await first.TryAcquireAsync("scan", Minute, default))!;
        await first.ReleaseAsync(lease, default);

        var taken = (await second.TryAcquireAsync("scan", Minute, default))!;
        await first.ReleaseAsync(lease, default);

        Assert.True(taken.Token > lease.Token);
        Assert.Null(await first.TryAcquireAsync("scan", Minute, default));
    }
}
