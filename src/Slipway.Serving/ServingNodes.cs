using System.Text.Json;
using Dapper;
using Slipway.Contracts.Lineage;
using Slipway.Storage;

namespace Slipway.Serving;

/// <summary>Describes deployments and rollouts.</summary>
internal sealed class ServingNodes(Database database) : INodeDescriber
{
    public IReadOnlyList<string> Kinds { get; } = [NodeKinds.Deployment, NodeKinds.Rollout];

    public IReadOnlyDictionary<string, NodeFacts> Describe(string kind, IReadOnlyCollection<string> ids) => database.Read(connection =>
    {
        var chosen = SqlDialect.Of(connection).InTexts("@ids");
        var parameters = new { ids = JsonSerializer.Serialize(ids) };
        return kind == NodeKinds.Deployment
            ? connection.Query<(string Id, string Model, string Version, string Arm, long StartedAtMs, long? EndedAtMs, string? Outcome, string Reason)>(
                $"SELECT id, model, version, arm, started_at_ms, ended_at_ms, outcome, coalesce(end_reason, start_reason) FROM deployments WHERE id {chosen}", parameters)
                .ToDictionary(row => row.Id, row => new NodeFacts
                {
                    Title = $"{row.Model} {row.Version}, {row.Arm}",
                    State = row.EndedAtMs is null ? "serving" : row.Outcome ?? "ended",
                    StartedAt = At(row.StartedAtMs),
                    EndedAt = At(row.EndedAtMs),
                    Details = new Dictionary<string, string>
                    {
                        ["model"] = row.Model,
                        ["version"] = row.Version,
                        ["arm"] = row.Arm,
                        ["endpoint"] = $"/v2/models/{Uri.EscapeDataString(row.Model)}/infer",
                        ["reason"] = row.Reason,
                    },
                })
            : connection.Query<(string Id, string Model, string Version, string Status, string By, long StartedAtMs, long? EndedAtMs, string Reason)>(
                $"SELECT id, model, version, status, requested_by, started_at_ms, ended_at_ms, coalesce(end_reason, start_reason) FROM rollouts WHERE id {chosen}", parameters)
                .ToDictionary(row => row.Id, row => new NodeFacts
                {
                    Title = $"{row.Model} {row.Version}",
                    State = row.Status,
                    Owner = row.By,
                    StartedAt = At(row.StartedAtMs),
                    EndedAt = At(row.EndedAtMs),
                    Details = new Dictionary<string, string> { ["model"] = row.Model, ["version"] = row.Version, ["reason"] = row.Reason },
                });
    });

    private static DateTimeOffset At(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms);

    private static DateTimeOffset? At(long? ms) => ms is { } instant ? At(instant) : null;
}
