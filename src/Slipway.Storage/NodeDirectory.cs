using Slipway.Contracts.Lineage;

namespace Slipway.Storage;

/// <summary>An area that owns kinds of nodes registers one of these, so that lineage can say what a node is without knowing every area.</summary>
public interface INodeDescriber
{
    /// <summary>Some of <see cref="NodeKinds"/>.</summary>
    IReadOnlyList<string> Kinds { get; }

    /// <summary>The facts of those that are on record, by id.</summary>
    /// <param name="kind">One of <see cref="Kinds"/>.</param>
    /// <param name="ids">At most as many as a walk meets.</param>
    IReadOnlyDictionary<string, NodeFacts> Describe(string kind, IReadOnlyCollection<string> ids);
}

/// <summary>Asks the owner of each kind.</summary>
public sealed class NodeDirectory(IEnumerable<INodeDescriber> describers)
{
    private readonly Dictionary<string, INodeDescriber> _describers = describers
        .SelectMany(describer => describer.Kinds.Select(kind => (kind, describer))).ToDictionary(pair => pair.kind, pair => pair.describer, StringComparer.Ordinal);

    /// <summary>The facts of those nodes that somebody has on record.</summary>
    public IReadOnlyDictionary<NodeRef, NodeFacts> Describe(IEnumerable<NodeRef> nodes)
    {
        var facts = new Dictionary<NodeRef, NodeFacts>();
        foreach (var kind in nodes.GroupBy(node => node.Kind, node => node.Id))
        {
            if (_describers.TryGetValue(kind.Key, out var describer))
            {
                foreach (var (id, known) in describer.Describe(kind.Key, [.. kind]))
                {
                    facts[new NodeRef(kind.Key, id)] = known;
                }
            }
        }

        return facts;
    }
}
