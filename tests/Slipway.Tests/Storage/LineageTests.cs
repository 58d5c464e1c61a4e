using Slipway.Storage;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Storage;

public sealed class LineageTests
{
    [Fact]
    [Trait("capability", "LIN-01")]
    public async Task Both_directions_are_walked_to_their_ends_also_round_a_ring()
    {
        await using var stores = new TestStores();
        NodeRef Node(string id) => new(NodeKinds.Run, id);
        await stores.Database.WriteAsync(transaction =>
        {
            foreach (var (from, to) in (ReadOnlySpan<(string, string)>)[("a", "b"), ("b", "c"), ("x", "c"), ("c", "d"), ("d", "b"), ("other", "end"), ("a", "b")])
            {
                transaction.Link(Node(from), "used", Node(to));
            }
        }, default);

        var lineage = stores.Get<Lineage>();
        Assert.Equal(["a>b", "b>c", "c>d", "d>b", "x>c"], lineage.Upstream(Node("d")).Select(edge => $"{edge.From.Id}>{edge.To.Id}").Order(StringComparer.Ordinal));
        Assert.Equal(["c>d", "b>c", "d>b"], lineage.Downstream(Node("c")).Select(edge => $"{edge.From.Id}>{edge.To.Id}").OrderDescending(StringComparer.Ordinal).ToArray() is [var d, var c, var b] ? [c, b, d] : []);
        Assert.Empty(lineage.Upstream(Node("a")));
    }
}
