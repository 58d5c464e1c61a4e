using Slipway.Contracts.Registry;

namespace Slipway.Pipelines.Stages;

/// <summary>
/// Who belongs to which split: enough to make the same rows again. Stored by digest, named by the runs that learn from it.
/// </summary>
/// <param name="Dataset">The data.</param>
/// <param name="FeatureSchema">Features in column order, with the service and view versions that define them.</param>
/// <param name="Inputs">What a request to the model brings.</param>
/// <param name="Label">Label column.</param>
/// <param name="EventTimestamp">The column that decides the split.</param>
/// <param name="Parts">train, validation and test.</param>
internal sealed record Splits(
    DatasetRef Dataset, FeatureSchema FeatureSchema, IReadOnlyList<SignatureField> Inputs, string Label, string EventTimestamp, IReadOnlyList<Split> Parts)
{
    /// <summary>Feature names in column order.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public IReadOnlyList<string> FeatureNames => [.. FeatureSchema.Features.Select(feature => feature.Name)];

    /// <summary>One split by name.</summary>
    public Split this[string name] => Parts.Single(part => part.Name == name);
}

/// <summary>One split.</summary>
/// <param name="Name"><c>train</c>, <c>validation</c> or <c>test</c>.</param>
/// <param name="From">First instant.</param>
/// <param name="Until">First instant after it.</param>
/// <param name="Rows">Rows in it.</param>
/// <param name="Sha256">Of its Parquet file.</param>
/// <param name="EntitySql">The query over the dataset that makes its rows.</param>
internal sealed record Split(string Name, DateTimeOffset From, DateTimeOffset Until, long Rows, string Sha256, string EntitySql);
