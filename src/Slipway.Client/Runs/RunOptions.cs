namespace Slipway.Client.Runs;

/// <summary>When a run is written to disk only.</summary>
public enum OfflineMode
{
    /// <summary>The server is used while it answers; what it could not take stays on disk.</summary>
    WhenNeeded,

    /// <summary>The server is never asked: <c>slipway sync</c> sends the run later.</summary>
    Always,

    /// <summary>Starting the run fails when the server does not answer. Once started, nothing is lost either.</summary>
    Never,
}

/// <summary>How a run is started.</summary>
public sealed record RunOptions
{
    /// <summary>The run's name; null for one made from its id.</summary>
    public string? Name { get; init; }

    /// <summary>Continues this run, 32 hexadecimal digits in lower case; null for a new one.</summary>
    public string? RunId { get; init; }

    /// <summary>The run this one is a part of; null when it stands alone.</summary>
    public ActiveRun? Parent { get; init; }

    /// <summary>The same by id, for a run of another process.</summary>
    public string? ParentRunId { get; init; }

    /// <summary>First tags.</summary>
    public IReadOnlyDictionary<string, string>? Tags { get; init; }

    /// <summary>Seed of every random choice, kept with the environment; null when none is fixed.</summary>
    public long? Seed { get; init; }

    /// <summary>Whether a server is needed.</summary>
    public OfflineMode Offline { get; init; }

    /// <summary>Folder of the journals; null for SLIPWAY_JOURNALS, else <c>slipway/runs</c> in the user's local data folder.</summary>
    public string? JournalDirectory { get; init; }

    /// <summary>How often what was logged is written to disk and sent; at least 10 ms.</summary>
    public TimeSpan FlushInterval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long the start of a run waits for the server's first answer; then the run goes on without it, where <see cref="Offline"/> lets it.</summary>
    public TimeSpan StartTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long the end of a run waits for a server that takes nothing; then the rest stays on disk.</summary>
    public TimeSpan EndTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Whether processor, memory, disk, network and GPU are sampled as metrics under <c>system/</c>.</summary>
    public bool SystemMetrics { get; init; }

    /// <summary>Time between two samples.</summary>
    public TimeSpan SystemMetricsInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>What is logged without being asked for.</summary>
    public AutoLogOptions AutoLog { get; init; } = new();

    /// <summary>Told, once each, what went wrong without stopping the run, such as a server that does not answer. By default printed to standard error.</summary>
    public Action<string> OnProblem { get; init; } = message => Console.Error.WriteLine($"slipway: {message}");

    /// <summary>The clock of time stamps.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>Switches of what is logged without being asked for.</summary>
public sealed record AutoLogOptions
{
    /// <summary>Nothing by itself.</summary>
    public static AutoLogOptions None { get; } = new() { Environment = false, Git = false, Source = false };

    /// <summary>Packages, operating system, processor, memory and GPUs.</summary>
    public bool Environment { get; init; } = true;

    /// <summary>Commit, branch, remote and whether files differ; needs <see cref="Environment"/>.</summary>
    public bool Git { get; init; } = true;

    /// <summary>Program and user, as the tags MLflow's clients set.</summary>
    public bool Source { get; init; } = true;

    /// <summary>Libraries whose own instruments are logged as metrics: names of <see cref="System.Diagnostics.Metrics.Meter"/>s, each switched on by being here.</summary>
    public IReadOnlySet<string> Libraries { get; init; } = new HashSet<string>();

    /// <summary>Whether <see cref="ActiveRun.LogModelAsync"/> stores models; false leaves all of them out.</summary>
    public bool Models { get; init; } = true;

    /// <summary>Largest file stored; larger ones are left out and named in the tag <c>slipway.artifacts_left_out</c>. Null for no limit.</summary>
    public long? ArtifactBytesMax { get; init; }
}
