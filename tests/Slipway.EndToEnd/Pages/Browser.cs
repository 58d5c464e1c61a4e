using System.Diagnostics;
using Microsoft.Playwright;

namespace Slipway.EndToEnd.Pages;

/// <summary>Chromium on one server.</summary>
public sealed class Browser : IAsyncDisposable
{
    private const string Chromium = "/usr/bin/chromium";

    // One per look, so that the browser's cache holds the scripts from page to page, as it does for people.
    private readonly Dictionary<(bool Dark, int Width, int Height, bool Scripts), IBrowserContext> _contexts = [];
    private readonly Uri _address;
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    private Browser(Uri address) => _address = address;

    public static async Task<Browser> StartAsync(Uri address)
    {
        var browser = new Browser(address);
        Assertions.SetDefaultExpectTimeout((float)PageWaits.Limit.TotalMilliseconds);
        if (File.Exists(Chromium))
        {
            browser._playwright = await Playwright.CreateAsync();
            browser._browser = await browser._playwright.Chromium.LaunchAsync(new BrowserTypeLaunchOptions
            {
                ExecutablePath = Chromium,
                Headless = true,
                Args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
            });
        }

        return browser;
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.DisposeAsync();
        }

        _playwright?.Dispose();
    }

    /// <summary>A new page; everything the console or the network complains of is collected.</summary>
    public async Task<(IPage Page, List<string> Complaints)> OpenAsync(string path, bool dark = false, int width = 1440, int height = 900, bool scripts = true)
    {
        Assert.SkipWhen(_browser is null, $"There is no browser at {Chromium}.");
        if (!_contexts.TryGetValue((dark, width, height, scripts), out var context))
        {
            context = await _browser!.NewContextAsync(new BrowserNewContextOptions
            {
                BaseURL = _address.ToString(),
                ColorScheme = dark ? ColorScheme.Dark : ColorScheme.Light,
                ViewportSize = new ViewportSize { Width = width, Height = height },
                JavaScriptEnabled = scripts,
            });
            _contexts[(dark, width, height, scripts)] = context;
        }

        var page = await context.NewPageAsync();
        var complaints = new List<string>();
        page.Console += (_, message) =>
        {
            if (message.Type is "error" or "warning")
            {
                complaints.Add($"{path}: {message.Text}");
            }
        };
        page.PageError += (_, error) => complaints.Add($"{path}: {error}");
        await page.GotoAsync(path, new PageGotoOptions { WaitUntil = WaitUntilState.Load });
        return (page, complaints);
    }
}

internal static class PageWaits
{
    internal static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    /// <summary>Waits for an address that holds the text, and for its page to be loaded.</summary>
    public static Task ArriveAsync(this IPage page, string text) => page.ArriveAsync(url => url.OriginalString.Contains(text, StringComparison.Ordinal));

    /// <summary>
    /// Waits for an address, and for its page to be loaded. It looks again and again: <c>WaitForURLAsync</c> and <c>WaitForLoadStateAsync</c> look
    /// once and then wait for an event, and never end when the event falls between the two.
    /// </summary>
    public static async Task ArriveAsync(this IPage page, Func<Uri, bool> expected)
    {
        var started = Stopwatch.GetTimestamp();
        while (!expected(new Uri(page.Url)) || !await page.IsLoadedAsync())
        {
            Assert.True(Stopwatch.GetElapsedTime(started) < Limit, $"After {Limit} the page is still {page.Url}, or not loaded.");
            await Task.Delay(20);
        }
    }

    /// <summary>Whether the document and what it names are loaded; false while one page takes another's place, when no script can be run.</summary>
    private static async Task<bool> IsLoadedAsync(this IPage page)
    {
        try
        {
            return await page.EvaluateAsync<bool>("document.readyState === 'complete'");
        }
        catch (PlaywrightException)
        {
            return false;
        }
    }
}
