namespace Slipway.EndToEnd;

/// <summary>One server on a data folder of its own for all tests of a class: <c>IClassFixture&lt;ServerFixture&gt;</c>.</summary>
public class ServerFixture : IAsyncLifetime
{
    public RunningServer Server { get; private set; } = null!;

    public HttpClient Client { get; private set; } = null!;

    public string DataDirectory { get; } = SlipwayProgram.NewDataFolder();

    public virtual async ValueTask InitializeAsync()
    {
        await SeedAsync(DataDirectory);
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        Server = await RunningServer.StartAsync(DataDirectory, limit.Token);
        Client = new HttpClient { BaseAddress = Server.Address };
    }

    public virtual async ValueTask DisposeAsync()
    {
        Client?.Dispose();
        if (Server is not null)
        {
            await Server.DisposeAsync();
        }

        Directory.Delete(DataDirectory, recursive: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Writes what the server is to find; nothing by default.</summary>
    protected virtual Task SeedAsync(string dataDirectory) => Task.CompletedTask;
}
