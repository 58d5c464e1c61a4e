using System.Data.Common;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Governance;
using Slipway.Registry.Stages;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Governance.Documents;

/// <summary>A published model card.</summary>
/// <param name="Id">With its version.</param>
/// <param name="Version">The model version it describes.</param>
/// <param name="At">When it was published.</param>
/// <param name="Node">For lineage and audit.</param>
public sealed record PublishedCard(string Id, string? Version, DateTimeOffset At, NodeRef Node);

/// <summary>Owns the <c>documents</c> table and the files under <c>documents/</c>: papers whose every fact is a query over the records.</summary>
public sealed class DocumentStore : IDisposable
{
    private const string Columns =
        "series AS Series, number AS Number, type AS Type, title AS Title, model AS Model, model_version AS ModelVersion, status AS Status, sha256 AS Sha256, " +
        "size_bytes AS SizeBytes, facts_sha256 AS FactsSha256, supplied_json AS SuppliedJson, created_by AS CreatedBy, created_at_ms AS CreatedAtMs";

    private readonly Database _database;
    private readonly BlobStore _blobs;
    private readonly StorageOptions _options;
    private readonly TimeProvider _clock;
    private readonly DocumentComposer _composer;
    private readonly SemaphoreSlim _turn = new(1, 1);

    internal DocumentStore(Database database, BlobStore blobs, StorageOptions options, TimeProvider clock, DocumentComposer composer) =>
        (_database, _blobs, _options, _clock, _composer) = (database, blobs, options, clock, composer);

    /// <summary>Writes a document from the records of now. When no fact and no supplied text has changed since its newest version, that one is returned.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: type, model or a supplied text; NotFound: the model; FailedPrecondition: a quality check failed, and nothing was published.</exception>
    public async Task<GeneratedDocument> GenerateAsync(GenerateDocument request, Caller by, CancellationToken cancellationToken)
    {
        var type = request.Type ?? throw new SlipwayException(ErrorCode.InvalidArgument, "'type' must be model_card, strategy or maturity.");
        SuppliedText.Check(request.Supplied);
        await _turn.WaitAsync(cancellationToken);
        try
        {
            var series = $"ARC-{DocumentDraft.ProjectOf(request.Model)}-{DocumentDraft.TypeCode(type)}";
            var earlier = _database.Read(connection => Rows(connection, "WHERE series = @series ORDER BY number", new { series }));
            if (earlier.FirstOrDefault(row => row.Model != request.Model) is { } other)
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"The id {series} already belongs to the documents of model '{other.Model}', whose name differs in signs only.");
            }

            var newest = earlier.Count > 0 ? earlier[^1] : null;
            var supplied = SuppliedText.Merge(newest is null ? [] : Supplied(newest), request.Supplied);
            var draft = await _composer.ComposeAsync(type, request.Model, supplied, cancellationToken, request.ModelVersion);
            var version = VersionText(earlier.Count + 1L);
            var id = $"{series}-v{version}";
            var now = _clock.GetUtcNow();
            var markdown = DocumentPrinter.Print(
                draft, id, version, [.. earlier.Select(row => new Revision(VersionText(row.Number), Instant(row), row.CreatedBy))], supplied, by.Name, now);
            var checks = QualityChecks.Run(type, id, markdown);
            if (checks.Any(check => !check.Passed))
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition,
                    $"The document was not published: {string.Join("; ", checks.Where(check => !check.Passed).Select(check => $"{check.Name}: {check.Detail}"))}.");
            }

            if (newest is not null && newest.FactsSha256 == draft.Writer.FactsSha256 && newest.SuppliedJson == Json(supplied))
            {
                return new GeneratedDocument(Info(newest, newest.Number, null), false, draft.Warnings, checks, draft.Validation);
            }

            var row = await PublishAsync(draft, earlier.Count + 1L, id, markdown, Json(supplied), by, cancellationToken);
            return new GeneratedDocument(Info(row, row.Number, null), true, draft.Warnings, checks, draft.Validation);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Every version of every document, newest first; the newest model cards are compared with the facts of now.</summary>
    public async Task<IReadOnlyList<DocumentInfo>> ListAsync(CancellationToken cancellationToken)
    {
        var rows = _database.Read(connection => Rows(connection, "ORDER BY created_at_ms DESC, series, number DESC", null));
        var newest = rows.GroupBy(row => row.Series).ToDictionary(group => group.Key, group => group.Max(row => row.Number));
        var list = new List<DocumentInfo>();
        foreach (var row in rows)
        {
            list.Add(Info(row, newest[row.Series], row.Number == newest[row.Series] ? await StaleReasonAsync(row, cancellationToken) : null));
        }

        return list;
    }

    /// <summary>A model's published cards, oldest first; whether they are stale is not asked, which <see cref="ListAsync"/> does.</summary>
    public IReadOnlyList<PublishedCard> CardsOf(string model) =>
        [.. _database.Read(connection => Rows(connection, "WHERE model = @model AND type = 'model_card' ORDER BY number", new { model }))
            .Select(row => new PublishedCard($"{row.Series}-v{VersionText(row.Number)}", row.ModelVersion, Instant(row), Node(row)))];

    /// <summary>A document as written, its SHA-256 checked.</summary>
    /// <param name="id">With its version, or the series for the newest.</param>
    /// <param name="cancellationToken">Interrupts reading.</param>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: it was changed since.</exception>
    public async Task<string> ReadAsync(string id, CancellationToken cancellationToken)
    {
        var at = id.LastIndexOf("-v", StringComparison.Ordinal);
        var found = _database.Read(connection => Rows(connection, "WHERE series = @id OR series = @series ORDER BY number DESC", new { id, series = at < 0 ? id : id[..at] }))
            .FirstOrDefault(row => row.Series == id || $"{row.Series}-v{VersionText(row.Number)}" == id)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no document '{id}'; GET /api/slipway/v1/documents lists them.");
        return Encoding.UTF8.GetString(await _blobs.ReadVerifiedAsync(found.Sha256, cancellationToken));
    }

    /// <summary>The newest document of a type for a version; null when there is none, or no such type. A card whose facts are still those of now counts as of now.</summary>
    internal async Task<GateFact?> FindForGateAsync(string model, string version, string type, CancellationToken cancellationToken)
    {
        var isCard = type == TypeText(DocumentType.ModelCard);
        var row = _database.Read(connection => Rows(connection,
            isCard
                ? "WHERE type = @type AND model = @model AND model_version = @version ORDER BY number DESC LIMIT 1"
                : "WHERE type = @type AND (model = @model OR model IS NULL) ORDER BY created_at_ms DESC LIMIT 1",
            new { type, model, version })).FirstOrDefault();
        if (row is null)
        {
            return null;
        }

        var unchanged = isCard
            && (await _composer.ComposeAsync(DocumentType.ModelCard, model, Supplied(row), cancellationToken, version)).Writer.FactsSha256 == row.FactsSha256;
        return new GateFact(true, unchanged ? _clock.GetUtcNow() : Instant(row),
            $"{row.Series}-v{VersionText(row.Number)} is of {Instant(row).UtcDateTime:yyyy-MM-dd}{(unchanged ? " and its facts are those of now" : "")}", Node(row).ToString());
    }

    /// <summary>Every blob that a document rests on.</summary>
    public IReadOnlyList<BlobReference> ReferencedBlobs() =>
        [.. _database.Read(connection => Rows(connection, "ORDER BY series, number", null)).Select(row => new BlobReference(Node(row), "Markdown", row.Sha256))];

    /// <inheritdoc/>
    public void Dispose() => _turn.Dispose();

    private async Task<DocumentRow> PublishAsync(
        DocumentDraft draft, long number, string id, string markdown, string supplied, Caller by, CancellationToken cancellationToken)
    {
        var blob = await _blobs.PutAsync(Encoding.UTF8.GetBytes(markdown), cancellationToken);

        // The file before the row: a crash between the two leaves a file that the next version replaces, never a row without its file.
        Directory.CreateDirectory(_options.DocumentsDirectory);
        var path = Path.Combine(_options.DocumentsDirectory, $"{id}.md");
        await File.WriteAllTextAsync($"{path}.part", markdown, cancellationToken);
        File.Move($"{path}.part", path, overwrite: true);
        return await _database.WriteAsync(transaction =>
        {
            var row = new DocumentRow
            {
                Series = draft.Series,
                Number = number,
                Type = TypeText(draft.Type),
                Title = draft.Title,
                Model = draft.Model,
                ModelVersion = draft.ModelVersion,
                Status = "DRAFT",
                Sha256 = blob.Sha256,
                SizeBytes = blob.SizeBytes,
                FactsSha256 = draft.Writer.FactsSha256,
                SuppliedJson = supplied,
                CreatedBy = by.Name,
                CreatedAtMs = transaction.NowMs,
            };
            transaction.Connection.Execute(
                """
                INSERT INTO documents (series, number, type, title, model, model_version, status, sha256, size_bytes, facts_sha256, supplied_json, created_by, created_at_ms)
                VALUES (@Series, @Number, @Type, @Title, @Model, @ModelVersion, @Status, @Sha256, @SizeBytes, @FactsSha256, @SuppliedJson, @CreatedBy, @CreatedAtMs)
                """, row);
            transaction.Audit(by, "document.published", Node(row), null, null, new { row.Sha256, draft.Type, draft.Model, draft.ModelVersion, facts = draft.Writer.Evidence.Count });
            foreach (var evidence in draft.Writer.Evidence.Where(item => !item.Moving).SelectMany(item => item.Ids).Distinct(StringComparer.Ordinal))
            {
                var colon = evidence.IndexOf(':', StringComparison.Ordinal);
                transaction.Link(new NodeRef(evidence[..colon], evidence[(colon + 1)..]), "evidence_of", Node(row));
            }

            return row;
        }, cancellationToken);
    }

    private async Task<string?> StaleReasonAsync(DocumentRow row, CancellationToken cancellationToken)
    {
        if (row.Type != TypeText(DocumentType.ModelCard))
        {
            return null; // The other papers are of their day, and say so.
        }

        try
        {
            var now = await _composer.ComposeAsync(DocumentType.ModelCard, row.Model, Supplied(row), cancellationToken);
            return now.ModelVersion != row.ModelVersion ? $"it describes {row.ModelVersion}; the card of now would describe {now.ModelVersion}"
                : now.Writer.FactsSha256 != row.FactsSha256 ? $"facts about {row.Model} {row.ModelVersion} have changed since"
                : null;
        }
        catch (SlipwayException e)
        {
            return $"its facts cannot be read any more: {e.Message}";
        }
    }

    private static DocumentInfo Info(DocumentRow row, long newest, string? staleReason)
    {
        var version = VersionText(row.Number);
        var id = $"{row.Series}-v{version}";
        var reason = row.Number < newest ? "a later version exists" : staleReason;
        return new DocumentInfo(
            id, row.Series, version, Enum.GetValues<DocumentType>().First(type => TypeText(type) == row.Type), row.Title, row.Model, row.ModelVersion, row.Status, row.Sha256, row.SizeBytes,
            $"documents/{id}.md", row.CreatedBy, Instant(row), row.Number == newest, reason is not null, reason);
    }

    private static List<DocumentRow> Rows(DbConnection connection, string where, object? parameters) =>
        connection.Query<DocumentRow>($"SELECT {Columns} FROM documents {where}", parameters).AsList();

    private static NodeRef Node(DocumentRow row) => new(NodeKinds.Document, $"{row.Series}@{VersionText(row.Number)}");

    internal static string VersionText(long number) => string.Create(CultureInfo.InvariantCulture, $"1.{number - 1}");

    private static DateTimeOffset Instant(DocumentRow row) => DateTimeOffset.FromUnixTimeMilliseconds(row.CreatedAtMs);

    private static string TypeText(DocumentType type) => JsonNamingPolicy.SnakeCaseLower.ConvertName(type.ToString());

    private static string Json(SortedDictionary<string, string> supplied) => JsonSerializer.Serialize(supplied);

    private static SortedDictionary<string, string> Supplied(DocumentRow row) => new(JsonSerializer.Deserialize<Dictionary<string, string>>(row.SuppliedJson)!, StringComparer.Ordinal);

    private sealed class DocumentRow
    {
        public string Series { get; init; } = "";

        public long Number { get; init; }

        public string Type { get; init; } = "";

        public string Title { get; init; } = "";

        public string? Model { get; init; }

        public string? ModelVersion { get; init; }

        public string Status { get; init; } = "";

        public string Sha256 { get; init; } = "";

        public long SizeBytes { get; init; }

        public string FactsSha256 { get; init; } = "";

        public string SuppliedJson { get; init; } = "";

        public string CreatedBy { get; init; } = "";

        public long CreatedAtMs { get; init; }
    }
}
