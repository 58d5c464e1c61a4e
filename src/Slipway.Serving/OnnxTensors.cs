using Slipway.Contracts.Serving;
using Slipway.Native.Onnx;
using Slipway.Serving.Protocol;

namespace Slipway.Serving;

/// <summary>A graph that ONNX Runtime runs in this process.</summary>
public sealed class OnnxTensors : TensorModel
{
    // More are no model's that anybody calls, and each request would look through them.
    private const int TensorsMax = 4_096;

    // A graph may declare gigabytes; what the runtime prepares is not worth them.
    private const long WarmUpBytesMax = 64L << 20;

    private readonly IdleSession _session;

    /// <summary>Takes a loaded graph, which it keeps for good: a request may still hold the version that routes have left.</summary>
    /// <param name="session">The graph.</param>
    /// <exception cref="OnnxException">It has too many inputs and outputs, an input is not a tensor that the protocol knows, or no output is.</exception>
    public OnnxTensors(OnnxSession session)
        : this(session, new IdleSession(session))
    {
    }

    /// <summary>Takes a loaded graph that may be given back and loaded again.</summary>
    /// <param name="session">The graph, for its signature.</param>
    /// <param name="idle">Its holder.</param>
    /// <exception cref="OnnxException">As above.</exception>
    internal OnnxTensors(OnnxSession session, IdleSession idle)
        : base(InputsOf(session), OutputsOf(session)) => _session = idle;

    /// <inheritdoc/>
    internal override void Run(TensorRequest request, List<AnswerTensor> answer)
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

    /// <summary>One run on zeros, so that the first caller does not wait for what the runtime prepares; sizes that vary are 1.</summary>
    internal void WarmUp()
    {
        var request = new TensorRequest();
        var left = WarmUpBytesMax;
        foreach (var input in Inputs)
        {
            long[] shape = [.. input.Shape.Select(size => size < 0 ? 1 : size)];
            var datatype = Datatypes.Parse(input.Datatype);
            var bytes = RequestTensor.TryCount(shape, datatype, out var count) ? (long)count * (datatype == Datatype.BYTES ? sizeof(int) : datatype.Size()) : long.MaxValue;
            if (bytes > left)
            {
                return;
            }

            left -= bytes;
            request.Inputs.Add(new RequestTensor(input.Name, datatype, shape, new byte[bytes]));
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

    private static List<Input> InputsOf(OnnxSession session) => session.Inputs.Count + session.Outputs.Count is > TensorsMax and var tensors
        ? throw new OnnxException(OnnxErrorCode.InvalidArgument, $"it has {tensors} inputs and outputs, and at most {TensorsMax} are served")
        : [.. session.Inputs.Select(input => Of(input) is { } contract ? new Input(contract, input.Symbols)
            : throw new OnnxException(OnnxErrorCode.InvalidArgument, $"its input '{input.Name}' is {(input.ElementType is OnnxElementType.None ? "no tensor" : input.ElementType)}, which no request can carry"))];

    // A classifier's map of probabilities, say, is left out: only tensors have a place in an answer.
    private static List<ContractTensor> OutputsOf(OnnxSession session) => session.Outputs.Select(Of).OfType<ContractTensor>().ToList() is { Count: > 0 } outputs
        ? outputs : throw new OnnxException(OnnxErrorCode.InvalidArgument, "none of its outputs is a tensor that an answer can carry");

    private static ContractTensor? Of(OnnxTensorInfo info) =>
        Datatypes.Of(info.ElementType) is not Datatype.None and var datatype ? new ContractTensor(info.Name, datatype.Name(), info.Shape) : null;
}
