using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Serving;
using Slipway.Serving.Protocol;
using Slipway.Storage.Definitions;

namespace Slipway.Serving;

/// <summary>Scores rows.</summary>
/// <param name="features">Row-major, <paramref name="rows"/> times the number of features.</param>
/// <param name="rows">At least 1.</param>
/// <param name="outputs">One value per row, such as the probability of the positive class.</param>
public delegate void ScoreRows(ReadOnlySpan<float> features, int rows, Span<float> outputs);

/// <summary>A model version in memory, ready to score, with its counters. They begin when it is loaded and keep counting while its role changes.</summary>
public sealed class LoadedModel
{
    private const int RemoteRuns = 64;

    /// <summary>Makes a version ready.</summary>
    /// <param name="model">The model's name.</param>
    /// <param name="version">The semantic version.</param>
    /// <param name="featureNames">The features in the order of the model's input.</param>
    /// <param name="score">Safe to call from several threads.</param>
    /// <param name="baseline">The training histograms; null when there are none.</param>
    /// <param name="inputs">What a caller may send in place of features; null when only features are taken.</param>
    /// <param name="outputName">The name of the output tensor.</param>
    /// <param name="matrixName">The name of the tensor that holds all features.</param>
    public LoadedModel(
        string model, string version, IReadOnlyList<string> featureNames, ScoreRows score, ModelBaseline? baseline = null, RequestInputs? inputs = null,
        string outputName = "probability", string matrixName = "features")
    {
        MatrixName = matrixName;
        InputTensors = inputs?.Inputs.Select(input => new ContractTensor(input.Name, input.Datatypes[0], [-1, 1])).ToArray()
            ?? [new ContractTensor(matrixName, "FP32", [-1, featureNames.Count])];
        OutputTensors = [new ContractTensor(outputName, "FP32", [-1, 1])];
        Model = model;
        Version = version;
        FeatureNames = featureNames;
        Score = score;
        Inputs = inputs;
        OutputName = outputName;
        Baseline = baseline;
        Skew = new FeatureSkew(featureNames, baseline);
        JournalKey = $"{model}\n{string.Join('\n', featureNames)}";
        AgesJournalKey = $"{JournalKey}\n\nages";
        InputKey = $"{JournalKey}\n\n{string.Join('\n', inputs?.Inputs.Select(input => $"{input.Name} {string.Join(' ', input.Datatypes)} {input.IsKey} {input.IsEventTime}") ?? [])}";
        Utf8FeatureNames = [.. featureNames.Select(Encoding.UTF8.GetBytes)];
        bool IsFree(string name) => !featureNames.Contains(name) && inputs?.Inputs.Any(input => input.Name == name) is not true;
        AnyMatrixNameIsFree = IsFree(InferRequest.AnyMatrixName);
        MatrixNameIsFree = IsFree(matrixName);
        EncodedModel = JsonEncodedText.Encode(model);
        EncodedVersion = JsonEncodedText.Encode(version);
        EncodedOutputName = JsonEncodedText.Encode(outputName);
    }

    /// <summary>Makes a version of any signature ready.</summary>
    /// <param name="model">The model's name.</param>
    /// <param name="version">The semantic version.</param>
    /// <param name="tensors">The graph.</param>
    public LoadedModel(string model, string version, TensorModel tensors)
        : this(model, version, [], (_, _, _) => throw new UnreachableException("A model of tensors has no rows of features."))
    {
        Tensors = tensors;
        InputTensors = tensors.Inputs;
        OutputTensors = tensors.Outputs;
        OutputName = tensors.Outputs[0].Name;
        InputKey = string.Join('\n', tensors.Inputs.Concat(tensors.Outputs).Select(tensor => $"{tensor.Name} {tensor.Datatype} {string.Join(' ', tensor.Shape)}").Prepend(InputKey));
    }

    /// <summary>The model's name.</summary>
    public string Model { get; }

    /// <summary>The semantic version.</summary>
    public string Version { get; }

    /// <summary>The features in the order of the model's input.</summary>
    public IReadOnlyList<string> FeatureNames { get; }

    /// <summary>Scores rows; throws when the model fails.</summary>
    public ScoreRows Score { get; }

    /// <summary>As <see cref="Score"/>, of a model that may be on another server.</summary>
    internal Task ScoreAsync(ReadOnlyMemory<float> features, int rows, Memory<float> outputs, CancellationToken cancellationToken)
    {
        if (Backend is { } backend)
        {
            return backend.ScoreAsync(features, rows, outputs, MatrixName, OutputName, cancellationToken);
        }

        Score(features.Span, rows, outputs.Span);
        return Task.CompletedTask;
    }

    /// <summary>What a caller may send in place of features; null when only features are taken.</summary>
    public RequestInputs? Inputs { get; }

    /// <summary>The name of the output tensor; the first one's when there are several.</summary>
    public string OutputName { get; }

    /// <summary>The name of the tensor that holds all features, beside <c>features</c>, which every such model answers to.</summary>
    public string MatrixName { get; }

    /// <summary>The graph of a model that takes other tensors than a table of features; null when it scores features.</summary>
    public TensorModel? Tensors { get; }

    /// <summary>What scores features when that waits for another server; null when <see cref="Score"/> does.</summary>
    internal TensorModel? Backend { get; init; }

    /// <summary>Whether its runs wait for another server rather than for this one's processors.</summary>
    internal bool Waits => Backend is not null || Tensors is { Waits: true };

    /// <summary>What runs it, as protocols name it.</summary>
    internal string Platform => Backend is not null || Tensors is Remote.RemoteModel ? "slipway_remote" : Tensors is ChainModel ? "ensemble" : "onnxruntime_onnx";

    /// <summary>The runtime's name in configurations; empty where there is none here.</summary>
    internal string BackendName => Platform == "onnxruntime_onnx" ? "onnxruntime" : "";

    /// <summary>Most rows of one request; 0 leaves the first dimension to the graph.</summary>
    public int BatchMax { get; init; }

    /// <summary>What a request sends.</summary>
    public IReadOnlyList<ContractTensor> InputTensors { get; }

    /// <summary>What an answer holds.</summary>
    public IReadOnlyList<ContractTensor> OutputTensors { get; }

    /// <summary>What it has served.</summary>
    public ArmStatistics Statistics { get; } = new();

    /// <summary>What it has served to callers who named it, which counts for no arm.</summary>
    public ArmStatistics DirectStatistics { get; } = new();

    /// <summary>The training histograms; null when there are none.</summary>
    public ModelBaseline? Baseline { get; }

    /// <summary>Its live inputs in the bins of its training baseline.</summary>
    public FeatureSkew Skew { get; }

    /// <summary>Its requests that run and wait.</summary>
    internal Queues.ModelQueue Queue { get; } = new();

    /// <summary>The graph that it may give back; null of one that runs elsewhere, or joins others.</summary>
    internal IdleSession? Idle
    {
        get;
        init
        {
            field = value;
            value?.Attach(Queue);
        }
    }

    /// <summary>How much of it is kept ready. Set while requests run.</summary>
    internal volatile Queues.ScalingPolicy Scaling = Queues.ScalingPolicy.Default;

    /// <summary>Copies that it scored as a shadow.</summary>
    internal long Copies;

    /// <summary>All that it has served to whomever: it has been idle for as long as this stands still.</summary>
    internal long Served => Statistics.Snapshot().Requests + DirectStatistics.Snapshot().Requests + Volatile.Read(ref Copies);

    /// <summary>Waits until it is in memory.</summary>
    /// <exception cref="Contracts.SlipwayException">Unavailable: it cannot be loaded.</exception>
    internal async ValueTask WakeAsync()
    {
        if (Idle is { IsAsleep: true } idle && await idle.WakeAsync() is { } failure)
        {
            throw failure;
        }
    }

    /// <summary>Waits until it is in memory; false when it cannot be loaded, which the log tells.</summary>
    internal async ValueTask<bool> TryWakeAsync(CancellationToken cancellationToken) => Idle is not { IsAsleep: true } idle || await idle.WakeAsync().WaitAsync(cancellationToken) is null;

    /// <summary>Sets what the definitions of the model say, or what holds without them.</summary>
    /// <param name="definitions">The applied ones.</param>
    /// <param name="keepsQueue">Leaves the queue as it is where no definition says otherwise.</param>
    internal void UseDefinitions(DefinitionStore definitions, bool keepsQueue = false)
    {
        if (definitions.Find(Queues.ServingKind.Name, Model) is { } definition)
        {
            Use(Queues.ServingKind.Parse(DefinitionYaml.Parse(definition.Yaml)).Settings);
        }
        else if (!keepsQueue)
        {
            Use(Queues.ServingSettings.Default);
        }

        Review = definitions.Find(Reviews.ReviewSpec.Kind, Model) is { } review ? Reviews.ReviewSpec.Parse(DefinitionYaml.Parse(review.Yaml)) : null;
    }

    /// <summary>Sets what the model's definition says. Requests may be running.</summary>
    internal void Use(Queues.ServingSettings settings)
    {
        // Runs on another server take none of this one's processors.
        Queue.Settings = Waits ? settings.Queue with { Instances = settings.Queue.Instances ?? RemoteRuns, BatchRowsMax = 1 } : settings.Queue;
        Log = settings.Log;
        Fallback = settings.Fallback;
        Scaling = settings.Scaling;
        if (!Scaling.ToZero && Idle is { IsAsleep: true } idle)
        {
            _ = idle.WakeAsync(); // It is to be ready from now on; should it fail, the log says why and the next request tries again.
        }
    }

    /// <summary>What of its predictions is logged. Set while requests run.</summary>
    internal volatile Predictions.LogPolicy Log = Predictions.LogPolicy.All;

    /// <summary>Which of its predictions a person looks at; null for none. Set while requests run.</summary>
    internal volatile Reviews.ReviewSpec? Review;

    /// <summary>The version that answers when this one fails; null for none. Set while requests run.</summary>
    internal volatile string? Fallback;

    /// <summary>What callers are told of its deprecation; null while it is not deprecated. Set while requests run.</summary>
    internal volatile DeprecationNotice? Notice;

    /// <summary>Versions with the same key have the same features in the same order, and share a prediction journal.</summary>
    internal string JournalKey { get; }

    /// <summary>The same for rows whose features the feature store gave, which have ages.</summary>
    internal string AgesJournalKey { get; }

    /// <summary>A request read for one version can be scored by another with the same key, unless the feature store completes it.</summary>
    internal string InputKey { get; }

    internal byte[][] Utf8FeatureNames { get; }

    /// <summary>Whether a tensor called <see cref="InferRequest.AnyMatrixName"/> holds all features: one feature or request input of that name would come first.</summary>
    internal bool AnyMatrixNameIsFree { get; }

    /// <summary>The same of <see cref="MatrixName"/>.</summary>
    internal bool MatrixNameIsFree { get; }

    internal JsonEncodedText EncodedModel { get; }

    internal JsonEncodedText EncodedVersion { get; }

    internal JsonEncodedText EncodedOutputName { get; }
}
