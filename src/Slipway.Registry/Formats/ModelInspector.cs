using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Native.Onnx;
using Slipway.Native.Trees;
using Slipway.Storage.Blobs;

namespace Slipway.Registry.Formats;

/// <summary>What the files of a registration are.</summary>
/// <param name="Format">Found in their content.</param>
/// <param name="Files">Those sent, and the ONNX file made from them, if one was.</param>
/// <param name="ServedPath">The file a server loads; null when none can.</param>
/// <param name="Signature">Declared, or the graph's own.</param>
/// <param name="FeatureSchema">Declared, or the model's own columns.</param>
/// <param name="Profile">All else that was found out.</param>
internal sealed record Inspection(
    ModelFormat Format, IReadOnlyList<ArtifactFile> Files, string? ServedPath, ModelSignature Signature, FeatureSchema FeatureSchema, VersionProfile Profile);

/// <summary>Finds out what the files of a registration are, by their content alone, and makes the file that is served. Nothing is ever unpickled or run in this process.</summary>
internal sealed class ModelInspector(BlobStore blobs)
{
    /// <summary>Path of the file that the server makes: a conversion, or a model with its external data taken in.</summary>
    public const string MadePath = "slipway/model.onnx";

    // All of it passes through memory; a larger one is stored but not served.
    private const long ConvertedBytesMax = 512L << 20;
    private const int HeadBytes = 4096;
    private const int DescriptionBytesMax = 256 * 1024;

    private enum Kind
    {
        Other,
        Onnx,
        Xgboost,
        Lightgbm,
        Pickle,
        Remote,
        Chain,
    }

    /// <exception cref="SlipwayException">InvalidArgument: a file is broken, points outside, or cannot be converted.</exception>
    public async Task<Inspection> InspectAsync(RegisterVersion request, CancellationToken cancellationToken)
    {
        if (request.External is { } external)
        {
            return new Inspection(ModelFormat.External, [], null, request.Signature ?? ModelSignature.None, request.FeatureSchema ?? FeatureSchema.None, new VersionProfile
            {
                ManifestSha256 = Manifest([]),
                External = external,
                NotServed = $"{external.Provider} runs it; no file of it is here.",
            });
        }

        var kinds = request.Files.Select(file => (File: file, Kind: KindOf(file))).ToList();
        var onnx = Choose(kinds, Kind.Onnx);
        var xgboost = onnx is null ? Choose(kinds, Kind.Xgboost) : null;
        var lightgbm = onnx is null && xgboost is null ? Choose(kinds, Kind.Lightgbm) : null;
        var described = (onnx ?? xgboost ?? lightgbm) is not null ? null : Choose(kinds, Kind.Remote) ?? Choose(kinds, Kind.Chain);
        List<PickleScan> pickles = [.. kinds.Where(file => file.Kind == Kind.Pickle).SelectMany(file => ScanPickle(file.File))];
        var found = onnx is not null ? ModelFormat.Onnx : xgboost is not null ? ModelFormat.Xgboost : lightgbm is not null ? ModelFormat.Lightgbm
            : described is not null ? kinds.Single(file => file.File == described).Kind == Kind.Remote ? ModelFormat.Remote : ModelFormat.Chain
            : pickles.Count > 0 ? ModelFormat.Pickle : ModelFormat.Other;
        if (request.Format is { } declared && declared != found)
        {
            throw Invalid($"'format' says {Name(declared)}, but the files are {Name(found)}; leave it out or correct it");
        }

        var profile = new VersionProfile { ManifestSha256 = Manifest(request.Files), Pickles = pickles };
        return found switch
        {
            ModelFormat.Onnx => await OnnxAsync(request, onnx!, profile, cancellationToken),
            ModelFormat.Xgboost => await ConvertAsync(request, xgboost!, Read(xgboost!, XgboostModel.Read), found, profile, cancellationToken),
            ModelFormat.Lightgbm => await ConvertAsync(request, lightgbm!, Read(lightgbm!, LightgbmModel.Read), found, profile, cancellationToken),
            ModelFormat.Remote => Served(request, found, described!, RemoteModelFile.Parse(Text(described!)).Signature, profile),
            ModelFormat.Chain => Served(request, found, described!, ModelChainFile.Parse(Text(described!)).Signature, profile),
            ModelFormat.Pickle => NotServed(request, found, profile with { Framework = PickleScanner.Framework(pickles), NotServed = ExportAdvice.ForPickle(PickleScanner.Framework(pickles)) }),
            _ => NotServed(request, found, profile with { NotServed = ExportAdvice.ForOther }),
        };
    }

    private static Inspection Served(RegisterVersion request, ModelFormat format, ArtifactFile file, ModelSignature signature, VersionProfile profile) =>
        new(format, request.Files, file.Path, request.Signature is { Inputs.Count: > 0 } declared ? declared : signature, request.FeatureSchema ?? FeatureSchema.None, profile);

    private string Text(ArtifactFile file) => File.ReadAllText(blobs.PathOf(file.Sha256));

    private static Inspection NotServed(RegisterVersion request, ModelFormat format, VersionProfile profile) =>
        new(format, request.Files, null, request.Signature ?? ModelSignature.None, request.FeatureSchema ?? FeatureSchema.None, profile);

    private Kind KindOf(ArtifactFile file)
    {
        var head = new byte[Math.Min(HeadBytes, file.SizeBytes)];
        using (var content = blobs.OpenRead(file.Sha256))
        {
            content.ReadExactly(head);
        }

        if (DescriptionOf(file, head) is { } described)
        {
            return described;
        }

        if (XgboostModel.IsOne(head))
        {
            return Kind.Xgboost;
        }

        if (LightgbmModel.IsOne(head))
        {
            return Kind.Lightgbm;
        }

        try
        {
            OnnxModelReader.ReadFile(blobs.PathOf(file.Sha256));
            return Kind.Onnx;
        }
        catch (OnnxException e) when (file.Path.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase))
        {
            throw Invalid($"'files' has {file.Path}, which is not an ONNX model: {e.Message.TrimEnd('.')}");
        }
        catch (OnnxException)
        {
            return PickleScanner.MayBe(head) ? Kind.Pickle : Kind.Other;
        }
    }

    // A line of its own, at the left, in a YAML file that is short enough to be one.
    private static Kind? DescriptionOf(ArtifactFile file, ReadOnlySpan<byte> head)
    {
        if (file.SizeBytes > DescriptionBytesMax || !(file.Path.EndsWith(".yaml", StringComparison.OrdinalIgnoreCase) || file.Path.EndsWith(".yml", StringComparison.OrdinalIgnoreCase)))
        {
            return null;
        }

        foreach (var line in Encoding.UTF8.GetString(head).AsSpan().EnumerateLines())
        {
            if (line.StartsWith("kind:", StringComparison.Ordinal))
            {
                return line[5..].Trim() switch
                {
                    RemoteModelFile.Kind => Kind.Remote,
                    ModelChainFile.Kind => Kind.Chain,
                    _ => null,
                };
            }
        }

        return null;
    }

    private IReadOnlyList<PickleScan> ScanPickle(ArtifactFile file)
    {
        using var content = blobs.OpenRead(file.Sha256);
        return PickleScanner.Scan(file.Path, content);
    }

    // A folder may hold several models of one kind, such as an encoder and a decoder: which one answers must be said.
    private static ArtifactFile? Choose(List<(ArtifactFile File, Kind Kind)> kinds, Kind kind)
    {
        List<ArtifactFile> files = [.. kinds.Where(file => file.Kind == kind).Select(file => file.File)];
        return files.Count <= 1 ? files.FirstOrDefault()
            : files.FirstOrDefault(file => Path.GetFileNameWithoutExtension(file.Path) == "model" && !file.Path.Contains('/'))
            ?? throw Invalid($"'files' has several {kind} models: {string.Join(", ", files.Select(file => file.Path))}; name the one to serve model{Path.GetExtension(files[0].Path)}");
    }

    private async Task<Inspection> OnnxAsync(RegisterVersion request, ArtifactFile file, VersionProfile profile, CancellationToken cancellationToken)
    {
        var info = OnnxModelReader.ReadFile(blobs.PathOf(file.Sha256));
        IReadOnlyList<ArtifactFile> files = request.Files;
        var served = file;
        string? notServed = null;
        if (info.ExternalData.Count > 0)
        {
            var parts = info.ExternalData.Select(tensor => Locate(file, tensor, request.Files)).ToList();
            if (file.SizeBytes + parts.Sum(part => part.Length) > ConvertedBytesMax)
            {
                notServed = string.Create(CultureInfo.InvariantCulture,
                    $"Its external data is over {ConvertedBytesMax >> 20} MB, which this server does not take into one file; serve it through a remote backend.");
            }
            else
            {
                served = await PutMadeAsync(OnnxExternalData.Inline(await File.ReadAllBytesAsync(blobs.PathOf(file.Sha256), cancellationToken), tensor => ReadPart(Locate(file, tensor, request.Files))), cancellationToken);
                files = [.. request.Files, served];
            }
        }

        return new Inspection(
            ModelFormat.Onnx, files, notServed is null ? served.Path : null, request.Signature ?? SignatureOf(info), request.FeatureSchema ?? FeaturesOf(info),
            profile with { Framework = info.Producer is { Length: > 0 } producer ? producer : null, NotServed = notServed });
    }

    /// <summary>The bytes that a tensor names, in a file of the same registration: a path outside it, or an address in memory, is refused.</summary>
    private static (ArtifactFile File, long Offset, long Length) Locate(ArtifactFile model, OnnxExternalTensor tensor, IReadOnlyList<ArtifactFile> files)
    {
        var where = $"{model.Path} keeps the tensor '{tensor.Name}' in '{tensor.Location}'";
        if (tensor.Location is "" or ['*', ..] or ['/', ..] || tensor.Location.Contains('\\', StringComparison.Ordinal) || tensor.Location.Contains(':', StringComparison.Ordinal)
            || tensor.Location.Split('/').Any(part => part is "" or "." or "..") || tensor.Location.Any(char.IsControl))
        {
            throw Invalid($"{where}, which is not a relative path below the model's own folder; save the model again with its data beside it");
        }

        var folder = model.Path.LastIndexOf('/') is var slash and >= 0 ? model.Path[..(slash + 1)] : "";
        var file = files.FirstOrDefault(file => file.Path == folder + tensor.Location)
            ?? throw Invalid($"{where}, but 'files' has no {folder}{tensor.Location}; register the whole folder");
        var length = tensor.Length ?? file.SizeBytes - tensor.Offset;
        return tensor.Offset <= file.SizeBytes && length >= 0 && length <= file.SizeBytes - tensor.Offset
            ? (file, tensor.Offset, length)
            : throw Invalid($"{where} at {tensor.Offset:N0} to {tensor.Offset + length:N0}, but that file has {file.SizeBytes:N0} bytes");
    }

    private byte[] ReadPart((ArtifactFile File, long Offset, long Length) part)
    {
        var bytes = new byte[part.Length];
        using var content = blobs.OpenRead(part.File.Sha256);
        content.Position = part.Offset;
        content.ReadExactly(bytes);
        return bytes;
    }

    private T Read<T>(ArtifactFile file, Func<ReadOnlyMemory<byte>, T> read)
        where T : TreeModel
    {
        if (file.SizeBytes > ConvertedBytesMax)
        {
            throw Invalid($"'files' has {file.Path} of {file.SizeBytes:N0} bytes; models up to {ConvertedBytesMax:N0} bytes are converted, so export it to ONNX yourself");
        }

        try
        {
            return read(File.ReadAllBytes(blobs.PathOf(file.Sha256)));
        }
        catch (OnnxException e)
        {
            throw Invalid($"'files' has {file.Path}: {e.Message.TrimEnd('.')}");
        }
    }

    private async Task<Inspection> ConvertAsync(
        RegisterVersion request, ArtifactFile file, TreeModel model, ModelFormat format, VersionProfile profile, CancellationToken cancellationToken)
    {
        string[]? declared = request.FeatureSchema is { Features.Count: > 0 } schema ? [.. schema.Features.Select(feature => feature.Name)] : null;
        if (declared is not null && declared.Length != model.Features)
        {
            throw Invalid($"'feature_schema' has {declared.Length} features, but {file.Path} takes {model.Features}");
        }

        if (declared is not null && declared.ToHashSet(StringComparer.Ordinal).SetEquals(model.FeatureNames) && !declared.SequenceEqual(model.FeatureNames))
        {
            throw Invalid($"'feature_schema' has the features of {file.Path} in another order, which would feed it the wrong columns; use {string.Join(", ", model.FeatureNames)}");
        }

        byte[] onnx;
        try
        {
            onnx = model.ToOnnx(declared);
        }
        catch (OnnxException e)
        {
            throw Invalid($"'files' has {file.Path}: {e.Message.TrimEnd('.')}");
        }

        var made = await PutMadeAsync(onnx, cancellationToken);
        var rows = request.SampleSha256 is { } sample
            ? ParityRows.Parse(Encoding.UTF8.GetString(await blobs.ReadVerifiedAsync(sample, cancellationToken)), declared ?? model.FeatureNames)
            : ParityRows.AroundSplits(model);
        var report = await CheckParityAsync(file, model, format, made, rows, cancellationToken);
        var info = OnnxModelReader.Read(onnx);
        return new Inspection(
            format, [.. request.Files, made], made.Path, request.Signature ?? SignatureOf(info), request.FeatureSchema ?? FeaturesOf(info),
            profile with { Framework = model.Framework, Conversion = report });
    }

    private async Task<ConversionReport> CheckParityAsync(
        ArtifactFile file, TreeModel model, ModelFormat format, ArtifactFile made, ParityRows rows, CancellationToken cancellationToken)
    {
        var trial = await ModelTrial.RunAsync(
            new TrialRequest(
                blobs.PathOf(made.Sha256), Measure: false, rows.Columns, rows.Values, format == ModelFormat.Xgboost ? blobs.PathOf(file.Sha256) : null, model.Outputs),
            cancellationToken);
        if (trial.Fault is { } fault || trial.Answers is not { } answers)
        {
            throw Invalid($"'files' has {file.Path}, whose conversion to ONNX could not be checked: {trial.Fault ?? "it gave no answers"}");
        }

        var expected = new double[rows.Rows * model.Outputs];
        for (var row = 0; row < rows.Rows; row++)
        {
            model.Predict(rows.Row(row), expected.AsSpan(row * model.Outputs, model.Outputs));
        }

        var difference = LargestDifference(expected, answers);
        double? library = trial.XgboostAnswers is { } theirs ? LargestDifference([.. theirs.Select(value => (double)value)], answers) : null;
        var tolerance = 1e-5 + (model.Trees * 6e-8); // And a float's rounding for every tree that is added up.
        var worst = Math.Max(difference, library ?? 0);
        return worst <= tolerance
            ? new ConversionReport(
                file.Path, model.Trees, rows.Rows, rows.Source, difference, tolerance, library is null ? null : $"xgboost {trial.XgboostVersion}", library)
            : throw Invalid(string.Create(CultureInfo.InvariantCulture,
                $"'files' has {file.Path}, whose conversion to ONNX answers {rows.Rows:N0} rows with a difference of up to {worst:0.###E+0} from the original, over the tolerance of {tolerance:0.###E+0}; export it to ONNX yourself"));
    }

    private static double LargestDifference(double[] expected, float[] actual)
    {
        var largest = 0d;
        for (var i = 0; i < expected.Length; i++)
        {
            var difference = double.IsNaN(expected[i]) && float.IsNaN(actual[i]) ? 0 : Math.Abs(expected[i] - actual[i]) / Math.Max(1, Math.Abs(expected[i]));
            largest = double.IsNaN(difference) ? double.PositiveInfinity : Math.Max(largest, difference);
        }

        return largest;
    }

    private async Task<ArtifactFile> PutMadeAsync(byte[] onnx, CancellationToken cancellationToken)
    {
        var blob = await blobs.PutAsync(new MemoryStream(onnx, writable: false), cancellationToken);
        return new ArtifactFile(MadePath, blob.Sha256, blob.SizeBytes);
    }

    private static ModelSignature SignatureOf(OnnxModelInfo info) => new([.. info.Inputs.Select(Field)], [.. info.Outputs.Select(Field)]);

    // A table of floats is what features are; its columns bear the names the file gives them.
    private static FeatureSchema FeaturesOf(OnnxModelInfo info)
    {
        if (info.Inputs is not [{ ElementType: OnnxElementType.Float, Shape: [_, > 0 and <= 100_000] } input])
        {
            return FeatureSchema.None;
        }

        string[]? names = null;
        try
        {
            names = info.Metadata.TryGetValue(OnnxConverters.FeatureNamesKey, out var json) ? JsonSerializer.Deserialize<string[]>(json) : null;
        }
        catch (JsonException)
        {
            // The file is somebody's; without readable names the columns are numbered.
        }

        if (names is null || names.Length != input.Shape[1] || names.Any(string.IsNullOrEmpty) || names.Distinct(StringComparer.Ordinal).Count() != names.Length)
        {
            names = [.. Enumerable.Range(0, (int)input.Shape[1]).Select(i => string.Create(CultureInfo.InvariantCulture, $"f{i}"))];
        }

        return new FeatureSchema("", 0, [.. names.Select(name => new FeatureField(name, "FLOAT"))], []);
    }

    private static SignatureField Field(OnnxTensorInfo tensor) => new(tensor.Name, tensor.ElementType switch
    {
        OnnxElementType.Float => "FP32",
        OnnxElementType.Double => "FP64",
        OnnxElementType.Float16 => "FP16",
        OnnxElementType.BFloat16 => "BF16",
        OnnxElementType.String => "BYTES",
        var type => type.ToString().ToUpperInvariant(),
    }, tensor.Shape);

    private static string Manifest(IReadOnlyList<ArtifactFile> files) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(
        string.Concat(files.OrderBy(file => file.Path, StringComparer.Ordinal).Select(file => $"{file.Sha256}  {file.Path}\n")))));

    private static string Name(ModelFormat format) => format.ToString().ToLowerInvariant();

    private static SlipwayException Invalid(string what) => new(ErrorCode.InvalidArgument, what + ".");
}
