using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Contracts.Registry;
using Slipway.Datasets;
using Slipway.Storage.Definitions;

namespace Slipway.Pipelines.Stages;

/// <summary>Checks the dataset against its declared rules; a blocking breach stops the run before anything is trained.</summary>
internal sealed class ValidateStage(DatasetStore datasets) : StageKind
{
    public override string Uses => "validate";

    public override IReadOnlyList<string> Inputs => ["dataset"];

    public override IReadOnlyList<string> Outputs => ["checks"];

    public override bool NeedsSettings => false;

    // The rules belong to the dataset's definition, which may change while the bytes stay.
    public override bool Cacheable => false;

    public override object ReadSettings(DefinitionYaml with) => new { };

    public override async Task RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        var pinned = await context.ReadAsync<DatasetRef>("dataset", cancellationToken);
        var version = datasets.Require(pinned.Name, pinned.Version);
        var report = await datasets.ValidateAsync(version, context.By, cancellationToken);
        var failed = report.Checks.Where(check => !check.Passed).ToList();
        if (!report.Passed)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"Dataset {pinned.Name}@{pinned.Version} breaks a blocking rule: {string.Join("; ", failed.Where(check => check.Severity == RuleSeverity.Block).Select(check => check.Message.TrimEnd('.')))}.");
        }

        // Without the time of the check, so that later stages see the same input for the same outcome.
        await context.WriteAsync("checks", new { report.Dataset, report.Version, report.DefinitionVersion, report.Passed, report.Checks }, cancellationToken);
        context.Outcome = new StageOutcome($"{report.Checks.Count} checks, {failed.Count} alerts");
    }
}
