using System.Data.Common;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Slipway.Contracts.Tracking;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>
/// The rows of some runs as the database has them, to be written straight to an answer: a page of a thousand runs holds tens of
/// thousands of names and values, and an object for each would cost more than reading them.
/// </summary>
internal sealed class RunRows
{
    private static readonly string[] OfOne = Texts("= $1");
    private static readonly string[] OfManyInSqlite = Texts(SqlDialect.Sqlite.InNumbers("$1"));
    private static readonly string[] OfManyInPostgres = Texts(SqlDialect.Postgres.InNumbers("$1"));

    // A server across a socket wants one question, not six: each row says by `part` which of the six it answers. In the order of Texts.
    private const string OneByIdInPostgres =
        """
        SELECT * FROM (
            SELECT 0 AS part, id AS run, run_id AS a, name AS b, user_id AS c, status AS d, lifecycle_stage AS e,
                   (SELECT artifact_location FROM experiments x WHERE x.id = experiment_id) AS f, CAST(NULL AS TEXT) AS g, CAST(NULL AS TEXT) AS h,
                   experiment_id AS i, start_at_ms AS j, end_at_ms AS k, CAST(0 AS DOUBLE PRECISION) AS x
              FROM runs WHERE run_id = $1
            UNION ALL
            SELECT 1, run, key, NULL, NULL, NULL, NULL, NULL, NULL, NULL, at_ms, step, is_nan, value
              FROM latest_metrics WHERE run = (SELECT id FROM runs WHERE run_id = $1)
            UNION ALL
            SELECT 2, run, key, value, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0 FROM params WHERE run = (SELECT id FROM runs WHERE run_id = $1)
            UNION ALL
            SELECT 3, run, key, value, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0 FROM tags WHERE run = (SELECT id FROM runs WHERE run_id = $1)
            UNION ALL
            SELECT 4, run, name, digest, context, source_type, source, schema, profile, tags_json, NULL, NULL, row_count, 0
              FROM run_inputs WHERE run = (SELECT id FROM runs WHERE run_id = $1)
            UNION ALL
            SELECT 5, m.run, m.relation, NULL, NULL, l.model_id, NULL, NULL, NULL, NULL, m.step, NULL, l.id, 0
              FROM run_models m JOIN logged_models l ON l.id = m.model WHERE m.run = (SELECT id FROM runs WHERE run_id = $1)) answers
         ORDER BY part, a, i, b, c, k
        """;

    private readonly List<Info> _infos = [];
    private readonly List<Metric> _metrics = [];
    private readonly List<Pair> _parameters = [];
    private readonly List<Pair> _tags = [];
    private readonly List<(long Run, RunInput Input)> _inputs = [];
    private readonly List<(long Run, bool Output, ModelOutput Model)> _models = [];
    private byte[] _texts;
    private int _used;

    private RunRows(int runs) => _texts = new byte[Math.Min(runs, 250) * 1024];

    /// <summary>Reads the rows of these runs.</summary>
    public static RunRows Load(DbConnection connection, IReadOnlyList<long> runs)
    {
        var rows = new RunRows(runs.Count);
        if (runs.Count == 0)
        {
            return rows;
        }

        // One run is asked for far more often than many, and needs no list to look it up in.
        if (runs.Count == 1)
        {
            using var one = StatementBatch.Of(connection, OfOne);
            one.Bind(1, runs[0]);
            rows.Read(one);
            return rows;
        }

        using var batch = StatementBatch.Of(connection, SqlDialect.Of(connection) == SqlDialect.Sqlite ? OfManyInSqlite : OfManyInPostgres);
        batch.Bind(1, $"[{string.Join(',', runs)}]");
        rows.Read(batch);
        return rows;
    }

    /// <summary>Reads the rows of the run of this id.</summary>
    /// <exception cref="Contracts.SlipwayException">NotFound.</exception>
    public static RunRows Load(DbConnection connection, string runId)
    {
        if (SqlDialect.Of(connection) == SqlDialect.Sqlite)
        {
            // Looked up once; in the same process a further question costs nothing.
            using var number = Statement.Of(connection, "SELECT id FROM runs WHERE run_id = $1");
            number.Bind(1, runId);
            return Load(connection, [number.Step() ? number.Integer(0) : throw RunStore.NoRun(runId)]);
        }

        var rows = new RunRows(1);
        using var answers = Statement.Of(connection, OneByIdInPostgres);
        answers.Bind(1, runId);
        while (answers.Step())
        {
            rows.Add(answers);
        }

        return rows._infos.Count == 1 ? rows : throw RunStore.NoRun(runId);
    }

    /// <summary>The run's place among these rows; negative when there is no such run.</summary>
    public int IndexOf(long run) => First(_infos, run, info => info.Run) is var at && at < _infos.Count && _infos[at].Run == run ? at : -1;

    /// <summary>What <c>runs</c> says of the run at this place.</summary>
    public ref readonly Info this[int index] => ref CollectionsMarshal.AsSpan(_infos)[index];

    public ReadOnlySpan<Metric> Metrics(long run) => Of(_metrics, run, metric => metric.Run);

    public ReadOnlySpan<Pair> Parameters(long run) => Of(_parameters, run, pair => pair.Run);

    public ReadOnlySpan<Pair> Tags(long run) => Of(_tags, run, pair => pair.Run);

    public IReadOnlyList<RunInput> Inputs(long run) => _inputs.Count == 0 ? [] : [.. _inputs.Where(row => row.Run == run).Select(row => row.Input)];

    public IReadOnlyList<string> ModelInputs(long run) => _models.Count == 0 ? [] : [.. _models.Where(row => row.Run == run && !row.Output).Select(row => row.Model.ModelId)];

    public IReadOnlyList<ModelOutput> ModelOutputs(long run) => _models.Count == 0 ? [] : [.. _models.Where(row => row.Run == run && row.Output).Select(row => row.Model)];

    /// <summary>The run at this place as a record, without environment and files.</summary>
    public RunRecord Record(int index)
    {
        var info = _infos[index];
        var metrics = new List<MetricPoint>();
        foreach (var metric in Metrics(info.Run))
        {
            metrics.Add(new MetricPoint(Text(metric.Key), metric.Value, metric.AtMs, metric.Step));
        }

        return new RunRecord(
            Text(info.RunId), ExperimentStore.Text(info.Experiment), Text(info.Name), Text(info.User), Enum.Parse<RunStatus>(Text(info.Status), ignoreCase: true), info.StartMs, info.EndMs,
            Text(info.Stage) != "active", metrics, Dictionary(Parameters(info.Run)), Dictionary(Tags(info.Run)), Inputs(info.Run), null, null, [])
        {
            ModelInputs = ModelInputs(info.Run),
            ModelOutputs = ModelOutputs(info.Run),
            ArtifactLocation = info.Location is { } location ? Text(location) : null,
        };
    }

    /// <summary>The UTF-8 bytes of a text.</summary>
    public ReadOnlySpan<byte> Utf8(Slice text) => _texts.AsSpan(text.Start, text.Length);

    // In the order of Read.
    private static string[] Texts(string chosen) =>
    [
        $"SELECT id, run_id, experiment_id, name, user_id, status, start_at_ms, end_at_ms, lifecycle_stage, (SELECT artifact_location FROM experiments e WHERE e.id = experiment_id) FROM runs WHERE id {chosen} ORDER BY id",
        $"SELECT run, key, value, at_ms, step, is_nan FROM latest_metrics WHERE run {chosen} ORDER BY run, key",
        $"SELECT run, key, value FROM params WHERE run {chosen} ORDER BY run, key",
        $"SELECT run, key, value FROM tags WHERE run {chosen} ORDER BY run, key",
        $"SELECT run, name, digest, context, source_type, source, row_count, schema, profile, tags_json FROM run_inputs WHERE run {chosen} ORDER BY run, name, digest, context",
        $"SELECT x.run, x.relation, l.model_id, x.step FROM run_models x JOIN logged_models l ON l.id = x.model WHERE x.run {chosen} ORDER BY x.run, x.relation, x.step, l.id",
    ];

    private void Read(StatementBatch batch)
    {
        ReadInfos(batch.Next());
        ReadMetrics(batch.Next());
        ReadPairs(batch.Next(), _parameters);
        ReadPairs(batch.Next(), _tags);
        ReadInputs(batch.Next());
        ReadModels(batch.Next());
    }

    private void Add(Statement row)
    {
        var run = row.Integer(1);
        switch (row.Integer(0))
        {
            case 0:
                _infos.Add(new Info(
                    run, Keep(row.Utf8(2)), row.Integer(10), Keep(row.Utf8(3)), Keep(row.Utf8(4)), Keep(row.Utf8(5)), row.Integer(11),
                    row.IsNull(12) ? null : row.Integer(12), Keep(row.Utf8(6)), row.IsNull(7) ? null : Keep(row.Utf8(7))));
                break;
            case 1:
                _metrics.Add(new Metric(run, Keep(row.Utf8(2)), row.Integer(12) != 0 ? double.NaN : row.Real(13), row.Integer(10), row.Integer(11)));
                break;
            case 2:
                _parameters.Add(new Pair(run, Keep(row.Utf8(2)), Keep(row.Utf8(3))));
                break;
            case 3:
                _tags.Add(new Pair(run, Keep(row.Utf8(2)), Keep(row.Utf8(3))));
                break;
            case 4:
                AddInput(run, row.Text(2), row.Text(3), row.Text(4), row.Text(5), row.Text(6), Count(row, 12), OrNull(row, 7), OrNull(row, 8), row.Text(9));
                break;
            default:
                _models.Add((run, row.Text(2) == "output", new ModelOutput(row.Text(5), row.Integer(10))));
                break;
        }
    }

    private void AddInput(
        long run, string name, string digest, string context, string sourceType, string source, long? rowCount, string? schema, string? profile, string tags) =>
        _inputs.Add((run, new RunInput(
            name, digest, source, context.Length == 0 ? null : context, rowCount, sourceType, schema, profile, JsonSerializer.Deserialize<Dictionary<string, string>>(tags))));

    private static string? OrNull(Statement row, int column) => row.IsNull(column) ? null : row.Text(column);

    private static long? Count(Statement row, int column) => row.IsNull(column) ? null : row.Integer(column);

    private void ReadInfos(Statement rows)
    {
        while (rows.Step())
        {
            _infos.Add(new Info(
                rows.Integer(0), Keep(rows.Utf8(1)), rows.Integer(2), Keep(rows.Utf8(3)), Keep(rows.Utf8(4)), Keep(rows.Utf8(5)), rows.Integer(6),
                rows.IsNull(7) ? null : rows.Integer(7), Keep(rows.Utf8(8)), rows.IsNull(9) ? null : Keep(rows.Utf8(9))));
        }
    }

    private void ReadMetrics(Statement rows)
    {
        while (rows.Step())
        {
            _metrics.Add(new Metric(rows.Integer(0), Keep(rows.Utf8(1)), rows.Integer(5) != 0 ? double.NaN : rows.Real(2), rows.Integer(3), rows.Integer(4)));
        }
    }

    private void ReadPairs(Statement rows, List<Pair> pairs)
    {
        while (rows.Step())
        {
            pairs.Add(new Pair(rows.Integer(0), Keep(rows.Utf8(1)), Keep(rows.Utf8(2))));
        }
    }

    private void ReadInputs(Statement rows)
    {
        while (rows.Step())
        {
            AddInput(
                rows.Integer(0), rows.Text(1), rows.Text(2), rows.Text(3), rows.Text(4), rows.Text(5), Count(rows, 6), OrNull(rows, 7), OrNull(rows, 8), rows.Text(9));
        }
    }

    private void ReadModels(Statement rows)
    {
        while (rows.Step())
        {
            _models.Add((rows.Integer(0), rows.Text(1) == "output", new ModelOutput(rows.Text(2), rows.Integer(3))));
        }
    }

    private string Text(Slice text) => Encoding.UTF8.GetString(Utf8(text));

    private Dictionary<string, string> Dictionary(ReadOnlySpan<Pair> pairs)
    {
        var all = new Dictionary<string, string>(pairs.Length, StringComparer.Ordinal);
        foreach (var pair in pairs)
        {
            all.Add(Text(pair.Key), Text(pair.Value));
        }

        return all;
    }

    private Slice Keep(ReadOnlySpan<byte> text)
    {
        if (_texts.Length - _used < text.Length)
        {
            Array.Resize(ref _texts, Math.Max(_texts.Length * 2, _used + text.Length));
        }

        text.CopyTo(_texts.AsSpan(_used));
        _used += text.Length;
        return new Slice(_used - text.Length, text.Length);
    }

    private static ReadOnlySpan<T> Of<T>(List<T> rows, long run, Func<T, long> runOf)
    {
        var start = First(rows, run, runOf);
        var end = start;
        while (end < rows.Count && runOf(rows[end]) == run)
        {
            end++;
        }

        return CollectionsMarshal.AsSpan(rows)[start..end];
    }

    // The rows come by run, so that halving finds them.
    private static int First<T>(List<T> rows, long run, Func<T, long> runOf)
    {
        var (low, high) = (0, rows.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = runOf(rows[middle]) < run ? (middle + 1, high) : (low, middle);
        }

        return low;
    }

    /// <summary>A text's place in the buffer.</summary>
    public readonly record struct Slice(int Start, int Length);

    /// <summary>A row of <c>runs</c>.</summary>
    public readonly record struct Info(long Run, Slice RunId, long Experiment, Slice Name, Slice User, Slice Status, long StartMs, long? EndMs, Slice Stage, Slice? Location);

    /// <summary>A row of <c>latest_metrics</c>.</summary>
    public readonly record struct Metric(long Run, Slice Key, double Value, long AtMs, long Step);

    /// <summary>A row of <c>params</c> or <c>tags</c>.</summary>
    public readonly record struct Pair(long Run, Slice Key, Slice Value);
}
