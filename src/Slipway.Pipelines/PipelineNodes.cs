using System.Text.Json;
using Dapper;
using Slipway.Contracts.Lineage;
using Slipway.Storage;

namespace Slipway.Pipelines;

/// <summary>Describes pipeline runs and their stages.</summary>
internal sealed class PipelineNodes(Database database) : INodeDescriber
{
    public IReadOnlyList<string> Kinds { get; } = [NodeKinds.PipelineRun, NodeKinds.PipelineStage];

    public IReadOnlyDictionary<string, NodeFacts> Describe(string kind, IReadOnlyCollection<string> ids) => database.Read(connection =>
    {
        var chosen = SqlDialect.Of(connection).InTexts("@ids");
        if (kind == NodeKinds.PipelineRun)
        {
            return connection.Query<(string Id, string Pipeline, string Status, string By, string Reason, string Trigger, long CreatedAtMs, long? StartedAtMs, long? EndedAtMs)>(
                $"SELECT id, pipeline, status, created_by, reason, trigger_kind, created_at_ms, started_at_ms, finished_at_ms FROM pipeline_runs WHERE id {chosen}",
                new { ids = JsonSerializer.Serialize(ids) })
                .ToDictionary(row => row.Id, row => new NodeFacts
                {
                    Title = row.Pipeline,
                    State = row.Status,
                    Owner = row.By,
                    StartedAt = At(row.StartedAtMs ?? row.CreatedAtMs),
                    EndedAt = At(row.EndedAtMs),
                    Details = new Dictionary<string, string> { ["pipeline"] = row.Pipeline, ["reason"] = row.Reason, ["trigger"] = row.Trigger },
                });
        }

        var runs = ids.Where(id => id.Contains('/', StringComparison.Ordinal)).Select(id => id[..id.IndexOf('/', StringComparison.Ordinal)]).Distinct(StringComparer.Ordinal);
        var wanted = ids.ToHashSet(StringComparer.Ordinal);
        return connection.Query<(string Run, string Pipeline, string Name, string Uses, string Status, string? Message, long? StartedAtMs, long? EndedAtMs)>(
            $"SELECT run_id, pipeline, name, uses, status, message, started_at_ms, finished_at_ms FROM pipeline_stages WHERE run_id {chosen}",
            new { ids = JsonSerializer.Serialize(runs) })
            .Where(row => wanted.Contains($"{row.Run}/{row.Name}"))
            .ToDictionary(row => $"{row.Run}/{row.Name}", row => new NodeFacts
            {
                Title = row.Name,
                State = row.Status,
                StartedAt = At(row.StartedAtMs ?? row.EndedAtMs),
                EndedAt = At(row.EndedAtMs),
                Details = new Dictionary<string, string> { ["pipeline"] = row.Pipeline, ["run"] = row.Run, ["uses"] = row.Uses, ["message"] = row.Message ?? "" },
            });
    });

    private static DateTimeOffset? At(long? ms) => ms is { } instant ? DateTimeOffset.FromUnixTimeMilliseconds(instant) : null;
}
