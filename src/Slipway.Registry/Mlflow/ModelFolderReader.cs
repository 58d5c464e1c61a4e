using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Native.Onnx;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Registry.Mlflow;

/// <summary>What a model folder's files say of it.</summary>
/// <param name="Signature">None when nothing declares one.</param>
/// <param name="EnvironmentSha256">Null when no file names the libraries.</param>
/// <param name="Format">By its files and flavors.</param>
/// <param name="ServedPath">The graph a server here can run; null when there is none.</param>
internal sealed record ModelFolder(ModelSignature Signature, string? EnvironmentSha256, ModelFormat Format, string? ServedPath);

/// <summary>Reads the files that MLflow's client writes for a model.</summary>
internal sealed class ModelFolderReader(BlobStore blobs)
{
    /// <summary>Larger graphs are kept, but not read to see whether they can be served.</summary>
    private const long GraphBytesMax = 1L << 30;

    private static readonly string[] EnvironmentFiles = ["requirements.txt", "conda.yaml", "python_env.yaml"];
    private static readonly string[] PickleEndings = [".pkl", ".pickle", ".joblib", ".pt", ".pth"];

    /// <summary>Reads them.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the file MLmodel is not one; FailedPrecondition: a blob was changed.</exception>
    public async Task<ModelFolder> ReadAsync(SourceSnapshot snapshot, CancellationToken cancellationToken)
    {
        if (snapshot.CopyOf is { } original)
        {
            return new ModelFolder(original.Signature, original.EnvironmentSha256, original.Format, original.ServedPath);
        }

        var mlmodel = MlmodelFile.None;
        if (snapshot.Files.FirstOrDefault(file => file.Path == MlmodelFile.Name) is { SizeBytes: <= MlmodelFile.SizeMax } described)
        {
            mlmodel = MlmodelFile.Parse(await blobs.ReadVerifiedAsync(described.Sha256, cancellationToken))
                ?? throw RunLimits.Invalid("The file MLmodel at the source is not one that MLflow writes: it must be YAML without aliases, with 'flavors' and 'signature'.");
        }

        var graphs = snapshot.Files.Where(file => file.Path.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase)).ToList();
        var graph = graphs is [{ SizeBytes: <= GraphBytesMax } only] ? await ReadGraphAsync(only, cancellationToken) : null;
        var environment = EnvironmentFiles.Select(name => snapshot.Files.FirstOrDefault(file => file.Path == name)).FirstOrDefault(file => file is not null);
        return new ModelFolder(
            mlmodel.Signature.Inputs.Count > 0 || graph is null ? mlmodel.Signature : Signature(graph), environment?.Sha256,
            graph is not null ? ModelFormat.Onnx : Format(snapshot, mlmodel), graph is null ? null : graphs[0].Path);
    }

    // Weights in a second file would not be found by a server that loads the graph by its content.
    private async Task<OnnxModelInfo?> ReadGraphAsync(ArtifactFile file, CancellationToken cancellationToken)
    {
        try
        {
            var graph = OnnxModelReader.Read(await blobs.ReadVerifiedAsync(file.Sha256, cancellationToken));
            return graph.ExternalData.Count == 0 && graph.Inputs.Count > 0 && graph.Outputs.Count > 0 ? graph : null;
        }
        catch (OnnxException)
        {
            return null;
        }
    }

    private static ModelFormat Format(SourceSnapshot snapshot, MlmodelFile mlmodel) =>
        snapshot.Files.Count == 0 ? snapshot.IsExternal ? ModelFormat.External : ModelFormat.Other
        : mlmodel.Flavors.Contains("onnx") ? ModelFormat.Onnx
        : snapshot.Files.Any(file => PickleEndings.Any(ending => file.Path.EndsWith(ending, StringComparison.OrdinalIgnoreCase))) ? ModelFormat.Pickle
        : mlmodel.Flavors.Contains("xgboost") ? ModelFormat.Xgboost
        : mlmodel.Flavors.Contains("lightgbm") ? ModelFormat.Lightgbm
        : ModelFormat.Other;

    private static ModelSignature Signature(OnnxModelInfo graph) => new(
        [.. graph.Inputs.Select(Field)], [.. graph.Outputs.Select(Field)]);

    private static SignatureField Field(OnnxTensorInfo tensor) => new(tensor.Name, tensor.ElementType switch
    {
        OnnxElementType.Float => "FP32",
        OnnxElementType.Double => "FP64",
        OnnxElementType.Float16 => "FP16",
        OnnxElementType.Bool => "BOOL",
        OnnxElementType.String or OnnxElementType.None => "BYTES",
        var whole => whole.ToString().ToUpperInvariant(),
    }, tensor.Shape);
}
