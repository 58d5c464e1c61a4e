using System.Text.Json.Nodes;

namespace Slipway.Contracts.Serving;

/// <summary>What callers of a version may rely on: it never changes for a version.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="Path">Where to POST.</param>
/// <param name="RequestInputs">Inputs that the feature store completes, all required; empty when the version takes features only.</param>
/// <param name="Features">The features, in the order of the tensor <c>features</c>; each may also be sent as a tensor of its own. Empty when the model takes other tensors than a table of features.</param>
/// <param name="Tensors">The model's own inputs, all required.</param>
/// <param name="Outputs">The outputs, in the order of the answer.</param>
/// <param name="Parameters">Request parameters that are understood.</param>
/// <param name="ExampleRequest">A body that the version answers.</param>
public sealed record InferenceContract(
    string Model, string Version, string Path, IReadOnlyList<ContractInput> RequestInputs, IReadOnlyList<ContractTensor> Features, IReadOnlyList<ContractTensor> Tensors,
    IReadOnlyList<ContractTensor> Outputs,
    IReadOnlyList<ContractParameter> Parameters, JsonObject ExampleRequest)
{
    /// <summary>The first output: the only one of a model that scores features.</summary>
    public ContractTensor Output => Outputs[0];
}

/// <summary>A request input.</summary>
/// <param name="Name">As requests name it.</param>
/// <param name="Datatypes">Datatypes that are taken, the preferred one first.</param>
/// <param name="Shape">-1 is the number of rows.</param>
/// <param name="EntityKey">Whether it is part of the key that keeps a caller on one version.</param>
/// <param name="EventTime">Whether it says when the predicted event happens: Unix milliseconds, or ISO 8601 text.</param>
public sealed record ContractInput(string Name, IReadOnlyList<string> Datatypes, IReadOnlyList<long> Shape, bool EntityKey, bool EventTime);

/// <summary>A tensor.</summary>
/// <param name="Name">As requests and answers name it.</param>
/// <param name="Datatype">Open Inference datatype.</param>
/// <param name="Shape">-1 is a size that varies, such as the number of rows.</param>
public sealed record ContractTensor(string Name, string Datatype, IReadOnlyList<long> Shape);

/// <summary>A request parameter.</summary>
/// <param name="Name">Under <c>parameters</c>.</param>
/// <param name="Meaning">What it does.</param>
public sealed record ContractParameter(string Name, string Meaning);
