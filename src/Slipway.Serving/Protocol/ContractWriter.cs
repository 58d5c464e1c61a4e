using System.Text.Json.Nodes;
using Slipway.Contracts.Serving;

namespace Slipway.Serving.Protocol;

/// <summary>Says what callers of a version may rely on, from the same objects that the request path reads with.</summary>
internal static class ContractWriter
{
    public static InferenceContract Write(LoadedModel model)
    {
        var path = $"/v2/models/{Uri.EscapeDataString(model.Model)}/versions/{Uri.EscapeDataString(model.Version)}/infer";
        return new InferenceContract(
            model.Model, model.Version, path,
            [.. model.Inputs?.Inputs.Select(input => new ContractInput(input.Name, input.Datatypes, [-1, 1], input.IsKey, input.IsEventTime)) ?? []],
            [.. model.FeatureNames.Select(name => new ContractTensor(name, "FP32", [-1, 1]))],
            model.InputTensors, model.OutputTensors,
            [
                new ContractParameter("entity_key", "Keeps all requests of one user or thing on one version while a rollout runs; without it the key inputs do, and without those each request is assigned by itself."),
                new ContractParameter("prediction_id", "In the answer: the id that a label is sent with. It is the request's own id when that is 12 to 128 printable characters without '#', else a new one; row i of a batch is prediction_id#i."),
            ],
            Example(model));
    }

    private static JsonObject Example(LoadedModel model)
    {
        var inputs = model.Tensors is not null
            ? new JsonArray([.. model.InputTensors.Select(input => (JsonNode)Tensor(input.Name, input.Datatype, [.. input.Shape.Select(size => size < 0 ? 1 : size)], Values(input)))])
            : model.Inputs is { } service
            ? new JsonArray([.. service.Inputs.Select(input => (JsonNode)Tensor(input.Name, input.Datatypes[0], [1, 1], Value(input)))])
            : new JsonArray(Tensor(model.MatrixName, "FP32", [1, model.FeatureNames.Count], [.. model.FeatureNames.Select(_ => (JsonNode)0.5)]));
        return new JsonObject { ["id"] = "example-request-1", ["inputs"] = inputs };
    }

    private static JsonObject Tensor(string name, string datatype, long[] shape, params JsonNode[] data) => new()
    {
        ["name"] = name,
        ["shape"] = new JsonArray([.. shape.Select(size => (JsonNode)size)]),
        ["datatype"] = datatype,
        ["data"] = new JsonArray(data),
    };

    // As many values as a shape of ones and the fixed sizes holds, but no megabytes of example.
    private static JsonNode[] Values(ContractTensor input) =>
        [.. Enumerable.Range(0, (int)Math.Min(input.Shape.Aggregate(1L, (product, size) => product * Math.Max(size, 1)), 1000)).Select(_ => (JsonNode)(input.Datatype switch
        {
            "BYTES" => "text",
            "BOOL" => true,
            "FP32" or "FP64" or "FP16" or "BF16" => 0.5,
            _ => 1,
        }))];

    private static JsonNode Value(RequestInput input) => input switch
    {
        { IsEventTime: true, Datatypes: ["BYTES", ..] } => "2001-05-01T08:30:00Z",
        { IsEventTime: true } => 988_705_800_000,
        { Datatypes: ["BYTES", ..] } => "ORD",
        { Datatypes: ["BOOL", ..] } => true,
        { Datatypes: ["INT64" or "INT32", ..] } => 1,
        _ => 0.5,
    };
}
