using System.Text.Json;
using Dapper;
using Slipway.Contracts.Lineage;
using Slipway.Storage;

namespace Slipway.Registry.Provenance;

/// <summary>Describes models and their versions.</summary>
internal sealed class RegistryNodes(Database database) : INodeDescriber
{
    public IReadOnlyList<string> Kinds { get; } = [NodeKinds.ModelVersion, NodeKinds.Model];

    public IReadOnlyDictionary<string, NodeFacts> Describe(string kind, IReadOnlyCollection<string> ids) => kind == NodeKinds.Model ? Models(ids) : Versions(ids);

    private Dictionary<string, NodeFacts> Models(IReadOnlyCollection<string> ids) => database.Read(connection => connection
        .Query<(string Name, string By, long CreatedAtMs, string? Production)>(
            $"""
            SELECT name, created_by, created_at_ms, (SELECT version FROM model_versions v WHERE v.model = m.name AND v.stage = 'production')
              FROM models m WHERE name {SqlDialect.Of(connection).InTexts("@ids")}
            """,
            new { ids = JsonSerializer.Serialize(ids) })
        .ToDictionary(row => row.Name, row => new NodeFacts
        {
            State = row.Production is null ? "not in production" : $"{row.Production} in production",
            Owner = row.By,
            StartedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.CreatedAtMs),
        }));

    private Dictionary<string, NodeFacts> Versions(IReadOnlyCollection<string> ids)
    {
        var wanted = ids.ToHashSet(StringComparer.Ordinal);
        var parts = ids.Where(id => id.LastIndexOf('@') > 0).Select(id => (Model: id[..id.LastIndexOf('@')], Version: id[(id.LastIndexOf('@') + 1)..])).ToList();
        return database.Read(connection => connection
            .Query<(string Model, string Version, string Stage, string Owner, string Description, long CreatedAtMs)>(
                $"""
                SELECT model, version, stage, owner, description, created_at_ms FROM model_versions
                 WHERE model {SqlDialect.Of(connection).InTexts("@models")} AND version {SqlDialect.Of(connection).InTexts("@versions")}
                """,
                new
                {
                    models = JsonSerializer.Serialize(parts.Select(part => part.Model).Distinct(StringComparer.Ordinal)),
                    versions = JsonSerializer.Serialize(parts.Select(part => part.Version).Distinct(StringComparer.Ordinal)),
                })
            .Where(row => wanted.Contains($"{row.Model}@{row.Version}"))
            .ToDictionary(row => $"{row.Model}@{row.Version}", row => new NodeFacts
            {
                Title = row.Description.Length == 0 ? null : row.Description,
                State = row.Stage,
                Owner = row.Owner,
                StartedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.CreatedAtMs),
            }));
    }
}
