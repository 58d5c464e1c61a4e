using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Reproductions;
using Slipway.Pipelines.Runs;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Pipelines.Stages;

/// <summary>What a stage says about the run beside its artifacts. Kept with the stage, so that a cached stage says it again.</summary>
/// <param name="Message">One sentence on what was found.</param>
/// <param name="Verdict"><c>go</c> or <c>no_go</c>; null for stages that do not judge.</param>
/// <param name="VerdictReason">The figures behind the verdict.</param>
/// <param name="ModelVersion">The version registered; null for other stages.</param>
internal sealed record StageOutcome(string? Message = null, string? Verdict = null, string? VerdictReason = null, string? ModelVersion = null);

/// <summary>A stage's only way to the pipeline: its declared inputs and outputs, its settings, and the progress bar.</summary>
internal sealed class StageContext(
    string runId, PipelineDefinition pipeline, StageDefinition stage, Caller by, BlobStore blobs, string temporaryDirectory,
    IReadOnlyDictionary<string, PipelineArtifact> available, IReadOnlyList<PipelineStage> finished, Pins? pins, Action<double, string> progress)
{
    private readonly Dictionary<string, PipelineArtifact> _outputs = new(StringComparer.Ordinal);
    private readonly List<LineageEdge> _edges = [];

    /// <summary>The pipeline run.</summary>
    public string RunId { get; } = runId;

    /// <summary>The pipeline as it runs.</summary>
    public PipelineDefinition Pipeline { get; } = pipeline;

    /// <summary>The declaration of this stage.</summary>
    public StageDefinition Stage { get; } = stage;

    /// <summary>Who started the run.</summary>
    public Caller By { get; } = by;

    /// <summary>A folder of this stage alone; emptied afterwards.</summary>
    public string TemporaryDirectory { get; } = temporaryDirectory;

    /// <summary>The stages before this one, with their times.</summary>
    public IReadOnlyList<PipelineStage> Finished { get; } = finished;

    /// <summary>What to take instead of the newest; null unless the run builds a version again.</summary>
    public Pins? Pins { get; } = pins;

    /// <summary>What the stage says about the run; set it before returning.</summary>
    public StageOutcome Outcome { get; set; } = new();

    internal IReadOnlyList<PipelineArtifact> Outputs => [.. _outputs.Values];

    internal IReadOnlyList<LineageEdge> Edges => _edges;

    /// <summary>The stage's settings.</summary>
    public T Settings<T>() => (T)Stage.Settings;

    /// <summary>Records that the stage made a thing that others know by its own name; written with the end of the stage.</summary>
    public void Made(NodeRef thing) => Link(PipelineStore.StageNode(RunId, Stage.Name), "written_by", thing);

    /// <summary>Records how two things belong together; written with the end of the stage.</summary>
    public void Link(NodeRef from, string relation, NodeRef to) => _edges.Add(new LineageEdge(from, relation, to));

    /// <summary>Moves the progress bar.</summary>
    /// <param name="share">Of this stage, 0 to 1.</param>
    /// <param name="message">What is being done.</param>
    public void Progress(double share, string message) => progress(Math.Clamp(share, 0, 1), message);

    /// <summary>A declared input.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the stage does not declare it.</exception>
    public PipelineArtifact Input(string name) => Stage.Inputs.Contains(name)
        ? available[name]
        : throw new SlipwayException(ErrorCode.FailedPrecondition,
            $"Stage '{Stage.Name}' tried to read '{name}', which is not among its inputs [{string.Join(", ", Stage.Inputs)}]; declare it there.");

    /// <summary>The file of a declared input.</summary>
    public string InputPath(string name) => blobs.PathOf(Input(name).Sha256);

    /// <summary>A declared input that holds JSON.</summary>
    public async Task<T> ReadAsync<T>(string name, CancellationToken cancellationToken) =>
        JsonSerializer.Deserialize<T>(await blobs.ReadVerifiedAsync(Input(name).Sha256, cancellationToken), JsonDefaults.Options)
        ?? throw new SlipwayException(ErrorCode.FailedPrecondition, $"Artifact '{name}' is empty; run the pipeline again.");

    /// <summary>Writes a declared output as JSON.</summary>
    public Task<PipelineArtifact> WriteAsync<T>(string name, T value, CancellationToken cancellationToken) =>
        WriteBytesAsync(name, JsonSerializer.SerializeToUtf8Bytes(value, JsonDefaults.Options), cancellationToken);

    /// <summary>Writes a declared output.</summary>
    public async Task<PipelineArtifact> WriteBytesAsync(string name, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        var blob = await blobs.PutAsync(content, cancellationToken);
        return WriteBlob(name, blob.Sha256, blob.SizeBytes);
    }

    /// <summary>Declares a blob that is stored already as an output.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the stage does not declare it.</exception>
    public PipelineArtifact WriteBlob(string name, string sha256, long sizeBytes)
    {
        if (!Stage.Outputs.Contains(name))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"Stage '{Stage.Name}' tried to write '{name}', which is not among its outputs [{string.Join(", ", Stage.Outputs)}]; declare it there.");
        }

        return _outputs[name] = new PipelineArtifact(name, sha256, sizeBytes);
    }
}
