using System.Text.RegularExpressions;
using Slipway.Contracts;
using Slipway.Contracts.Registry;

namespace Slipway.Registry.Versions;

/// <summary>Refuses a registration that lacks a part, naming all faults together.</summary>
internal static partial class RegistrationRules
{
    /// <exception cref="SlipwayException">InvalidArgument: every fault in one sentence.</exception>
    public static void Check(RegisterVersion request)
    {
        var faults = new List<string>();
        if (!IsName(request.Model))
        {
            faults.Add("'model' must be 1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or digit");
        }

        if (!VersionRules.IsRequest(request.Bump))
        {
            faults.Add($"'bump' must be auto, major, minor, patch or a version such as 1.2.0, not '{request.Bump}'");
        }

        if (string.IsNullOrWhiteSpace(request.RunId))
        {
            faults.Add("'run_id' is missing; name the run that produced the model");
        }

        CheckFiles(request.Files, faults);
        CheckSignature(request.Signature, faults);
        CheckFeatures(request.FeatureSchema, faults);
        CheckDigest("baseline_sha256", request.BaselineSha256, required: true, faults);
        CheckDigest("environment_sha256", request.EnvironmentSha256, required: true, faults);
        CheckDigest("evaluation_report_sha256", request.EvaluationReportSha256, required: false, faults);
        CheckDigest("training_set_sha256", request.TrainingSetSha256, required: false, faults);
        if (request.Datasets is null || request.Datasets.Any(dataset => dataset is null || string.IsNullOrEmpty(dataset.Name)))
        {
            faults.Add("'datasets' must be a list of name, version and sha256, empty when unknown");
        }

        if (request.Tags is not null && request.Tags.Any(tag => tag.Key.Length is 0 or > 250 || tag.Value is null))
        {
            faults.Add("'tags' must have keys of 1 to 250 characters and texts as values");
        }

        if (faults.Count > 0)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"{string.Join("; ", faults)}.");
        }
    }

    public static bool IsName(string? name) => name is not null && NamePattern().IsMatch(name);

    private static void CheckFiles(IReadOnlyList<ArtifactFile>? files, List<string> faults)
    {
        if (files is null || files.Any(file => file is null) || files.Count(file => file.Path?.EndsWith(".onnx", StringComparison.Ordinal) == true) != 1)
        {
            faults.Add("'files' must be a list of path, sha256 and size_bytes, with exactly one model file whose path ends in .onnx");
            return;
        }

        foreach (var file in files)
        {
            if (string.IsNullOrEmpty(file.Path) || file.Path.Length > 500 || file.Path[0] == '/' || file.Path.Contains('\\') || file.Path.Split('/').Any(part => part is "" or "." or ".."))
            {
                faults.Add($"'files' has the path '{file.Path}'; use a relative path such as model.onnx");
            }

            CheckDigest($"files[{file.Path}].sha256", file.Sha256, required: true, faults);
        }

        if (files.Select(file => file.Path).Distinct(StringComparer.Ordinal).Count() != files.Count)
        {
            faults.Add("'files' names one path twice");
        }
    }

    private static void CheckSignature(ModelSignature? signature, List<string> faults)
    {
        if (signature?.Inputs is not { Count: > 0 } inputs || signature.Outputs is not { Count: > 0 } outputs)
        {
            faults.Add("'signature' must name at least one input and one output");
            return;
        }

        foreach (var (noun, fields) in new[] { ("inputs", inputs), ("outputs", outputs) })
        {
            if (fields.Any(field => field is null || string.IsNullOrEmpty(field.Name) || string.IsNullOrEmpty(field.Type) || field.Shape is null))
            {
                faults.Add($"'signature.{noun}' has a field without name, type or shape");
            }
            else if (fields.Select(field => field.Name).Distinct(StringComparer.Ordinal).Count() != fields.Count)
            {
                faults.Add($"'signature.{noun}' names one field twice");
            }
        }
    }

    private static void CheckFeatures(FeatureSchema? schema, List<string> faults)
    {
        if (schema?.Features is not { Count: > 0 } features || schema.ViewVersions is null || schema.ViewVersions.Any(string.IsNullOrEmpty) || string.IsNullOrEmpty(schema.Service))
        {
            faults.Add("'feature_schema' must name its service, its view versions and at least one feature");
        }
        else if (features.Any(feature => feature is null || string.IsNullOrEmpty(feature.Name) || string.IsNullOrEmpty(feature.Type))
            || features.Select(feature => feature.Name).Distinct(StringComparer.Ordinal).Count() != features.Count)
        {
            faults.Add("'feature_schema.features' must have a name, once each, and a type");
        }
    }

    private static void CheckDigest(string field, string? sha256, bool required, List<string> faults)
    {
        if (sha256 is null ? required : !DigestPattern().IsMatch(sha256))
        {
            faults.Add($"'{field}' must be a SHA-256 in lower-case hex");
        }
    }

    [GeneratedRegex(@"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\z")]
    private static partial Regex NamePattern();

    [GeneratedRegex(@"\A[0-9a-f]{64}\z")]
    private static partial Regex DigestPattern();
}
