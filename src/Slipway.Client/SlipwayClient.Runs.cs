using System.Net.Http.Headers;
using System.Net.Http.Json;
using Slipway.Client.Runs;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Client;

public sealed partial class SlipwayClient
{
    /// <summary>The client that the environment names: SLIPWAY_SERVER or MLFLOW_TRACKING_URI, and SLIPWAY_TOKEN or MLFLOW_TRACKING_TOKEN; <c>http://127.0.0.1:5000</c> when it names none.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the address is not one of a server.</exception>
    public static SlipwayClient FromEnvironment()
    {
        var (variable, server) = Variable("SLIPWAY_SERVER") is { } own ? ("SLIPWAY_SERVER", own) : ("MLFLOW_TRACKING_URI", Variable("MLFLOW_TRACKING_URI") ?? "http://127.0.0.1:5000");
        return Uri.TryCreate(server, UriKind.Absolute, out var address) && address.Scheme is "http" or "https"
            ? new SlipwayClient(address, Variable("SLIPWAY_TOKEN") ?? Variable("MLFLOW_TRACKING_TOKEN"))
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"{variable} '{server}' must be a server's address such as http://127.0.0.1:5000.");

        static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
    }

    /// <summary>Starts a run in an experiment, which is made when there is none. Dispose the run to end it.</summary>
    /// <exception cref="SlipwayException">The server refuses the run, such as for want of a token; FailedPrecondition: the journal cannot be written.</exception>
    /// <exception cref="ServerUnreachableException">Nobody answers, and <see cref="RunOptions.Offline"/> is <see cref="OfflineMode.Never"/>.</exception>
    public Task<ActiveRun> StartRunAsync(string experiment, RunOptions? options = null, CancellationToken cancellationToken = default) =>
        ActiveRun.StartAsync(this, experiment, options ?? new RunOptions(), cancellationToken);

    /// <summary>Runs a training inside a run: an exception fails the run with its message and goes on to the caller.</summary>
    public async Task RunAsync(string experiment, Func<ActiveRun, Task> train, RunOptions? options = null, CancellationToken cancellationToken = default)
    {
        await using var run = await StartRunAsync(experiment, options, cancellationToken);
        try
        {
            await train(run);
        }
        catch (Exception e)
        {
            await run.FailAsync(e);
            throw;
        }
    }

    /// <summary>Sends the journals of a folder: of runs computed offline, and of processes that were killed. May be repeated.</summary>
    /// <param name="directory">Null for the folder that runs use by default.</param>
    /// <param name="fromStart">Sends also what the server has acknowledged before.</param>
    /// <param name="progress">Told after each part; null when nobody looks.</param>
    /// <param name="cancellationToken">Ends the sending; what was taken stays so.</param>
    /// <returns>One entry for each journal; empty when there is nothing to send.</returns>
    public Task<IReadOnlyList<SyncedRun>> SyncAsync(string? directory = null, bool fromStart = false, IProgress<SyncProgress>? progress = null, CancellationToken cancellationToken = default) =>
        JournalSync.SyncAsync(this, directory ?? RunJournal.DefaultDirectory, fromStart, progress, cancellationToken);

    /// <summary>Makes an experiment, or completes the one of this name. May be repeated.</summary>
    /// <exception cref="SlipwayException">The server's refusal.</exception>
    public Task<PutExperimentResult> PutExperimentAsync(PutExperiment experiment, CancellationToken cancellationToken) =>
        PutAsync<PutExperimentResult>("experiments", experiment, cancellationToken);

    /// <summary>Makes the run of this id, or completes it. May be repeated.</summary>
    /// <param name="runId">32 hexadecimal digits in lower case.</param>
    /// <param name="run">What to set; null leaves a value as it is.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <exception cref="SlipwayException">The server's refusal, such as of a parameter that has another value already.</exception>
    public Task<PutRunResult> PutRunAsync(string runId, PutRun run, CancellationToken cancellationToken) =>
        PutAsync<PutRunResult>($"runs/{runId}", run, cancellationToken);

    /// <summary>Adds metric points in one stream of any length. May be repeated: a point that is there already is not doubled.</summary>
    /// <returns>How many points the server took.</returns>
    /// <exception cref="SlipwayException">The server's refusal.</exception>
    public async Task<long> AddMetricsAsync(string runId, IAsyncEnumerable<MetricPoint> points, CancellationToken cancellationToken) =>
        (await SendAsync<PostMetricsResult>(HttpMethod.Post, $"runs/{runId}/metrics", new MetricContent(points), cancellationToken)).Points;

    /// <summary>Adds metric points; see the other overload.</summary>
    public Task<long> AddMetricsAsync(string runId, IEnumerable<MetricPoint> points, CancellationToken cancellationToken) =>
        AddMetricsAsync(runId, points.ToAsyncEnumerable(), cancellationToken);

    /// <summary>How many points each metric of a run has on the server.</summary>
    /// <exception cref="SlipwayException">NotFound: the run.</exception>
    public async Task<IReadOnlyList<MetricCount>> CountMetricsAsync(string runId, CancellationToken cancellationToken) =>
        (await GetAsync<MetricCountList>($"runs/{Uri.EscapeDataString(runId)}/metrics", cancellationToken)).Metrics;

    /// <summary>Records datasets that a run used. May be repeated.</summary>
    /// <exception cref="SlipwayException">The server's refusal.</exception>
    public Task AddInputsAsync(string runId, IReadOnlyList<RunInput> inputs, CancellationToken cancellationToken) =>
        PostAsync<object?>($"runs/{runId}/inputs", new PostInputs(inputs), cancellationToken);

    /// <summary>Records where a run is computed. May be repeated.</summary>
    /// <exception cref="SlipwayException">The server's refusal.</exception>
    public Task SetEnvironmentAsync(string runId, RunEnvironment environment, CancellationToken cancellationToken) =>
        SendAsync<object?>(HttpMethod.Put, $"runs/{runId}/environment", JsonContent.Create(environment, options: JsonDefaults.Options), cancellationToken);

    /// <summary>Stores a file of a run; the same path again replaces it.</summary>
    /// <param name="runId">The run.</param>
    /// <param name="path">Relative, with '/'.</param>
    /// <param name="content">Read once, from where it stands.</param>
    /// <param name="progress">Bytes sent so far; null when nobody looks.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>The stored file with its SHA-256.</returns>
    /// <exception cref="SlipwayException">The server's refusal.</exception>
    public Task<RunArtifact> PutArtifactAsync(string runId, string path, Stream content, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        var body = new StreamContent(progress is null ? content : new ProgressStream(content, progress), 128 * 1024);
        body.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        return SendAsync<RunArtifact>(HttpMethod.Put, $"runs/{runId}/artifacts/{string.Join('/', path.Split('/').Select(Uri.EscapeDataString))}", body, cancellationToken);
    }

    /// <summary>The whole record of a run.</summary>
    /// <exception cref="SlipwayException">NotFound: the run.</exception>
    public Task<RunRecord> GetRunAsync(string runId, CancellationToken cancellationToken) =>
        GetAsync<RunRecord>($"runs/{Uri.EscapeDataString(runId)}", cancellationToken);

    /// <summary>Compares the configuration files of two runs: what they hold under <c>config/</c>.</summary>
    /// <exception cref="SlipwayException">NotFound: a run.</exception>
    public Task<ConfigComparison> CompareConfigAsync(string runA, string runB, CancellationToken cancellationToken) =>
        GetAsync<ConfigComparison>($"runs/compare-config?run_id={Uri.EscapeDataString(runA)}&run_id={Uri.EscapeDataString(runB)}", cancellationToken);

    /// <summary>Sends what may be sent again, and tells failures apart instead of throwing.</summary>
    internal async Task<SendResult> TrySendAsync(HttpMethod method, string path, HttpContent content, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(method, new Uri($"/api/slipway/v1/{path}", UriKind.Relative)) { Content = content };
        try
        {
            using var response = await _http.SendAsync(request, cancellationToken);
            if (response.IsSuccessStatusCode)
            {
                return default;
            }

            var refusal = await FailureAsync(response, cancellationToken);
            return (int)response.StatusCode is 408 or 429 or (>= 500 and not 501)
                ? new SendResult(null, $"The server at {Server} asks to come later: {refusal.Message}", RetryAfter(response))
                : new SendResult(refusal);
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            return new SendResult(null, $"No Slipway server answers at {Server}.");
        }
    }

    private static TimeSpan? RetryAfter(HttpResponseMessage response) => response.Headers.RetryAfter switch
    {
        { Delta: { } wait } => wait,
        { Date: { } at } => at - TimeProvider.System.GetUtcNow() is { Ticks: > 0 } wait ? wait : TimeSpan.Zero,
        _ => null,
    };
}
