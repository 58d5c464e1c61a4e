using System.Text.Json;
using Dapper;
using Slipway.Contracts.Lineage;
using Slipway.Monitoring.Definitions;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Monitoring;

/// <summary>Describes monitors.</summary>
internal sealed class MonitorNodes(Database database, DefinitionStore definitions) : INodeDescriber
{
    public IReadOnlyList<string> Kinds { get; } = [NodeKinds.Monitor];

    public IReadOnlyDictionary<string, NodeFacts> Describe(string kind, IReadOnlyCollection<string> ids)
    {
        var open = database.Read(connection => connection.Query<(string Monitor, long Alerts)>(
            $"SELECT monitor, count(*) FROM alerts WHERE status = 'open' AND monitor {SqlDialect.Of(connection).InTexts("@ids")} GROUP BY monitor",
            new { ids = JsonSerializer.Serialize(ids) }).ToDictionary(row => row.Monitor, row => row.Alerts, StringComparer.Ordinal));
        return ids.Select(id => (Id: id, Definition: definitions.Find(MonitorDefinition.Kind, id))).Where(pair => pair.Definition is not null).ToDictionary(pair => pair.Id, pair =>
        {
            var monitor = MonitorDefinition.Parse(DefinitionYaml.Parse(pair.Definition!.Yaml));
            return new NodeFacts
            {
                State = open.TryGetValue(pair.Id, out var alerts) ? $"{alerts} open {(alerts == 1 ? "alert" : "alerts")}" : "no alert",
                Owner = monitor.Owner,
                Details = new Dictionary<string, string> { ["model"] = monitor.Model },
            };
        });
    }
}
