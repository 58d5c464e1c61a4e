using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Serving.Labels;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Reviews;

/// <summary>The cases that wait for a person, and those that were decided.</summary>
public sealed class ReviewStore
{
    private const string Columns =
        """
        id AS Id, model AS Model, prediction_id AS PredictionId, version AS Version, arm AS Arm, output AS Output, entity_key AS EntityKey, features AS Features, why AS Why,
        at_ms AS AtMs, event_ms AS EventMs, decision AS Decision, decided_by AS DecidedBy, decided_at_ms AS DecidedAtMs, reason AS Reason
        """;

    private readonly Database _database;
    private readonly DefinitionStore _definitions;
    private readonly LabelLog _labels;
    private readonly TimeProvider _clock;

    internal ReviewStore(Database database, DefinitionStore definitions, LabelLog labels, TimeProvider clock) =>
        (_database, _definitions, _labels, _clock) = (database, definitions, labels, clock);

    internal IReadOnlyList<ReviewSpec> Specs() => [.. _definitions.List(ReviewSpec.Kind).Select(definition => ReviewSpec.Parse(DefinitionYaml.Parse(definition.Yaml)))];

    /// <summary>Whether any of a model's predictions are reviewed.</summary>
    public bool IsReviewed(string model) => _definitions.Find(ReviewSpec.Kind, model) is not null;

    /// <summary>Cases that wait.</summary>
    public long CountOpen(string model) => _database.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM review_cases WHERE model = @model AND decided_at_ms IS NULL", new { model }));

    /// <summary>A page of cases, the oldest first.</summary>
    /// <param name="model">The model.</param>
    /// <param name="isOpen">Those that wait, else those that were decided.</param>
    /// <param name="after">Where the page begins; null for the first.</param>
    /// <param name="limit">Most cases, 1 to 1000.</param>
    public IReadOnlyList<ReviewCase> List(string model, bool isOpen, string? after, int limit) => _database.Read(connection => connection
        .Query<Stored>(
            $"SELECT {Columns} FROM review_cases WHERE model = @model AND decided_at_ms IS {(isOpen ? "" : "NOT ")}NULL AND id > @after ORDER BY id LIMIT @limit",
            new { model, after = after ?? "", limit })
        .Select(row => row.ToCase()).ToList());

    /// <summary>One case.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public ReviewCase Get(string id) => _database.Read(connection => connection.QueryFirstOrDefault<Stored>($"SELECT {Columns} FROM review_cases WHERE id = @id", new { id }))?.ToCase()
        ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no case '{id}'; GET /api/slipway/v1/reviews?model=… lists those that wait.");

    /// <summary>Decides a case: for good, and once. The same decision again changes nothing, but its label is sent once more.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: no reason, or no figure; FailedPrecondition: it was decided otherwise.</exception>
    public async Task<ReviewCase> DecideAsync(string id, double decision, string? reason, Caller by, CancellationToken cancellationToken)
    {
        if (string.IsNullOrWhiteSpace(reason) || reason.Length > 4000)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'reason' is missing or longer than 4000 characters; say why, for those who read the audit trail.");
        }

        if (!double.IsFinite(decision))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'decision' is not a number; send 1 for yes, 0 for no, or the figure itself.");
        }

        var found = Get(id);
        Demand(found, decision);
        if (found.DecidedAt is null)
        {
            await StoreAsync(found, decision, reason, by, cancellationToken);
        }

        // After the decision, of which there is one; a server that stops in between is made good by deciding the same again.
        if (_definitions.Find(ReviewSpec.Kind, found.Model) is { } definition && ReviewSpec.Parse(DefinitionYaml.Parse(definition.Yaml)).IsLabel)
        {
            await _labels.AppendAsync(found.Model, [new Label(found.PredictionId, decision, _clock.GetUtcNow())], cancellationToken);
        }

        return Get(id);
    }

    private Task StoreAsync(ReviewCase found, double decision, string reason, Caller by, CancellationToken cancellationToken) => _database.WriteAsync(transaction =>
    {
        var changed = transaction.Connection.Execute(
            "UPDATE review_cases SET decision = @decision, decided_by = @by, decided_at_ms = @now, reason = @reason WHERE id = @Id AND decided_at_ms IS NULL",
            new { found.Id, decision, by = by.Name, now = transaction.NowMs, reason });
        if (changed == 0)
        {
            // Somebody was faster.
            Demand(transaction.Connection.QuerySingle<Stored>($"SELECT {Columns} FROM review_cases WHERE id = @Id", new { found.Id }).ToCase(), decision);
            return;
        }

        transaction.Audit(by, "review.decided", new NodeRef(NodeKinds.Model, found.Model), reason, null, new { @case = found.Id, found.PredictionId, found.Version, found.Output, decision });
    }, cancellationToken);

    /// <summary>Adds cases that are not there yet, up to what may wait; returns how many of the others there were.</summary>
    internal Task<int> AddAsync(ReviewSpec spec, IReadOnlyList<ReviewCase> cases, CancellationToken cancellationToken) => _database.WriteAsync(transaction =>
    {
        var room = spec.OpenMax - transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM review_cases WHERE model = @Model AND decided_at_ms IS NULL", new { spec.Model });
        var taken = cases.Take((int)Math.Max(0, room)).ToList();
        foreach (var one in taken)
        {
            transaction.Connection.Execute(
                """
                INSERT INTO review_cases (id, model, prediction_id, version, arm, output, entity_key, features, why, at_ms, event_ms)
                VALUES (@Id, @Model, @PredictionId, @Version, @Arm, @Output, @EntityKey, @features, @Why, @atMs, @eventMs) ON CONFLICT (model, prediction_id) DO NOTHING
                """,
                new
                {
                    one.Id,
                    one.Model,
                    one.PredictionId,
                    one.Version,
                    one.Arm,
                    one.Output,
                    one.EntityKey,
                    one.Why,
                    features = JsonSerializer.Serialize(one.Features),
                    atMs = one.At.ToUnixTimeMilliseconds(),
                    eventMs = one.EventAt.ToUnixTimeMilliseconds(),
                });
        }

        return cases.Count - taken.Count;
    }, cancellationToken);

    /// <summary>Deletes cases that were decided before a moment; returns how many.</summary>
    internal Task<int> ForgetAsync(string model, DateTimeOffset before, CancellationToken cancellationToken) => _database.WriteAsync(transaction =>
    {
        var deleted = transaction.Connection.Execute(
            "DELETE FROM review_cases WHERE model = @model AND decided_at_ms IS NOT NULL AND decided_at_ms < @before", new { model, before = before.ToUnixTimeMilliseconds() });
        if (deleted > 0)
        {
            transaction.Audit(Caller.System("serving"), "review.expired", new NodeRef(NodeKinds.Model, model), $"{deleted} cases that were decided before {before:yyyy-MM-dd} were deleted, as the definition says");
        }

        return deleted;
    }, cancellationToken);

    private static void Demand(ReviewCase found, double decision)
    {
        if (found.Decision is { } before && !before.Equals(decision))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"{found.DecidedBy} has decided this case already: {before}, because {found.Reason}");
        }
    }

    private sealed class Stored
    {
        public string Id { get; init; } = "";

        public string Model { get; init; } = "";

        public string PredictionId { get; init; } = "";

        public string Version { get; init; } = "";

        public string Arm { get; init; } = "";

        public double Output { get; init; }

        public string? EntityKey { get; init; }

        public string Features { get; init; } = "{}";

        public string Why { get; init; } = "";

        public long AtMs { get; init; }

        public long EventMs { get; init; }

        public double? Decision { get; init; }

        public string? DecidedBy { get; init; }

        public long? DecidedAtMs { get; init; }

        public string? Reason { get; init; }

        public ReviewCase ToCase() => new(
            Id, Model, PredictionId, Version, Arm, Output, EntityKey, JsonSerializer.Deserialize<Dictionary<string, double?>>(Features)!, Why,
            DateTimeOffset.FromUnixTimeMilliseconds(AtMs), DateTimeOffset.FromUnixTimeMilliseconds(EventMs), Decision, DecidedBy,
            DecidedAtMs is { } decided ? DateTimeOffset.FromUnixTimeMilliseconds(decided) : null, Reason);
    }
}
