using System.Text;
using Slipway.Contracts;
using Slipway.Serving;

namespace Slipway.Tests.Serving;

public sealed class RoutingTests
{
    private const int Keys = 20_000;

    private static ModelRouter Router()
    {
        var router = new ModelRouter((model, version) => ServingFixtures.Model(version, model: model));
        router.SetStable(ServingFixtures.Model("1.0.0"));
        return router;
    }

    private static HashSet<int> KeysOfCandidate(ModelRouter router) =>
        [.. Enumerable.Range(0, Keys).Where(key => router.Find("delay")!.Choose(Encoding.UTF8.GetBytes($"user-{key}"))!.Role == ArmRole.Candidate)];

    [Fact, Trait("capability", "SRV-16")]
    public void A_key_keeps_its_version_across_restarts_and_steps_and_the_shares_converge()
    {
        HashSet<int> before = [];
        foreach (var share in new[] { 0.05, 0.25, 0.5, 1.0 })
        {
            var router = Router();
            router.SetCandidate("delay", "1.1.0", share, shadow: false, salt: "rollout-7");
            var keys = KeysOfCandidate(router);

            var again = Router(); // As after a restart.
            again.SetCandidate("delay", "1.1.0", share, shadow: false, salt: "rollout-7");

            Assert.Equal(keys, KeysOfCandidate(again));
            Assert.Superset(before, keys);
            var standardError = Math.Sqrt(share * (1 - share) / Keys);
            Assert.InRange((double)keys.Count / Keys, share - (4 * standardError), share + (4 * standardError));
            before = keys;
        }
    }

    [Fact, Trait("capability", "SRV-16")]
    public void Another_rollout_draws_other_keys()
    {
        var one = Router();
        one.SetCandidate("delay", "1.1.0", 0.25, shadow: false, salt: "rollout-7");
        var two = Router();
        two.SetCandidate("delay", "1.1.0", 0.25, shadow: false, salt: "rollout-8");

        var both = KeysOfCandidate(one).Intersect(KeysOfCandidate(two)).Count();

        Assert.InRange((double)both / Keys, 0.05, 0.075); // Independent draws share a sixteenth.
    }

    // printf 'rollout-7\x1fuser-1' | sha256sum: the assignment can be recomputed by anyone.
    [Fact, Trait("capability", "SRV-16")]
    public void The_place_of_a_key_is_the_published_hash()
    {
        var digest = System.Security.Cryptography.SHA256.HashData("rollout-7\u001fuser-1"u8);
        var expected = System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(digest) / Math.Pow(2, 64);

        Assert.Equal(expected, RouteTable.Position("rollout-7\u001f"u8, "user-1"u8), precision: 12);
    }

    [Fact, Trait("capability", "SRV-17")]
    public void A_split_without_stickiness_says_so()
    {
        var router = Router();
        router.SetCandidate("delay", "1.1.0", 0.5, shadow: false, salt: "r", sticky: false);

        Assert.False(router.Find("delay")!.Sticky);
    }

    [Fact]
    public void Withdrawing_a_candidate_sends_every_key_back_at_once()
    {
        var router = Router();
        router.SetCandidate("delay", "1.1.0", 0.5, shadow: true, salt: "r");
        Assert.NotEmpty(KeysOfCandidate(router));

        router.ClearCandidate("delay");

        Assert.Empty(KeysOfCandidate(router));
        Assert.Null(router.Find("delay")!.Shadow);
    }

    [Fact]
    public void Counters_go_on_while_the_candidate_steps_up_and_becomes_stable()
    {
        var router = Router();
        router.SetCandidate("delay", "1.1.0", 0, shadow: true, salt: "r");
        var shadow = router.Shadow("delay", "1.1.0");
        router.SetCandidate("delay", "1.1.0", 0.05, shadow: false, salt: "r");
        router.Statistics("delay", "1.1.0").Record(100);
        router.SetCandidate("delay", "1.1.0", 0.25, shadow: false, salt: "r");
        router.Statistics("delay", "1.1.0").Record(100, failed: true);
        Assert.Same(shadow, router.Shadow("delay", "1.1.0"));

        router.SetStable(router.Loaded("delay", "1.1.0")!);

        var snapshot = router.Statistics("delay", "1.1.0").Snapshot();
        Assert.Equal((2, 1), (snapshot.Requests, snapshot.Errors));
        Assert.Null(router.Find("delay")!.Candidate);
    }

    [Theory]
    [InlineData(-0.1, false)]
    [InlineData(1.1, false)]
    [InlineData(double.NaN, true)]
    [InlineData(0, false)]
    public void A_candidate_without_a_sensible_share_is_refused(double share, bool shadow)
    {
        var error = Assert.Throws<SlipwayException>(() => Router().SetCandidate("delay", "1.1.0", share, shadow, "r"));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains("share", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_version_in_production_cannot_be_its_own_candidate()
    {
        var error = Assert.Throws<SlipwayException>(() => Router().SetCandidate("delay", "1.0.0", 0.5, shadow: false, "r"));

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
    }

    [Fact, Trait("capability", "SRV-11"), Trait("capability", "SRV-19")]
    public async Task A_switch_between_two_versions_and_back_is_atomic_for_every_request()
    {
        var router = Router();
        var (blue, green) = (router.Find("delay")!.Stable!.Model, ServingFixtures.Model("2.0.0"));
        using var done = new CancellationTokenSource();
        var seen = new System.Collections.Concurrent.ConcurrentDictionary<string, long>(StringComparer.Ordinal);
        var requests = Enumerable.Range(0, 4).Select(_ => Task.Run(() =>
        {
            while (!done.IsCancellationRequested)
            {
                // One read of the table: whatever changes meanwhile, the request meets one whole version.
                var table = router.Find("delay")!;
                Assert.Same(table.Stable!.Model, table.Choose("user-1"u8)!.Model);
                seen.AddOrUpdate(table.Stable.Version, 1, (_, count) => count + 1);
            }
        })).ToArray();
        for (var i = 0; i < 500 || seen.Count < 2; i++)
        {
            router.SetStable(i % 2 == 0 ? green : blue);
        }

        router.SetStable(blue);
        await done.CancelAsync();
        await Task.WhenAll(requests);

        Assert.Equal(["1.0.0", "2.0.0"], seen.Keys.Order(StringComparer.Ordinal));
        Assert.Equal("1.0.0", router.Find("delay")!.Stable!.Version);
    }
}
