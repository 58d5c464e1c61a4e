using Microsoft.Playwright;

namespace Slipway.EndToEnd.Pages;

/// <summary>One server with 10,000 runs and one browser for all tests of the pages about experiments.</summary>
public sealed class ExperimentsFixture : ServerFixture
{
    private Browser? _browser;

    /// <summary>Finished, with a metric of a million points.</summary>
    public string LongRun { get; private set; } = "";

    /// <summary>Failed, with files of every kind, hostile ones too.</summary>
    public string FilesRun { get; private set; } = "";

    /// <summary>Has six children.</summary>
    public string ParentRun { get; private set; } = "";

    /// <summary>The table of 10,000 runs.</summary>
    public static string Table => "/experiments/1";

    /// <summary>The run of a number from 0 to 9999; the highest is the newest.</summary>
    public static string Run(int number) => $"{number:D32}";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
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

    public Task<(IPage Page, List<string> Complaints)> OpenAsync(string path, bool dark = false, int width = 1440, int height = 900, bool scripts = true) =>
        _browser!.OpenAsync(path, dark, width, height, scripts);

    public Task<string> HtmlAsync(string path) => Client.GetStringAsync(new Uri(path, UriKind.Relative));

    protected override async Task SeedAsync(string dataDirectory) => (LongRun, FilesRun, ParentRun) = await ExperimentsSeed.WriteAsync(dataDirectory);
}

/// <summary>The tests that share <see cref="ExperimentsFixture"/>; they run one after the other.</summary>
[CollectionDefinition(Name)]
public sealed class ExperimentsCollection : ICollectionFixture<ExperimentsFixture>
{
    public const string Name = "experiments";
}
