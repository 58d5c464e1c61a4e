using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Datasets;
using Slipway.Storage.Definitions;

namespace Slipway.Pipelines.Stages;

/// <summary>Pins a dataset version by digest, so that every later stage reads the same bytes.</summary>
internal sealed class IngestStage(DatasetStore datasets) : StageKind
{
    /// <param name="Dataset">Its name.</param>
    /// <param name="Version">A version; null takes the newest.</param>
    internal sealed record IngestSettings(string Dataset, int? Version);

    public override string Uses => "ingest";

    public override IReadOnlyList<string> Inputs => [];

    public override IReadOnlyList<string> Outputs => ["dataset"];

    // What is newest lies outside the pipeline.
    public override bool Cacheable => false;

    public override object ReadSettings(DefinitionYaml with) => new IngestSettings(with.Text("dataset"), with.OptionalInteger("version", 1));

    public override async Task RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        var settings = context.Settings<IngestSettings>();
        var version = datasets.Find(settings.Dataset, settings.Version)
            ?? throw new SlipwayException(ErrorCode.NotFound, settings.Version is { } number
                ? $"Dataset '{settings.Dataset}' has no version {number}."
                : $"There is no dataset '{settings.Dataset}' with a version; apply its definition and upload its file first.");
        await context.WriteAsync("dataset", new DatasetRef(version.Name, version.Version, version.Sha256), cancellationToken);
        context.Outcome = new StageOutcome($"{version.Name}@{version.Version}, {version.Rows:N0} rows, SHA-256 {version.Sha256}");
    }
}
