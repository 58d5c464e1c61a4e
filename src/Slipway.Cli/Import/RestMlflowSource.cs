using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Cli.Import;

/// <summary>A live MLflow server, read through its REST API; what it refuses for the moment is asked for again.</summary>
/// <remarks>
/// Credentials are MLflow's own: <c>user:password@</c> in the address, else MLFLOW_TRACKING_TOKEN, else MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
/// </remarks>
internal sealed class RestMlflowSource : IMlflowSource, IArtifactSource
{
    private const int RunsPerPage = 200;
    private const int PointsPerPage = 25_000; // MLflow's own limit.
    private const int AttemptsMax = 6;

    private readonly HttpClient _http;
    private readonly TimeSpan _firstPause;
    private IReadOnlyList<SourceExperiment>? _experiments;

    private RestMlflowSource(HttpClient http, TimeSpan firstPause)
    {
        _http = http;
        _firstPause = firstPause;
    }

    public string Description { get; private set; } = "";

    /// <summary>Connects to the server and asks it for its first experiment.</summary>
    /// <exception cref="SlipwayException">Unavailable: nothing answers; InvalidArgument: no MLflow server; Unauthenticated; PermissionDenied.</exception>
    public static async Task<RestMlflowSource> OpenAsync(Uri address, TimeSpan firstPause, CancellationToken ct)
    {
        var http = new HttpClient(new SocketsHttpHandler { UseProxy = false, PooledConnectionLifetime = TimeSpan.FromMinutes(5), AutomaticDecompression = DecompressionMethods.All })
        {
            BaseAddress = new UriBuilder(address) { UserName = "", Password = "", Path = address.AbsolutePath.TrimEnd('/') + "/", Query = "", Fragment = "" }.Uri,
            Timeout = TimeSpan.FromMinutes(10),
        };
        http.DefaultRequestHeaders.Authorization = Credentials(address);
        var source = new RestMlflowSource(http, firstPause);
        try
        {
            await source.SendAsync<SearchExperimentsResponse>("api/2.0/mlflow/experiments/search", new SearchExperimentsRequest(1, null, null, null, "ALL"), ct);
            source.Description = $"MLflow server at {http.BaseAddress.GetLeftPart(UriPartial.Path)}{await source.VersionAsync(ct)}";
            return source;
        }
        catch
        {
            await source.DisposeAsync();
            throw;
        }
    }

    /// <summary>Only what can be counted without reading the runs.</summary>
    public async Task<IReadOnlyDictionary<string, long>> CountAsync(CancellationToken ct)
    {
        var experiments = await ExperimentsAsync(ct);
        var counts = new Dictionary<string, long>(StringComparer.Ordinal)
        {
            [Kinds.Experiments] = experiments.Count,
            [Kinds.ExperimentTags] = experiments.Sum(experiment => experiment.Tags.Count),
        };
        await CountPagesAsync(counts, Kinds.RegisteredModels, "api/2.0/mlflow/registered-models/search?max_results=1000", "registered_models", null, ct);
        await CountPagesAsync(counts, Kinds.ModelVersions, "api/2.0/mlflow/model-versions/search?max_results=10000", "model_versions", null, ct);
        foreach (var experiment in experiments)
        {
            await CountPagesAsync(
                counts, Kinds.LoggedModels, "api/2.0/mlflow/logged-models/search", "models",
                token => new { experiment_ids = new[] { experiment.Id }, max_results = 50, page_token = token }, ct);
            await CountPagesAsync(counts, Kinds.Traces, $"api/2.0/mlflow/traces?experiment_ids={experiment.Id}&max_results=500", "traces", null, ct);
        }

        return counts;
    }

    public async Task<IReadOnlyList<SourceExperiment>> ExperimentsAsync(CancellationToken ct)
    {
        if (_experiments is not null)
        {
            return _experiments;
        }

        var all = new List<SourceExperiment>();
        string? token = null;
        do
        {
            var page = await SendAsync<SearchExperimentsResponse>(
                "api/2.0/mlflow/experiments/search", new SearchExperimentsRequest(1000, token, null, ["experiment_id ASC"], "ALL"), ct);
            all.AddRange((page.Experiments ?? []).Select(experiment => new SourceExperiment(
                experiment.ExperimentId, experiment.Name, experiment.LifecycleStage == "deleted", Time(experiment.CreationTime), Time(experiment.LastUpdateTime),
                experiment.ArtifactLocation, Pairs(experiment.Tags))));
            token = page.NextPageToken;
        }
        while (!string.IsNullOrEmpty(token));
        return _experiments = all;
    }

    public async IAsyncEnumerable<IReadOnlyList<SourceRun>> RunPagesAsync([EnumeratorCancellation] CancellationToken ct)
    {
        foreach (var experiment in await ExperimentsAsync(ct))
        {
            string? token = null;
            do
            {
                // Oldest first: runs that start meanwhile come at the end and shift no page.
                var page = await SendAsync<SearchRunsResponse>(
                    "api/2.0/mlflow/runs/search", new SearchRunsRequest([experiment.Id], null, "ALL", RunsPerPage, ["attributes.start_time ASC"], token), ct);
                if (page.Runs is { Count: > 0 } runs)
                {
                    yield return [.. runs.Select(Run)];
                }

                token = page.NextPageToken;
            }
            while (!string.IsNullOrEmpty(token));
        }
    }

    public async IAsyncEnumerable<IReadOnlyList<MetricPoint>> PointPagesAsync(SourceRun run, [EnumeratorCancellation] CancellationToken ct)
    {
        foreach (var key in run.Latest.Select(point => point.Key))
        {
            // A server on a file store tells a point as often as it was logged; a database holds it once.
            var seen = new HashSet<(long Step, long AtMs, double Value)>();
            string? token = null;
            do
            {
                var path = $"api/2.0/mlflow/metrics/get-history?run_id={run.RunId}&metric_key={Uri.EscapeDataString(key)}&max_results={PointsPerPage}" +
                    (token is null ? "" : $"&page_token={Uri.EscapeDataString(token)}");
                var page = await SendAsync<MetricHistoryResponse>(path, null, ct);
                var points = (page.Metrics ?? [])
                    .Select(metric => new MetricPoint(key, metric.Value ?? double.NaN, metric.Timestamp ?? 0, metric.Step ?? 0))
                    .Where(point => seen.Add((point.Step, point.TimestampMs, point.Value))).ToList();
                if (points.Count > 0)
                {
                    yield return points;
                }

                token = page.NextPageToken;
            }
            while (!string.IsNullOrEmpty(token));
        }
    }

    public async IAsyncEnumerable<SourceFile> FilesAsync(SourceRun run, [EnumeratorCancellation] CancellationToken ct)
    {
        var folders = new Stack<string>([""]);
        while (folders.TryPop(out var folder))
        {
            string? token = null;
            do
            {
                var path = $"api/2.0/mlflow/artifacts/list?run_id={run.RunId}" + (folder.Length > 0 ? $"&path={Uri.EscapeDataString(folder)}" : "") +
                    (token is null ? "" : $"&page_token={Uri.EscapeDataString(token)}");
                var page = await SendAsync<JsonElement>(path, null, ct);
                foreach (var file in page.TryGetProperty("files", out var files) ? files.Deserialize<List<MlflowFile>>(MlflowJson.Options)! : [])
                {
                    if (file.IsDir)
                    {
                        folders.Push(file.Path);
                    }
                    else
                    {
                        yield return new SourceFile(file.Path, file.FileSize, token => DownloadAsync(run, file.Path, token));
                    }
                }

                token = page.TryGetProperty("next_page_token", out var next) ? next.GetString() : null;
            }
            while (!string.IsNullOrEmpty(token));
        }
    }

    public ValueTask DisposeAsync()
    {
        _http.Dispose();
        return ValueTask.CompletedTask;
    }

    private static AuthenticationHeaderValue? Credentials(Uri address)
    {
        if (address.UserInfo.Length > 0)
        {
            var parts = address.UserInfo.Split(':', 2);
            return Basic(Uri.UnescapeDataString(parts[0]), parts.Length > 1 ? Uri.UnescapeDataString(parts[1]) : "");
        }

        if (Environment.GetEnvironmentVariable("MLFLOW_TRACKING_TOKEN") is { Length: > 0 } token)
        {
            return new AuthenticationHeaderValue("Bearer", token);
        }

        return Environment.GetEnvironmentVariable("MLFLOW_TRACKING_USERNAME") is { Length: > 0 } user
            ? Basic(user, Environment.GetEnvironmentVariable("MLFLOW_TRACKING_PASSWORD") ?? "")
            : null;
    }

    private static AuthenticationHeaderValue Basic(string user, string password) =>
        new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{password}")));

    private static SourceRun Run(MlflowRun run) => new(
        run.Info.RunId ?? run.Info.RunUuid, run.Info.ExperimentId, run.Info.RunName, run.Info.UserId,
        Enum.TryParse<RunStatus>(run.Info.Status, ignoreCase: true, out var status) ? status : RunStatus.Finished,
        Time(run.Info.StartTime), Time(run.Info.EndTime), run.Info.LifecycleStage == "deleted", run.Info.ArtifactUri,
        Pairs(run.Data?.Params), Pairs(run.Data?.Tags), [.. (run.Inputs?.DatasetInputs ?? []).Select(Input)],
        [.. (run.Data?.Metrics ?? []).Select(metric => new MetricPoint(metric.Key ?? "", metric.Value ?? double.NaN, metric.Timestamp ?? 0, metric.Step ?? 0))]);

    private static RunInput Input(MlflowDatasetInput input)
    {
        var tags = Pairs(input.Tags);
        tags.Remove(SqlMlflowSource.ContextTag, out var use);
        var dataset = input.Dataset!;
        return new RunInput(dataset.Name ?? "", dataset.Digest ?? "", dataset.Source ?? "", use, null, dataset.SourceType ?? "", dataset.Schema, dataset.Profile, tags);
    }

    private static Dictionary<string, string> Pairs(IReadOnlyList<MlflowTag>? pairs) =>
        (pairs ?? []).ToDictionary(pair => pair.Key ?? "", pair => pair.Value ?? "", StringComparer.Ordinal);

    // MLflow leaves times out that it does not know; they arrive as zero.
    private static long? Time(long? ms) => ms is > 0 ? ms : null;

    // Adds to the kind's count. Without a body the pages are asked for by GET.
    private async Task CountPagesAsync(Dictionary<string, long> counts, string kind, string path, string list, Func<string?, object>? body, CancellationToken ct)
    {
        string? token = null;
        try
        {
            do
            {
                var page = await SendAsync<JsonElement>(body is not null || token is null ? path : $"{path}&page_token={Uri.EscapeDataString(token)}", body?.Invoke(token), ct);
                counts[kind] = counts.GetValueOrDefault(kind) + (page.TryGetProperty(list, out var items) ? items.GetArrayLength() : 0);
                token = page.TryGetProperty("next_page_token", out var next) ? next.GetString() : null;
            }
            while (!string.IsNullOrEmpty(token));
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound or ErrorCode.NotImplemented)
        {
            // An older server has nothing of the kind.
        }
    }

    private async Task<Stream> DownloadAsync(SourceRun run, string path, CancellationToken ct)
    {
        var response = await _http.GetAsync(
            new Uri($"get-artifact?run_uuid={run.RunId}&path={Uri.EscapeDataString(path)}", UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, ct);
        if (!response.IsSuccessStatusCode)
        {
            using (response)
            {
                throw Refusal("get-artifact", response, await response.Content.ReadAsStringAsync(ct));
            }
        }

        return await response.Content.ReadAsStreamAsync(ct);
    }

    private async Task<string> VersionAsync(CancellationToken ct)
    {
        using var response = await _http.GetAsync(new Uri("version", UriKind.Relative), ct);
        var text = response.IsSuccessStatusCode ? (await response.Content.ReadAsStringAsync(ct)).Trim() : "";
        return text.Length is > 0 and < 20 && char.IsAsciiDigit(text[0]) ? $", version {text}" : "";
    }

    // GET without a body, POST with one.
    private async Task<T> SendAsync<T>(string path, object? body, CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            string reason;
            TimeSpan? asked = null;
            try
            {
                using var request = new HttpRequestMessage(body is null ? HttpMethod.Get : HttpMethod.Post, new Uri(path, UriKind.Relative));
                request.Content = body is null ? null : JsonContent.Create(body, body.GetType(), options: MlflowJson.Options);
                using var response = await _http.SendAsync(request, ct);
                if (response.IsSuccessStatusCode)
                {
                    return (await response.Content.ReadFromJsonAsync<T>(MlflowJson.Options, ct))!;
                }

                reason = $"{(int)response.StatusCode} {response.ReasonPhrase}";
                if (response.StatusCode is not (HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout))
                {
                    throw Refusal(path, response, await response.Content.ReadAsStringAsync(ct));
                }

                asked = response.Headers.RetryAfter?.Delta;
            }
            catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !ct.IsCancellationRequested))
            {
                reason = e.Message; // A cut connection, a refused one, a time limit.
            }
            catch (JsonException e)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"{_http.BaseAddress} is not an MLflow server: {path.Split('?')[0]} did not answer in its JSON.", e);
            }

            if (attempt == AttemptsMax)
            {
                throw new SlipwayException(ErrorCode.Unavailable, $"The MLflow server at {_http.BaseAddress} failed {AttemptsMax} times at {path.Split('?')[0]}: {reason} Run the command again to go on.");
            }

            var pause = asked is { } seconds && seconds < TimeSpan.FromMinutes(1) ? seconds : _firstPause * Math.Pow(2, attempt - 1);
            await Task.Delay(pause, ct);
        }
    }

    private SlipwayException Refusal(string path, HttpResponseMessage response, string text)
    {
        var code = response.StatusCode switch
        {
            HttpStatusCode.Unauthorized => ErrorCode.Unauthenticated,
            HttpStatusCode.Forbidden => ErrorCode.PermissionDenied,
            HttpStatusCode.NotFound => ErrorCode.NotFound,
            HttpStatusCode.NotImplemented or HttpStatusCode.MethodNotAllowed => ErrorCode.NotImplemented,
            >= HttpStatusCode.InternalServerError or HttpStatusCode.TooManyRequests => ErrorCode.Unavailable,
            _ => ErrorCode.InvalidArgument,
        };
        var said = text.Length > 300 ? text[..300] + "…" : text;
        return new SlipwayException(code, string.Create(CultureInfo.InvariantCulture,
            $"The MLflow server at {_http.BaseAddress} answered {(int)response.StatusCode} to {path.Split('?')[0]}: {said.ReplaceLineEndings(" ")}"));
    }
}
