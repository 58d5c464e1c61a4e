using System.Globalization;
using System.Text.Json;
using Dapper;
using Slipway.Contracts.Lineage;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>Describes runs and logged models.</summary>
internal sealed class TrackingNodes(Database database) : INodeDescriber
{
    public IReadOnlyList<string> Kinds { get; } = [NodeKinds.Run, NodeKinds.LoggedModel];

    public IReadOnlyDictionary<string, NodeFacts> Describe(string kind, IReadOnlyCollection<string> ids) => database.Read(connection =>
    {
        var chosen = SqlDialect.Of(connection).InTexts("@ids");
        var parameters = new { ids = JsonSerializer.Serialize(ids) };
        var rows = kind == NodeKinds.Run
            ? connection.Query<Row>(
                $"""
                SELECT r.run_id AS Id, r.name AS Name, r.status AS Status, r.user_id AS Owner, r.start_at_ms AS StartedAtMs, r.end_at_ms AS EndedAtMs, e.name AS Experiment, e.id AS ExperimentId
                  FROM runs r JOIN experiments e ON e.id = r.experiment_id WHERE r.run_id {chosen}
                """,
                parameters)
            : connection.Query<Row>(
                $"""
                SELECT m.model_id AS Id, m.name AS Name, m.status AS Status, NULL AS Owner, m.created_at_ms AS StartedAtMs, NULL AS EndedAtMs, e.name AS Experiment, e.id AS ExperimentId
                  FROM logged_models m JOIN experiments e ON e.id = m.experiment_id WHERE m.model_id {chosen}
                """,
                parameters);
        return rows.ToDictionary(row => row.Id, row => row.ToFacts());
    });

    // By property: a null of no type has no place in a constructor.
    private sealed class Row
    {
        public string Id { get; init; } = "";

        public string Name { get; init; } = "";

        public string Status { get; init; } = "";

        public string? Owner { get; init; }

        public long StartedAtMs { get; init; }

        public long? EndedAtMs { get; init; }

        public string Experiment { get; init; } = "";

        public long ExperimentId { get; init; }

        public NodeFacts ToFacts() => new()
        {
            Title = Name,
            State = Status.ToLowerInvariant(),
            Owner = Owner,
            StartedAt = DateTimeOffset.FromUnixTimeMilliseconds(StartedAtMs),
            EndedAt = EndedAtMs is { } ended ? DateTimeOffset.FromUnixTimeMilliseconds(ended) : null,
            Details = new Dictionary<string, string> { ["experiment"] = Experiment, ["experiment_id"] = ExperimentId.ToString(CultureInfo.InvariantCulture) },
        };
    }
}
