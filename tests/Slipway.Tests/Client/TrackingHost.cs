using System.Collections.Concurrent;
using Slipway.Client;
using Slipway.Client.Runs;
using Slipway.Contracts.Tracking;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Client;

/// <summary>A tracking server, a client of it, and a folder for journals.</summary>
internal sealed class TrackingHost : IAsyncDisposable
{
    private readonly AreaHost _host;

    private TrackingHost(AreaHost host)
    {
        _host = host;
        Client = new SlipwayClient(host.Client.BaseAddress!);
    }

    public SlipwayClient Client { get; }

    public string Journals { get; } = Directory.CreateTempSubdirectory("slipway-journals-").FullName;

    public ConcurrentQueue<string> Problems { get; } = [];

    public RunStore Runs => _host.Service<RunStore>();

    public ExperimentStore Experiments => _host.Service<ExperimentStore>();

    public static async Task<TrackingHost> StartAsync() =>
        new(await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking()));

    /// <summary>Quiet options: nothing by itself, problems collected, and time for a machine that stalls.</summary>
    public RunOptions Options => new()
    {
        JournalDirectory = Journals,
        AutoLog = AutoLogOptions.None,
        StartTimeout = TimeSpan.FromMinutes(2),
        EndTimeout = TimeSpan.FromMinutes(2),
        OnProblem = Problems.Enqueue,
    };

    public Task<ActiveRun> StartRunAsync(RunOptions? options = null) => Client.StartRunAsync("flights", options ?? Options);

    public RunRecord Record(ActiveRun run) => Runs.Get(run.Id);

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _host.DisposeAsync();
        Directory.Delete(Journals, recursive: true);
    }
}
