using System.Collections.Concurrent;
using System.Data.Common;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Identity;
using Slipway.Registry.External;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Registry.Webhooks;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;

namespace Slipway.Registry;

/// <summary>Owns models, versions, their stages, promotions and aliases.</summary>
public sealed partial class ModelRegistry(
    Database database, BlobStore blobs, Lineage lineage, DefinitionStore definitions, UserStore users, GateSources sources, TimeProvider clock,
    ExternalRegistry? external = null)
{
    /// <summary>Topic of a <see cref="StageChange"/>; published once per version that moves, the replaced version first.</summary>
    public const string StageChangedTopic = StageTable.Topic;

    /// <summary>Topic of <c>{model, version, number, run_id}</c>.</summary>
    public const string VersionRegisteredTopic = "registry.version_registered";

    /// <summary>Topic of an <see cref="AliasChange"/>.</summary>
    public const string AliasChangedTopic = "registry.alias_changed";

    /// <summary>Topic of <c>{model}</c>, when something by which versions of it are found is there no more: a version, an alias, or the model by this name.</summary>
    public const string NameGoneTopic = "registry.name_gone";

    internal static readonly JsonSerializerOptions ReportOptions = new(JsonDefaults.Options) { RespectNullableAnnotations = true };

    // What a report's content says never changes, so that each is read once.
    private readonly ConcurrentDictionary<string, string?> _predictions = new(StringComparer.Ordinal);

    /// <summary>Finds a version; null when there is none.</summary>
    /// <param name="model">Model.</param>
    /// <param name="reference">
    /// <c>1.0.0</c>, the MLflow number <c>3</c>, a stage such as <c>production</c> (the newest version in it), <c>latest</c>, or an alias such as <c>@champion</c>.
    /// </param>
    public ModelVersionRecord? Find(string model, string reference) => WithLineage(database.Read(connection => Resolve(connection, model, reference)));

    /// <summary>The stage alone of a version such as <c>1.0.0</c>, without all else that <see cref="Find"/> reads; null when there is none.</summary>
    public Stage? StageOf(string model, string version) =>
        database.Read(connection => VersionTable.StageOf(connection, model, version));

    /// <summary>As <see cref="Find"/>.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public ModelVersionRecord Get(string model, string reference) => Find(model, reference) ?? throw NoVersion(model, reference);

    /// <summary>The newest version in the stage; production holds at most one.</summary>
    public ModelVersionRecord? FindInStage(string model, Stage stage) =>
        WithLineage(database.Read(connection => VersionTable.FindInStage(connection, model, stage)));

    /// <summary>The version that was in production at an instant; null when none was.</summary>
    public ModelVersionRecord? FindInProductionAsOf(string model, DateTimeOffset instant) => WithLineage(database.Read(connection =>
        StageTable.InProductionAsOf(connection, model, instant.ToUnixTimeMilliseconds()) is { } version ? VersionTable.FindEver(connection, model, version) : null));

    /// <summary>All models by name.</summary>
    public IReadOnlyList<ModelSummary> ListModels() => database.Read(connection =>
    {
        var facts = ProfileTable.AllFacts(connection);
        return ModelTable.Summaries(connection, null).Select(summary => Describe(summary, facts[summary.Name])).ToList();
    });

    /// <summary>A model; null when there is none.</summary>
    public ModelSummary? FindModel(string model) => database.Read(connection =>
        ModelTable.Summaries(connection, model).Select(summary => Describe(summary, ProfileTable.Facts(connection, summary.Name)!)).SingleOrDefault());

    /// <summary>A model's versions, newest first; empty when there is no such model.</summary>
    public IReadOnlyList<ModelVersionRecord> ListVersions(string model) => Search(model, new VersionSearch());

    /// <summary>Versions that match, newest first; of all models when <paramref name="model"/> is null.</summary>
    public IReadOnlyList<ModelVersionRecord> Search(string? model, VersionSearch search) =>
        [.. database.Read(connection => VersionTable.Search(connection, model, search)).Select(version => WithLineage(version)!)];

    /// <summary>Changes of stage, oldest first, of one version or of the whole model.</summary>
    public IReadOnlyList<StageChange> History(string model, string? version = null) =>
        database.Read(connection => StageTable.History(connection, model, version));

    /// <summary>Where a version came from and what came of it.</summary>
    public LineageGraph LineageOf(ModelVersionRecord version) => VersionLineage.Graph(lineage, version.Node);

    /// <summary>The version's evaluation report; null when it was registered without one.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the blob was changed.</exception>
    public async Task<EvaluationReport?> ReadReportAsync(ModelVersionRecord version, CancellationToken cancellationToken) =>
        version.EvaluationReportSha256 is { } sha256 ? ParseReport(await blobs.ReadVerifiedAsync(sha256, cancellationToken)) : null;

    /// <summary>A file of the version, checked against the SHA-256 it was registered with.</summary>
    /// <exception cref="SlipwayException">NotFound: no such file; FailedPrecondition: the content was changed.</exception>
    public Task<byte[]> ReadFileAsync(ModelVersionRecord version, string path, CancellationToken cancellationToken)
    {
        var file = version.Files.FirstOrDefault(file => file.Path == path)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"{version.Node} has no file '{path}'; it has {string.Join(", ", version.Files.Select(known => known.Path))}.");
        return blobs.ReadVerifiedAsync(file.Sha256, cancellationToken);
    }

    /// <summary>Every blob that a version rests on: its files, baseline, environment, evaluation report and the predictions that this names.</summary>
    /// <param name="only">Only those of this version; null for all versions.</param>
    public IReadOnlyList<BlobReference> ReferencedBlobs(ModelVersionRecord? only = null)
    {
        const string Reports = "SELECT model, version, 'evaluation report' AS part, evaluation_report_sha256 AS sha256 FROM model_versions WHERE evaluation_report_sha256 IS NOT NULL";
        var named = Query(
            $"""
            SELECT model, version, path AS part, sha256 FROM model_version_files
            UNION ALL
            SELECT model, version, 'baseline', baseline_sha256 FROM model_versions WHERE baseline_sha256 IS NOT NULL
            UNION ALL
            SELECT model, version, 'environment', environment_sha256 FROM model_versions WHERE environment_sha256 IS NOT NULL
            UNION ALL
            SELECT model, version, 'passport', passport_sha256 FROM version_copies WHERE passport_sha256 IS NOT NULL
            """);
        var reports = Query(Reports);
        var predictions = reports.Select(report => PredictionsOf(report.Sha256) is { } sha256 ? report with { Part = "predictions", Sha256 = sha256 } : null);
        return [.. named, .. reports, .. predictions.OfType<BlobReference>()];

        List<BlobReference> Query(string sql) => database.Read(connection => connection
            .Query<(string Model, string Version, string Part, string Sha256)>(
                $"SELECT model, version, part, sha256 FROM ({sql}) b{(only is null ? "" : " WHERE model = @Model AND version = @Version")}", only)
            .Select(row => new BlobReference(ModelVersionNode.Of(row.Model, row.Version), row.Part, row.Sha256)).ToList());
    }

    /// <summary>Two versions side by side.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public async Task<VersionComparison> CompareAsync(string model, string a, string b, CancellationToken cancellationToken)
    {
        var first = Get(model, a);
        var second = Get(model, b);
        var reportA = await ReadReportAsync(first, cancellationToken);
        var reportB = await ReadReportAsync(second, cancellationToken);
        return VersionComparer.Compare(
            first, reportA is null ? null : await WithPredictionsAsync(reportA, cancellationToken),
            second, reportB is null ? null : await WithPredictionsAsync(reportB, cancellationToken));
    }

    /// <summary>Points an alias at a version, moving it if it points elsewhere.</summary>
    /// <param name="model">Model.</param>
    /// <param name="alias">A name such as champion.</param>
    /// <param name="version">Version, number, stage or another alias.</param>
    /// <param name="by">Who.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    /// <param name="mayNameStage">Whether the alias may be a stage's name: for callers that mark aliases with '@'.</param>
    /// <exception cref="SlipwayException">InvalidArgument: the name could be mistaken for a version or stage; NotFound.</exception>
    public async Task<ModelVersionRecord> SetAliasAsync(string model, string alias, string version, Caller by, CancellationToken cancellationToken, bool mayNameStage = false)
    {
        if (!RegistrationRules.IsAlias(alias, mayNameStage))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'alias' may not be '{alias}', which reads as a version or stage; use a name such as champion.");
        }

        await PrepareAsync(model, null, cancellationToken);
        var set = await database.WriteAsync(transaction =>
        {
            var target = Resolve(transaction.Connection, model, version) ?? throw NoVersion(model, version);
            var before = VersionTable.FindByAlias(transaction.Connection, model, alias);
            transaction.Connection.Execute(
                """
                INSERT INTO model_aliases (model, alias, version, set_by, set_at_ms) VALUES (@Model, @alias, @Version, @by, @now)
                ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version, set_by = excluded.set_by, set_at_ms = excluded.set_at_ms
                """,
                new { target.Model, alias, target.Version, by = by.Name, now = transaction.NowMs });
            VersionTable.Touch(transaction, target);
            if (before is not null && before.Version != target.Version)
            {
                VersionTable.Touch(transaction, before);
            }

            PlaceTable.RecordAlias(transaction, model, alias, target.Version, before?.Version, by);
            transaction.Audit(by, "model_version.alias_set", target.Node, null, before is null ? null : new { alias, before.Version }, new { alias, target.Version });
            WebhookEvents.AliasCreated(transaction, target, IsPrompt(transaction, target), alias);
            transaction.Publish(AliasChangedTopic, new AliasChange(target.Model, alias, target.Version, before?.Version));
            return target;
        }, cancellationToken);
        await ConfirmAsync(model, connection => MirrorTable.IsAliasOverruled(connection, model, alias), cancellationToken);
        return Get(model, set.Version);
    }

    // With a registry of its own this server asks nobody.
    private Task PrepareAsync(string model, string? version, CancellationToken cancellationToken) =>
        external?.PrepareAsync(model, version, cancellationToken) ?? Task.CompletedTask;

    private Task ConfirmAsync(string model, Func<DbConnection, bool> overruled, CancellationToken cancellationToken) =>
        external?.ConfirmAsync(model, overruled, cancellationToken) ?? Task.CompletedTask;

    private ModelVersionRecord? WithLineage(ModelVersionRecord? version) =>
        version is null ? null
        : (version with
        {
            Profile = database.Read(connection => ProfileTable.Find(connection, version.Model, version.Version) is { } profile
                ? profile with { LoadTest = LoadTests(connection, version.Model, version.Version, limit: 1) is [var newest] ? newest : null } : null),
        })
            .WithMissingLineage(() => VersionLineage.Missing(lineage, version.Node));

    internal static ModelVersionRecord? Resolve(DbConnection connection, string model, string reference) => reference switch
    {
        ['@', .. var alias] => VersionTable.FindByAlias(connection, model, alias),
        "latest" => VersionTable.Newest(connection, model),
        _ when SemanticVersion.TryParse(reference, out _) => VersionTable.Find(connection, model, reference),
        _ when long.TryParse(reference, NumberStyles.None, CultureInfo.InvariantCulture, out var number) => VersionTable.FindByNumber(connection, model, number),
        _ when StageRules.TryParse(reference, out var stage) => VersionTable.FindInStage(connection, model, stage),
        _ => VersionTable.FindByAlias(connection, model, reference),
    };

    // Null also for a report that is gone or was changed: that is told of the report itself.
    private string? PredictionsOf(string report)
    {
        if (_predictions.TryGetValue(report, out var known))
        {
            return known;
        }

        try
        {
            using var content = blobs.OpenRead(report);
            var json = new byte[content.Length];
            content.ReadExactly(json);
            return Convert.ToHexStringLower(SHA256.HashData(json)) == report ? _predictions[report] = ParseReport(json).PredictionsSha256 : null;
        }
        catch (SlipwayException)
        {
            return null;
        }
    }

    internal static EvaluationReport ParseReport(byte[] json)
    {
        try
        {
            var report = JsonSerializer.Deserialize<EvaluationReport>(json, ReportOptions);
            return report is not null && report.Baselines.All(baseline => baseline is not null)
                ? report
                : throw new SlipwayException(ErrorCode.InvalidArgument, "'evaluation_report_sha256' names a blob that holds null in place of an evaluation report or a baseline.");
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'evaluation_report_sha256' names a blob that is not an evaluation report: {e.Message}", e);
        }
    }

    private static SlipwayException NoVersion(string model, string reference) =>
        new(ErrorCode.NotFound, $"Model '{model}' has no version '{reference}'; GET /api/slipway/v1/models/{model}/versions lists them.");
}
