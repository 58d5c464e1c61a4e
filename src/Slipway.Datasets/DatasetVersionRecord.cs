using Slipway.Contracts.Datasets;
using Slipway.Storage;

namespace Slipway.Datasets;

/// <summary>One version of a dataset, as stored.</summary>
/// <param name="Name">The dataset.</param>
/// <param name="Version">1, 2, 3 …</param>
/// <param name="Sha256">Of the Parquet file, which is a blob.</param>
/// <param name="SizeBytes">Of the file.</param>
/// <param name="Rows">In the file.</param>
/// <param name="Columns">In file order.</param>
/// <param name="CreatedBy">Who added it.</param>
/// <param name="CreatedAtMs">Unix milliseconds.</param>
public sealed record DatasetVersionRecord(
    string Name, int Version, string Sha256, long SizeBytes, long Rows, IReadOnlyList<ColumnSchema> Columns, string CreatedBy, long CreatedAtMs)
{
    /// <summary>Its place in lineage and audit.</summary>
    public NodeRef Node => new(NodeKinds.DatasetVersion, $"{Name}@{Version}");
}
