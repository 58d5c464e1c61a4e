using Slipway.Contracts.Identity;

namespace Slipway.Web.Http.Access;

/// <summary>What a route is about, so that grants and the limits of keys can be applied to it before its handler runs.</summary>
/// <param name="Says">As the reference page of routes says it.</param>
internal abstract record RouteTarget(string Says)
{
    /// <summary>About certain models or experiments, which the request names.</summary>
    /// <param name="Says">As the reference page says it.</param>
    /// <param name="Read">Finds them.</param>
    /// <param name="InBody">Whether their names are in the body.</param>
    /// <param name="Removes">Whether the route deletes.</param>
    /// <param name="NoneIsAll">The kind of which the route shows all when the request names none; null where it then shows nothing.</param>
    /// <param name="Sources">Finds those that the route copies from or reads besides: the caller must see them, whatever else the route needs; null for none.</param>
    internal sealed record Named(
        string Says, Func<RequestFields, IEnumerable<Resource>> Read, bool InBody = false, bool Removes = false, ResourceKind? NoneIsAll = null,
        Func<RequestFields, IEnumerable<Resource>>? Sources = null) : RouteTarget(Says);

    /// <summary>A listing that leaves out what the caller may not see.</summary>
    internal sealed record Filtered() : RouteTarget("lists what the caller may see");

    /// <summary>About the models that its requests name, which are only known while it runs: the handler itself judges each by the caller's grants.</summary>
    internal sealed record InMessages() : RouteTarget("the model that each request names");

    /// <summary>Shows everything of a kind at once; refused to a caller that may not see everything.</summary>
    internal sealed record Whole(params ResourceKind[] Kinds) : RouteTarget($"shows all {string.Join(" and ", Kinds.Select(kind => kind is ResourceKind.Model ? "models" : "experiments"))}");
}
