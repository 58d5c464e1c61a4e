using System.Text.Json;
using Microsoft.Playwright;

namespace Slipway.EndToEnd.Pages;

/// <summary>Close predictions as a person decides them: on their page in a browser, and with the program.</summary>
public sealed class ReviewPageTests(PagesFixture pages) : IClassFixture<PagesFixture>
{
    [Fact, Trait("capability", "RAI-05")]
    public async Task A_case_is_decided_on_its_page_and_another_with_the_program()
    {
        var ct = TestContext.Current.CancellationToken;
        string[] server = ["--server", pages.Server.Address.ToString()];
        var path = $"/deployments/{Seed.Model}/review";
        for (var waited = 0; ; waited++)
        {
            if ((await pages.Client.GetStringAsync(new Uri(path, UriKind.Relative), ct)).Contains("12 cases wait", StringComparison.Ordinal))
            {
                break;
            }

            Assert.True(waited < 100, "The seed's requests left no cases.");
            await pages.SendAsync(60); // The longer flights of them are close.
            await Task.Delay(100, ct);
        }

        var (page, complaints) = await pages.OpenAsync(path);
        var first = page.Locator("section.panel:has(form)").First;
        var id = await first.GetAttributeAsync("id");
        await first.Locator("textarea").FillAsync("the crew was late");
        await first.GetByRole(AriaRole.Button, new LocatorGetByRoleOptions { Name = "Yes", Exact = true }).ClickAsync();
        await Assertions.Expect(page.Locator("table").Last).ToContainTextAsync("the crew was late");
        await Assertions.Expect(page.Locator($"[id='{id}']")).ToHaveCountAsync(0);
        Assert.Empty(complaints);

        var (_, listed, _) = await SlipwayProgram.RunAsync(ct, ["review", "list", Seed.Model, "--json", .. server]);
        var next = JsonDocument.Parse(listed).RootElement.GetProperty("cases")[0].GetProperty("id").GetString()!;
        Assert.NotEqual(id, next);
        var (decided, _, error) = await SlipwayProgram.RunAsync(ct, ["review", "decide", next, "--decision", "0", "--reason", "left on time", .. server]);
        Assert.True(decided == 0, error);
        var (again, _, refusal) = await SlipwayProgram.RunAsync(ct, ["review", "decide", next, "--decision", "1", "--reason", "no", .. server]);
        Assert.Equal(1, again);
        Assert.Contains("has decided this case already: 0, because left on time", refusal, StringComparison.Ordinal);

        var (kept, objectives, _) = await SlipwayProgram.RunAsync(ct, ["slo", "show", Seed.Model, .. server]);
        Assert.Equal(0, kept); // The alert of the seed has passed.
        Assert.Contains("availability burns its budget 24.2 times too fast", objectives, StringComparison.Ordinal);
    }
}
