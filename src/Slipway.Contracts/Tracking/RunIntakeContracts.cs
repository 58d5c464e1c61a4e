namespace Slipway.Contracts.Tracking;

/// <summary>Body of <c>PUT /api/slipway/v1/experiments</c>: the experiment of this name is made, or completed by what is given. Sending it again changes nothing.</summary>
public sealed record PutExperiment
{
    /// <summary>Unique name; the one required field.</summary>
    public required string Name { get; init; }

    /// <summary>The id a new experiment shall have, a whole number as text; the next free one when it is taken or null.</summary>
    public string? ExperimentId { get; init; }

    /// <summary>Whether it is in the bin; null leaves it as it is. Its runs are not moved: each brings its own state.</summary>
    public bool? Deleted { get; init; }

    /// <summary>Unix milliseconds; null for now, or as it is.</summary>
    public long? CreatedAtMs { get; init; }

    /// <summary>Unix milliseconds; null for now, or as it is.</summary>
    public long? UpdatedAtMs { get; init; }

    /// <summary>Tags to set; others stay.</summary>
    public IReadOnlyDictionary<string, string>? Tags { get; init; }
}

/// <summary>Answer of <c>PUT /api/slipway/v1/experiments</c>.</summary>
/// <param name="ExperimentId">The id it has here.</param>
/// <param name="Created">Whether this call made it.</param>
public sealed record PutExperimentResult(string ExperimentId, bool Created);

/// <summary>
/// Body of <c>PUT /api/slipway/v1/runs/{run_id}</c>: the run of this id is made, or completed by what is given; null leaves a value
/// as it is. Sending it again changes nothing. It also reaches runs in the bin.
/// </summary>
public sealed record PutRun
{
    /// <summary>The experiment by id; this or <see cref="ExperimentName"/> is required for a new run.</summary>
    public string? ExperimentId { get; init; }

    /// <summary>The experiment by name, made when there is none.</summary>
    public string? ExperimentName { get; init; }

    /// <summary>Null for a name made from the id.</summary>
    public string? Name { get; init; }

    /// <summary>Null for the caller.</summary>
    public string? UserId { get; init; }

    /// <summary>Null for running.</summary>
    public RunStatus? Status { get; init; }

    /// <summary>Unix milliseconds; null for now.</summary>
    public long? StartTimeMs { get; init; }

    /// <summary>Unix milliseconds; null for now when the status is an end.</summary>
    public long? EndTimeMs { get; init; }

    /// <summary>Whether it is in the bin; null for not.</summary>
    public bool? Deleted { get; init; }

    /// <summary>The run this one is a part of; it need not be here yet.</summary>
    public string? ParentRunId { get; init; }

    /// <summary>Tags to set; others stay.</summary>
    public IReadOnlyDictionary<string, string>? Tags { get; init; }

    /// <summary>Parameters to add; one that has another value already is refused.</summary>
    public IReadOnlyDictionary<string, string>? Parameters { get; init; }
}

/// <summary>Answer of <c>PUT /api/slipway/v1/runs/{run_id}</c>.</summary>
/// <param name="RunId">The run.</param>
/// <param name="ExperimentId">Its experiment.</param>
/// <param name="Created">Whether this call made it.</param>
public sealed record PutRunResult(string RunId, string ExperimentId, bool Created);

/// <summary>Answer of <c>POST /api/slipway/v1/runs/{run_id}/metrics</c>.</summary>
/// <param name="Points">Points taken from the body; all are stored now, those that were there already once.</param>
public sealed record PostMetricsResult(long Points);

/// <summary>Body of <c>POST /api/slipway/v1/runs/{run_id}/inputs</c>.</summary>
/// <param name="Inputs">Datasets the run used; one that is there already changes nothing.</param>
public sealed record PostInputs(IReadOnlyList<RunInput> Inputs);

/// <summary>Answer of <c>GET /api/slipway/v1/runs/{run_id}/metrics</c>.</summary>
/// <param name="Metrics">By key.</param>
public sealed record MetricCountList(IReadOnlyList<MetricCount> Metrics);

/// <summary>How many points a metric's curve has.</summary>
/// <param name="Key">The metric.</param>
/// <param name="Points">At least 1.</param>
public sealed record MetricCount(string Key, long Points);
