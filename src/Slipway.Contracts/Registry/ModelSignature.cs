namespace Slipway.Contracts.Registry;

/// <summary>What a request must send and what an answer holds.</summary>
/// <param name="Inputs">In request order.</param>
/// <param name="Outputs">In answer order.</param>
public sealed record ModelSignature(IReadOnlyList<SignatureField> Inputs, IReadOnlyList<SignatureField> Outputs)
{
    /// <summary>Of a version that declares none.</summary>
    public static ModelSignature None { get; } = new([], []);
}

/// <summary>One input or output tensor.</summary>
/// <param name="Name">As requests name it.</param>
/// <param name="Type">Open Inference datatype: <c>FP32</c>, <c>FP64</c>, <c>INT64</c>, <c>BYTES</c>, <c>BOOL</c> …</param>
/// <param name="Shape">-1 is the batch dimension.</param>
/// <param name="Optional">True when a request may leave it out. Means nothing on an output.</param>
public sealed record SignatureField(string Name, string Type, IReadOnlyList<long> Shape, bool Optional = false);

/// <summary>The features a version was trained on, in the order of its input vector.</summary>
/// <param name="Service">Feature service that assembles them.</param>
/// <param name="ServiceVersion">The service's definition version.</param>
/// <param name="Features">In vector order.</param>
/// <param name="ViewVersions">Feature view versions behind them, each <c>name@version</c>.</param>
public sealed record FeatureSchema(string Service, int ServiceVersion, IReadOnlyList<FeatureField> Features, IReadOnlyList<string> ViewVersions)
{
    /// <summary>Of a version that declares none.</summary>
    public static FeatureSchema None { get; } = new("", 0, [], []);
}

/// <summary>One feature.</summary>
/// <param name="Name">Reference <c>entity:feature</c>.</param>
/// <param name="Type">Such as <c>DOUBLE</c>.</param>
public sealed record FeatureField(string Name, string Type);

/// <summary>A file of a version, kept as a blob.</summary>
/// <param name="Path">Relative, such as <c>model.onnx</c>.</param>
/// <param name="Sha256">The blob's name.</param>
/// <param name="SizeBytes">Its length.</param>
public sealed record ArtifactFile(string Path, string Sha256, long SizeBytes);

/// <summary>A dataset version a model came from.</summary>
/// <param name="Name">Dataset.</param>
/// <param name="Version">1, 2, 3 …</param>
/// <param name="Sha256">Of its file.</param>
public sealed record DatasetRef(string Name, int Version, string Sha256);
