using System.Net;
using System.Text.Json;
using Microsoft.Playwright;

namespace Slipway.EndToEnd.Pages;

/// <summary>One run, its curves and files, and runs beside each other.</summary>
[Collection(ExperimentsCollection.Name)]
public sealed class RunAndComparePagesTests(ExperimentsFixture experiments)
{
    private static readonly string Two = $"/experiments/compare?run={ExperimentsFixture.Run(9999)}&run={ExperimentsFixture.Run(9998)}";
    private static readonly string Same = $"/experiments/compare?run={ExperimentsFixture.Run(9999)}&run={ExperimentsFixture.Run(9997)}&run={ExperimentsFixture.Run(9995)}";

    [Fact, Trait("capability", "TRK-02")]
    public async Task A_million_points_are_drawn_thinned_and_zoomed_into()
    {
        var (page, complaints) = await experiments.OpenAsync($"/runs/{experiments.LongRun}?tab=curves");
        var figure = page.Locator("figure", new PageLocatorOptions { HasText = "train_loss" });
        await Assertions.Expect(figure.Locator("[data-shown]")).ToContainTextAsync("of 1,000,");
        await Assertions.Expect(figure.Locator("[data-shown]")).ToContainTextAsync("1 not a number");

        Assert.True(await figure.Locator("canvas").First.EvaluateAsync<int>(ColouredPixels) > 200, "The curve is not drawn.");
        var box = (await figure.Locator("canvas").BoundingBoxAsync())!;
        await page.Mouse.MoveAsync(box.X + box.Width * 0.5f, box.Y + box.Height * 0.5f);
        await page.Mouse.DownAsync();
        await page.Mouse.MoveAsync(box.X + box.Width * 0.7f, box.Y + box.Height * 0.6f, new MouseMoveOptions { Steps = 5 });
        await page.Mouse.UpAsync();
        await page.WaitForFunctionAsync("() => new URL(location.href).searchParams.has('from')");
        await Assertions.Expect(page.Locator("[data-reset-zoom]")).ToBeVisibleAsync();
        await Assertions.Expect(figure.Locator("[data-shown]")).Not.ToContainTextAsync("of 1,000,");

        // The stretch is in the address: somebody else sees the same.
        var (again, _) = await experiments.OpenAsync(new Uri(page.Url).PathAndQuery);
        await Assertions.Expect(again.Locator("[data-reset-zoom]")).ToBeVisibleAsync();
        await page.Locator("[data-reset-zoom]").ClickAsync();
        await page.WaitForFunctionAsync("() => !new URL(location.href).searchParams.has('from')");
        Assert.Empty(complaints);
        await again.CloseAsync();
        await page.CloseAsync();
    }

    [Fact]
    public async Task Smoothing_scale_and_axis_are_kept_in_the_address()
    {
        var (page, complaints) = await experiments.OpenAsync($"/runs/{experiments.LongRun}?tab=curves&x=relative&smooth=0.6&log=true");
        Assert.Equal("relative", await page.Locator("select[name=x]").InputValueAsync());
        Assert.Equal("0.6", await page.Locator("input[name=smooth]").InputValueAsync());
        Assert.True(await page.Locator("input[name=log]").IsCheckedAsync());
        await page.Locator("input[name=smooth]").FillAsync("0.9");
        await page.Locator("select[name=x]").SelectOptionAsync("time");
        await page.WaitForFunctionAsync("() => new URL(location.href).searchParams.get('smooth') === '0.9' && new URL(location.href).searchParams.get('x') === 'time'");
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact]
    public async Task The_figures_of_the_machine_have_a_part_of_their_own()
    {
        var (page, complaints) = await experiments.OpenAsync($"/runs/{experiments.LongRun}?tab=system");
        Assert.Equal(["system/cpu_percent", "system/memory_mb"], await page.Locator("[data-curve]").EvaluateAllAsync<string[]>("all => all.map(one => one.dataset.title)"));
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact, Trait("capability", "TRK-03")]
    public async Task Text_pictures_csv_and_parquet_are_shown_from_their_beginning()
    {
        var (page, complaints) = await experiments.OpenAsync($"/runs/{experiments.FilesRun}?tab=files");
        await page.Locator(".tree a", new PageLocatorOptions { HasText = "notes.txt" }).ClickAsync();
        await Assertions.Expect(page.Locator(".preview pre")).ToContainTextAsync("<b>markup</b>");
        await page.Locator(".tree a", new PageLocatorOptions { HasText = "scores.csv" }).ClickAsync();
        await Assertions.Expect(page.Locator(".preview th").Nth(2)).ToHaveTextAsync("comment");
        await Assertions.Expect(page.Locator(".preview tbody tr")).ToHaveCountAsync(50);
        await page.Locator(".tree a", new PageLocatorOptions { HasText = "scores.parquet" }).ClickAsync();
        await Assertions.Expect(page.Locator(".preview thead")).ToHaveTextAsync(new System.Text.RegularExpressions.Regex("id\\s*score\\s*name\\s*seen"));
        await Assertions.Expect(page.Locator(".preview tbody tr")).ToHaveCountAsync(50);
        await page.Locator(".tree a", new PageLocatorOptions { HasText = "confusion.png" }).ClickAsync();
        await Assertions.Expect(page.Locator(".preview img")).ToBeVisibleAsync();
        Assert.Equal(64, await page.Locator(".preview img").EvaluateAsync<int>("async image => { await image.decode(); return image.naturalWidth; }"));
        await page.Locator(".tree a", new PageLocatorOptions { HasText = "model.bin" }).ClickAsync();
        await Assertions.Expect(page.Locator(".preview")).ToContainTextAsync("neither text, picture nor table");
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Theory, InlineData("report/page.html"), InlineData("report/picture.svg"), InlineData("report/lies.png"), InlineData("tables/scores.csv")]
    public async Task A_hostile_file_never_runs(string file)
    {
        var (page, complaints) = await experiments.OpenAsync($"/runs/{experiments.FilesRun}?path={Uri.EscapeDataString(file)}");
        Assert.False(await page.EvaluateAsync<bool>("'ran' in window"));
        Assert.NotEqual("ran", await page.TitleAsync());
        Assert.Equal(0, await page.Locator(".preview script, .preview iframe, .preview object, .preview svg, .preview img").CountAsync());
        Assert.Empty(complaints);
        await page.CloseAsync();

        var path = Uri.EscapeDataString(file);
        using var picture = await experiments.Client.GetAsync(new Uri($"/runs/{experiments.FilesRun}/picture?path={path}", UriKind.Relative));
        Assert.Equal(HttpStatusCode.BadRequest, picture.StatusCode);
        using var download = await experiments.Client.GetAsync(new Uri($"/get-artifact?run_id={experiments.FilesRun}&path={path}", UriKind.Relative));
        Assert.Equal("attachment", download.Content.Headers.ContentDisposition!.DispositionType);
        Assert.Equal("nosniff", Assert.Single(download.Headers.GetValues("X-Content-Type-Options")));
    }

    [Fact]
    public async Task A_picture_is_sent_as_the_picture_it_is_in_a_sandbox()
    {
        using var picture = await experiments.Client.GetAsync(new Uri($"/runs/{experiments.FilesRun}/picture?path=plots%2Fconfusion.png", UriKind.Relative));
        Assert.Equal("image/png", picture.Content.Headers.ContentType!.MediaType);
        Assert.Contains("sandbox", Assert.Single(picture.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
        using var outside = await experiments.Client.GetAsync(new Uri($"/runs/{experiments.FilesRun}/picture?path=..%2F..%2Fadmin.token", UriKind.Relative));
        Assert.Equal(HttpStatusCode.BadRequest, outside.StatusCode);
    }

    [Fact, Trait("capability", "TRK-16")]
    public async Task Runs_scored_on_different_test_sets_are_marked_and_others_are_not()
    {
        var (page, complaints) = await experiments.OpenAsync(Two);
        await Assertions.Expect(page.Locator("[data-test-sets]")).ToContainTextAsync("different test sets");
        Assert.Equal(["A", "B"], (await page.Locator(".differences thead .badge").AllInnerTextsAsync()).Order());
        Assert.Contains("score them on one test set", await page.Locator(".recommendation").InnerTextAsync(), StringComparison.Ordinal);
        await page.GotoAsync(Same);
        Assert.Equal(0, await page.Locator("[data-test-sets]").CountAsync());
        Assert.Contains("Choose", await page.Locator(".recommendation").InnerTextAsync(), StringComparison.Ordinal);
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact, Trait("capability", "X-28")]
    public async Task A_comparison_shows_what_differs_the_best_by_direction_and_pictures_of_all()
    {
        var (page, complaints) = await experiments.OpenAsync($"{Same}&by=val_loss");
        Assert.Contains("lower is better", await page.Locator("#summary-title").InnerTextAsync(), StringComparison.Ordinal);
        var losses = (await page.Locator("[aria-label='Table: runs, best first'] td:nth-child(3)").AllInnerTextsAsync()).Select(text => double.Parse(text, System.Globalization.CultureInfo.InvariantCulture)).ToList();
        Assert.Equal(losses.Order(), losses);
        Assert.Equal(0, await page.Locator(".differences th[scope=row]", new PageLocatorOptions { HasText = "features" }).CountAsync());
        await page.Locator("a", new PageLocatorOptions { HasText = "Everything, with" }).ClickAsync();
        await page.ArriveAsync("all=true");
        Assert.Equal(1, await page.Locator(".differences th[scope=row]", new PageLocatorOptions { HasText = "features" }).CountAsync());
        Assert.Equal(1, await page.Locator(".differences tr", new PageLocatorOptions { HasText = "val_auc" }).Locator("td.best").CountAsync());
        foreach (var picture in new[] { "[data-parallel] canvas", "[data-scatter] canvas" })
        {
            Assert.True(await page.Locator(picture).First.EvaluateAsync<int>(ColouredPixels) > 20, $"{picture} shows nothing.");
        }

        var (api, body) = (await experiments.Client.GetAsync(new Uri($"/api/slipway/v1/runs/compare?run_id={ExperimentsFixture.Run(9999)}&run_id={ExperimentsFixture.Run(9997)}&metric=val_loss", UriKind.Relative)), "");
        using (api)
        {
            body = await api.Content.ReadAsStringAsync();
        }

        var comparison = JsonDocument.Parse(body).RootElement;
        Assert.True(comparison.GetProperty("same_test_set").GetBoolean());
        Assert.False(comparison.GetProperty("higher_is_better").GetBoolean());
        Assert.Equal(comparison.GetProperty("runs")[0].GetProperty("run_id").GetString(), comparison.GetProperty("best_run_id").GetString());
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact, Trait("capability", "TRK-17")]
    public async Task A_comparison_lists_the_values_in_which_the_configuration_of_two_runs_differs()
    {
        foreach (var (run, text) in new[] { (5000, "{\"lr\": 0.1, \"name\": \"same\"}"), (5001, "{\"lr\": \"<b>0.2\", \"name\": \"same\"}") })
        {
            using var content = new ByteArrayContent(System.Text.Encoding.UTF8.GetBytes(text));
            content.Headers.ContentType = new("application/octet-stream");
            using var answer = await experiments.Client.PutAsync(new Uri($"/api/slipway/v1/runs/{ExperimentsFixture.Run(run)}/artifacts/config/train.json", UriKind.Relative), content);
            Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
        }

        var (page, complaints) = await experiments.OpenAsync($"/experiments/compare?run={ExperimentsFixture.Run(5000)}&run={ExperimentsFixture.Run(5001)}");

        Assert.Equal(["config/train.json", "lr", "0.1", "<b>0.2"], await page.Locator("[data-config] tbody tr > *").AllInnerTextsAsync());
        await page.GotoAsync($"/experiments/compare?run={ExperimentsFixture.Run(5002)}&run={ExperimentsFixture.Run(5003)}");
        Assert.Equal(0, await page.Locator("[data-config]").CountAsync());
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Fact]
    public async Task A_hundred_runs_are_compared_in_one_picture()
    {
        var (page, complaints) = await experiments.OpenAsync("/experiments/compare?" + string.Join('&', Enumerable.Range(9900, 100).Select(i => $"run={ExperimentsFixture.Run(i)}")));
        Assert.Equal(100, await page.Locator("[aria-label='Table: runs, best first'] tbody tr").CountAsync());
        Assert.True(await page.Locator("[data-parallel] canvas").First.EvaluateAsync<int>(ColouredPixels) > 1000);
        Assert.Empty(complaints);
        await page.CloseAsync();
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task Axe_finds_no_violation(bool dark)
    {
        var axe = await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "axe.min.js"));
        foreach (var path in new[]
        {
            "/experiments", "/experiments?view=deleted", ExperimentsFixture.Table, $"{ExperimentsFixture.Table}?group=params.trainer&run={ExperimentsFixture.Run(9999)}", $"{ExperimentsFixture.Table}?filter=nonsense",
            $"/experiments/2?nested=true&open={experiments.ParentRun}", $"{ExperimentsFixture.Table}/settings", $"{ExperimentsFixture.Table}/bin?run={ExperimentsFixture.Run(1)}",
            $"/runs/{experiments.LongRun}", $"/runs/{experiments.LongRun}?tab=curves", $"/runs/{experiments.LongRun}?tab=system", $"/runs/{experiments.FilesRun}?tab=files", $"/runs/{experiments.FilesRun}?path=tables%2Fscores.csv",
            $"/runs/{experiments.FilesRun}?path=plots%2Fconfusion.png", $"/runs/{experiments.FilesRun}?path=report%2Fnotes.txt", Two, Same,
        })
        {
            var (page, _) = await experiments.OpenAsync(path, dark);
            await page.EvaluateAsync(axe);
            var violations = await page.EvaluateAsync<string[]>(
                "async () => (await axe.run()).violations.map(v => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + n.failureSummary).join(' | ')}`)");
            Assert.True(violations.Length == 0, $"{path}:\n{string.Join('\n', violations)}");
            await page.CloseAsync();
        }
    }

    /// <summary>Writes the pictures of the documentation, and others for people where a folder is named.</summary>
    [Fact]
    public async Task Pictures_for_the_documentation_are_written_when_asked_for()
    {
        Assert.SkipWhen(Environment.GetEnvironmentVariable("SLIPWAY_WRITE_DOCS") != "1", "SLIPWAY_WRITE_DOCS is not 1.");
        var images = Path.Combine(SlipwayProgram.Root, "docs", "images");
        var compare = "/experiments/compare?" + string.Join('&', new[] { 9998, 9994, 9990, 9986, 9981 }.Select(i => $"run={ExperimentsFixture.Run(i)}"));
        await ShootAsync($"{ExperimentsFixture.Table}?order={Uri.EscapeDataString("metrics.`val_auc` DESC")}", Path.Combine(images, "runs-10000.png"));
        await ShootAsync(compare, Path.Combine(images, "compare-runs.png"), height: 1300);
        if (Environment.GetEnvironmentVariable("SLIPWAY_SCREENSHOTS") is { } folder)
        {
            foreach (var (name, path) in new[]
            {
                ("experiments", "/experiments"), ("runs", ExperimentsFixture.Table), ("groups", $"{ExperimentsFixture.Table}?group=params.trainer"), ("fault", $"{ExperimentsFixture.Table}?filter={Uri.EscapeDataString("params.trainer = 'mlp' AND metrics.val_auc >")}"),
                ("nested", $"/experiments/2?nested=true&open={experiments.ParentRun}"), ("settings", $"{ExperimentsFixture.Table}/settings"), ("bin", $"{ExperimentsFixture.Table}/bin?run={ExperimentsFixture.Run(1)}"),
                ("run", $"/runs/{experiments.LongRun}"), ("curves", $"/runs/{experiments.LongRun}?tab=curves&smooth=0.8"), ("files", $"/runs/{experiments.FilesRun}?path=tables%2Fscores.csv"), ("compare", compare),
            })
            {
                await ShootAsync(path, Path.Combine(folder, $"{name}-light.png"));
                await ShootAsync(path, Path.Combine(folder, $"{name}-dark.png"), dark: true);
            }

            await ShootAsync(ExperimentsFixture.Table, Path.Combine(folder, "runs-phone.png"), width: 390, height: 844);
        }
    }

    private async Task ShootAsync(string path, string file, bool dark = false, int width = 1440, int height = 900)
    {
        var (page, _) = await experiments.OpenAsync(path, dark, width, height);
        await page.WaitForLoadStateAsync(LoadState.NetworkIdle);
        await page.ScreenshotAsync(new PageScreenshotOptions { Path = file });
        await page.CloseAsync();
    }

    // Axes and text are grey; what is left is data.
    private const string ColouredPixels =
        """
        canvas => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let coloured = 0;
          for (let i = 0; i < data.length; i += 4) {
            if (data[i + 3] > 40 && Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60) coloured++;
          }
          return coloured;
        }
        """;
}
