using System.Runtime.InteropServices;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Native.Onnx;
using Slipway.Registry.Formats;
using Slipway.Serving.Protocol;

namespace Slipway.Serving;

/// <summary>Versions that run one after the other in one request, each on what came before. They have no queue, no counters and no log of their own here: the chain has.</summary>
internal sealed class ChainModel : TensorModel
{
    private readonly ModelChainFile _file;
    private readonly IReadOnlyList<LoadedModel?> _parts;

    /// <param name="file">What the version's file says.</param>
    /// <param name="parts">The version of each step; null of a mean.</param>
    /// <exception cref="OnnxException">The steps do not fit each other or the chain's outputs.</exception>
    public ChainModel(ModelChainFile file, IReadOnlyList<LoadedModel?> parts)
        : base([.. file.Signature.Inputs.Select(field => new Input(Tensor(field), []))], [.. file.Signature.Outputs.Select(Tensor)])
    {
        (_file, _parts) = (file, parts);
        if (FindMismatch() is { } mismatch)
        {
            throw new OnnxException(OnnxErrorCode.InvalidArgument, mismatch);
        }
    }

    internal override bool Waits => _parts.Any(part => part is { Waits: true });

    internal override void Run(TensorRequest request, List<AnswerTensor> answer)
    {
        // Without a step that waits it ends before it returns.
        RunAsync(request, answer, CancellationToken.None).GetAwaiter().GetResult();
    }

    internal override async Task RunAsync(TensorRequest request, List<AnswerTensor> answer, CancellationToken cancellationToken)
    {
        var known = request.Inputs.ToDictionary(input => input.Name, StringComparer.Ordinal);
        for (var i = 0; i < _parts.Count; i++)
        {
            var step = _file.Steps[i];
            if (_parts[i] is { } part)
            {
                await RunStepAsync(step, part, request.Id, known, cancellationToken);
            }
            else
            {
                known[step.Name] = Mean(step, known);
            }
        }

        answer.Clear();
        foreach (var (name, binary) in request.Outputs.Count == 0 ? Outputs.Select(output => (output.Name, (bool?)null)) : request.Outputs.Select(output => (output.Name, output.Binary)))
        {
            var tensor = known[_file.From[IndexOf(name)]];
            answer.Add(new AnswerTensor(name, tensor.Datatype, tensor.Shape, tensor.Data.ToArray(), binary));
        }
    }

    private static async Task RunStepAsync(ChainStep step, LoadedModel part, string id, Dictionary<string, RequestTensor> known, CancellationToken cancellationToken)
    {
        var request = new TensorRequest { Id = id };
        foreach (var (input, tensor) in step.Inputs)
        {
            request.Inputs.Add(known[tensor] with { Name = input });
        }

        if (part.Tensors is { } tensors)
        {
            if (tensors.Check(request, part) is { } fault)
            {
                throw new OnnxException(OnnxErrorCode.InvalidArgument, $"step '{step.Name}': {fault.TrimEnd('.')}");
            }

            var answer = new List<AnswerTensor>();
            await tensors.RunAsync(request, answer, cancellationToken);
            foreach (var output in answer)
            {
                known[$"{step.Name}.{output.Name}"] = new RequestTensor(output.Name, output.Datatype, output.Shape, output.Data);
            }

            return;
        }

        var table = request.Inputs[0];
        var width = part.FeatureNames.Count;
        if (table.Shape is not [> 0 and var rows, var columns] || columns != width)
        {
            throw new OnnxException(OnnxErrorCode.InvalidArgument, $"step '{step.Name}': its features have shape {TensorReader.Shown(table.Shape)} instead of [-1, {width}]");
        }

        var outputs = new float[rows];
        await part.ScoreAsync(MemoryMarshal.Cast<byte, float>(table.Data).ToArray(), (int)rows, outputs, cancellationToken);
        known[$"{step.Name}.{part.OutputName}"] = new RequestTensor(part.OutputName, Datatype.FP32, [rows, 1], MemoryMarshal.AsBytes(outputs.AsSpan()).ToArray());
    }

    private static RequestTensor Mean(ChainStep step, Dictionary<string, RequestTensor> known)
    {
        var tensors = step.MeanOf.Select(name => known[name]).ToList();
        var weight = step.Weights.Count == 0 ? tensors.Count : step.Weights.Sum();
        var sums = new double[tensors[0].Data.Count / sizeof(float)];
        for (var i = 0; i < tensors.Count; i++)
        {
            // A row of one value is the same with the one written as a dimension or not.
            var values = MemoryMarshal.Cast<byte, float>(tensors[i].Data);
            if (values.Length != sums.Length)
            {
                throw new OnnxException(OnnxErrorCode.InvalidArgument, $"step '{step.Name}': {step.MeanOf[i]} has shape {TensorReader.Shown(tensors[i].Shape)}, but {step.MeanOf[0]} has {TensorReader.Shown(tensors[0].Shape)}");
            }

            for (var at = 0; at < sums.Length; at++)
            {
                sums[at] += values[at] * (step.Weights.Count == 0 ? 1 : step.Weights[i]);
            }
        }

        float[] means = [.. sums.Select(sum => (float)(sum / weight))];
        return new RequestTensor(step.Name, Datatype.FP32, tensors[0].Shape, MemoryMarshal.AsBytes(means.AsSpan()).ToArray());
    }

    // Datatypes and known sizes of all that is passed on, found out when the chain is loaded and not by a caller.
    private string? FindMismatch()
    {
        var known = Inputs.ToDictionary(input => input.Name, StringComparer.Ordinal);
        for (var i = 0; i < _parts.Count; i++)
        {
            var step = _file.Steps[i];
            if (_parts[i] is not { } part)
            {
                foreach (var tensor in step.MeanOf)
                {
                    if (!known.TryGetValue(tensor, out var of))
                    {
                        return $"step '{step.Name}' is a mean of '{tensor}', which no step gives: there are {string.Join(", ", known.Keys)}";
                    }

                    if (of.Datatype != "FP32")
                    {
                        return $"step '{step.Name}' is a mean of '{tensor}', which is {of.Datatype} and not FP32";
                    }
                }

                known[step.Name] = known[step.MeanOf[0]];
                continue;
            }

            // A version that scores features is given them as one table, whatever it may be given from outside.
            IReadOnlyList<ContractTensor> inputs = part.Tensors is null ? [new ContractTensor(part.MatrixName, "FP32", [-1, part.FeatureNames.Count])] : part.InputTensors;
            if (step.Inputs.Keys.Except(inputs.Select(input => input.Name)).Any() || inputs.Any(input => !step.Inputs.ContainsKey(input.Name)))
            {
                return $"step '{step.Name}' gives {string.Join(", ", step.Inputs.Keys)} to {step.Model} {step.Version}, which takes {string.Join(", ", inputs.Select(input => $"{input.Name} {input.Datatype} {TensorReader.Shown(input.Shape)}"))}";
            }

            foreach (var input in inputs)
            {
                var tensor = step.Inputs[input.Name];
                if (!known.TryGetValue(tensor, out var given))
                {
                    return $"step '{step.Name}' uses '{tensor}', which no step gives: there are {string.Join(", ", known.Keys)}";
                }

                if (!Fits(given, input))
                {
                    return $"step '{step.Name}' gives '{tensor}', {given.Datatype} {TensorReader.Shown(given.Shape)}, as '{input.Name}', {input.Datatype} {TensorReader.Shown(input.Shape)}";
                }
            }

            foreach (var output in part.OutputTensors)
            {
                known[$"{step.Name}.{output.Name}"] = output;
            }
        }

        for (var i = 0; i < Outputs.Count; i++)
        {
            if (!known.TryGetValue(_file.From[i], out var given))
            {
                return $"its output '{Outputs[i].Name}' is from '{_file.From[i]}', which no step gives: there are {string.Join(", ", known.Keys)}";
            }

            if (!Fits(given, Outputs[i]))
            {
                return $"its output '{Outputs[i].Name}' is {Outputs[i].Datatype} {TensorReader.Shown(Outputs[i].Shape)}, but '{_file.From[i]}' is {given.Datatype} {TensorReader.Shown(given.Shape)}";
            }
        }

        return null;
    }

    // No dimensions is what the runtime says of a graph that does not tell its shapes.
    private static bool Fits(ContractTensor given, ContractTensor wanted) => given.Datatype == wanted.Datatype
        && (given.Shape.Count == 0 || wanted.Shape.Count == 0 || (given.Shape.Count == wanted.Shape.Count && given.Shape.Zip(wanted.Shape).All(pair => pair.First < 0 || pair.Second < 0 || pair.First == pair.Second)));

    private int IndexOf(string output)
    {
        for (var i = 0; i < Outputs.Count; i++)
        {
            if (Outputs[i].Name == output)
            {
                return i;
            }
        }

        throw new ArgumentException($"No output '{output}'.", nameof(output));
    }

    private static ContractTensor Tensor(SignatureField field) => new(field.Name, field.Type, field.Shape);
}
