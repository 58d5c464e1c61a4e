using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Registry.External;

/// <summary>
/// Calls the one MLflow server of the settings. Paths are made here, never taken from an answer; redirects are not followed and no
/// proxy is asked, so that nothing the server says can lead a call, or the credentials, elsewhere.
/// </summary>
internal sealed class MlflowServer : IDisposable
{
    private const string Api = "api/2.0/mlflow/";
    private const int ModelsPerPage = 100; // Each brings its latest versions along.
    private const long AnswerBytesMax = 64 << 20;
    private const int PagesMax = 100_000;

    private readonly ExternalRegistryOptions _options;
    private readonly HttpClient _http;
    private volatile string? _fault;

    public MlflowServer(ExternalRegistryOptions options)
    {
        _options = options;
        _http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.All,
            ConnectTimeout = TimeSpan.FromSeconds(5),
            PooledConnectionLifetime = TimeSpan.FromMinutes(5), // So that a changed DNS entry is heard of.
        })
        {
            BaseAddress = options.Address,
            Timeout = Timeout.InfiniteTimeSpan, // Each call has its own.
            MaxResponseContentBufferSize = AnswerBytesMax,
        };
        _http.DefaultRequestHeaders.Authorization = options.Authorization;
    }

    /// <summary>What the last call failed with; null when the server answered it.</summary>
    public string? Fault => _fault;

    public IAsyncEnumerable<IReadOnlyList<ExternalVersion>> VersionPagesAsync(string? model, string orderBy, int perPage, CancellationToken cancellationToken) =>
        PagesAsync<ExternalVersionPage, ExternalVersion>(
            $"{Api}model-versions/search?max_results={perPage}{(model is null ? "" : $"&filter={Uri.EscapeDataString($"name = {Quoted(model)}")}")}{orderBy}",
            page => page.ModelVersions, page => page.NextPageToken, cancellationToken);

    public IAsyncEnumerable<IReadOnlyList<ExternalModel>> ModelPagesAsync(string orderBy, CancellationToken cancellationToken) =>
        PagesAsync<ExternalModelPage, ExternalModel>(
            $"{Api}registered-models/search?max_results={ModelsPerPage}{orderBy}", page => page.RegisteredModels, page => page.NextPageToken, cancellationToken);

    /// <summary>Null when the server has no such model.</summary>
    public async Task<ExternalModel?> FindModelAsync(string model, CancellationToken cancellationToken) =>
        (await FindAsync<ExternalModelAnswer>($"{Api}registered-models/get?name={Uri.EscapeDataString(model)}", cancellationToken))?.RegisteredModel;

    /// <summary>Null when the server has no such version.</summary>
    public async Task<ExternalVersion?> FindVersionAsync(string model, int number, CancellationToken cancellationToken) =>
        (await FindAsync<ExternalVersionAnswer>($"{Api}model-versions/get?{Version(model, number)}", cancellationToken))?.ModelVersion;

    /// <summary>Null when the server has no such run.</summary>
    public async Task<MlflowRun?> FindRunAsync(string runId, CancellationToken cancellationToken) =>
        (await FindAsync<ExternalRunAnswer>($"{Api}runs/get?run_id={Uri.EscapeDataString(runId)}", cancellationToken))?.Run;

    /// <summary>Null when the server has no such experiment.</summary>
    public async Task<MlflowExperiment?> FindExperimentAsync(string experimentId, CancellationToken cancellationToken) =>
        (await FindAsync<ExternalExperimentAnswer>($"{Api}experiments/get?experiment_id={Uri.EscapeDataString(experimentId)}", cancellationToken))?.Experiment;

    /// <summary>Where the version's files are; null when the server does not say.</summary>
    public async Task<string?> FindDownloadUriAsync(string model, int number, CancellationToken cancellationToken) =>
        (await FindAsync<ExternalUriAnswer>($"{Api}model-versions/get-download-uri?{Version(model, number)}", cancellationToken))?.ArtifactUri;

    /// <summary>One folder of a run.</summary>
    public IAsyncEnumerable<IReadOnlyList<MlflowFile>> RunFilePagesAsync(string runId, string folder, CancellationToken cancellationToken) =>
        PagesAsync<ExternalFilePage, MlflowFile>(
            $"{Api}artifacts/list?run_id={Uri.EscapeDataString(runId)}{(folder.Length == 0 ? "" : $"&path={Uri.EscapeDataString(folder)}")}",
            page => page.Files, page => page.NextPageToken, cancellationToken);

    /// <summary>One folder below the server's artifact root; paths are names within it.</summary>
    public async Task<IReadOnlyList<MlflowFile>> StoredFilesAsync(string folder, CancellationToken cancellationToken) =>
        (await FindAsync<ExternalFilePage>($"api/2.0/mlflow-artifacts/artifacts?path={Uri.EscapeDataString(folder)}", cancellationToken))?.Files ?? [];

    /// <summary>Reads a file of a run.</summary>
    public Task ReadRunFileAsync(string runId, string path, Func<Stream, CancellationToken, Task> read, CancellationToken cancellationToken) =>
        ReadFileAsync($"get-artifact?run_uuid={Uri.EscapeDataString(runId)}&path={Uri.EscapeDataString(path)}", read, cancellationToken);

    /// <summary>Reads a file below the server's artifact root.</summary>
    public Task ReadStoredFileAsync(string path, Func<Stream, CancellationToken, Task> read, CancellationToken cancellationToken) =>
        ReadFileAsync($"api/2.0/mlflow-artifacts/artifacts/{string.Join('/', path.Split('/').Select(Uri.EscapeDataString))}", read, cancellationToken);

    public Task TransitionAsync(string model, int number, string stage, CancellationToken cancellationToken) =>
        WriteAsync(HttpMethod.Post, "model-versions/transition-stage", new { name = model, version = Text(number), stage, archive_existing_versions = false }, cancellationToken);

    public Task SetVersionTagAsync(string model, int number, string key, string value, CancellationToken cancellationToken) =>
        WriteAsync(HttpMethod.Post, "model-versions/set-tag", new { name = model, version = Text(number), key, value }, cancellationToken);

    public Task SetAliasAsync(string model, string alias, int number, CancellationToken cancellationToken) =>
        WriteAsync(HttpMethod.Post, "registered-models/alias", new { name = model, alias, version = Text(number) }, cancellationToken);

    public Task DeleteAliasAsync(string model, string alias, CancellationToken cancellationToken) =>
        WriteAsync(HttpMethod.Delete, "registered-models/alias", new { name = model, alias }, cancellationToken);

    public void Dispose() => _http.Dispose();

    /// <summary>Whether a filter can name the model: MLflow's grammar has two quotes and no escape.</summary>
    public static bool CanName(string model) => !model.Contains('\'', StringComparison.Ordinal) || !model.Contains('"', StringComparison.Ordinal);

    private static string Quoted(string model) => model.Contains('\'', StringComparison.Ordinal) ? $"\"{model}\"" : $"'{model}'";

    private static string Version(string model, int number) => $"name={Uri.EscapeDataString(model)}&version={Text(number)}";

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private async IAsyncEnumerable<IReadOnlyList<TItem>> PagesAsync<TPage, TItem>(
        string path, Func<TPage, IReadOnlyList<TItem>?> items, Func<TPage, string?> next, [EnumeratorCancellation] CancellationToken cancellationToken)
        where TPage : class
    {
        string? token = null;
        var pages = 0;
        do
        {
            if (++pages > PagesMax)
            {
                throw new SlipwayException(ErrorCode.Unavailable, $"The MLflow server at {_options.Address} answers {path.Split('?')[0]} with more than {PagesMax} pages.");
            }

            var page = await SendAsync<TPage>(HttpMethod.Get, token is null ? path : $"{path}&page_token={Uri.EscapeDataString(token)}", null, cancellationToken);
            yield return items(page) ?? [];
            // A server that answers its own token would be asked for ever.
            token = next(page) is { Length: > 0 } following && following != token ? following : null;
        }
        while (token is not null);
    }

    private async Task<T?> FindAsync<T>(string path, CancellationToken cancellationToken)
        where T : class
    {
        try
        {
            return await SendAsync<T>(HttpMethod.Get, path, null, cancellationToken);
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound)
        {
            return null;
        }
    }

    private Task<JsonElement> WriteAsync(HttpMethod method, string path, object body, CancellationToken cancellationToken) =>
        SendAsync<JsonElement>(method, Api + path, body, cancellationToken);

    private async Task ReadFileAsync(string path, Func<Stream, CancellationToken, Task> read, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_options.FileTimeout);
        await CallAsync(path, async () =>
        {
            using var response = await _http.GetAsync(new Uri(path, UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, limit.Token);
            if (!response.IsSuccessStatusCode)
            {
                throw await RefusalAsync(path, response, limit.Token);
            }

            await read(await response.Content.ReadAsStreamAsync(limit.Token), limit.Token);
            return true;
        }, cancellationToken);
    }

    private async Task<T> SendAsync<T>(HttpMethod method, string path, object? body, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_options.CallTimeout);
        return await CallAsync(path, async () =>
        {
            using var request = new HttpRequestMessage(method, new Uri(path, UriKind.Relative));
            // With its length: MLflow's WSGI servers do not all read a body in chunks.
            request.Content = body is null ? null : new StringContent(JsonSerializer.Serialize(body, body.GetType(), MlflowJson.Options), Encoding.UTF8, "application/json");
            using var response = await _http.SendAsync(request, limit.Token);
            return response.IsSuccessStatusCode
                ? (await response.Content.ReadFromJsonAsync<T>(MlflowJson.Options, limit.Token))!
                : throw await RefusalAsync(path, response, limit.Token);
        }, cancellationToken);
    }

    private async Task<T> CallAsync<T>(string path, Func<Task<T>> call, CancellationToken cancellationToken)
    {
        try
        {
            var answer = await call();
            _fault = null;
            return answer;
        }
        catch (SlipwayException e)
        {
            _fault = e.Code is ErrorCode.Unavailable ? e.Message : null; // A refusal is an answer.
            throw;
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            _fault = $"The MLflow server at {_options.Address} cannot be reached: {(e is OperationCanceledException ? "no answer in time" : e.Message.TrimEnd('.'))}.";
            throw new SlipwayException(ErrorCode.Unavailable, _fault, e);
        }
        catch (JsonException e)
        {
            _fault = $"{_options.Address} is not an MLflow server: {path.Split('?')[0]} did not answer in its JSON.";
            throw new SlipwayException(ErrorCode.Unavailable, _fault, e);
        }
    }

    private async Task<SlipwayException> RefusalAsync(string path, HttpResponseMessage response, CancellationToken cancellationToken)
    {
        // Of a file only the headers were awaited, so that its refusal has no limit of its own.
        await response.Content.LoadIntoBufferAsync(AnswerBytesMax, cancellationToken);
        var text = await response.Content.ReadAsStringAsync(cancellationToken);
        ExternalError? error = null;
        try
        {
            error = JsonSerializer.Deserialize<ExternalError>(text, MlflowJson.Options);
        }
        catch (JsonException)
        {
            // A proxy's page.
        }

        var code = response.StatusCode switch
        {
            // With wrong credentials nothing can be said about the thing asked for.
            HttpStatusCode.Unauthorized => ErrorCode.Unavailable,
            HttpStatusCode.Forbidden => ErrorCode.PermissionDenied,
            HttpStatusCode.NotFound when error?.ErrorCode is "ENDPOINT_NOT_FOUND" => ErrorCode.NotImplemented,
            HttpStatusCode.NotFound when error?.ErrorCode is not null => ErrorCode.NotFound,
            HttpStatusCode.NotFound or HttpStatusCode.NotImplemented or HttpStatusCode.MethodNotAllowed => ErrorCode.NotImplemented,
            HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout or >= HttpStatusCode.InternalServerError => ErrorCode.Unavailable,
            < HttpStatusCode.BadRequest => ErrorCode.Unavailable, // A redirect, which is not followed.
            _ => ErrorCode.InvalidArgument,
        };
        var said = (error?.Message ?? text).ReplaceLineEndings(" ");
        return new SlipwayException(code,
            $"The MLflow server at {_options.Address} answered {(int)response.StatusCode} to {path.Split('?')[0]}{(said.Length == 0 ? "" : $": {(said.Length > 300 ? said[..300] + "…" : said)}")}");
    }
}
