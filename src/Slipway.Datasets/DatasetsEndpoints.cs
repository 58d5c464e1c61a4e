using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Routing;
using Microsoft.Net.Http.Headers;
using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Storage;

namespace Slipway.Datasets;

/// <summary>Routes under <c>/api/slipway/v1/datasets</c>.</summary>
public static class DatasetsEndpoints
{
    private static readonly RequiredAccess Read = new(Permission.Read);
    private static readonly RequiredAccess Write = new(Permission.Write);

    /// <summary>Maps the routes.</summary>
    public static IEndpointRouteBuilder MapSlipwayDatasets(this IEndpointRouteBuilder app)
    {
        var datasets = app.MapGroup("/api/slipway/v1/datasets");
        datasets.MapGet("", List).WithSummary("The source catalogue").WithMetadata(Read);
        datasets.MapGet("{name}", Get).WithSummary("A dataset and its versions").WithMetadata(Read);
        datasets.MapPost("{name}/versions", AddVersion).WithSummary("Add a Parquet file as a version").WithMetadata(Write, new UploadLimit());
        datasets.MapGet("{name}/versions/{version:int}", GetVersion).WithSummary("One version").WithMetadata(Read);
        datasets.MapGet("{name}/versions/{version:int}/profile", GetProfile).WithSummary("Statistics of a version").WithMetadata(Read);
        datasets.MapGet("{name}/versions/{version:int}/validation", GetValidation).WithSummary("The newest check of a version").WithMetadata(Read);
        datasets.MapGet("{name}/versions/{version:int}/content", GetContent).WithSummary("The exact bytes of a version").WithMetadata(Read);
        datasets.MapGet("{name}/versions/{version:int}/rows", DatasetRows.WriteAsync).WithSummary("Rows as JSON lines, in order of time").WithMetadata(Read);
        datasets.MapPost("{name}/versions/{version:int}/validate", Validate).WithSummary("Check a version against its definition").WithMetadata(Write);
        return app;
    }

    private static Ok<List<DatasetSummary>> List(DatasetStore store) => TypedResults.Ok(store.ListDefinitions().Select(definition =>
    {
        var newest = store.Find(definition.Name);
        return new DatasetSummary(definition.Name, definition.Description, definition.Source, newest?.Version, newest?.Rows, newest?.SizeBytes);
    }).ToList());

    private static Ok<DatasetDetail> Get(string name, DatasetStore store)
    {
        var (definition, definitionVersion) = store.Definition(name);
        return TypedResults.Ok(new DatasetDetail(
            name, definition.Description, definition.Source, definition.TimestampColumn, definitionVersion, [.. store.ListVersions(name).Select(Shape)]));
    }

    private static async Task<Ok<DatasetVersion>> AddVersion(string name, HttpRequest request, DatasetStore store, Caller by, CancellationToken ct) =>
        TypedResults.Ok(Shape(await store.AddVersionAsync(name, request.Body, by, ct)));

    private static Ok<DatasetVersion> GetVersion(string name, int version, DatasetStore store) => TypedResults.Ok(Shape(store.Require(name, version)));

    private static Ok<DatasetProfile> GetProfile(string name, int version, DatasetStore store)
    {
        store.Require(name, version);
        return TypedResults.Ok(store.FindProfile(name, version));
    }

    private static Ok<ValidationReport> GetValidation(string name, int version, DatasetStore store)
    {
        store.Require(name, version);
        return TypedResults.Ok(store.FindValidation(name, version)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"Version {version} of dataset '{name}' has not been validated; POST to its /validate first."));
    }

    private static PhysicalFileHttpResult GetContent(string name, int version, DatasetStore store)
    {
        var record = store.Require(name, version);
        return TypedResults.PhysicalFile(
            store.ParquetPath(record), "application/vnd.apache.parquet", $"{name}-{version}.parquet",
            entityTag: new EntityTagHeaderValue($"\"{record.Sha256}\""), enableRangeProcessing: true);
    }

    private static async Task<Ok<ValidationReport>> Validate(string name, int version, DatasetStore store, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await store.ValidateAsync(store.Require(name, version), by, ct));

    private static DatasetVersion Shape(DatasetVersionRecord record) => new(
        record.Name, record.Version, record.Sha256, record.SizeBytes, record.Rows, record.Columns, record.CreatedBy,
        DateTimeOffset.FromUnixTimeMilliseconds(record.CreatedAtMs));

    /// <summary>Data files are streamed to disk, so that they may be larger than the server's limit for other bodies.</summary>
    private sealed class UploadLimit : IRequestSizeLimitMetadata
    {
        public long? MaxRequestBodySize => 16L << 30;
    }
}
