using System.Runtime.InteropServices;
using Microsoft.AspNetCore.Http;
using Slipway.Contracts.Serving;
using Slipway.Serving.Protocol;
using Slipway.Serving.Queues;
using Slipway.Serving.Remote;

namespace Slipway.Serving;

/// <summary>A model of any signature: several named inputs and outputs, any rank, every datatype.</summary>
public abstract class TensorModel
{
    private readonly Input[] _inputs;
    private readonly string _expected;

    /// <summary>Takes a signature.</summary>
    /// <param name="inputs">At least one of a known datatype.</param>
    /// <param name="outputs">At least one.</param>
    private protected TensorModel(IReadOnlyList<Input> inputs, IReadOnlyList<ContractTensor> outputs)
    {
        _inputs = [.. inputs];
        Inputs = [.. inputs.Select(input => input.Contract)];
        Outputs = outputs;
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
            var index = Array.FindIndex(_inputs, input => input.Contract.Name == tensor.Name);
            if (index < 0)
            {
                return $"inputs[{i}].name '{Quoted.Short(tensor.Name)}' is not an input of model '{model.Model}' version {model.Version}; send {_expected}.";
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
            return $"Input '{_inputs[missing].Contract.Name}' is missing: expected {_inputs.Length} inputs but got {request.Inputs.Count}; send {_expected}.";
        }

        for (var i = 0; i < request.Outputs.Count; i++)
        {
            var name = request.Outputs[i].Name;
            if (!Outputs.Any(output => output.Name == name))
            {
                return $"outputs[{i}] asks for '{Quoted.Short(name)}', which model '{model.Model}' version {model.Version} does not give; its outputs are {string.Join(", ", Outputs.Select(output => $"'{output.Name}'"))}.";
            }

            if (request.Outputs.FindIndex(output => output.Name == name) < i)
            {
                return $"output '{name}' already exists in request; ask for it once.";
            }
        }

        return null;
    }

    /// <summary>Whether a run waits for another server, and so holds no thread: <see cref="RunAsync"/> is called then.</summary>
    internal virtual bool Waits => false;

    /// <summary>Runs the model on a request that fits.</summary>
    /// <param name="request">Checked before.</param>
    /// <param name="answer">Gets the outputs asked for, in the order they were asked for in.</param>
    internal abstract void Run(TensorRequest request, List<AnswerTensor> answer);

    /// <summary>As <see cref="Run"/>.</summary>
    /// <param name="request">Checked before.</param>
    /// <param name="answer">Gets the outputs asked for, in the order they were asked for in.</param>
    /// <param name="cancellationToken">Nobody waits for the answer any more.</param>
    internal virtual Task RunAsync(TensorRequest request, List<AnswerTensor> answer, CancellationToken cancellationToken)
    {
        Run(request, answer);
        return Task.CompletedTask;
    }

    /// <summary>Scores rows of features, of a model with one table in and one value a row out.</summary>
    /// <param name="features">Row by row.</param>
    /// <param name="rows">At least 1.</param>
    /// <param name="outputs">A value for each row.</param>
    /// <param name="input">The table's name.</param>
    /// <param name="output">The values' name.</param>
    /// <param name="cancellationToken">Nobody waits for the answer any more.</param>
    /// <exception cref="BackendException">There is no answer, or one of other rows.</exception>
    internal async Task ScoreAsync(ReadOnlyMemory<float> features, int rows, Memory<float> outputs, string input, string output, CancellationToken cancellationToken)
    {
        var request = new TensorRequest();
        request.Inputs.Add(new RequestTensor(input, Datatype.FP32, [rows, features.Length / rows], MemoryMarshal.AsBytes(features.Span).ToArray()));
        request.Outputs.Add(new RequestedOutput(output, null));
        var answer = new List<AnswerTensor>();
        await RunAsync(request, answer, cancellationToken);
        var values = MemoryMarshal.Cast<byte, float>(answer[0].Data);
        if (values.Length != rows)
        {
            throw new BackendException(StatusCodes.Status502BadGateway, $"its server answers {values.Length} values for {rows} rows");
        }

        values.CopyTo(outputs.Span);
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

    private static string? Check(RequestTensor sent, Input expected, Dictionary<string, (long Size, string Input)> symbols)
    {
        var declared = expected.Contract;
        if (sent.Datatype.Name() != declared.Datatype)
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

            if (i < expected.Symbols.Count && expected.Symbols[i] is { Length: > 0 } symbol)
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

    /// <summary>An input.</summary>
    /// <param name="Contract">As callers are told of it.</param>
    /// <param name="Symbols">Names of its open dimensions, of which those of one name have one size; empty where they have none.</param>
    private protected sealed record Input(ContractTensor Contract, IReadOnlyList<string> Symbols);
}
