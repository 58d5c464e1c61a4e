using System.Globalization;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Contracts.Lineage;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Datasets;

/// <summary>Describes dataset versions.</summary>
internal sealed class DatasetNodes(Database database, DefinitionStore definitions) : INodeDescriber
{
    public IReadOnlyList<string> Kinds { get; } = [NodeKinds.DatasetVersion];

    public IReadOnlyDictionary<string, NodeFacts> Describe(string kind, IReadOnlyCollection<string> ids)
    {
        var wanted = ids.ToHashSet(StringComparer.Ordinal);
        var rows = database.Read(connection => connection.Query<Row>(
            $"""
            SELECT name AS Name, version AS Version, sha256 AS Sha256, size_bytes AS SizeBytes, rows AS Rows, columns_json AS Columns, created_by AS CreatedBy, created_at_ms AS CreatedAtMs,
                   (SELECT passed FROM dataset_validations v WHERE v.name = d.name AND v.version = d.version ORDER BY v.id DESC LIMIT 1) AS Passed
              FROM dataset_versions d WHERE name {SqlDialect.Of(connection).InTexts("@names")}
            """,
            new { names = JsonSerializer.Serialize(ids.Select(id => id[..Math.Max(0, id.LastIndexOf('@'))]).Distinct(StringComparer.Ordinal)) }).AsList());
        var sources = rows.Select(row => row.Name).Distinct(StringComparer.Ordinal).ToDictionary(name => name, Source, StringComparer.Ordinal);
        return rows.Where(row => wanted.Contains($"{row.Name}@{row.Version}")).ToDictionary(row => $"{row.Name}@{row.Version}", row => Facts(row, sources[row.Name]));
    }

    private DatasetSource? Source(string name) =>
        definitions.Find(DatasetDefinition.Kind, name) is { } stored ? DatasetDefinition.Parse(DefinitionYaml.Parse(stored.Yaml)).Source : null;

    private static NodeFacts Facts(Row row, DatasetSource? source)
    {
        var details = new Dictionary<string, string>
        {
            ["rows"] = row.Rows.ToString(CultureInfo.InvariantCulture),
            ["sha256"] = row.Sha256,
            ["size_bytes"] = row.SizeBytes.ToString(CultureInfo.InvariantCulture),
        };
        foreach (var (name, value) in new[] { ("source_type", source?.Type), ("source_url", source?.Url), ("licence", source?.Licence), ("update_frequency", source?.UpdateFrequency) })
        {
            if (value is not null)
            {
                details[name] = value;
            }
        }

        return new NodeFacts
        {
            State = row.Passed switch { null => "not checked", 0 => "failed its checks", _ => "passed its checks" },
            Owner = source?.Owner ?? row.CreatedBy,
            StartedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.CreatedAtMs),
            Fields = [.. JsonSerializer.Deserialize<List<ColumnSchema>>(row.Columns, JsonDefaults.Options)!.Select(column => new NodeField(column.Name, column.Type))],
            Details = details,
        };
    }

    private sealed record Row(string Name, long Version, string Sha256, long SizeBytes, long Rows, string Columns, string CreatedBy, long CreatedAtMs, long? Passed);
}
