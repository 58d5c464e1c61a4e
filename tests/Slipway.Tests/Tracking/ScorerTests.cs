using System.Text.Json;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

public sealed class ScorerTests : IAsyncLifetime
{
    private const string Scorers = "/api/3.0/mlflow/scorers";

    private AreaHost _host = null!;

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact, Trait("capability", "TRK-18")]
    public async Task A_scorer_gets_versions_that_are_listed_read_and_deleted()
    {
        Assert.Equal(1, (await RegisterAsync("short", "{\"v\":1}")).GetProperty("version").GetInt32());
        Assert.Equal(2, (await RegisterAsync("short", "{\"v\":2}")).GetProperty("version").GetInt32());
        await RegisterAsync("exact", "{}");

        var all = (await _host.GetAsync($"{Scorers}/list?experiment_id=0")).Body.GetProperty("scorers").EnumerateArray().ToList();
        Assert.Equal([("exact", 1), ("short", 2)], all.Select(scorer => (scorer.GetProperty("scorer_name").GetString(), scorer.GetProperty("scorer_version").GetInt32())));
        Assert.Equal(JsonValueKind.Number, all[0].GetProperty("experiment_id").ValueKind);
        Assert.Equal("{\"v\":2}", await TextAsync("get?experiment_id=0&name=short"));
        Assert.Equal("{\"v\":1}", await TextAsync("get?experiment_id=0&name=short&version=1"));
        var versions = (await _host.GetAsync($"{Scorers}/versions?experiment_id=0&name=short")).Body.GetProperty("scorers").EnumerateArray().ToList();
        Assert.Equal([1, 2], versions.Select(scorer => scorer.GetProperty("scorer_version").GetInt32()));
        Assert.Single(versions.Select(scorer => scorer.GetProperty("scorer_id").GetString()).Distinct());

        Assert.Equal(200, await DeleteAsync(new { experiment_id = "0", name = "short", version = 2 }));
        Assert.Equal("{\"v\":1}", await TextAsync("get?experiment_id=0&name=short"));
        Assert.Equal(200, await DeleteAsync(new { experiment_id = "0", name = "short" }));
        Assert.Equal(404, (await _host.GetAsync($"{Scorers}/get?experiment_id=0&name=short")).Status);
        Assert.Equal("{}", await TextAsync("get?experiment_id=0&name=exact"));
    }

    [Fact]
    public async Task What_is_not_there_or_not_said_is_told()
    {
        await RegisterAsync("short", "{}");
        Assert.Equal(404, (await _host.GetAsync($"{Scorers}/get?experiment_id=0&name=short&version=7")).Status);
        Assert.Equal(404, (await _host.GetAsync($"{Scorers}/versions?experiment_id=0&name=long")).Status);
        Assert.Equal(404, (await _host.GetAsync($"{Scorers}/list?experiment_id=99")).Status);
        Assert.Equal(404, await DeleteAsync(new { experiment_id = "0", name = "short", version = 7 }));
        Assert.Equal(404, await DeleteAsync(new { experiment_id = "0", name = "long" }));
        foreach (var body in (object[])[new { name = "a", serialized_scorer = "{}" }, new { experiment_id = "0", serialized_scorer = "{}" }, new { experiment_id = "0", name = "a" }, new { experiment_id = "0", name = new string('a', 257), serialized_scorer = "{}" }])
        {
            Assert.Equal(400, (await _host.PostAsync($"{Scorers}/register", body)).Status);
        }

        await _host.PostAsync("/api/2.0/mlflow/experiments/create", new { name = "gone" });
        await _host.PostAsync("/api/2.0/mlflow/experiments/delete", new { experiment_id = "1" });
        Assert.Equal(400, (await _host.PostAsync($"{Scorers}/register", new { experiment_id = "1", name = "a", serialized_scorer = "{}" })).Status);
        Assert.Single((await _host.GetAsync($"{Scorers}/list?experiment_id=0")).Body.GetProperty("scorers").EnumerateArray());
    }

    private async Task<JsonElement> RegisterAsync(string name, string serialized)
    {
        var (status, body) = await _host.PostAsync($"{Scorers}/register", new { experiment_id = "0", name, serialized_scorer = serialized });
        Assert.Equal(200, status);
        return body;
    }

    private async Task<string?> TextAsync(string query) =>
        (await _host.GetAsync($"{Scorers}/{query}")).Body.GetProperty("scorer").GetProperty("serialized_scorer").GetString();

    private async Task<int> DeleteAsync(object body) => (await _host.SendAsync(HttpMethod.Delete, $"{Scorers}/delete", body)).Status;
}
