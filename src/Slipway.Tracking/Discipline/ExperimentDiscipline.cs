using System.Data.Common;
using Dapper;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Tracking.Discipline;

/// <summary>Counts what makes the scores of an experiment unsound: worn test sets, missing baselines, runs of unknown data.</summary>
public sealed class ExperimentDiscipline(Database database, DefinitionStore definitions, ExperimentStore experiments)
{
    /// <summary>Tag of a run that is a trivial baseline; its value is the kind.</summary>
    public const string BaselineTag = "slipway.baseline";

    // The words that MLflow's examples and our own stages use for the data of the final score.
    private const string OnTest = "IN ('test', 'testing', 'holdout')";
    private const string OnTrain = "IN ('train', 'training')";
    private const int NamedMax = 3;
    private const int LargestNamed = 10;

    /// <summary>The report of one experiment, living or deleted.</summary>
    /// <exception cref="Contracts.SlipwayException">NotFound.</exception>
    public DisciplineReport Report(string experimentId)
    {
        var experiment = experiments.Find(experimentId) ?? throw ExperimentStore.NoExperiment(experimentId);
        var rules = ExperimentRules.Of(definitions, experiment.Name);
        return database.Read(connection =>
        {
            var id = new { id = long.Parse(experiment.ExperimentId, System.Globalization.CultureInfo.InvariantCulture) };
            var runs = connection.ExecuteScalar<long>("SELECT count(*) FROM runs WHERE experiment_id = @id AND lifecycle_stage = 'active'", id);
            var unknown = connection.ExecuteScalar<long>(
                """
                SELECT count(*) FROM runs r
                 WHERE r.experiment_id = @id AND r.lifecycle_stage = 'active' AND NOT EXISTS (SELECT 1 FROM run_inputs i WHERE i.run = r.id)
                """, id);
            var tests = connection.Query<TestSetRow>(
                $"""
                SELECT i.name AS Name, i.digest AS Digest, count(*) AS Evaluations FROM runs r JOIN run_inputs i ON i.run = r.id
                 WHERE r.experiment_id = @id AND i.context {OnTest}
                 GROUP BY i.name, i.digest ORDER BY count(*) DESC, i.name, i.digest
                """, id).Select(row => new TestSetUse(row.Name, row.Digest, row.Evaluations, rules.TestEvaluationsMax)).ToList();
            var baselines = rules.Baselines.Select(kind => Baseline(connection, id.id, kind)).ToList();
            return new DisciplineReport(
                experiment.ExperimentId, experiment.Name, runs, unknown, tests, baselines,
                [.. Warn(runs, unknown, tests, baselines, TunedOnTest(connection, id), TrainedOnTest(connection, id))])
            {
                Storage = Storage(connection, id, rules.RunStorageBytesMax),
            };
        });
    }

    private static IEnumerable<DisciplineWarning> Warn(
        long runs, long unknown, List<TestSetUse> tests, List<BaselineRun> baselines, List<TunedRow> tuned, List<string> trained)
    {
        if (unknown > 0)
        {
            yield return new("dataset_missing", $"{unknown} of {runs} runs name no dataset, so nobody can say what they were trained or scored on; log the dataset's digest as an input.");
        }

        foreach (var worn in tests.Where(test => test.Evaluations > test.EvaluationsMax))
        {
            yield return new("test_set_worn",
                $"Test set '{worn.Name}' ({Short(worn.Digest)}) was used by {worn.Evaluations} runs, over the limit of {worn.EvaluationsMax}: its best score is too good. Choose on validation data and score the winner on fresh test data.");
        }

        foreach (var study in tuned.Take(NamedMax))
        {
            yield return new("tuned_on_test",
                $"{study.Children} runs under run {study.Parent} were scored on the same test set '{study.Name}' ({Short(study.Digest)}): that is tuning on the test split. Compare them on validation data instead.");
        }

        if (trained.Count > 0)
        {
            yield return new("trained_on_test",
                $"{trained.Count} run{(trained.Count == 1 ? " was" : "s were")} trained and scored on the same data ({string.Join(", ", trained.Take(NamedMax))}); split the data first.");
        }

        if (tests.Select(test => test.Digest).Distinct(StringComparer.Ordinal).Count() is > 1 and var different)
        {
            yield return new("test_sets_differ", $"Runs were scored on {different} different test sets; compare only runs of the same one.");
        }

        var missing = baselines.Where(baseline => baseline.RunId is null).Select(baseline => baseline.Kind).ToList();
        if (missing.Count > 0)
        {
            yield return new("baseline_missing",
                $"The experiment demands the baseline{(missing.Count == 1 ? "" : "s")} {string.Join(", ", missing)}, and no finished run is one; score it as a run and tag that run {BaselineTag}={missing[0]}.");
        }
    }

    // Those in the bin too: their files are still there.
    private static RunStorage Storage(DbConnection connection, object id, long? bytesMax)
    {
        var runs = connection.Query<StorageRow>(
            """
            SELECT r.run_id AS RunId, r.name AS Name, CAST(sum(a.size_bytes) AS BIGINT) AS Bytes FROM runs r JOIN run_artifacts a ON a.run = r.id
             WHERE r.experiment_id = @id GROUP BY r.id, r.run_id, r.name ORDER BY sum(a.size_bytes) DESC, r.run_id
            """, id).AsList();
        return new RunStorage(bytesMax, runs.Sum(run => run.Bytes), [.. runs.Take(LargestNamed).Select(run => new LargeRun(run.RunId, run.Name, run.Bytes))]);
    }

    private static BaselineRun Baseline(DbConnection connection, long experiment, string kind) =>
        connection.QueryFirstOrDefault<(string RunId, string Name)?>(
            """
            SELECT r.run_id, r.name FROM runs r JOIN tags t ON t.run = r.id AND t.key = @tag AND t.value = @kind
             WHERE r.experiment_id = @experiment AND r.lifecycle_stage = 'active' AND r.status = 'FINISHED'
             ORDER BY r.start_at_ms DESC, r.run_id LIMIT 1
            """, new { experiment, tag = BaselineTag, kind }) is { } found
            ? new BaselineRun(kind, found.RunId, found.Name)
            : new BaselineRun(kind, null, null);

    // Several runs of one study, all scored on the same test set: the best of them was chosen by it.
    private static List<TunedRow> TunedOnTest(DbConnection connection, object id) => connection.Query<TunedRow>(
        $"""
        SELECT t.value AS Parent, i.name AS Name, i.digest AS Digest, count(*) AS Children
          FROM runs r JOIN tags t ON t.run = r.id AND t.key = 'mlflow.parentRunId' JOIN run_inputs i ON i.run = r.id
         WHERE r.experiment_id = @id AND i.context {OnTest}
         GROUP BY t.value, i.name, i.digest HAVING count(*) > 1 ORDER BY count(*) DESC, t.value
        """, id).AsList();

    private static List<string> TrainedOnTest(DbConnection connection, object id) => connection.Query<string>(
        $"""
        SELECT DISTINCT r.run_id FROM runs r JOIN run_inputs a ON a.run = r.id JOIN run_inputs b ON b.run = r.id AND b.digest = a.digest
         WHERE r.experiment_id = @id AND a.context {OnTrain} AND b.context {OnTest} ORDER BY r.run_id
        """, id).AsList();

    private static string Short(string digest) => digest[..Math.Min(8, digest.Length)];

    private sealed class TestSetRow
    {
        public string Name { get; init; } = "";

        public string Digest { get; init; } = "";

        public long Evaluations { get; init; }
    }

    private sealed class StorageRow
    {
        public string RunId { get; init; } = "";

        public string Name { get; init; } = "";

        public long Bytes { get; init; }
    }

    private sealed class TunedRow
    {
        public string Parent { get; init; } = "";

        public string Name { get; init; } = "";

        public string Digest { get; init; } = "";

        public long Children { get; init; }
    }
}
