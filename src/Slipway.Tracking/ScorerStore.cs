using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>Owns the scorers of experiments and their versions: what a client serialised, kept as it came and never run here.</summary>
public sealed class ScorerStore(Database database)
{
    private const int NameMax = 256;
    private const int SerializedMax = 1_000_000;

    private const string SelectVersions =
        """
        SELECT s.experiment_id AS ExperimentId, s.name AS ScorerName, v.version AS ScorerVersion, v.serialized AS SerializedScorer, v.created_at_ms AS CreationTime, s.scorer_id AS ScorerId
          FROM scorers s JOIN scorer_versions v ON v.scorer = s.id WHERE s.experiment_id = @experiment
        """;

    /// <summary>Adds a version to the scorer of this name, which begins with it when there is none.</summary>
    /// <exception cref="SlipwayException">NotFound: the experiment; InvalidArgument: it is deleted, or a text is too long.</exception>
    public Task<MlflowScorer> RegisterAsync(string experimentId, string name, string serialized, Caller by, CancellationToken cancellationToken)
    {
        RunLimits.CheckLength("'name'", name, NameMax);
        RunLimits.CheckLength("'serialized_scorer'", serialized, SerializedMax);
        return database.WriteAsync(transaction =>
        {
            var connection = transaction.Connection;
            var experiment = ExperimentStore.DemandActive(connection, experimentId);
            connection.Execute(
                "INSERT INTO scorers (scorer_id, experiment_id, name) VALUES (@id, @experiment, @name) ON CONFLICT (experiment_id, name) DO NOTHING",
                new { id = Guid.NewGuid().ToString(), experiment, name });
            var scorer = connection.QuerySingle<(long Id, string ScorerId)>("SELECT id, scorer_id FROM scorers WHERE experiment_id = @experiment AND name = @name", new { experiment, name });
            var version = connection.ExecuteScalar<long>("SELECT coalesce(max(version), 0) + 1 FROM scorer_versions WHERE scorer = @Id", new { scorer.Id });
            connection.Execute(
                "INSERT INTO scorer_versions (scorer, version, serialized, created_at_ms) VALUES (@Id, @version, @serialized, @now)",
                new { scorer.Id, version, serialized, now = transaction.NowMs });
            transaction.Audit(by, "scorer.registered", ExperimentStore.Node(experiment), after: new { name, version });
            return new MlflowScorer(experiment, name, version, serialized, transaction.NowMs, scorer.ScorerId);
        }, cancellationToken);
    }

    /// <summary>The newest version of each scorer of the experiment, by name.</summary>
    /// <exception cref="SlipwayException">NotFound: the experiment; InvalidArgument: it is deleted.</exception>
    public IReadOnlyList<MlflowScorer> List(string experimentId) => database.Read(connection => connection.Query<MlflowScorer>(
        $"{SelectVersions} AND v.version = (SELECT max(n.version) FROM scorer_versions n WHERE n.scorer = s.id) ORDER BY s.name",
        new { experiment = ExperimentStore.DemandActive(connection, experimentId) }).AsList());

    /// <summary>All versions of a scorer, oldest first.</summary>
    /// <exception cref="SlipwayException">NotFound: the experiment or the scorer; InvalidArgument: the experiment is deleted.</exception>
    public IReadOnlyList<MlflowScorer> Versions(string experimentId, string name) => database.Read(connection =>
    {
        var found = connection.Query<MlflowScorer>($"{SelectVersions} AND s.name = @name ORDER BY v.version", new { experiment = ExperimentStore.DemandActive(connection, experimentId), name }).AsList();
        return found.Count > 0 ? found : throw NoScorer(experimentId, name, null);
    });

    /// <summary>One version of a scorer.</summary>
    /// <param name="experimentId">The experiment.</param>
    /// <param name="name">The scorer.</param>
    /// <param name="version">Null for the newest.</param>
    /// <exception cref="SlipwayException">NotFound: the experiment, the scorer or the version; InvalidArgument: the experiment is deleted.</exception>
    public MlflowScorer Get(string experimentId, string name, long? version) => database.Read(connection => connection.QueryFirstOrDefault<MlflowScorer>(
        $"{SelectVersions} AND s.name = @name AND (v.version = @version OR CAST(@version AS BIGINT) IS NULL) ORDER BY v.version DESC LIMIT 1",
        new { experiment = ExperimentStore.DemandActive(connection, experimentId), name, version })) ?? throw NoScorer(experimentId, name, version);

    /// <summary>Removes one version of a scorer, or the scorer with all of them.</summary>
    /// <exception cref="SlipwayException">NotFound: the experiment, the scorer or the version; InvalidArgument: the experiment is deleted.</exception>
    public Task DeleteAsync(string experimentId, string name, long? version, Caller by, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        var connection = transaction.Connection;
        var experiment = ExperimentStore.DemandActive(connection, experimentId);
        var scorer = connection.QueryFirstOrDefault<long?>("SELECT id FROM scorers WHERE experiment_id = @experiment AND name = @name", new { experiment, name });
        var removed = connection.Execute(
            "DELETE FROM scorer_versions WHERE scorer = @scorer AND (version = @version OR CAST(@version AS BIGINT) IS NULL)", new { scorer, version });
        if (removed == 0)
        {
            throw NoScorer(experimentId, name, version);
        }

        if (version is null)
        {
            connection.Execute("DELETE FROM scorers WHERE id = @scorer", new { scorer });
        }

        transaction.Audit(by, "scorer.deleted", ExperimentStore.Node(experiment), before: new { name, version, versions = removed });
    }, cancellationToken);

    private static SlipwayException NoScorer(string experimentId, string name, long? version) => new(ErrorCode.NotFound, version is null
        ? $"Scorer with name '{name}' not found for experiment {experimentId}."
        : $"Scorer with name '{name}' and version {version} not found for experiment {experimentId}.");
}
