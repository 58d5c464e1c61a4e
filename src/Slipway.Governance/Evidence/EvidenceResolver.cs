using Slipway.Contracts;
using Slipway.Contracts.Governance;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Identity;
using Slipway.Monitoring;
using Slipway.Pipelines;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Serving.Rollouts;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Governance.Evidence;

/// <summary>Named queries over the records: every figure of a document is an answer of one, and can be asked again.</summary>
public sealed class EvidenceResolver
{
    private readonly Dictionary<string, EvidenceQuery> _queries;
    private readonly TimeProvider _clock;

    /// <summary>Gathers the queries of every area.</summary>
    public EvidenceResolver(
        ModelRegistry registry, RunStore runs, BlobStore blobs, DatasetStore datasets, FeatureRegistry features, PipelineService pipelines, DeploymentStore deployments,
        DeploymentReports serving, RolloutReports rollouts, MonitorStore monitors, AuditTrail audit, UserStore users, TimeProvider clock)
    {
        _clock = clock;
        _queries = VersionQueries.All(registry, runs, blobs)
            .Concat(DataQueries.All(datasets, features))
            .Concat(OperationQueries.All(registry, pipelines, deployments, serving, rollouts, monitors, audit, users))
            .ToDictionary(query => query.Name, StringComparer.Ordinal);
    }

    /// <summary>Every query with the number of its arguments, by name.</summary>
    public IReadOnlyDictionary<string, int> Queries => _queries.Values.OrderBy(query => query.Name, StringComparer.Ordinal).ToDictionary(query => query.Name, query => query.Arguments);

    /// <summary>Answers a query.</summary>
    /// <param name="query">Name and arguments, separated by single spaces.</param>
    /// <param name="cancellationToken">Interrupts reading.</param>
    /// <exception cref="SlipwayException">InvalidArgument: no such query, or another number of arguments; NotFound: what it asks about.</exception>
    public async Task<EvidenceItem> AskAsync(string query, CancellationToken cancellationToken)
    {
        var parts = query.Split(' ');
        if (!_queries.TryGetValue(parts[0], out var known))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'query' names no query '{parts[0]}'; choose one of {string.Join(", ", Queries.Keys)}.");
        }

        if (parts.Length - 1 != known.Arguments)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'query' {known.Name} takes {known.Arguments} arguments, separated by single spaces, not {parts.Length - 1}.");
        }

        var found = await known.Run(parts[1..], cancellationToken);
        return new EvidenceItem(query, string.IsNullOrEmpty(found.Value) ? null : found.Value, found.Ids, _clock.GetUtcNow(), known.Moving);
    }
}
