using Slipway.Storage;

namespace Slipway.Tests.Storage;

[Trait("database", "none")]
public sealed class KeyValueStoreTests : IDisposable
{
    private readonly StorageOptions _options = StorageOptions.Resolve(Directory.CreateTempSubdirectory("slipway-test-").FullName);

    public void Dispose() => Directory.Delete(_options.DataDirectory, recursive: true);

    [Fact]
    public void Values_are_there_after_reopening_with_the_newest_write()
    {
        using (var store = new KeyValueStore(_options))
        {
            store.Put("airport", [new("ATL", [1]), new("ORD\u001fLAX", [2])]);
            store.Put("airport", [new("ATL", [3, 4])]);
            store.Put("route", [new("ATL", [5])]);
            store.Put("gone", [new("x", [6])]);
            store.Drop("gone");
            Assert.Equal([3, 4], store.Find("airport", "ATL"));
        }

        using var reopened = new KeyValueStore(_options);
        Assert.Equal([3, 4], reopened.Find("airport", "ATL"));
        Assert.Equal([2], reopened.Find("airport", "ORD\u001fLAX"));
        Assert.Equal([5], reopened.Find("route", "ATL"));
        Assert.Null(reopened.Find("gone", "x"));
        Assert.Null(reopened.Find("airport", "LAX"));
        Assert.Null(reopened.Find("nowhere", "ATL"));
        Assert.Empty(reopened.Space("nowhere", create: false));
    }

    [Fact]
    public async Task Reading_while_another_writes_sees_a_whole_value()
    {
        using var store = new KeyValueStore(_options);
        store.Put("airport", [new("ATL", new byte[64])]);
        var writing = Task.Run(() =>
        {
            for (byte n = 1; n < 50; n++)
            {
                store.Put("airport", [new("ATL", [.. Enumerable.Repeat(n, 64)])]);
            }
        });

        while (!writing.IsCompleted)
        {
            Assert.Single(store.Find("airport", "ATL")!.Distinct());
        }

        await writing;
        Assert.Equal(49, store.Find("airport", "ATL")![0]);
    }

    [Fact]
    public void A_space_taken_once_shows_later_writes_also_after_it_was_dropped()
    {
        using var store = new KeyValueStore(_options);
        var space = store.Space("airport");
        store.Put("airport", [new("ATL", [1])]);
        Assert.Equal([1], space["ATL"]);

        store.Drop("airport");
        Assert.Empty(space);
        store.Put("airport", [new("ATL", [2])]);
        Assert.Equal([2], space["ATL"]);
    }
}
