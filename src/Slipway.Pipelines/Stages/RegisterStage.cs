using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Storage.Definitions;

namespace Slipway.Pipelines.Stages;

/// <summary>Registers the chosen candidate with all that a version needs. It runs only after a go.</summary>
internal sealed class RegisterStage(ModelRegistry registry) : StageKind
{
    /// <param name="Bump"><c>auto</c>, <c>major</c>, <c>minor</c>, <c>patch</c> or a version.</param>
    /// <param name="Description">What the version is for.</param>
    /// <param name="Owner">Who answers for it; null: whoever started the run.</param>
    /// <param name="Tags">Set on the version, such as <c>intended_use</c>, <c>limitations</c>, <c>risk_tier</c>, which its model card quotes.</param>
    internal sealed record RegisterSettings(string Bump, string Description, string? Owner, IReadOnlyDictionary<string, string> Tags);

    private sealed record Registered(string Model, string Version, int Number);

    public override string Uses => "register";

    public override IReadOnlyList<string> Inputs => ["splits", "model", "candidates", "report", "baseline"];

    public override IReadOnlyList<string> Outputs => ["version"];

    // The point is the effect.
    public override bool Cacheable => false;

    public override bool Registers => true;

    public override bool NeedsSettings => false;

    public override object ReadSettings(DefinitionYaml with) => new RegisterSettings(
        with.OptionalText("bump") ?? "auto", with.OptionalText("description") ?? "", with.OptionalText("owner"), with.OptionalMap("tags")?.AllTexts() ?? new Dictionary<string, string>());

    public override async Task RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        var settings = context.Settings<RegisterSettings>();
        var splits = await context.ReadAsync<Splits>("splits", cancellationToken);
        var candidate = (await context.ReadAsync<Candidates>("candidates", cancellationToken)).Best;
        var report = await context.ReadAsync<EvaluationReport>("report", cancellationToken);
        if (report.GoNoGo is { Passed: false } verdict)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"The model did not meet the threshold set before training: {verdict.Reason}.");
        }

        // The server may have stopped between the registration and the record of this stage.
        var version = registry.ListVersions(context.Pipeline.Model).FirstOrDefault(known => known.PipelineRunId == context.RunId)
            ?? await registry.RegisterAsync(Request(context, settings, splits, candidate), context.By, cancellationToken);
        context.Made(version.Node);
        await context.WriteAsync("version", new Registered(version.Model, version.Version, version.Number), cancellationToken);
        context.Outcome = new StageOutcome($"registered {version.Model} {version.Version}: {version.BumpReason}", ModelVersion: version.Version);
    }

    private static RegisterVersion Request(StageContext context, RegisterSettings settings, Splits splits, Candidate candidate)
    {
        var model = context.Input("model");
        return new RegisterVersion(
            context.Pipeline.Model, settings.Bump, candidate.RunId!, [new ArtifactFile("model.onnx", model.Sha256, model.SizeBytes)],
            new ModelSignature(splits.Inputs, [new SignatureField(Native.Onnx.OnnxConverters.OutputName, "FP32", [-1, 1])]),
            splits.FeatureSchema, context.Input("baseline").Sha256, candidate.EnvironmentSha256!, context.Input("report").Sha256, splits["train"].Sha256, [splits.Dataset])
        {
            Commit = candidate.Commit,
            PipelineRunId = context.RunId,
            Description = settings.Description,
            Owner = settings.Owner,
            Tags = new Dictionary<string, string>(settings.Tags)
            {
                ["trainer"] = candidate.Name,
                ["pipeline"] = context.Pipeline.Name,
                ["training_wall_seconds"] = candidate.WallSeconds.ToString("0.000", CultureInfo.InvariantCulture),
                ["training_cpu_seconds"] = candidate.CpuSeconds.ToString("0.000", CultureInfo.InvariantCulture),
                ["train_from"] = splits["train"].From.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
                ["train_until"] = splits["train"].Until.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
            },
        };
    }
}
