using Slipway.Contracts.Serving;
using Slipway.Native.Onnx;
using Slipway.Serving.Protocol;
using Slipway.Serving.Queues;

namespace Slipway.Serving;

/// <summary>A model of any signature: several named inputs and outputs, any rank, every datatype.</summary>
public sealed class TensorModel
{
    // More are no model's that anybody calls, and each request would look through them.
    private const int TensorsMax = 4_096;

    // A graph may declare gigabytes; what the runtime prepares is not worth them.
    private const long WarmUpBytesMax = 64L << 20;

    private readonly OnnxSession _session;
    private readonly Tensor[] _inputs;
    private readonly string _expected;

    /// <summary>Takes a loaded graph, which it keeps for good: a request may still hold the version that routes have left.</summary>
    /// <param name="session">The graph.</param>
    /// <exception cref="OnnxException">It has too many inputs and outputs, an input is not a tensor that the protocol knows, or no output is.</exception>
    public TensorModel(OnnxSession session)
    {
        if (session.Inputs.Count + session.Outputs.Count is > TensorsMax and var tensors)
        {
            throw new OnnxException(OnnxErrorCode.InvalidArgument, $"it has {tensors} inputs and outputs, and at most {TensorsMax} are served");
        }

        _session = session;
        _inputs = [.. session.Inputs.Select(input => Of(input)
            ?? throw new OnnxException(OnnxErrorCode.InvalidArgument, $"its input '{input.Name}' is {(input.ElementType is OnnxElementType.None ? "no tensor" : input.ElementType)}, which no request can carry"))];
        // A classifier's map of probabilities, say, is left out: only tensors have a place in an answer.
        Outputs = [.. session.Outputs.Select(Of).OfType<Tensor>().Select(output => output.Contract)];
        if (Outputs.Count == 0)
        {
            throw new OnnxException(OnnxErrorCode.InvalidArgument, "none of its outputs is a tensor that an answer can carry");
        }

        Inputs = [.. _inputs.Select(input => input.Contract)];
        _expected = string.Join(", ", Inputs.Select(input => $"'{input.Name}' {input.Datatype} {TensorReader.Shown(input.Shape)}"));
    }

    /// <summary>The inputs, all required.</summary>
    public IReadOnlyList<ContractTensor> Inputs { get; }

    /// <summary>The outputs that are tensors.</summary>
    public IReadOnlyList<ContractTensor> Outputs { get; }

    /// <summary>What does not fit the signature: the input and what was expected of it; null when all does.</summary>
    internal string? Check(TensorRequest request, LoadedModel model)
    {
        var seen = new RequestTensor?[_inputs.Length];
        var symbols = new Dictionary<string, (long Size, string Input)>(StringComparer.Ordinal);
        for (var i = 0; i < request.Inputs.Count; i++)
        {
            var tensor = request.Inputs[i];
            var index = Array.FindIndex(_inputs, input => input.Info.Name == tensor.Name);
            if (index < 0)
            {
                return $"inputs[{i}].name '{tensor.Name}' is not an input of model '{model.Model}' version {model.Version}; send {_expected}.";
            }

            if (seen[index] is not null)
            {
                return $"inputs[{i}] '{tensor.Name}' was sent twice; send it once.";
            }

            if (model.BatchMax > 0 && tensor.Shape is [var batch, ..] && batch > model.BatchMax)
            {
                return $"inputs[{i}] '{tensor.Name}' has a batch of {batch}; the batch-size of '{model.Model}' must be <= {model.BatchMax}.";
            }

            seen[index] = tensor;
            if (Check(tensor, _inputs[index], symbols) is { } fault)
            {
                return $"inputs[{i}] '{tensor.Name}' {fault}";
            }
        }

        if (Array.FindIndex(seen, tensor => tensor is null) is >= 0 and var missing)
        {
            return $"Input '{_inputs[missing].Info.Name}' is missing: expected {_inputs.Length} inputs but got {request.Inputs.Count}; send {_expected}.";
        }

        for (var i = 0; i < request.Outputs.Count; i++)
        {
            var name = request.Outputs[i].Name;
            if (!Outputs.Any(output => output.Name == name))
            {
                return $"outputs[{i}] asks for '{name}', which model '{model.Model}' version {model.Version} does not give; its outputs are {string.Join(", ", Outputs.Select(output => $"'{output.Name}'"))}.";
            }

            if (request.Outputs.FindIndex(output => output.Name == name) < i)
            {
                return $"output '{name}' already exists in request; ask for it once.";
            }
        }

        return null;
    }

    /// <summary>Runs the graph on a request that fits.</summary>
    /// <param name="request">Checked before.</param>
    /// <param name="answer">Gets the outputs asked for, in the order they were asked for in.</param>
    internal void Run(TensorRequest request, List<AnswerTensor> answer)
    {
        var inputs = new OnnxInput[request.Inputs.Count];
        for (var i = 0; i < inputs.Length; i++)
        {
            var tensor = request.Inputs[i];
            _ = RequestTensor.TryCount(tensor.Shape, tensor.Datatype, out var count);
            inputs[i] = tensor.Datatype == Datatype.BYTES
                ? OnnxInput.Texts(tensor.Name, tensor.Data, count, tensor.Shape)
                : OnnxInput.Bytes(tensor.Name, tensor.Datatype.ToOnnx(), tensor.Data, tensor.Shape);
        }

        answer.Clear();
        using var result = _session.Run(inputs);
        if (request.Outputs.Count == 0)
        {
            foreach (var output in Outputs)
            {
                answer.Add(Take(result, output.Name, null));
            }
        }

        foreach (var asked in request.Outputs)
        {
            answer.Add(Take(result, asked.Name, asked.Binary));
        }
    }

    /// <summary>
    /// Runs several requests, each checked before, as one: their tensors joined along the first dimension, as row-major bytes are by appending them.
    /// </summary>
    /// <returns>
    /// False when they cannot go together: they send or ask for different things, or the graph fails on all, or answers with anything but a value for each row.
    /// </returns>
    internal bool TryRunTogether(List<QueuedRequest> batch)
    {
        var first = batch[0].Scratch.Tensors!;
        var joined = new TensorRequest();
        foreach (var asked in first.Outputs)
        {
            joined.Outputs.Add(asked);
        }

        foreach (var input in first.Inputs)
        {
            var parts = batch.Select(request => request.Scratch.Tensors!.Inputs.Find(part => part.Name == input.Name)).ToList();
            if (parts.Exists(part => part is not { Shape.Length: > 0 } || !part.Shape.AsSpan(1).SequenceEqual(input.Shape.AsSpan(1))))
            {
                return false;
            }

            var data = new byte[parts.Sum(part => part!.Data.Count)];
            var at = 0;
            foreach (var part in parts)
            {
                part!.Data.AsSpan().CopyTo(data.AsSpan(at));
                at += part.Data.Count;
            }

            joined.Inputs.Add(new RequestTensor(input.Name, input.Datatype, [parts.Sum(part => part!.Shape[0]), .. input.Shape[1..]], data));
        }

        // What is asked for must be the same too, so that one run gives it; a row must be a row in every tensor.
        var rows = batch.Select(request => (int)request.Scratch.Tensors!.Inputs[0].Shape[0]).ToArray();
        for (var i = 0; i < batch.Count; i++)
        {
            var request = batch[i].Scratch.Tensors!;
            if (!request.Outputs.SequenceEqual(first.Outputs) || request.Inputs.Count != first.Inputs.Count || request.Inputs.Exists(input => input.Shape[0] != rows[i]))
            {
                return false;
            }
        }

        var total = rows.Sum();
        var answer = new List<AnswerTensor>();
        try
        {
            Run(joined, answer);
        }
        catch (Exception)
        {
            return false; // Each is run again by itself, and the one that fails is logged.
        }

        if (answer.Exists(output => output.Datatype == Datatype.BYTES || output.Shape is not [var size, ..] || size != total || total == 0))
        {
            return false;
        }

        var done = 0;
        for (var i = 0; i < batch.Count; i++)
        {
            var mine = batch[i].Scratch.Answer;
            mine.Clear();
            foreach (var output in answer)
            {
                var row = output.Data.Length / total;
                mine.Add(output with { Shape = [rows[i], .. output.Shape[1..]], Data = output.Data.AsSpan(done * row, rows[i] * row).ToArray() });
            }

            done += rows[i];
        }

        return true;
    }

    /// <summary>One run on zeros, so that the first caller does not wait for what the runtime prepares; sizes that vary are 1.</summary>
    internal void WarmUp()
    {
        var request = new TensorRequest();
        var left = WarmUpBytesMax;
        foreach (var input in _inputs)
        {
            long[] shape = [.. input.Info.Shape.Select(size => size < 0 ? 1 : size)];
            var bytes = RequestTensor.TryCount(shape, input.Datatype, out var count) ? (long)count * (input.Datatype == Datatype.BYTES ? sizeof(int) : input.Datatype.Size()) : long.MaxValue;
            if (bytes > left)
            {
                return;
            }

            left -= bytes;
            request.Inputs.Add(new RequestTensor(input.Info.Name, input.Datatype, shape, new byte[bytes]));
        }

        try
        {
            Run(request, []);
        }
        catch (Exception)
        {
            // Zeros and ones are nobody's request: a graph may well refuse them, or make more of them than there is memory for. A caller's own request will tell.
        }
    }

    private static AnswerTensor Take(in OnnxResult result, string name, bool? binary)
    {
        var position = result.Position(name);
        var info = result.Info(position);
        return new AnswerTensor(
            name, Datatypes.Of(info.ElementType), result.Shape(position), info.ElementType == OnnxElementType.String ? result.Texts(position) : result.Bytes(position).ToArray(), binary);
    }

    private static string? Check(RequestTensor sent, in Tensor expected, Dictionary<string, (long Size, string Input)> symbols)
    {
        var declared = expected.Contract;
        if (sent.Datatype != expected.Datatype)
        {
            return $"has datatype {sent.Datatype.Name()}; send {declared.Datatype} {TensorReader.Shown(declared.Shape)}.";
        }

        // The runtime says of a graph without shapes what it says of a single value: no dimensions.
        if (declared.Shape.Count == 0)
        {
            return null;
        }

        if (sent.Shape.Length != declared.Shape.Count)
        {
            return $"has shape {TensorReader.Shown(sent.Shape)}; send {declared.Datatype} {TensorReader.Shown(declared.Shape)}, -1 standing for any size.";
        }

        for (var i = 0; i < sent.Shape.Length; i++)
        {
            if (declared.Shape[i] >= 0 && declared.Shape[i] != sent.Shape[i])
            {
                return $"has shape {TensorReader.Shown(sent.Shape)}; send {declared.Datatype} {TensorReader.Shown(declared.Shape)}, -1 standing for any size.";
            }

            if (i < expected.Info.Symbols.Count && expected.Info.Symbols[i] is { Length: > 0 } symbol)
            {
                if (symbols.TryGetValue(symbol, out var known) && known.Size != sent.Shape[i])
                {
                    return $"has the size {sent.Shape[i]} in dimension {i}, '{symbol}', where '{known.Input}' has {known.Size}; send the same size in both.";
                }

                symbols[symbol] = (sent.Shape[i], sent.Name);
            }
        }

        return null;
    }

    private static Tensor? Of(OnnxTensorInfo info) => Datatypes.Of(info.ElementType) is not Datatype.None and var datatype
        ? new Tensor(info, datatype, new ContractTensor(info.Name, datatype.Name(), info.Shape)) : null;

    private sealed record Tensor(OnnxTensorInfo Info, Datatype Datatype, ContractTensor Contract);
}
