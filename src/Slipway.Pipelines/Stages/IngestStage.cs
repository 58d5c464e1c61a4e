using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Datasets;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;

namespace Slipway.Pipelines.Stages;

/// <summary>Pins a dataset version by digest, so that every later stage reads the same bytes.</summary>
internal sealed class IngestStage(DatasetStore datasets, BlobStore blobs) : StageKind
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
        var version = await PinnedAsync(context, settings, cancellationToken) ?? datasets.Find(settings.Dataset, settings.Version)
            ?? throw new SlipwayException(ErrorCode.NotFound, settings.Version is { } number
                ? $"Dataset '{settings.Dataset}' has no version {number}."
                : $"There is no dataset '{settings.Dataset}' with a version; apply its definition and upload its file first.");
        await context.WriteAsync("dataset", new DatasetRef(version.Name, version.Version, version.Sha256), cancellationToken);
        context.Outcome = new StageOutcome($"{version.Name}@{version.Version}, {version.Rows:N0} rows, SHA-256 {version.Sha256}");
    }

    // A version is built again from the very bytes it was made of, or not at all.
    private async Task<DatasetVersionRecord?> PinnedAsync(StageContext context, IngestSettings settings, CancellationToken cancellationToken)
    {
        if (context.Pins is not { } pins)
        {
            return null;
        }

        var pinned = pins.Datasets.FirstOrDefault(dataset => dataset.Name == settings.Dataset)
            ?? throw new SlipwayException(ErrorCode.FailedPrecondition, $"{context.Pipeline.Model} {pins.Version} names no version of dataset '{settings.Dataset}'.");
        var version = datasets.FindByDigest(pinned.Name, pinned.Sha256)
            ?? throw new SlipwayException(ErrorCode.FailedPrecondition, $"No version of dataset '{pinned.Name}' has the SHA-256 {pinned.Sha256} any more; upload that file again.");
        return await blobs.VerifyAsync(pinned.Sha256, cancellationToken)
            ? version
            : throw new SlipwayException(ErrorCode.FailedPrecondition, $"The file of {version.Name}@{version.Version} is gone or no longer has the SHA-256 {pinned.Sha256}; restore it from a backup.");
    }
}
