using System.Net;
using Microsoft.Playwright;

namespace Slipway.EndToEnd.Pages;

/// <summary>The pages as people meet them: in a real browser, against the built program.</summary>
public sealed class PagesTests(PagesFixture pages) : IClassFixture<PagesFixture>
{
    [Fact]
    public async Task Every_page_renders_with_one_heading_and_an_answer_and_nothing_complains()
    {
        foreach (var path in pages.Pages)
        {
            var (page, complaints) = await pages.OpenAsync(path);

            Assert.Equal(1, await page.Locator("h1").CountAsync());
            Assert.NotEmpty((await page.Locator("h1").InnerTextAsync()).Trim());
            Assert.NotEmpty((await page.Locator("p.answer").InnerTextAsync()).Trim());
            Assert.Equal(7, await page.Locator(".rail nav a").CountAsync());
            // The browser itself reports the status 404 of the page that is not there.
            Assert.DoesNotContain(complaints, complaint => path != "/nothing/here" || !complaint.Contains("404", StringComparison.Ordinal));
            await page.CloseAsync();
        }
    }

    [Fact]
    public async Task Nothing_comes_from_another_host_and_nothing_inline_runs()
    {
        foreach (var path in pages.Pages)
        {
            using var answer = await pages.Client.SendAsync(new HttpRequestMessage(HttpMethod.Get, path) { Headers = { { "Accept", "text/html" } } });
            var html = await answer.Content.ReadAsStringAsync();

            var policy = Assert.Single(answer.Headers.GetValues("Content-Security-Policy"));
            Assert.Contains("script-src 'self'", policy, StringComparison.Ordinal);
            Assert.DoesNotContain("unsafe", policy, StringComparison.Ordinal);
            Assert.Equal("nosniff", Assert.Single(answer.Headers.GetValues("X-Content-Type-Options")));
            Assert.DoesNotContain("style=\"", html, StringComparison.Ordinal);
            Assert.DoesNotContain("src=\"http", html, StringComparison.Ordinal);
            Assert.DoesNotContain("<script>", html, StringComparison.Ordinal);
            Assert.DoesNotContain("onclick", html, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_deep_link_shows_its_thing_and_an_unknown_one_says_so_as_a_page()
    {
        foreach (var (path, heading) in new[]
        {
            ($"/runs/{pages.RunId}", "What did xgboost learn"), ($"/models/{Seed.Model}/versions/1.1.0", "May flight-delay 1.1.0 go on?"),
            ($"/rollouts/{pages.RolloutId}", "Should flight-delay 1.1.0 take over from 1.0.0?"), ("/data/flights/versions/1", "Can flights@1 be trusted?"),
        })
        {
            var (page, _) = await pages.OpenAsync(path);
            Assert.Contains(heading, await page.Locator("h1").InnerTextAsync(), StringComparison.Ordinal);
            await page.CloseAsync();
        }

        foreach (var path in new[] { "/runs/none", "/models/none", $"/models/{Seed.Model}/versions/9.9.9", "/rollouts/none", "/data/none", "/monitors/none", "/deployments/none", "/governance/documents/none.md", "/governance/documents/..%2Fadmin.token", "/nothing" })
        {
            using var answer = await pages.Client.SendAsync(new HttpRequestMessage(HttpMethod.Get, path) { Headers = { { "Accept", "text/html" } } });
            Assert.Equal(HttpStatusCode.NotFound, answer.StatusCode);
            Assert.Equal("text/html", answer.Content.Headers.ContentType!.MediaType);
            Assert.Contains("Not found", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }
    }

    [Fact, Trait("capability", "GOV-01")]
    public async Task The_audit_page_narrows_by_its_address_shows_a_row_before_and_after_recounts_and_hands_out_the_report()
    {
        var (page, complaints) = await pages.OpenAsync($"/governance/audit?model={Seed.Model}");
        await page.GetByRole(AriaRole.Textbox, new PageGetByRoleOptions { Name = "Who" }).FillAsync("grace");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Show", Exact = true }).ClickAsync();
        await page.ArriveAsync("actor=grace");
        var rows = await page.Locator(".timeline tr[data-row]").AllInnerTextsAsync();
        Assert.NotEmpty(rows);
        Assert.All(rows, row => Assert.Contains("grace", row, StringComparison.Ordinal));
        Assert.All(rows, row => Assert.Contains("promotion.approved", row, StringComparison.Ordinal));

        await page.Locator(".timeline tr[data-row] td.number a").First.ClickAsync();
        await page.ArriveAsync("row=");
        await Assertions.Expect(page.Locator("#row ins").First).ToHaveTextAsync("approved");
        Assert.Contains("actor=grace", page.Url, StringComparison.Ordinal); // What was chosen stays chosen.
        await page.GetByText("Recount every row").ClickAsync();
        await Assertions.Expect(page.Locator("#check")).ToContainTextAsync("All rows recounted");

        var report = await page.GetByText("as JSON").GetAttributeAsync("href");
        using var answer = await pages.Client.GetAsync(new Uri(report!, UriKind.Relative));
        Assert.Equal("attachment", answer.Content.Headers.ContentDisposition!.DispositionType);
        Assert.Contains("\"seal\"", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact]
    public async Task The_keyboard_reaches_every_page_the_search_the_rows_and_the_help()
    {
        var (page, complaints) = await pages.OpenAsync("/");
        foreach (var (key, path) in new[] { ("e", "/experiments"), ("m", "/models"), ("d", "/data"), ("p", "/deployments"), ("o", "/monitors"), ("v", "/governance"), ("h", "/") })
        {
            await GoAsync(page, key, path);
        }

        await page.Keyboard.PressAsync("?");
        await Assertions.Expect(page.Locator("#help")).ToBeVisibleAsync();
        await page.Keyboard.PressAsync("Escape");
        await page.GotoAsync("/models");
        await page.Keyboard.PressAsync("j");
        await page.Keyboard.PressAsync("j");
        Assert.Equal(1, await page.EvaluateAsync<int>("[...document.querySelectorAll('tr[data-row]')].findIndex(row => row.contains(document.activeElement))"));
        await page.Keyboard.PressAsync("k");
        Assert.Equal(0, await page.EvaluateAsync<int>("[...document.querySelectorAll('tr[data-row]')].findIndex(row => row.contains(document.activeElement))"));
        await page.Keyboard.PressAsync("/");
        await page.Keyboard.TypeAsync("xgboost-deep");
        await page.Keyboard.PressAsync("Enter");
        await page.ArriveAsync("/search?q=");
        await page.Locator("main section a").First.ClickAsync();
        await page.ArriveAsync("/runs/");
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    // Both keys have to come within three seconds; again, should the machine have stood still in between.
    private static async Task GoAsync(IPage page, string key, string path)
    {
        for (var tries = 0; tries < 3 && new Uri(page.Url).AbsolutePath != path; tries++)
        {
            await page.Keyboard.PressAsync("g");
            await page.Keyboard.PressAsync(key);
            for (var looks = 0; looks < 500 && new Uri(page.Url).AbsolutePath != path; looks++)
            {
                await Task.Delay(20);
            }
        }

        await page.ArriveAsync(url => url.AbsolutePath == path);
    }

    [Fact]
    public async Task Charts_draw_their_series_in_both_themes()
    {
        foreach (var dark in new[] { false, true })
        {
            foreach (var path in new[] { $"/models/{Seed.Model}/versions/1.0.0", $"/deployments/{Seed.Model}", "/monitors/flight-delay", "/monitors/flight-delay/subjects/flight:distance" })
            {
                var (page, complaints) = await pages.OpenAsync(path, dark);
                Assert.NotEqual(0, await page.Locator("[data-chart]").CountAsync());
                // Pixels in a colour of a series: axes and text alone are grey.
                var coloured = await page.EvaluateAsync<int[]>(
                    """
                    () => [...document.querySelectorAll("[data-chart] canvas")].map(canvas => {
                      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                      let coloured = 0;
                      for (let i = 0; i < data.length; i += 4) {
                        if (data[i + 3] > 40 && Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60) coloured++;
                      }
                      return coloured;
                    })
                    """);
                Assert.Equal(await page.Locator("[data-chart]").CountAsync(), coloured.Length);
                Assert.All(coloured, pixels => Assert.True(pixels > 20, $"{path}: a chart shows {pixels} coloured pixels."));
                Assert.Empty(complaints);
                await page.CloseAsync();
            }
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task Axe_finds_no_violation_on_any_page(bool dark)
    {
        var axe = await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "axe.min.js"));
        foreach (var path in pages.Pages)
        {
            var (page, _) = await pages.OpenAsync(path, dark);
            // Injected through the debugger, so that the page's own policy stays in force.
            await page.EvaluateAsync(axe);
            var violations = await page.EvaluateAsync<string[]>(
                "async () => (await axe.run()).violations.map(v => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + n.failureSummary).join(' | ')}`)");
            Assert.True(violations.Length == 0, $"{path}:\n{string.Join('\n', violations)}");
            await page.CloseAsync();
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task Every_text_colour_token_keeps_its_contrast_on_every_background_token(bool dark)
    {
        var (page, _) = await pages.OpenAsync("/", dark);
        var ratios = await page.EvaluateAsync<Dictionary<string, double>>(
            """
            () => {
              const style = getComputedStyle(document.documentElement);
              const light = hex => {
                const [r, g, b] = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16) / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
              const token = name => style.getPropertyValue(`--${name}`).trim();
              const found = {};
              for (const text of ["text", "quiet", "accent", "ok", "warn", "bad", "production", "candidate", "baseline", "previous"])
                for (const back of ["surface", "panel", "raised"]) found[`${text} on ${back}`] = ratio(token(text), token(back));
              for (const sign of ["ok", "warn", "bad"]) found[`${sign} on its own back`] = ratio(token(sign), token(`${sign}-back`));
              return found;
            }
            """);

        Assert.Equal(33, ratios.Count);
        Assert.All(ratios, ratio => Assert.True(ratio.Value >= 4.5, $"{ratio.Key} has {ratio.Value:0.00}:1"));
        await page.CloseAsync();
    }

    [Fact]
    public async Task On_a_phone_only_tables_and_pictures_scroll_sideways()
    {
        foreach (var path in pages.Pages)
        {
            var (page, _) = await pages.OpenAsync(path, width: 390, height: 844);
            Assert.True(await page.EvaluateAsync<int>("document.documentElement.scrollWidth") <= 390, $"{path} is wider than the phone.");
            await page.CloseAsync();
        }
    }

    [Fact]
    public async Task Home_counts_go_on_while_somebody_looks()
    {
        var (page, complaints) = await pages.OpenAsync("/");
        var count = page.Locator(".counts a", new PageLocatorOptions { HasText = "predictions since the start" }).Locator("strong");
        var before = await count.InnerTextAsync();
        await pages.SendAsync(25);
        await Assertions.Expect(count).Not.ToHaveTextAsync(before);
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact]
    public async Task A_mistyped_filter_stays_on_the_page_with_the_reason()
    {
        var (page, complaints) = await pages.OpenAsync("/experiments/1?filter=" + Uri.EscapeDataString("metrics.auc >"));
        Assert.Contains("filter", await page.Locator(".notice.bad").InnerTextAsync(), StringComparison.OrdinalIgnoreCase);
        await page.Locator("input[name=filter]").FillAsync("metrics.auc > 0.66");
        await page.Locator("input[name=filter]").PressAsync("Enter");
        await page.ArriveAsync("filter=metrics.auc+%3E+0.66");
        Assert.Equal(2, await page.Locator("tr[data-row]").CountAsync());
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact]
    public async Task Assets_are_kept_for_ever_under_their_digest_and_packed()
    {
        var html = await pages.Client.GetStringAsync(new Uri("/", UriKind.Relative));
        var path = html[html.IndexOf("/assets/", StringComparison.Ordinal)..].Split('"')[0];
        foreach (var name in new[] { "site.css", "site.js", "htmx.min.js", "echarts.min.js" })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path[..(path.LastIndexOf('/') + 1)] + name) { Headers = { { "Accept-Encoding", "br" } } };
            using var answer = await pages.Client.SendAsync(request);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
            Assert.Equal("br", Assert.Single(answer.Content.Headers.ContentEncoding));
        }

        using var asset = await pages.Client.GetAsync(new Uri(path, UriKind.Relative));
        Assert.Contains("immutable", asset.Headers.CacheControl!.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_browser_without_a_valid_token_is_led_to_sign_in_and_back()
    {
        using var handler = new HttpClientHandler { AllowAutoRedirect = false, UseCookies = false };
        using var client = new HttpClient(handler) { BaseAddress = pages.Server.Address };
        using var stale = new HttpRequestMessage(HttpMethod.Get, "/models?x=1") { Headers = { { "Accept", "text/html" }, { "Cookie", "slipway_session=stale" } } };
        using var led = await client.SendAsync(stale);
        Assert.Equal(HttpStatusCode.Redirect, led.StatusCode);
        Assert.Equal("/sign-in?back=%2Fmodels%3Fx%3D1", led.Headers.Location!.ToString());
        Assert.Contains("slipway_session=;", Assert.Single(led.Headers.GetValues("Set-Cookie")), StringComparison.Ordinal);

        async Task<HttpResponseMessage> SignInAsync(string token, string back)
        {
            using var form = new FormUrlEncodedContent([new("token", token), new("back", back)]);
            return await client.PostAsync(new Uri("/sign-in", UriKind.Relative), form);
        }

        using var refused = await SignInAsync("wrong", "/models");
        Assert.Contains("not valid", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.False(refused.Headers.Contains("Set-Cookie"));

        var session = "";
        foreach (var (back, target) in new[] { ("/models?x=1", "/models?x=1"), ("//elsewhere.example/", "/"), ("https://elsewhere.example/", "/") })
        {
            using var taken = await SignInAsync(pages.Token, back);
            Assert.Equal(HttpStatusCode.Redirect, taken.StatusCode);
            Assert.Equal(target, taken.Headers.Location!.ToString());
            var cookie = Assert.Single(taken.Headers.GetValues("Set-Cookie"));
            session = cookie.Split(';')[0];
            Assert.DoesNotContain(pages.Token, cookie, StringComparison.Ordinal);
            Assert.Contains("httponly", cookie, StringComparison.OrdinalIgnoreCase);
            Assert.Contains("samesite=lax", cookie, StringComparison.OrdinalIgnoreCase);
        }

        using var signed = new HttpRequestMessage(HttpMethod.Get, "/") { Headers = { { "Accept", "text/html" }, { "Cookie", session } } };
        using var home = await client.SendAsync(signed);
        var text = await home.Content.ReadAsStringAsync();
        Assert.Contains("<span>viola</span>", text, StringComparison.Ordinal);
        Assert.Contains("sign out", text, StringComparison.Ordinal);
    }

    /// <summary>Writes pictures of every page, for people; only where a folder is named.</summary>
    [Fact]
    public async Task Pictures_of_every_page_are_written_where_a_folder_is_named()
    {
        var folder = Environment.GetEnvironmentVariable("SLIPWAY_SCREENSHOTS");
        Assert.SkipWhen(folder is null, "SLIPWAY_SCREENSHOTS names no folder.");
        foreach (var (name, dark, width, height) in new[] { ("light", false, 1440, 900), ("dark", true, 1440, 900), ("phone", false, 390, 844) })
        {
            foreach (var (path, i) in pages.Pages.Select((path, i) => (path, i)))
            {
                var (page, _) = await pages.OpenAsync(path, dark, width, height);
                await page.ScreenshotAsync(new PageScreenshotOptions { Path = Path.Combine(folder!, $"{i:00}-{name}.png"), FullPage = true });
                await page.CloseAsync();
            }
        }
    }
}
