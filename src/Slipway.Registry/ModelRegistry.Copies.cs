using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    private const string RemoteVersion = "remote_version";
    private const string TestScoresPart = "test_scores";
    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    /// <summary>Copies of a version on other servers, oldest first.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public IReadOnlyList<VersionCopy> ListCopies(string model, string version)
    {
        var record = Get(model, version);
        return database.Read(connection => LifeTable.Copies(connection, model, record.Version));
    }

    /// <summary>All that a version brings along to another server.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public async Task<VersionPassport> GetPassportAsync(string model, string version, CancellationToken cancellationToken)
    {
        var record = Get(model, version);
        var parts = await BlobsOfAsync(record, cancellationToken);
        var run = record.RunId is { } runId && sources.FindRun(runId) is { } known
            ? new RunSummary(
                known.RunId, known.Name, known.UserId, DateTimeOffset.FromUnixTimeMilliseconds(known.StartTimeMs),
                known.EndTimeMs is { } end ? DateTimeOffset.FromUnixTimeMilliseconds(end) : null,
                known.Metrics.Where(metric => double.IsFinite(metric.Value)).ToDictionary(metric => metric.Key, metric => metric.Value, StringComparer.Ordinal),
                known.Parameters, known.GitCommit)
            : null;
        return new VersionPassport(
            record, parts, run, LineageOf(record), [.. ListPromotions(model).Where(promotion => promotion.Version == record.Version)], History(model, record.Version), ManifestOf(parts));
    }

    /// <summary>Opens a blob that a version's passport names.</summary>
    /// <exception cref="SlipwayException">NotFound: the version has no such blob.</exception>
    public async Task<Stream> OpenBlobAsync(string model, string version, string sha256, CancellationToken cancellationToken)
    {
        var record = Get(model, version);
        return (await BlobsOfAsync(record, cancellationToken)).Any(part => part.Sha256 == sha256)
            ? await blobs.OpenReadAsync(sha256, cancellationToken)
            : throw new SlipwayException(ErrorCode.NotFound, $"{record.Node} has no blob {sha256}.");
    }

    /// <summary>The digests that are not stored whole here.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: one is no SHA-256.</exception>
    public async Task<IReadOnlyList<string>> FindMissingBlobsAsync(IReadOnlyList<string> digests, CancellationToken cancellationToken)
    {
        var missing = new List<string>();
        foreach (var sha256 in digests)
        {
            CheckDigest(sha256);
            if (!await blobs.VerifyAsync(sha256, cancellationToken))
            {
                missing.Add(sha256);
            }
        }

        return missing;
    }

    /// <summary>Takes in a blob of a version that is about to be imported.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the content has another SHA-256.</exception>
    public async Task<Blob> ReceiveBlobAsync(string sha256, Stream content, CancellationToken cancellationToken)
    {
        CheckDigest(sha256);
        var blob = await blobs.PutAsync(content, cancellationToken);
        return blob.Sha256 == sha256
            ? blob
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"The content has SHA-256 {blob.Sha256}, not {sha256}: it was changed or cut short on the way; send it again.");
    }

    /// <summary>Registers a version of another server under its own number, its blobs checked against their digests. Doing it again changes nothing.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: a part is missing or wrong; FailedPrecondition: a blob has not arrived; AlreadyExists: another version has the number.</exception>
    public async Task<ImportedVersion> ImportAsync(ImportVersion request, Caller by, CancellationToken cancellationToken)
    {
        CheckText("reason", request.Reason);
        var server = CheckServer("source", request.Source);
        var passport = request.Passport ?? throw new SlipwayException(ErrorCode.InvalidArgument, "'passport' is missing; GET …/passport at the source gives it.");
        await CheckPassportAsync(passport, cancellationToken);
        var kept = await blobs.PutAsync(JsonSerializer.SerializeToUtf8Bytes(passport, JsonDefaults.Options), cancellationToken);
        var incoming = passport.Version;
        var created = await database.WriteAsync(transaction =>
        {
            var connection = transaction.Connection;
            external?.DemandOwn(connection, incoming.Model);
            var existing = VersionTable.Find(connection, incoming.Model, incoming.Version);
            if (existing is not null && ContentOf(existing) != ContentOf(incoming))
            {
                throw new SlipwayException(ErrorCode.AlreadyExists, $"There is another {incoming.Model} {incoming.Version} here, with other content; register the source's under a new version.");
            }

            if (existing is null && VersionTable.FindEver(connection, incoming.Model, incoming.Version) is not null)
            {
                throw new SlipwayException(ErrorCode.AlreadyExists, $"{incoming.Model} {incoming.Version} was deleted here, and its number is not given again; register the source's under a new version.");
            }

            var version = existing ?? InsertCopy(transaction, incoming, server, request.Reason!, by);
            if (LifeTable.AddCopy(transaction, version, "from", server, passport.Manifest, kept.Sha256, by))
            {
                transaction.Link(Remote(server, version), "copied_to", version.Node);
                transaction.Audit(by, "model_version.copied_from", version.Node, request.Reason, null,
                    new { server, passport.Manifest, passport = kept.Sha256, approved_by = Approvers(passport) });
            }

            return existing is null;
        }, cancellationToken);
        return new ImportedVersion(Get(incoming.Model, incoming.Version), created, passport.Manifest);
    }

    /// <summary>Notes at the source that a copy is on another server.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the target's manifest is not this version's; NotFound.</exception>
    public async Task<VersionCopy> LinkCopyAsync(string model, string version, LinkCopy request, Caller by, CancellationToken cancellationToken)
    {
        CheckText("reason", request.Reason);
        var server = CheckServer("server", request.Server);
        var record = Get(model, version);
        var manifest = ManifestOf(await BlobsOfAsync(record, cancellationToken));
        if (request.Manifest != manifest)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"'manifest' is {request.Manifest}, but {record.Node} has {manifest}: what arrived is not what was sent.");
        }

        return await database.WriteAsync(transaction =>
        {
            if (LifeTable.AddCopy(transaction, record, "to", server, manifest, null, by))
            {
                transaction.Link(record.Node, "copied_to", Remote(server, record));
                transaction.Audit(by, "model_version.copied_to", record.Node, request.Reason, null, new { server, manifest });
            }

            return LifeTable.Copies(transaction.Connection, model, record.Version).First(copy => copy.Direction == "to" && copy.Server == server);
        }, cancellationToken);
    }

    private async Task<IReadOnlyList<ArtifactFile>> BlobsOfAsync(ModelVersionRecord version, CancellationToken cancellationToken)
    {
        var scores = (await ReadReportAsync(version, cancellationToken))?.PredictionsSha256;
        var others = new (string Part, string? Sha256)[]
        {
            ("baseline", version.BaselineSha256), ("environment", version.EnvironmentSha256), ("evaluation_report", version.EvaluationReportSha256), (TestScoresPart, scores),
        };
        return
        [
            .. version.Files.Select(file => file with { Path = $"files/{file.Path}" }),
            .. others.Where(part => part.Sha256 is not null && blobs.Exists(part.Sha256))
                .Select(part => new ArtifactFile(part.Part, part.Sha256!, new FileInfo(blobs.PathOf(part.Sha256!)).Length)),
        ];
    }

    private static string ManifestOf(IEnumerable<ArtifactFile> parts) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Concat(
        parts.OrderBy(part => part.Path, StringComparer.Ordinal).Select(part => string.Create(CultureInfo.InvariantCulture, $"{part.Sha256} {part.SizeBytes} {part.Path}\n"))))));

    // What a version is, apart from where it stands.
    private static string ContentOf(ModelVersionRecord version) => string.Join('\n',
        [.. version.Files.OrderBy(file => file.Path, StringComparer.Ordinal).Select(file => $"{file.Path} {file.Sha256}"), version.BaselineSha256, version.EnvironmentSha256, version.EvaluationReportSha256]);

    private static ModelVersionRecord InsertCopy(WriteTransaction transaction, ModelVersionRecord incoming, string server, string reason, Caller by)
    {
        var version = incoming with
        {
            Number = (VersionTable.Last(transaction.Connection, incoming.Model)?.Number ?? 0) + 1,
            Stage = Stage.Development,
            Aliases = [],
            ParentVersion = incoming.ParentVersion is { } parent && VersionTable.Find(transaction.Connection, incoming.Model, parent) is not null ? parent : null,
            CreatedAt = transaction.Now,
            UpdatedAt = transaction.Now,
        };
        VersionTable.Insert(transaction, version);
        if (incoming.Profile is { } profile)
        {
            // What was found in the files holds here too; what they cost is measured anew, on this machine.
            ProfileTable.Insert(transaction, version.Model, version.Version, version.Format, profile with { Benchmark = null, LoadTest = null });
        }

        StageTable.Record(transaction, new StageChange(
            version.Model, version.Version, null, Stage.Development, "registration", $"copied from {server}: {reason}", by.Name, transaction.Now, null));
        VersionLineage.Link(transaction, version);
        transaction.Audit(by, "model_version.registered", version.Node, reason, null, new { version.Version, version.Bump, version.RunId, version.Files, copied_from = server });
        transaction.Publish(VersionRegisteredTopic, new { version.Model, version.Version, version.Number, version.RunId });
        return version;
    }

    private async Task CheckPassportAsync(VersionPassport passport, CancellationToken cancellationToken)
    {
        var version = passport.Version;
        if (version is null || passport.Blobs is null || passport.Promotions is null || !RegistrationRules.IsName(version.Model) || !SemanticVersion.TryParse(version.Version, out _)
            || version.Files is null || version.Signature is null || version.FeatureSchema is null || version.Datasets is null || version.Tags is null
            || string.IsNullOrWhiteSpace(version.CreatedBy) || (version.ServedPath is { } served && version.Files.All(file => file.Path != served)))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'passport' must hold a version with name, number, files, signature, features and datasets, and its blobs; send what GET …/passport gave.");
        }

        foreach (var part in passport.Blobs)
        {
            CheckDigest(part.Sha256);
            if (!await blobs.VerifyAsync(part.Sha256, cancellationToken))
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"{part.Path} has not arrived whole: no blob here has SHA-256 {part.Sha256}; send it and try again.");
            }

            if (new FileInfo(blobs.PathOf(part.Sha256)).Length is var size && size != part.SizeBytes)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'passport' gives {part.Path} {part.SizeBytes} bytes, but the blob has {size}.");
            }
        }

        var named = passport.Blobs.Select(part => (part.Path, part.Sha256)).ToHashSet();
        var needed = version.Files.Select(file => ($"files/{file.Path}", (string?)file.Sha256))
            .Concat([("baseline", version.BaselineSha256), ("environment", version.EnvironmentSha256), ("evaluation_report", version.EvaluationReportSha256)])
            .Where(part => part.Item2 is not null);
        if (needed.Where(part => !named.Contains((part.Item1, part.Item2!))).Select(part => part.Item1).FirstOrDefault() is { } absent)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'passport.blobs' does not name {absent}, which the version needs.");
        }

        if (ManifestOf(passport.Blobs) is var manifest && manifest != passport.Manifest)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'passport.manifest' is {passport.Manifest}, but the blobs that arrived give {manifest}.");
        }
    }

    private static IEnumerable<string> Approvers(VersionPassport passport) => passport.Promotions
        .Where(promotion => promotion.Status is PromotionStatus.Executed)
        .SelectMany(promotion => promotion.Decisions.Where(decision => decision.Approved).Select(decision => decision.By)).Distinct(StringComparer.Ordinal);

    private static NodeRef Remote(string server, ModelVersionRecord version) => new(RemoteVersion, $"{server}/models/{version.Model}/versions/{version.Version}");

    private static string CheckServer(string field, string? address) =>
        Uri.TryCreate(address, UriKind.Absolute, out var server) && server.Scheme is "http" or "https" && server.UserInfo.Length == 0
            ? server.GetLeftPart(UriPartial.Path).TrimEnd('/')
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' must be the address of a server such as https://staging.example:5000, without a user name, not '{address}'.");

    private static void CheckDigest(string? sha256)
    {
        if (sha256 is not { Length: 64 } || sha256.AsSpan().ContainsAnyExcept(HexDigits))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{sha256}' must be a SHA-256 in lower-case hex.");
        }
    }
}
