using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Client.Runs;

/// <summary>
/// A run that this process computes. What is logged waits in memory for at most <see cref="RunOptions.FlushInterval"/>, then it is
/// on disk, and from there it goes to the server; no call waits for the network, and none fails because of it. All members may be
/// called from any thread.
/// </summary>
public sealed class ActiveRun : IAsyncDisposable
{
    // The names as they are in the source; infinities and NaN by name, because training uses them.
    private static readonly JsonSerializerOptions ConfigJson = new() { WriteIndented = true, NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals };

    private readonly RunOptions _options;
    private readonly SlipwayClient _client;
    private readonly RunPump _pump;
    private readonly FoldSummary _folds = new();
    private readonly Lock _lock = new();
    private readonly Dictionary<string, string> _parameters = new(StringComparer.Ordinal);
    private readonly List<string> _leftOut = [];
    private Task _environment = Task.CompletedTask;
    private SystemMetrics? _systemMetrics;
    private LibraryMetrics? _libraryMetrics;
    private string? _failure;
    private Task<bool>? _end;

    private ActiveRun(SlipwayClient client, string experiment, string runId, RunOptions options, RunPump pump)
    {
        _client = client;
        Experiment = experiment;
        Id = runId;
        _options = options;
        _pump = pump;
    }

    /// <summary>32 hexadecimal digits.</summary>
    public string Id { get; }

    /// <summary>Name of its experiment.</summary>
    public string Experiment { get; }

    /// <summary>The file that holds what the server does not have yet. It goes when the run has ended and the server has all of it.</summary>
    public string JournalPath => _pump.JournalPath;

    /// <summary>Points that could be kept neither in memory nor on disk, because the disk was full for long; 0 otherwise.</summary>
    public long DroppedPoints => _pump.DroppedPoints;

    /// <summary>Logs a value that decides how the run goes; it cannot change afterwards.</summary>
    /// <exception cref="ArgumentException">The name is not one a parameter may have.</exception>
    /// <exception cref="SlipwayException">InvalidArgument: this run has logged another value under the name.</exception>
    public void LogParameter(string key, object? value)
    {
        Check("param", key);
        var text = Text(value);
        lock (_lock)
        {
            if (_parameters.TryGetValue(key, out var old))
            {
                if (old != text)
                {
                    throw new SlipwayException(ErrorCode.InvalidArgument,
                        $"Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' for run ID='{Id}'. Attempted logging new value '{text}'.");
                }

                return;
            }

            _parameters.Add(key, text);
        }

        _pump.AddParameter(key, text);
    }

    /// <summary>Logs several parameters; see <see cref="LogParameter"/>.</summary>
    public void LogParameters(IEnumerable<KeyValuePair<string, object?>> parameters)
    {
        foreach (var (key, value) in parameters)
        {
            LogParameter(key, value);
        }
    }

    /// <summary>Logs one point of a metric's curve, now. Takes well under a microsecond and allocates nothing.</summary>
    /// <param name="key">At most 250 letters, digits, '_', '-', '.', ' ', ':' and '/'.</param>
    /// <param name="value">Any number, NaN and infinities too.</param>
    /// <param name="step">Where on the curve.</param>
    /// <exception cref="ArgumentException">The name is not one a metric may have.</exception>
    /// <exception cref="ObjectDisposedException">The run has ended.</exception>
    public void LogMetric(string key, double value, long step = 0) => _pump.AddMetric(key, value, _options.Clock.GetUtcNow().ToUnixTimeMilliseconds(), step);

    /// <summary>Logs one point of a metric's curve at a given time.</summary>
    public void LogMetric(string key, double value, long step, DateTimeOffset at)
    {
        var ms = at.ToUnixTimeMilliseconds();
        ArgumentOutOfRangeException.ThrowIfNegative(ms, nameof(at));
        _pump.AddMetric(key, value, ms, step);
    }

    /// <summary>Logs one fold of a cross-validation: <c>metric.fold</c> at step <paramref name="fold"/>, and the folds' <c>metric.mean</c> and <c>metric.std</c> (of the sample) so far.</summary>
    /// <param name="metric">The metric.</param>
    /// <param name="fold">From 0. The same fold again takes the place of the one before.</param>
    /// <param name="value">Its value on that fold.</param>
    public void LogFold(string metric, int fold, double value)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(fold);
        var (folds, mean, std) = _folds.Add(metric, fold, value);
        LogMetric($"{metric}.fold", value, fold);
        LogMetric($"{metric}.mean", mean, folds);
        if (std is { } known)
        {
            LogMetric($"{metric}.std", known, folds);
        }
    }

    /// <summary>Sets a tag; it may change.</summary>
    /// <exception cref="ArgumentException">The name is not one a tag may have.</exception>
    public void SetTag(string key, string value)
    {
        Check("tag", key);
        _pump.AddTag(key, value);
    }

    /// <summary>Sets the run's note, in Markdown.</summary>
    public void SetNote(string markdown) => SetTag(RunRecord.NoteTag, markdown);

    /// <summary>Records a dataset that the run uses. A run without one is flagged and cannot feed a promotion.</summary>
    public void LogInput(RunInput dataset)
    {
        ArgumentException.ThrowIfNullOrEmpty(dataset.Name);
        ArgumentException.ThrowIfNullOrEmpty(dataset.Digest);
        _pump.AddInput(dataset);
    }

    /// <summary>Stores a file, or a folder with all in it. Returns when a copy is on disk beside the journal; the server gets it from there.</summary>
    /// <param name="path">The file or folder here.</param>
    /// <param name="artifactPath">Its path in the run; null for its own name.</param>
    /// <param name="cancellationToken">Ends the copying.</param>
    /// <returns>False when a file was left out because of <see cref="AutoLogOptions.ArtifactBytesMax"/>.</returns>
    /// <exception cref="ArgumentException">The path in the run is not relative and clean.</exception>
    /// <exception cref="FileNotFoundException">There is nothing at <paramref name="path"/>.</exception>
    public async Task<bool> LogArtifactAsync(string path, string? artifactPath = null, CancellationToken cancellationToken = default)
    {
        var name = artifactPath ?? Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)));
        if (Directory.Exists(path))
        {
            var all = true;
            foreach (var file in Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            {
                all &= await LogArtifactAsync(file, $"{name}/{Path.GetRelativePath(path, file).Replace('\\', '/')}", cancellationToken);
            }

            return all;
        }

        await using var content = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1, FileOptions.Asynchronous | FileOptions.SequentialScan);
        return await LogArtifactAsync(name, content, cancellationToken);
    }

    /// <summary>Stores what a stream holds as a file of the run; see the other overload.</summary>
    public async Task<bool> LogArtifactAsync(string artifactPath, Stream content, CancellationToken cancellationToken = default)
    {
        CheckPath(artifactPath);
        if (await _pump.AddFileAsync(artifactPath, content, _options.AutoLog.ArtifactBytesMax, cancellationToken))
        {
            return true;
        }

        lock (_lock)
        {
            _leftOut.Add(artifactPath);
            SetTag("slipway.artifacts_left_out", string.Join(", ", _leftOut));
        }

        _pump.Tell($"'{artifactPath}' is larger than {_options.AutoLog.ArtifactBytesMax} bytes and was left out of run {Id}; raise AutoLogOptions.ArtifactBytesMax to keep such files.");
        return false;
    }

    /// <summary>Stores a text as a file of the run.</summary>
    public Task<bool> LogTextAsync(string artifactPath, string text, CancellationToken cancellationToken = default) =>
        LogArtifactAsync(artifactPath, new MemoryStream(Encoding.UTF8.GetBytes(text)), cancellationToken);

    /// <summary>Stores a configuration file under <c>config</c>, where runs are compared by it value by value.</summary>
    /// <param name="path">A file (JSON, YAML, TOML, any text), or a folder of them.</param>
    /// <param name="cancellationToken">Ends the copying.</param>
    /// <returns>False when it was too large.</returns>
    /// <exception cref="FileNotFoundException">There is nothing at <paramref name="path"/>.</exception>
    public Task<bool> LogConfigAsync(string path, CancellationToken cancellationToken = default) =>
        LogArtifactAsync(path, ConfigComparison.Folder + Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path))), cancellationToken);

    /// <summary>Stores an object's properties as JSON under <c>config</c>; see the other overload.</summary>
    /// <param name="name">Name of the file; <c>.json</c> is added when it has no other ending.</param>
    /// <param name="config">Anything that <see cref="JsonSerializer"/> writes, such as an options class or a dictionary.</param>
    /// <param name="cancellationToken">Ends the copying.</param>
    /// <returns>False when it was too large.</returns>
    public Task<bool> LogConfigAsync(string name, object config, CancellationToken cancellationToken = default) =>
        LogTextAsync(ConfigComparison.Folder + (Path.HasExtension(name) ? name : name + ".json"), JsonSerializer.Serialize(config, config.GetType(), ConfigJson), cancellationToken);

    /// <summary>Stores a model's file or folder under <c>model</c>, unless <see cref="AutoLogOptions.Models"/> is off.</summary>
    /// <returns>False when models are off, or the file was too large.</returns>
    public Task<bool> LogModelAsync(string path, string name = "model", CancellationToken cancellationToken = default) =>
        _options.AutoLog.Models ? LogArtifactAsync(path, Directory.Exists(path) ? name : $"{name}/{Path.GetFileName(path)}", cancellationToken) : Task.FromResult(false);

    /// <summary>Marks the run as failed; it ends as such when it is disposed.</summary>
    /// <param name="reason">Why, for those who look at the run.</param>
    public void Fail(string reason)
    {
        _failure = string.IsNullOrWhiteSpace(reason) ? "No reason was given." : reason;
        SetTag(RunRecord.FailureReasonTag, _failure);
    }

    /// <summary>Marks the run as failed by an exception, whose text with its stack becomes the file <c>failure.txt</c>.</summary>
    public async Task FailAsync(Exception exception)
    {
        Fail($"{exception.GetType().Name}: {exception.Message}");
        await LogTextAsync("failure.txt", exception.ToString(), CancellationToken.None);
    }

    /// <summary>Starts a run that is a part of this one.</summary>
    public Task<ActiveRun> StartChildAsync(string? name = null, RunOptions? options = null, CancellationToken cancellationToken = default) =>
        _client.StartRunAsync(Experiment, (options ?? _options with { RunId = null, Tags = null, SystemMetrics = false }) with { Name = name ?? options?.Name, Parent = this, ParentRunId = null }, cancellationToken);

    /// <summary>Returns when all that was logged before is on disk: neither SIGKILL nor, where the disk keeps its word, loss of power can take it then.</summary>
    public Task FlushAsync(CancellationToken cancellationToken = default) => Task.Run(() => _pump.Flush(toDisk: true), cancellationToken);

    /// <summary>Ends the run, finished or as <see cref="Fail"/> said, and waits until the server has all of it. When it does not answer, the journal stays and a problem is told.</summary>
    public async ValueTask DisposeAsync() => await EndAsync(RunStatus.Finished, null, _options.EndTimeout);

    /// <summary>Ends the run once; later calls wait for the first.</summary>
    /// <returns>Whether the server has all of it.</returns>
    internal Task<bool> EndAsync(RunStatus status, string? reason, TimeSpan limit)
    {
        lock (_lock)
        {
            return _end ??= EndOnceAsync(status, reason, limit);
        }
    }

    /// <summary>Writes the end to the journal and nothing more: the process is dying.</summary>
    internal void EndInJournal(RunStatus status, string reason) => _pump.Close(End(status, reason));

    internal void FlushNow() => _pump.Flush(toDisk: true);

    internal static async Task<ActiveRun> StartAsync(SlipwayClient client, string experiment, RunOptions options, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(experiment);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.FlushInterval, TimeSpan.FromMilliseconds(10));
        var runId = options.RunId ?? Guid.NewGuid().ToString("N");
        if (runId.Length != 32 || !runId.All(char.IsAsciiHexDigitLower))
        {
            throw new ArgumentException($"RunOptions.RunId must be 32 hexadecimal digits in lower case, not '{runId}'.", nameof(options));
        }

        var tags = new Dictionary<string, string>(options.Tags ?? new Dictionary<string, string>(), StringComparer.Ordinal);
        foreach (var key in tags.Keys)
        {
            Check("tag", key);
        }

        if (options.AutoLog.Source)
        {
            tags.TryAdd("mlflow.user", Environment.UserName);
            tags.TryAdd("mlflow.source.name", Path.GetFileName(Environment.ProcessPath ?? "dotnet"));
            tags.TryAdd("mlflow.source.type", "LOCAL");
        }

        var first = new PutRun
        {
            ExperimentName = experiment,
            Name = options.Name,
            UserId = options.AutoLog.Source ? Environment.UserName : null,
            Status = RunStatus.Running,
            StartTimeMs = options.RunId is null ? options.Clock.GetUtcNow().ToUnixTimeMilliseconds() : null, // One that goes on began before.
            ParentRunId = options.Parent?.Id ?? options.ParentRunId,
            Tags = tags,
        };
        var pump = await RunPump.StartAsync(client, runId, first, options, cancellationToken);
        var run = new ActiveRun(client, experiment, runId, options, pump);
        LiveRuns.Add(run);
        run.StartCaptures();
        return run;
    }

    private void StartCaptures()
    {
        if (_options.AutoLog.Environment)
        {
            // In a large checkout git takes its time; training need not wait for it.
            _environment = Task.Run(() => _pump.AddLine(new JournalLine { Environment = RunEnvironment.Capture(_options.AutoLog.Git ? Environment.CurrentDirectory : null, _options.Seed) }));
        }

        if (_options.SystemMetrics)
        {
            _systemMetrics = new SystemMetrics((key, value, step) => LogMetric(key, value, step), _options.SystemMetricsInterval, _options.Clock);
        }

        if (_options.AutoLog.Libraries.Count > 0)
        {
            _libraryMetrics = new LibraryMetrics(_options.AutoLog.Libraries, (key, value, step) => LogMetric(key, value, step), _options.SystemMetricsInterval, _options.Clock);
        }
    }

    private async Task<bool> EndOnceAsync(RunStatus status, string? reason, TimeSpan limit)
    {
        if (_systemMetrics is not null)
        {
            await _systemMetrics.DisposeAsync();
        }

        if (_libraryMetrics is not null)
        {
            await _libraryMetrics.DisposeAsync();
        }

        await _environment;
        var all = await _pump.EndAsync(_failure is null ? End(status, reason) : End(RunStatus.Failed, null), limit);
        LiveRuns.Remove(this);
        return all;
    }

    private PutRun End(RunStatus status, string? reason) => new()
    {
        Status = status,
        EndTimeMs = _options.Clock.GetUtcNow().ToUnixTimeMilliseconds(),
        Tags = reason is null ? null : new Dictionary<string, string> { [RunRecord.FailureReasonTag] = reason },
    };

    private static void Check(string what, string key)
    {
        if (RunKeys.Fault(what, key) is { } fault)
        {
            throw new ArgumentException(fault, nameof(key));
        }
    }

    // The server decides; this only tells early what it would refuse late.
    private static void CheckPath(string path)
    {
        if (string.IsNullOrEmpty(path) || path.Length > 1000 || path.Contains('\\', StringComparison.Ordinal) || path.Any(char.IsControl) || path.Split('/').Any(part => part is "" or "." or ".."))
        {
            throw new ArgumentException($"The path '{path}' in the run must be relative, with '/' between its parts, and without empty, '.' or '..' parts.", nameof(path));
        }
    }

    private static string Text(object? value) => value switch
    {
        null => "None",
        double number => number.ToString("R", CultureInfo.InvariantCulture),
        _ => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "",
    };
}
