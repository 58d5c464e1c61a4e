using System.Diagnostics;
using System.Net;
using Microsoft.Playwright;

namespace Slipway.EndToEnd.Pages;

/// <summary>The table of 10,000 runs, as people use it.</summary>
[Collection(ExperimentsCollection.Name)]
public sealed class RunsTableTests(ExperimentsFixture experiments)
{
    [Fact, Trait("capability", "TRK-14")]
    public async Task Ten_thousand_runs_are_shown_filtered_sorted_and_grouped_within_200_ms_each()
    {
        var slow = new List<string>();
        foreach (var query in new[] { "", "?filter=metrics.val_auc+%3E+0.8", "?order=metrics.val_auc+DESC", "?group=params.trainer", "?filter=params.trainer+%3D+'mlp'&order=params.max_depth+ASC&rows=100", "?nested=true" })
        {
            var (times, costs) = (new List<double>(), new List<double>());
            for (var i = 0; i < 7; i++)
            {
                var (watch, before) = (Stopwatch.StartNew(), experiments.Server.ProcessorTime);
                var html = await experiments.HtmlAsync(ExperimentsFixture.Table + query);
                times.Add(watch.Elapsed.TotalMilliseconds);
                costs.Add((experiments.Server.ProcessorTime - before).TotalMilliseconds);
                Assert.Contains("data-row", html, StringComparison.Ordinal);
            }

            // The page is made on one thread: on a machine that does nothing else it takes the processor time that it costs, or the least of seven times.
            var (time, cost) = (times.Order().ElementAt(3), costs.Order().ElementAt(3));
            TestContext.Current.TestOutputHelper?.WriteLine($"{query}: median {time:0} ms, of which {cost:0} ms processor time; best {times.Min():0} ms");
            if (Math.Min(times.Min(), cost) > 200)
            {
                slow.Add($"{query}: best {times.Min():0} ms, median {time:0} ms, {cost:0} ms processor time");
            }
        }

        Assert.Empty(slow);
    }

    [Fact, Trait("capability", "X-27")]
    public async Task A_filter_narrows_the_table_and_a_broken_one_names_its_clause()
    {
        var (page, complaints) = await experiments.OpenAsync(ExperimentsFixture.Table);
        await Assertions.Expect(page.Locator(".actions")).ToContainTextAsync("1–50 of 10,000 runs");

        await page.Keyboard.PressAsync("f");
        await page.Keyboard.TypeAsync("params.trainer = 'mlp' AND metrics.val_auc > 0.84");
        await page.Keyboard.PressAsync("Enter");
        await page.ArriveAsync("filter=");
        Assert.All(await page.Locator("table.runs tbody td.name a:first-child").AllInnerTextsAsync(), name => Assert.StartsWith("mlp-", name, StringComparison.Ordinal));
        Assert.DoesNotContain("order=&", page.Url, StringComparison.Ordinal);

        await page.Locator("input[data-filter]").FillAsync("params.trainer = 'mlp' AND metrics.val_auc >");
        await page.Locator("input[data-filter]").PressAsync("Enter");
        await Assertions.Expect(page.Locator(".notice.bad")).ToContainTextAsync("Clause 2");
        await Assertions.Expect(page.Locator(".notice.bad mark")).ToHaveTextAsync("metrics.val_auc >");
        Assert.Equal("params.trainer = 'mlp' AND metrics.val_auc >", await page.Locator("input[data-filter]").InputValueAsync());
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact]
    public async Task Columns_are_chosen_sorted_by_and_kept_in_the_address()
    {
        var (page, complaints) = await experiments.OpenAsync(ExperimentsFixture.Table);
        await page.Locator("details[data-columns] summary").ClickAsync();
        await page.Locator("input[name=column][value='metrics.accuracy']").CheckAsync();
        await page.Locator("input[name=column][value='tags.team']").CheckAsync();
        await page.Locator("details[data-columns] button").ClickAsync();
        await page.ArriveAsync("column=metrics.accuracy&column=tags.team");
        await page.Locator("th a", new PageLocatorOptions { HasText = "accuracy" }).ClickAsync();
        await page.ArriveAsync("order=");

        var address = page.Url;
        var header = page.Locator("th[aria-sort]");
        Assert.Equal(("descending", "metrics.accuracy"), (await header.GetAttributeAsync("aria-sort"), await header.GetAttributeAsync("title")));
        var values = (await page.Locator("table.runs tbody tr td.number:nth-last-child(2)").AllInnerTextsAsync()).Select(text => double.Parse(text.Split(' ', '\n')[0], System.Globalization.CultureInfo.InvariantCulture)).ToList();
        Assert.Equal(values.OrderDescending(), values);

        // The same address somewhere else shows the same table.
        var rows = await page.Locator("table.runs tbody").InnerTextAsync();
        var (again, _) = await experiments.OpenAsync(new Uri(address).PathAndQuery);
        Assert.Equal(rows, await again.Locator("table.runs tbody").InnerTextAsync());
        await page.Locator("th a", new PageLocatorOptions { HasText = "accuracy" }).ClickAsync();
        await Assertions.Expect(page.Locator("th[aria-sort]")).ToHaveAttributeAsync("aria-sort", "ascending");
        Assert.Empty(complaints);
        await again.CloseAsync();
        await page.CloseAsync();
    }

    [Fact]
    public async Task Every_page_of_the_table_follows_the_one_before()
    {
        var seen = new List<string>();
        var path = $"{ExperimentsFixture.Table}?rows=250&filter={Uri.EscapeDataString("params.max_depth = '10' AND params.learning_rate = '0.01'")}&order={Uri.EscapeDataString("metrics.val_auc DESC")}";
        while (path is not null)
        {
            var document = new AngleSharp.Html.Parser.HtmlParser().ParseDocument(await experiments.HtmlAsync(path));
            seen.AddRange(document.QuerySelectorAll("table.runs td.name a:first-child").Select(link => link.TextContent));
            path = document.QuerySelector("a[rel=next]")?.GetAttribute("href");
        }

        // Of 10,000 runs every ninth has depth 10, of these every fifth the rate.
        Assert.Equal(Enumerable.Range(0, 10_000).Count(i => i % 9 == 8 && i % 5 == 4), seen.Count);
        Assert.Equal(seen.Count, seen.Distinct().Count());
    }

    [Fact]
    public async Task Groups_show_counts_means_and_bests_and_lead_to_their_runs()
    {
        var (page, complaints) = await experiments.OpenAsync($"{ExperimentsFixture.Table}?group=params.trainer&column=metrics.val_auc&column=metrics.val_loss");
        var table = page.Locator("[aria-label='Table of groups']");
        Assert.Equal(4, await table.Locator("tbody tr").CountAsync());
        Assert.All(await table.Locator("tbody td:nth-child(2)").AllInnerTextsAsync(), count => Assert.Equal("2,500", count));
        Assert.Equal(1, await table.Locator("td.best:nth-child(4)").CountAsync());
        await table.Locator("a", new LocatorLocatorOptions { HasText = "forest" }).ClickAsync();
        await Assertions.Expect(page.Locator(".actions")).ToContainTextAsync("of 2,500 runs");
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact, Trait("capability", "X-28")]
    public async Task With_the_keyboard_alone_rows_are_selected_across_pages_and_compared()
    {
        var (page, complaints) = await experiments.OpenAsync($"{ExperimentsFixture.Table}?rows=25");
        foreach (var key in new[] { "j", "x", "j", "j", "x" })
        {
            await page.Keyboard.PressAsync(key);
        }

        await Assertions.Expect(page.Locator("[data-selected-count]")).ToHaveTextAsync("2 selected");
        Assert.Contains($"run={ExperimentsFixture.Run(9999)}&run={ExperimentsFixture.Run(9997)}", page.Url, StringComparison.Ordinal);
        Assert.NotEqual("none", await page.EvaluateAsync<string>("getComputedStyle(document.activeElement).outlineStyle"));
        await page.Locator("a[rel=next]").PressAsync("Enter");
        await page.ArriveAsync("page=");
        await Assertions.Expect(page.Locator("[data-selected-count]")).ToHaveTextAsync("2 selected");
        await page.Keyboard.PressAsync("j");
        await page.Keyboard.PressAsync("x");
        await page.Keyboard.PressAsync("c");
        await page.ArriveAsync("/experiments/compare?");
        Assert.Equal(3, page.Url.Split("run=").Length - 1);
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact]
    public async Task Children_unfold_under_their_parent()
    {
        var (page, complaints) = await experiments.OpenAsync("/experiments/2?nested=true");
        Assert.Equal(0, await page.Locator("tr.child").CountAsync());
        await page.Locator("a.children").ClickAsync();
        await page.ArriveAsync($"open={experiments.ParentRun}");
        Assert.Equal(6, await page.Locator("tr.child").CountAsync());
        await page.Locator("a.children").ClickAsync();
        await Assertions.Expect(page.Locator("tr.child")).ToHaveCountAsync(0);
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact]
    public async Task Runs_go_to_the_bin_with_a_name_and_a_reason_and_come_back()
    {
        var (page, complaints) = await experiments.OpenAsync($"{ExperimentsFixture.Table}?filter={Uri.EscapeDataString("run_name IN ('mlp-00003', 'mlp-00011')")}");
        await page.Locator("[data-select-all]").CheckAsync();
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Delete…" }).ClickAsync();
        await Assertions.Expect(page.Locator("h1")).ToHaveTextAsync("Delete 2 runs of churn-2026?");
        await page.Locator(".confirm input[name=name]").FillAsync("something else");
        await page.Locator(".confirm input[name=reason]").FillAsync("trained on leaked labels");
        await page.Locator(".confirm button").ClickAsync();
        await Assertions.Expect(page.Locator(".notice.bad")).ToContainTextAsync("churn-2026");
        Assert.Equal("trained on leaked labels", await page.Locator(".confirm input[name=reason]").InputValueAsync());
        await page.Locator(".confirm input[name=name]").FillAsync("churn-2026");
        await page.Locator(".confirm button").ClickAsync();
        await page.ArriveAsync("deleted=2");
        await Assertions.Expect(page.Locator(".actions")).ToContainTextAsync("of 9,998 runs");
        Assert.Contains("trained on leaked labels", await experiments.HtmlAsync("/governance/audit"), StringComparison.Ordinal);

        await page.GotoAsync($"{ExperimentsFixture.Table}?view=deleted");
        await page.Locator("[data-select-all]").CheckAsync();
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Restore…" }).ClickAsync();
        await page.Locator(".confirm input[name=reason]").FillAsync("the labels were fine");
        await page.Locator(".confirm button").ClickAsync();
        await page.ArriveAsync("restored=2");
        await Assertions.Expect(page.Locator(".actions")).ToContainTextAsync("of 10,000 runs");
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact, Trait("capability", "X-09")]
    public async Task The_csv_holds_every_run_of_the_view_in_its_order()
    {
        var lines = (await experiments.HtmlAsync($"{ExperimentsFixture.Table}/runs.csv?filter={Uri.EscapeDataString("params.trainer = 'forest'")}&order={Uri.EscapeDataString("metrics.val_loss ASC")}&column=metrics.val_loss&column=params.max_depth"))
            .Split("\r\n", StringSplitOptions.RemoveEmptyEntries);

        Assert.Equal("run_id,name,status,user,start_time,end_time,metrics.val_loss,params.max_depth", lines[0]);
        Assert.Equal(2501, lines.Length);
        var losses = lines.Skip(1).Select(line => double.Parse(line.Split(',')[6], System.Globalization.CultureInfo.InvariantCulture)).ToList();
        Assert.Equal(losses.Order(), losses);
    }

    [Fact]
    public async Task Experiments_are_made_renamed_deleted_with_a_reason_and_restored()
    {
        var (page, complaints) = await experiments.OpenAsync("/experiments");
        await page.Locator("form[method=post] input[name=name]").FillAsync("churn-2026");
        await page.Locator("form[method=post] button").ClickAsync();
        await Assertions.Expect(page.Locator(".notice.bad")).ToContainTextAsync("already exists");
        await page.Locator("form[method=post] input[name=name]").FillAsync("made by hand");
        await page.Locator("form[method=post] button").ClickAsync();
        await page.ArriveAsync(url => url.AbsolutePath.StartsWith("/experiments/", StringComparison.Ordinal));
        var path = new Uri(page.Url).AbsolutePath;
        await page.GotoAsync($"{path}/settings");
        await page.Locator("input[name=name]").First.FillAsync("renamed by hand");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Save" }).ClickAsync();
        await Assertions.Expect(page.Locator("h1")).ToContainTextAsync("renamed by hand");
        await page.GotoAsync($"{path}/settings");
        await page.Locator("form[action$=stage] input[name=name]").FillAsync("renamed by hand");
        await page.Locator("form[action$=stage] input[name=reason]").FillAsync("a test");
        await page.Locator("form[action$=stage] button").ClickAsync();
        await page.ArriveAsync("view=deleted");
        await page.Locator("tbody a", new PageLocatorOptions { HasText = "renamed by hand" }).ClickAsync();
        await page.GotoAsync($"{path}/settings");
        await page.Locator("form[action$=stage] input[name=reason]").FillAsync("wanted after all");
        await page.Locator("form[action$=stage] button").ClickAsync();
        await Assertions.Expect(page.Locator("h1")).ToContainTextAsync("renamed by hand");
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact]
    public async Task A_form_sent_by_another_site_changes_nothing()
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/experiments")
        {
            Headers = { { "Origin", "https://elsewhere.example" } },
            Content = new FormUrlEncodedContent([new("name", "from elsewhere")]),
        };
        using var answer = await experiments.Client.SendAsync(request);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
        Assert.DoesNotContain("from elsewhere", await experiments.HtmlAsync("/experiments"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_scripts_tables_links_and_forms_still_work()
    {
        var (page, _) = await experiments.OpenAsync(ExperimentsFixture.Table, scripts: false);
        Assert.Equal(50, await page.Locator("table.runs tbody tr").CountAsync());
        await page.Locator("input[data-filter]").FillAsync("attributes.status = 'FAILED'");
        await page.Locator("input[data-filter]").PressAsync("Enter");
        await Assertions.Expect(page.Locator(".actions")).ToContainTextAsync($"of {Enumerable.Range(0, 10_000).Count(i => i % 29 == 7)} runs");
        await page.Locator("table.runs tbody td.name a").First.ClickAsync();
        await page.ArriveAsync("/runs/");
        await page.CloseAsync();
    }
}
