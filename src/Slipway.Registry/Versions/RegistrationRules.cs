using System.Text.RegularExpressions;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Formats;
using Slipway.Registry.Stages;

namespace Slipway.Registry.Versions;

/// <summary>Refuses a registration that lacks a part, naming all faults together.</summary>
internal static partial class RegistrationRules
{
    private const int FilesMax = 10_000;

    /// <exception cref="SlipwayException">InvalidArgument: every fault in one sentence.</exception>
    public static void Check(RegisterVersion request)
    {
        var faults = new List<string>();
        if (!IsName(request.Model))
        {
            faults.Add($"'model' {NameRule}");
        }

        if (!VersionRules.IsRequest(request.Bump))
        {
            faults.Add($"'bump' must be auto, major, minor, patch or a version such as 1.2.0, not '{request.Bump}'");
        }

        if (request.RunId is not null && string.IsNullOrWhiteSpace(request.RunId))
        {
            faults.Add("'run_id' is empty; name the run that produced the model, or leave it out");
        }

        CheckFiles(request, faults);
        CheckSignature(request.Signature, faults);
        CheckFeatures(request.FeatureSchema, faults);
        CheckDigest("baseline_sha256", request.BaselineSha256, required: false, faults);
        CheckDigest("environment_sha256", request.EnvironmentSha256, required: false, faults);
        CheckDigest("evaluation_report_sha256", request.EvaluationReportSha256, required: false, faults);
        CheckDigest("sample_sha256", request.SampleSha256, required: false, faults);
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

    /// <summary>The rule of <see cref="IsName"/> in words.</summary>
    public const string NameRule = "must have 1 to 256 characters, without '/', ':', '\\', '@', '..' and control characters, and may neither begin nor end with a blank or '.'";

    /// <summary>What MLflow takes as a model's name, without what could be read as a path, an address or a version.</summary>
    public static bool IsName(string? name) => name is { Length: > 0 and <= 256 } && name.IndexOfAny(['/', ':', '\\', '@']) < 0 && !name.Any(char.IsControl)
        && !name.Contains("..", StringComparison.Ordinal) && name[0] is not (' ' or '.') && name[^1] is not (' ' or '.');

    /// <summary>An alias, as MLflow takes it, but for what reads as a version; MLflow's clients mark aliases with '@', so that theirs may bear a stage's name.</summary>
    public static bool IsAlias(string? alias, bool mayNameStage) => alias is { Length: <= 255 } && AliasPattern().IsMatch(alias)
        && !alias.Equals("latest", StringComparison.OrdinalIgnoreCase) && (mayNameStage || !StageRules.TryParse(alias, out _));

    private static void CheckFiles(RegisterVersion request, List<string> faults)
    {
        if (request.External is { } external)
        {
            CheckExternal(external, request, faults);
            return;
        }

        if (request.Files is not { Count: > 0 and <= FilesMax } files || files.Any(file => file is null))
        {
            faults.Add($"'files' must be a list of 1 to {FilesMax:N0} files with path, sha256 and size_bytes; a model that its provider runs has 'external' instead");
            return;
        }

        foreach (var file in files)
        {
            if (string.IsNullOrEmpty(file.Path) || file.Path.Length > 500 || file.Path[0] == '/' || file.Path.Contains('\\') || file.Path.Any(char.IsControl)
                || file.Path.Split('/').Any(part => part is "" or "." or ".."))
            {
                faults.Add($"'files' has the path '{file.Path}'; use a relative path such as model.onnx");
            }

            else if (file.Path == ModelInspector.MadePath)
            {
                faults.Add($"'files' has the path {file.Path}, which the server writes itself; rename the file");
            }

            CheckDigest($"files[{file.Path}].sha256", file.Sha256, required: true, faults);
        }

        if (files.Select(file => file.Path).Distinct(StringComparer.Ordinal).Count() != files.Count)
        {
            faults.Add("'files' names one path twice");
        }
    }

    private static void CheckExternal(ExternalModel external, RegisterVersion request, List<string> faults)
    {
        if (request.Files is { Count: > 0 })
        {
            faults.Add("'external' is for a model without files; leave 'files' empty, or 'external' out");
        }

        if (external.Kind is ModelKind.Trained || string.IsNullOrWhiteSpace(external.Provider) || string.IsNullOrWhiteSpace(external.ModelId))
        {
            faults.Add("'external' must have a kind (fine_tuned, foundation or saas), a provider and the provider's model_id");
        }

        if (external.TermsUrl is { } terms && (!Uri.TryCreate(terms, UriKind.Absolute, out var address) || address.Scheme is not ("http" or "https")))
        {
            faults.Add($"'external.terms_url' must be an address such as https://example.com/terms, not '{terms}'");
        }
    }

    // None at all is allowed: an ONNX graph says itself what it takes, and other formats may not be served here.
    private static void CheckSignature(ModelSignature? signature, List<string> faults)
    {
        if (signature is null || signature is { Inputs.Count: 0, Outputs.Count: 0 })
        {
            return;
        }

        if (signature.Inputs is not { Count: > 0 } inputs || signature.Outputs is not { Count: > 0 } outputs)
        {
            faults.Add("'signature' must name at least one input and one output, or be left out");
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
        if (schema is null || schema is { Features.Count: 0, ViewVersions.Count: 0, Service: "" })
        {
            return;
        }

        if (schema.Features is not { Count: > 0 } features || schema.ViewVersions is null || schema.ViewVersions.Any(string.IsNullOrEmpty) || schema.Service is null)
        {
            faults.Add("'feature_schema' must have its service (empty when there is none), its view versions and at least one feature, or be left out");
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

    [GeneratedRegex(@"\A(?![vV]?[0-9]+\z)(?![0-9]+\.)[\w.-]+\z")]
    private static partial Regex AliasPattern();

    [GeneratedRegex(@"\A[0-9a-f]{64}\z")]
    private static partial Regex DigestPattern();
}
