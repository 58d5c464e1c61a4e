using Slipway.Contracts.Lineage;

namespace Slipway.Storage.Definitions;

/// <summary>Describes applied definitions, <c>kind/name@version</c>.</summary>
internal sealed class DefinitionNodes(DefinitionStore definitions) : INodeDescriber
{
    public IReadOnlyList<string> Kinds { get; } = [NodeKinds.Definition];

    public IReadOnlyDictionary<string, NodeFacts> Describe(string kind, IReadOnlyCollection<string> ids)
    {
        var facts = new Dictionary<string, NodeFacts>();
        foreach (var id in ids)
        {
            var (slash, at) = (id.IndexOf('/', StringComparison.Ordinal), id.LastIndexOf('@'));
            if (slash > 0 && at > slash && long.TryParse(id.AsSpan(at + 1), out var version) && definitions.Find(id[..slash], id[(slash + 1)..at], version) is { } stored)
            {
                facts[id] = new NodeFacts { Owner = stored.AppliedBy, StartedAt = DateTimeOffset.FromUnixTimeMilliseconds(stored.AppliedAtMs), Details = new Dictionary<string, string> { ["sha256"] = stored.Sha256 } };
            }
        }

        return facts;
    }
}
