using System.Text.Json;
using Dapper;
using Slipway.Contracts.Lineage;
using Slipway.Storage;

namespace Slipway.Governance.Documents;

/// <summary>Describes written documents.</summary>
internal sealed class DocumentNodes(Database database) : INodeDescriber
{
    public IReadOnlyList<string> Kinds { get; } = [NodeKinds.Document];

    public IReadOnlyDictionary<string, NodeFacts> Describe(string kind, IReadOnlyCollection<string> ids)
    {
        var wanted = ids.ToHashSet(StringComparer.Ordinal);
        return database.Read(connection => connection.Query<(string Series, long Number, string Title, string Status, string By, long CreatedAtMs)>(
            $"SELECT series, number, title, status, created_by, created_at_ms FROM documents WHERE series {SqlDialect.Of(connection).InTexts("@series")}",
            new { series = JsonSerializer.Serialize(ids.Select(id => id[..Math.Max(0, id.LastIndexOf('@'))]).Distinct(StringComparer.Ordinal)) }).AsList())
            .Select(row => (Id: $"{row.Series}@{DocumentStore.VersionText(row.Number)}", Row: row)).Where(pair => wanted.Contains(pair.Id))
            .ToDictionary(pair => pair.Id, pair => new NodeFacts
            {
                Title = pair.Row.Title,
                State = pair.Row.Status.ToLowerInvariant(),
                Owner = pair.Row.By,
                StartedAt = DateTimeOffset.FromUnixTimeMilliseconds(pair.Row.CreatedAtMs),
                Details = new Dictionary<string, string> { ["document"] = $"{pair.Row.Series}-v{DocumentStore.VersionText(pair.Row.Number)}" },
            });
    }
}
