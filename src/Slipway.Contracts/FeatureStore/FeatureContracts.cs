namespace Slipway.Contracts.FeatureStore;

/// <summary>A value that a request brings.</summary>
/// <param name="Name">As in the request.</param>
/// <param name="Type">string, boolean, int32, int64, float32, float64 or timestamp.</param>
public sealed record FeatureInput(string Name, string Type);

/// <summary>A feature as models see it.</summary>
/// <param name="Ref">Its name, <c>entity:feature</c>.</param>
/// <param name="Type">boolean, int32, int64, float32 or float64; models receive every type as a 32-bit float.</param>
/// <param name="View">The view version that defines it, <c>name@version</c>.</param>
/// <param name="Description">Null when not declared.</param>
public sealed record FeatureInfo(string Ref, string Type, string View, string? Description);

/// <summary>A feature view in force.</summary>
/// <param name="Name">The view.</param>
/// <param name="Version">Rises with each edit of its definition.</param>
/// <param name="Description">Null when not declared.</param>
/// <param name="Entity">What its features describe.</param>
/// <param name="Keys">The columns that identify one entity; empty for on-demand views.</param>
/// <param name="Source">The dataset; null for on-demand views.</param>
/// <param name="OnDemand">Whether values are computed from the request alone.</param>
/// <param name="TtlSeconds">How long a value may be used; null for ever.</param>
/// <param name="Features">What it defines.</param>
/// <param name="MaterializedUpTo">Up to which instant the online values are; null while there are none.</param>
/// <param name="OnlineKeys">Entities with an online value.</param>
public sealed record FeatureViewInfo(
    string Name, int Version, string? Description, string Entity, IReadOnlyList<string> Keys, string? Source, bool OnDemand, double? TtlSeconds,
    IReadOnlyList<FeatureInfo> Features, DateTimeOffset? MaterializedUpTo, long OnlineKeys);

/// <summary>A feature service in force: the ordered features of a model and the request that they are made from.</summary>
/// <param name="Name">The service.</param>
/// <param name="Version">Rises with each edit of its definition or of a view that it uses.</param>
/// <param name="Description">Null when not declared.</param>
/// <param name="EventTime">The request input that says when the event happens; null for the time of the request.</param>
/// <param name="Inputs">What a request brings.</param>
/// <param name="Features">In the model's order.</param>
public sealed record FeatureServiceInfo(
    string Name, int Version, string? Description, string? EventTime, IReadOnlyList<FeatureInput> Inputs, IReadOnlyList<FeatureInfo> Features);

/// <summary>Asks for newer online values.</summary>
/// <param name="View">Null for every view with online values.</param>
/// <param name="UpTo">The instant whose values are wanted.</param>
public sealed record MaterializeRequest(string? View, DateTimeOffset? UpTo);

/// <summary>What materialising did.</summary>
/// <param name="Views">By view version.</param>
public sealed record MaterializeResponse(IReadOnlyList<MaterializedView> Views);

/// <summary>What materialising did to one view version.</summary>
/// <param name="View"><c>name@version</c>.</param>
/// <param name="KeysWritten">Entities whose value was refreshed.</param>
/// <param name="UpTo">The instant whose values are online now.</param>
public sealed record MaterializedView(string View, long KeysWritten, DateTimeOffset UpTo);

/// <summary>Feast's request for online values. Give <see cref="FeatureService"/> or <see cref="Features"/>.</summary>
/// <param name="FeatureService">Its features in order; the entities are then the service's inputs.</param>
/// <param name="Features">References, <c>entity:feature</c>.</param>
/// <param name="Entities">Columns of values, all of one length.</param>
/// <param name="FullFeatureNames">Whether names are <c>view__feature</c> rather than <c>feature</c>.</param>
public sealed record OnlineFeaturesRequest(
    string? FeatureService, IReadOnlyList<string>? Features, IReadOnlyDictionary<string, IReadOnlyList<System.Text.Json.JsonElement>>? Entities, bool FullFeatureNames = false);

/// <summary>Feast's answer: one column of values per feature.</summary>
/// <param name="Metadata">The names, in the order of the results.</param>
/// <param name="Results">One per feature.</param>
public sealed record OnlineFeaturesResponse(OnlineFeaturesMetadata Metadata, IReadOnlyList<OnlineFeatureColumn> Results);

/// <summary>The names of the results.</summary>
/// <param name="FeatureNames">In the order of the results.</param>
public sealed record OnlineFeaturesMetadata(IReadOnlyList<string> FeatureNames);

/// <summary>One feature's values, one per entity.</summary>
/// <param name="Values">Null where there is none.</param>
/// <param name="Statuses">PRESENT, NULL_VALUE, NOT_FOUND or OUTSIDE_MAX_AGE.</param>
/// <param name="EventTimestamps">When each value came to be; 1970 where there is none.</param>
public sealed record OnlineFeatureColumn(IReadOnlyList<double?> Values, IReadOnlyList<string> Statuses, IReadOnlyList<DateTimeOffset> EventTimestamps);
