using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Lineage;

namespace Slipway.Client;

public sealed partial class SlipwayClient
{
    /// <summary>What a thing was made from and what came of it.</summary>
    /// <param name="node"><c>kind:id</c>, such as <c>model_version:flight-delay@1.0.0</c>; an id without a version means all its versions.</param>
    /// <param name="direction">Which way to look.</param>
    /// <param name="depth">Steps at most; null for all.</param>
    /// <param name="kinds">Only these kinds; null for all.</param>
    /// <param name="limit">Things to meet at most; null for the server's own bound.</param>
    /// <param name="history">Whether to go on behind parent versions and what asked for a run.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="SlipwayException">NotFound: the graph has no such thing.</exception>
    public Task<LineageView> GetLineageAsync(
        string node, LineageSide direction = LineageSide.Both, int? depth = null, IReadOnlyCollection<string>? kinds = null, int? limit = null, bool history = false,
        CancellationToken cancellationToken = default) =>
        GetAsync<LineageView>($"lineage{Query(("node", node), ("direction", Direction(direction)), ("depth", Number(depth)), ("kinds", kinds is { Count: > 0 } ? string.Join(',', kinds) : null), ("limit", Number(limit)), ("history", history ? "true" : null))}", cancellationToken);

    /// <summary>A shortest way between two things, whichever is upstream.</summary>
    /// <exception cref="SlipwayException">NotFound: the graph has no such thing.</exception>
    public Task<LineagePathView> GetLineagePathAsync(string from, string to, int? limit = null, CancellationToken cancellationToken = default) =>
        GetAsync<LineagePathView>($"lineage/path{Query(("from", from), ("to", to), ("limit", Number(limit)))}", cancellationToken);

    /// <summary>Which model versions, and what hangs on them, a change would reach.</summary>
    /// <param name="node"><c>kind:id</c>, or <c>feature:ENTITY:NAME</c>.</param>
    /// <param name="limit">Versions to name at most; null for the server's own bound.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="SlipwayException">NotFound: the graph has no such thing.</exception>
    public Task<LineageImpact> GetLineageImpactAsync(string node, int? limit = null, CancellationToken cancellationToken = default) =>
        GetAsync<LineageImpact>($"lineage/impact{Query(("node", node), ("limit", Number(limit)))}", cancellationToken);

    /// <summary>What a version was made from and what uses it.</summary>
    /// <exception cref="SlipwayException">NotFound: no such version.</exception>
    public Task<VersionDependencies> GetDependenciesAsync(string model, string version, CancellationToken cancellationToken = default) =>
        GetAsync<VersionDependencies>($"lineage/dependencies{Query(("model", model), ("version", version))}", cancellationToken);

    /// <summary>Where a model's versions serve and served.</summary>
    /// <param name="model">Model.</param>
    /// <param name="version">Only this one; null for all.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="SlipwayException">NotFound: no such model or version.</exception>
    public Task<ModelDeployments> GetDeploymentsOfAsync(string model, string? version = null, CancellationToken cancellationToken = default) =>
        GetAsync<ModelDeployments>($"lineage/deployments{Query(("model", model), ("version", version))}", cancellationToken);

    /// <summary>Requirements and the models that answer to them.</summary>
    public Task<RequirementMap> GetRequirementsAsync(CancellationToken cancellationToken = default) => GetAsync<RequirementMap>("lineage/requirements", cancellationToken);

    /// <summary>A part of the graph as OpenLineage events, one JSON object per line, by time.</summary>
    /// <exception cref="SlipwayException">NotFound: the graph has no such thing.</exception>
    public IAsyncEnumerable<string> ExportOpenLineageAsync(
        string node, LineageSide direction = LineageSide.Both, int? limit = null, bool history = false, CancellationToken cancellationToken = default) =>
        LinesAsync($"lineage/export{Query(("node", node), ("format", "openlineage"), ("direction", Direction(direction)), ("limit", Number(limit)), ("history", history ? "true" : null))}", cancellationToken);

    /// <summary>Declares a use of a version that the server cannot see.</summary>
    /// <exception cref="SlipwayException">NotFound: no such version; InvalidArgument: the ends do not fit the relation.</exception>
    public Task DeclareLinkAsync(DeclareLink link, CancellationToken cancellationToken = default) => PostAsync<object>("lineage/links", link, cancellationToken);

    private static string Direction(LineageSide side) => side switch { LineageSide.Upstream => "upstream", LineageSide.Downstream => "downstream", _ => "both" };

    private static string? Number(int? value) => value?.ToString(CultureInfo.InvariantCulture);

    private static string Query(params ReadOnlySpan<(string Name, string? Value)> parameters)
    {
        var parts = new List<string>();
        foreach (var (name, value) in parameters)
        {
            if (value is not null)
            {
                parts.Add($"{name}={Uri.EscapeDataString(value)}");
            }
        }

        return parts.Count == 0 ? "" : $"?{string.Join('&', parts)}";
    }
}
