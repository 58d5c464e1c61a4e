using Microsoft.Playwright;

namespace Slipway.EndToEnd.Pages;

/// <summary>A running rollout as people and scripts tell it what to do: on its page in a browser, and with the program.</summary>
public sealed class RolloutControlPageTests(PagesFixture pages) : IClassFixture<PagesFixture>
{
    [Fact, Trait("capability", "SRV-10")]
    public async Task A_rollout_is_paused_resumed_replayed_and_aborted()
    {
        var ct = TestContext.Current.CancellationToken;
        string[] server = ["--server", pages.Server.Address.ToString()];
        var (page, _) = await pages.OpenAsync($"/rollouts/{pages.RolloutId}");

        await page.Locator(".confirm input[name=reason]").FillAsync("the airport asks for time");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Pause", Exact = true }).ClickAsync();
        await Assertions.Expect(page.Locator(".notice.warn")).ToContainTextAsync("the airport asks for time. Traffic stays as it is; a breach still sends it back.");

        var (twice, _, refusal) = await SlipwayProgram.RunAsync(ct, ["rollout", "pause", pages.RolloutId, "--reason", "again", .. server]);
        Assert.Equal(1, twice);
        Assert.Contains("is paused already", refusal, StringComparison.Ordinal);

        await page.Locator(".confirm input[name=reason]").FillAsync("agreed");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Resume", Exact = true }).ClickAsync();
        await Assertions.Expect(page.Locator(".notice.warn")).ToHaveCountAsync(0);

        await page.Locator(".confirm input[name=reason]").FillAsync("complaints from Chicago");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Abort", Exact = true }).ClickAsync();
        await Assertions.Expect(page.Locator(".notice.bad")).ToContainTextAsync("Type the version, 1.1.0, to show that it is the one you mean to abort.");
        Assert.Equal("complaints from Chicago", await page.Locator(".confirm input[name=reason]").InputValueAsync());
        await page.Locator(".confirm input[name=version]").FillAsync("1.1.0");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Abort", Exact = true }).ClickAsync();
        await Assertions.Expect(page.Locator("p.answer")).ToContainTextAsync("complaints from Chicago");
        Assert.Equal(0, await page.Locator("#control").CountAsync());

        var (equal, output, _) = await SlipwayProgram.RunAsync(ct, ["rollout", "replay", pages.RolloutId, .. server]);
        Assert.Equal(0, equal);
        Assert.Contains("0 different", output, StringComparison.Ordinal);
        var (missing, _, noFile) = await SlipwayProgram.RunAsync(ct, ["rollout", "replay", pages.RolloutId, "--spec", "/nowhere/stricter.yaml", .. server]);
        Assert.Equal(2, missing);
        Assert.Contains("'--spec' names no file", noFile, StringComparison.Ordinal);
    }
}
