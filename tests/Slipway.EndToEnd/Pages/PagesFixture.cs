using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Microsoft.Playwright;

namespace Slipway.EndToEnd.Pages;

/// <summary>One seeded server with live traffic and a rollout behind it, and one browser, for all tests of the pages.</summary>
public sealed class PagesFixture : ServerFixture
{
    private Browser? _browser;

    public string RunId { get; private set; } = "";

    /// <summary>Of the user viola, who may only look.</summary>
    public string Token { get; private set; } = "";

    public string RolloutId { get; private set; } = "";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        await UntilAsync(async () => (await Client.GetAsync(new Uri($"/v2/models/{Seed.Model}/ready", UriKind.Relative))).IsSuccessStatusCode);
        await SendAsync(40);
        RolloutId = await StartRolloutAsync();
        // Copies in shadow, then both arms answer.
        await UntilAsync(async () =>
        {
            await SendAsync(20);
            return (await RolloutAsync()).GetProperty("step").GetInt32() >= 2;
        });
        await SendAsync(60);
        _browser = await Browser.StartAsync(Server.Address);
    }

    public override async ValueTask DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.DisposeAsync();
        }

        await base.DisposeAsync();
    }

    protected override async Task SeedAsync(string dataDirectory)
    {
        var seed = await Seed.WriteAsync(dataDirectory);
        (RunId, Token) = (seed.RunId, seed.ViewerToken);
        var documents = Directory.CreateDirectory(Path.Combine(dataDirectory, "documents"));
        await File.WriteAllTextAsync(
            Path.Combine(documents.FullName, "card.md"), "# Model card of flight-delay\n\n## Use\n\n| Item | Fact |\n|---|---|\n| auc | 0.66 |\n\n<script>alert(1)</script>\n");
    }

    /// <summary>Every page with something on it.</summary>
    public IReadOnlyList<string> Pages =>
    [
        "/", "/search?q=flight", "/experiments", "/experiments/1", "/experiments/all", "/experiments/1/settings", $"/experiments/1/bin?run={RunId}", $"/experiments/compare?run={RunId}", $"/runs/{RunId}", "/models", $"/models/{Seed.Model}", $"/models/{Seed.Model}/versions/1.0.0", $"/models/{Seed.Model}/versions/1.1.0",
        "/data", "/data/flights", "/data/flights/versions/1", "/deployments", $"/deployments/{Seed.Model}", $"/deployments/{Seed.Model}/review", $"/rollouts/{RolloutId}",
        "/monitors", "/monitors/flight-delay", "/monitors/flight-delay/subjects/flight:distance", "/monitors/flight-delay/subjects/performance", "/governance", "/governance/audit", $"/governance/audit?model={Seed.Model}&action=promotion.&row=20",
        "/governance/users", "/approvals", $"/models/{Seed.Model}/as-of", $"/models/{Seed.Model}/compare?a=1.0.0&b=1.1.0", $"/lineage?node=model_version:{Seed.Model}@1.0.0",
        "/governance/documents/card.md", "/sign-in", "/nothing/here",
    ];

    /// <summary>A new page; everything the console or the network complains of is collected.</summary>
    public Task<(IPage Page, List<string> Complaints)> OpenAsync(string path, bool dark = false, int width = 1440, int height = 900) =>
        _browser!.OpenAsync(path, dark, width, height);

    /// <summary>Sends flights one after the other.</summary>
    public async Task SendAsync(int requests)
    {
        for (var i = 0; i < requests; i++)
        {
            using var body = new StringContent(Seed.Request(100 + i * 37 % 2000, i % 24), Encoding.UTF8, "application/json");
            using var answer = await Client.PostAsync(new Uri($"/v2/models/{Seed.Model}/infer", UriKind.Relative), body);
            Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
        }
    }

    private async Task<string> StartRolloutAsync()
    {
        using var answer = await Client.PostAsJsonAsync("/api/slipway/v1/rollouts", new { model = Seed.Model, version = "1.1.0", reason = "better AUC" });
        var text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.IsSuccessStatusCode, text);
        return JsonDocument.Parse(text).RootElement.GetProperty("id").GetString()!;
    }

    private async Task<JsonElement> RolloutAsync() => await Client.GetFromJsonAsync<JsonElement>($"/api/slipway/v1/rollouts/{RolloutId}");

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        while (!await condition())
        {
            await Task.Delay(50, limit.Token);
        }
    }
}
