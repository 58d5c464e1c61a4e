using System.Text;
using System.Text.Json;
using Slipway.Client;
using Slipway.Client.Runs;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

[Trait("database", "none")]
public sealed class ConfigComparerTests : IAsyncLifetime
{
    private static readonly Caller Ada = new("ada", null);

    private readonly string _journals = Directory.CreateTempSubdirectory("slipway-journals-").FullName;
    private AreaHost _host = null!;
    private SlipwayClient _client = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());
        _client = new SlipwayClient(_host.Client.BaseAddress!);
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _host.DisposeAsync();
        Directory.Delete(_journals, recursive: true);
    }

    [Fact]
    [Trait("capability", "TRK-17")]
    public async Task The_configuration_that_a_client_logs_as_a_file_or_an_object_is_stored_and_compared_value_by_value()
    {
        var yaml = Path.Combine(_journals, "train.yaml");
        var (a, b) = (await LogAsync("lr: 0.1\nlayers: [64, 32]\nold: true\n", 7), await LogAsync("# warmer\nlayers: [64, 16]\nlr: \"0.1\"\nnew: {x: 1}\n", 8));

        var comparison = await _client.CompareConfigAsync(a, b, TestContext.Current.CancellationToken);

        Assert.Equal(["config/options.json", "config/train.yaml"], comparison.Files.Select(file => file.Path));
        Assert.Equal(("json", new ConfigChange("Seed", ConfigState.Changed, "7", "8")), (comparison.Files[0].Format, Assert.Single(comparison.Files[0].Changes)));
        Assert.Equal("yaml", comparison.Files[1].Format);
        Assert.Equal(
            [
                new ConfigChange("layers[1]", ConfigState.Changed, "32", "16"), new ConfigChange("lr", ConfigState.Changed, "0.1", "\"0.1\""),
                new ConfigChange("new.x", ConfigState.Added, null, "1"), new ConfigChange("old", ConfigState.Removed, "true", null),
            ],
            comparison.Files[1].Changes);
        Assert.Equal("2 of 2 files differ, in 5 places.", comparison.Summary);
        Assert.StartsWith("The configuration is the same", (await _client.CompareConfigAsync(a, a, TestContext.Current.CancellationToken)).Summary, StringComparison.Ordinal);

        async Task<string> LogAsync(string text, int seed)
        {
            await File.WriteAllTextAsync(yaml, text);
            await using var run = await _client.StartRunAsync("flights", new RunOptions { JournalDirectory = _journals, AutoLog = AutoLogOptions.None });
            Assert.True(await run.LogConfigAsync(yaml));
            Assert.True(await run.LogConfigAsync("options", new { Seed = seed, Rate = double.PositiveInfinity }));
            return run.Id;
        }
    }

    [Fact]
    [Trait("capability", "TRK-17")]
    public async Task Files_that_an_mlflow_client_puts_under_config_are_compared_and_other_texts_line_by_line()
    {
        var (a, b) = (await RunAsync(), await RunAsync());
        foreach (var (run, text) in ((string, string)[])[(a, "[train]\nlr = 0.1\nepochs = 3\n"), (b, "[train]\nlr = 0.2\nepochs = 3\nseed = 1\n")])
        {
            using var body = new ByteArrayContent(Encoding.UTF8.GetBytes(text));
            using var answer = await _host.Client.PutAsync(new Uri($"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/config/train.toml", UriKind.Relative), body);
            Assert.True(answer.IsSuccessStatusCode);
        }

        await PutAsync(b, "config/extra.json", "{}");
        await PutAsync(b, "plots/loss.json", "{}"); // Not of the configuration.

        var comparison = await _client.CompareConfigAsync(a, b, TestContext.Current.CancellationToken);

        Assert.Equal([("config/extra.json", ConfigState.Added), ("config/train.toml", ConfigState.Changed)], comparison.Files.Select(file => (file.Path, file.State)));
        Assert.Equal("text", comparison.Files[1].Format);
        Assert.Equal(
            [
                new ConfigChange("line 2", ConfigState.Removed, "lr = 0.1", null), new ConfigChange("line 2", ConfigState.Added, null, "lr = 0.2"),
                new ConfigChange("line 4", ConfigState.Added, null, "seed = 1"),
            ],
            comparison.Files[1].Changes);
    }

    [Theory]
    [Trait("capability", "TRK-17")]
    [InlineData("x.json", "{\"a\": 1}", "{\"a\": ", "text", "in run b line 1 is not valid JSON")]
    [InlineData("x.json", "{\"a\": \"\\ud800\"}", "{}", "text", "in run a a text in it is not valid Unicode")]
    [InlineData("x.yaml", "a: 1", "a: [1", "text", "is not valid YAML")]
    [InlineData("x.yaml", "a: 1", "a: 1\n---\nb: 2", "text", "it holds more than one YAML document")]
    [InlineData("x.yaml", "a: 1", "a: \"\\UFFFFFFFF\"", "text", "an escape in it is no character of Unicode")]
    [InlineData("x.yaml", "a: 1", "? [1, 2]\n: x", "text", "a key in it is a list or a mapping")]
    [InlineData("x.yaml", "a: 1", "a: 1 # one", "yaml", "only order, layout or comments differ")]
    [InlineData("x.bin", "a", "a\0b", null, "It is not UTF-8 text")]
    public async Task A_file_that_cannot_be_read_as_what_it_is_called_gets_a_sentence(string name, string first, string second, string? format, string note)
    {
        var (a, b) = (await RunAsync(), await RunAsync());
        await PutAsync(a, $"config/{name}", first);
        await PutAsync(b, $"config/{name}", second);

        var file = Assert.Single((await _client.CompareConfigAsync(a, b, TestContext.Current.CancellationToken)).Files);

        Assert.Equal((ConfigState.Changed, format), (file.State, file.Format));
        Assert.Contains(note, file.Note, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_anchor_is_read_where_it_is_set_and_one_that_holds_itself_ends()
    {
        var (a, b) = (await RunAsync(), await RunAsync());
        await PutAsync(a, "config/x.yaml", "base: &b {lr: 1}\nnext: {<<: *b}\nself: &s [*s]");
        await PutAsync(b, "config/x.yaml", "base: &b {lr: 2}\nnext: {<<: *b}\nself: &s [*s]");

        var file = Assert.Single((await _client.CompareConfigAsync(a, b, TestContext.Current.CancellationToken)).Files);

        Assert.Equal(new ConfigChange("base.lr", ConfigState.Changed, "1", "2"), Assert.Single(file.Changes));
    }

    [Fact]
    public async Task What_is_too_large_too_deep_or_too_much_is_said_and_cut_short()
    {
        var (a, b) = (await RunAsync(), await RunAsync());
        foreach (var (name, first, second) in ((string, string, string)[])
        [
            ("deep.json", "{}", new string('[', 10_000)), ("deep.yaml", "{}", new string('[', 10_000)), ("large.json", "{}", $"\"{new string('x', 300_000)}\""),
            ("lines.txt", "", string.Join('\n', Enumerable.Range(0, 3000))), ("long.json", "{\"a\":1}", $$"""{"a":"{{new string('x', 2000)}}"}"""),
            ("many.json", "{}", JsonSerializer.Serialize(Enumerable.Range(0, 3000))),
        ])
        {
            await PutAsync(a, $"config/{name}", first);
            await PutAsync(b, $"config/{name}", second);
        }

        var files = (await _client.CompareConfigAsync(a, b, TestContext.Current.CancellationToken)).Files.ToDictionary(file => file.Path["config/".Length..]);

        Assert.Contains("nested more than 32 deep", files["deep.json"].Note, StringComparison.Ordinal);
        Assert.Contains("nested more than 32 deep", files["deep.yaml"].Note, StringComparison.Ordinal);
        Assert.Contains("more than 256 KiB", files["large.json"].Note, StringComparison.Ordinal);
        Assert.Contains("more than 2000 lines", files["lines.txt"].Note, StringComparison.Ordinal);
        Assert.Equal(501, Assert.Single(files["long.json"].Changes).B!.Length);
        Assert.Equal((500, "The first 500 of 3001 differences are shown."), (files["many.json"].Changes.Count, files["many.json"].Note));
    }

    [Theory]
    [InlineData("")]
    [InlineData("?run_id=a")]
    [InlineData("?run_id=a&run_id=b&run_id=c")]
    public async Task Any_other_number_of_runs_than_two_is_refused(string query)
    {
        var answer = await _host.GetAsync($"/api/slipway/v1/runs/compare-config{query}");

        Assert.Equal(400, answer.Status);
        Assert.Contains("Name two runs to compare", answer.Body.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Runs_without_configuration_are_told_how_to_log_one_and_an_unknown_run_is_not_found()
    {
        var run = await RunAsync();

        var none = await _client.CompareConfigAsync(run, await RunAsync(), TestContext.Current.CancellationToken);
        var unknown = await Assert.ThrowsAsync<SlipwayException>(() => _client.CompareConfigAsync(run, new string('0', 32), TestContext.Current.CancellationToken));

        Assert.Empty(none.Files);
        Assert.StartsWith("Neither run has a file under config/", none.Summary, StringComparison.Ordinal);
        Assert.Equal(ErrorCode.NotFound, unknown.Code);
    }

    private async Task<string> RunAsync() => (await _host.Service<RunStore>().CreateRunAsync("0", null, null, Ada, default)).RunId;

    private Task PutAsync(string run, string path, string text) => _host.Service<RunStore>().LogArtifactAsync(run, path, Encoding.UTF8.GetBytes(text), Ada, default);
}
