using System.Globalization;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Registry;
using Slipway.Native.Onnx;
using Slipway.Registry.Formats;
using Slipway.Storage;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    /// <summary>The path of a variant's file.</summary>
    private const string VariantPath = "model.onnx";

    // All of it passes through memory, with its integers beside it.
    private const long VariantBytesMax = 512L << 20;
    private const int VariantRows = 256;

    /// <summary>
    /// Makes a smaller or faster form of a version, runs both in processes of their own on the same rows, and registers it as the version's child with what
    /// came out. It has no evaluation report: that of the version it was made from is not its own.
    /// </summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: the version has no graph of its own, nothing in it can be made smaller, or the file is no variant of it.</exception>
    public async Task<ModelVersionRecord> MakeVariantAsync(string model, string version, MakeVariant request, Caller by, CancellationToken cancellationToken)
    {
        var parent = Get(model, version);
        external?.DemandOwn(parent.Model);
        if (parent.ServedSha256 is not { } served || parent.Format is ModelFormat.Remote or ModelFormat.Chain)
        {
            throw Unsuited($"Version {parent.Version} of '{parent.Model}' holds no graph that this server runs itself, so there is nothing to make a variant of; name a version with an ONNX file");
        }

        var size = parent.Files.First(file => file.Path == parent.ServedPath).SizeBytes;
        if (size > VariantBytesMax)
        {
            throw Unsuited($"Version {parent.Version} has {size.ToString("N0", CultureInfo.InvariantCulture)} bytes, and variants are made of up to {VariantBytesMax.ToString("N0", CultureInfo.InvariantCulture)}; make the file elsewhere and send it as the kind 'file'");
        }

        var (file, weights) = await MakeAsync(parent, served, request, cancellationToken);
        var (rows, from) = await RowsAsync(parent, request, cancellationToken);
        var compared = await ModelTrial.RunAsync(
            new TrialRequest(blobs.PathOf(served), Measure: false, parent.FeatureSchema.Features.Count, rows, VariantPath: blobs.PathOf(file.Sha256)), cancellationToken);
        if (compared.Differences is not { } differences)
        {
            throw Unsuited($"The variant could not be compared with version {parent.Version}: {(compared.Fault ?? "it has no outputs").TrimEnd('.').Split('\n')[0]}");
        }

        var before = await ModelTrial.RunAsync(new TrialRequest(blobs.PathOf(served), Measure: true), cancellationToken);
        var after = await ModelTrial.RunAsync(new TrialRequest(blobs.PathOf(file.Sha256), Measure: true), cancellationToken);
        var report = new VariantReport(
            parent.Version, request.Kind, differences, compared.Compared, from, Benchmark(before, size, clock.GetUtcNow()), Benchmark(after, file.SizeBytes, clock.GetUtcNow()))
        { Weights = weights };
        return await RegisterAsync(
            new RegisterVersion(
                parent.Model, request.Bump, parent.RunId, [file], parent.Signature, parent.FeatureSchema, parent.BaselineSha256, parent.EnvironmentSha256,
                EvaluationReportSha256: null, parent.TrainingSetSha256, parent.Datasets)
            {
                Commit = parent.Commit,
                PipelineRunId = parent.PipelineRunId,
                ParentVersion = parent.Version,
                Description = request.Description is { Length: > 0 } said ? said : $"{Name(request.Kind)} variant of {parent.Version}",
                Owner = parent.Owner,
                Tags = parent.Tags,
                Format = ModelFormat.Onnx,
            },
            report, by, cancellationToken);
    }

    private async Task<(ArtifactFile File, int? Weights)> MakeAsync(ModelVersionRecord parent, string served, MakeVariant request, CancellationToken cancellationToken)
    {
        var bytes = await blobs.ReadVerifiedAsync(served, cancellationToken);
        switch (request.Kind)
        {
            case VariantKind.File:
                var given = request.File ?? throw Unsuited("'file' is missing; name the stored ONNX file with path, sha256 and size_bytes");
                return (await CheckedAsync(bytes, given with { Path = VariantPath }, cancellationToken), null);
            case VariantKind.Int8 or VariantKind.Optimized when request.File is not null:
                throw Unsuited($"'file' goes with the kind 'file'; the kind '{Name(request.Kind)}' is made here");
            case VariantKind.Int8:
                try
                {
                    var quantized = OnnxQuantizer.Quantize(bytes);
                    return (await PutAsync(quantized.Model, cancellationToken), quantized.Weights);
                }
                catch (OnnxException e)
                {
                    throw Unsuited($"Version {parent.Version} cannot be quantized: {e.Message.TrimEnd('.')}");
                }

            default:
                var folder = Directory.CreateTempSubdirectory("slipway-variant-");
                try
                {
                    var path = Path.Combine(folder.FullName, VariantPath);
                    var trial = await ModelTrial.RunAsync(new TrialRequest(blobs.PathOf(served), Measure: false, OptimizedPath: path), cancellationToken);
                    return trial.Fault is null && File.Exists(path)
                        ? (await PutAsync(await File.ReadAllBytesAsync(path, cancellationToken), cancellationToken), null)
                        : throw Unsuited($"Version {parent.Version} cannot be optimized: {(trial.Fault ?? "the runtime wrote nothing").TrimEnd('.').Split('\n')[0]}");
                }
                finally
                {
                    folder.Delete(recursive: true);
                }
        }
    }

    // Whatever made it, it must take what the version takes and answer what it answers: callers and monitors go on as they are.
    private async Task<ArtifactFile> CheckedAsync(byte[] parent, ArtifactFile file, CancellationToken cancellationToken)
    {
        if (!await blobs.IsIntactAsync(file.Sha256, cancellationToken))
        {
            throw Unsuited($"'file' names {file.Sha256}, which is not stored; upload it first");
        }

        OnnxModelInfo before, after;
        try
        {
            (before, after) = (OnnxModelReader.Read(parent), OnnxModelReader.ReadFile(blobs.PathOf(file.Sha256)));
        }
        catch (OnnxException e)
        {
            throw Unsuited($"'file' is not an ONNX model: {e.Message.TrimEnd('.')}");
        }

        if (after.ExternalData.Count > 0)
        {
            throw Unsuited("'file' keeps tensors outside its own file; save it as one file");
        }

        foreach (var (what, old, now) in new[] { ("input", before.Inputs, after.Inputs), ("output", before.Outputs, after.Outputs) })
        {
            var (expected, found) = (Describe(old), Describe(now));
            if (expected != found)
            {
                throw Unsuited($"'file' is no variant of the version: its {what}s are {found} where the version's are {expected}");
            }
        }

        return file with { SizeBytes = new FileInfo(blobs.PathOf(file.Sha256)).Length };
    }

    private static string Describe(IReadOnlyList<OnnxTensorInfo> tensors) =>
        string.Join(", ", tensors.Select(tensor => $"{tensor.Name} {tensor.ElementType} [{string.Join(", ", tensor.Shape)}]"));

    // The version's own features as they were in training are the rows that say most; where they are not known any others say something.
    private async Task<(float[]? Rows, string From)> RowsAsync(ModelVersionRecord parent, MakeVariant request, CancellationToken cancellationToken)
    {
        string[] names = [.. parent.FeatureSchema.Features.Select(feature => feature.Name)];
        var isTable = parent.Signature.Inputs is [{ Type: "FP32", Shape: [_, var columns] }] && names.Length > 0 && (columns < 0 || columns == names.Length);
        if (request.SampleSha256 is { } sample)
        {
            return !isTable ? throw Unsuited("'sample_sha256' goes with a model of one table of features; leave it out, and the inputs are made up")
                : await blobs.IsIntactAsync(sample, cancellationToken) ? (ParityRows.Parse(Encoding.UTF8.GetString(await blobs.ReadVerifiedAsync(sample, cancellationToken)), names).Values, "sample")
                : throw Unsuited($"'sample_sha256' names {sample}, which is not stored; upload it first");
        }

        if (isTable && parent.BaselineSha256 is { } sha256)
        {
            var baseline = JsonSerializer.Deserialize<ModelBaseline>(await blobs.ReadVerifiedAsync(sha256, cancellationToken), JsonDefaults.Options);
            if (baseline is not null && names.All(baseline.Features.ContainsKey))
            {
                return (Draw([.. names.Select(name => baseline.Features[name])]), "baseline");
            }
        }

        return (isTable ? MadeUp(names.Length) : null, "made up");
    }

    private static float[] MadeUp(int columns)
    {
        var random = new Random(1);
        var rows = new float[VariantRows * columns];
        for (var i = 0; i < rows.Length; i++)
        {
            rows[i] = random.NextSingle();
        }

        return rows;
    }

    // Each feature by itself: a bin as often as it was in training, and any value of the bin.
    private static float[] Draw(FeatureBaseline[] features)
    {
        var random = new Random(1);
        var rows = new float[VariantRows * features.Length];
        for (var i = 0; i < rows.Length; i++)
        {
            var feature = features[i % features.Length];
            var total = feature.Counts.Sum() + feature.Nulls;
            var at = total == 0 ? 0 : random.NextInt64(total);
            var bin = 0;
            while (bin < feature.Counts.Count && at >= feature.Counts[bin])
            {
                at -= feature.Counts[bin++];
            }

            var low = bin == 0 || feature.Edges.Count == 0 ? feature.Min : feature.Edges[bin - 1];
            var high = bin >= feature.Edges.Count ? feature.Max : feature.Edges[bin];
            rows[i] = bin == feature.Counts.Count ? float.NaN : (float)(low + (random.NextDouble() * (high - low)));
        }

        return rows;
    }

    private async Task<ArtifactFile> PutAsync(byte[] onnx, CancellationToken cancellationToken)
    {
        var blob = await blobs.PutAsync(onnx, cancellationToken);
        return new ArtifactFile(VariantPath, blob.Sha256, blob.SizeBytes);
    }

    private static string Name(VariantKind kind) => kind.ToString().ToLowerInvariant();

    private static SlipwayException Unsuited(string what) => new(ErrorCode.InvalidArgument, $"{what}.");
}
