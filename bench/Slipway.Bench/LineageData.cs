using System.Globalization;
using System.Text;
using Slipway.Storage;

namespace Slipway.Bench;

/// <summary>
/// A lineage graph as a company of a thousand models leaves it: datasets and feature views that most models share, pipelines with
/// their stages, tuning runs that lead nowhere, documents that quote much; a model of 5,000 versions, a chain of 2,000 models each
/// trained from the one before, and a ring.
/// </summary>
internal sealed class LineageData
{
    public const int Edges = 1_000_000;
    private const int Models = 1000;
    private const int Datasets = 200;
    private const int Views = 500;
    private const int Services = 300;
    private const int RowsPerStatement = 2000;

    private static readonly string[] StageNames = ["ingest", "validate", "features", "train", "evaluate", "register"];

    private readonly Database _database;
    private readonly Random _random = new(4);
    private readonly Dictionary<NodeRef, int> _ids = [];
    private readonly HashSet<(int, string, int)> _known = [];
    private readonly List<string> _nodes = [];
    private readonly List<string> _edges = [];

    private LineageData(Database database) => _database = database;

    /// <summary>How many edges there are.</summary>
    public int Count => _known.Count;

    /// <summary>How many nodes there are.</summary>
    public int NodeCount => _ids.Count;

    public static NodeRef Dataset(int number, int version) => Node(NodeKinds.DatasetVersion, $"dataset-{number}@{version}");

    public static NodeRef View(int number, int version) => Node(NodeKinds.FeatureView, $"view_{number}@{version}");

    public static NodeRef Version(int model, int version) => Node(NodeKinds.ModelVersion, $"{ModelName(model)}@{VersionText(version)}");

    public static string ModelName(int model) => $"model-{model}";

    public static string VersionText(int version) => $"1.{version}.0";

    /// <summary>Fills the empty tables. They are written to directly: one edge at a time it would take an hour.</summary>
    public static async Task<LineageData> WriteAsync(Database database)
    {
        var data = new LineageData(database);
        data.MakeFeatures();
        data.MakeChains();
        for (var version = 1; data.Count < Edges; version++)
        {
            for (var model = 0; model < Models && data.Count < Edges; model++)
            {
                data.MakeVersion(model, version);
            }

            await data.FlushAsync();
        }

        await database.WriteAsync(transaction => Execute(transaction, database.Dialect == SqlDialect.Postgres ? "ANALYZE lineage_nodes, lineage_edges" : "ANALYZE"), default);
        return data;
    }

    private void MakeFeatures()
    {
        for (var view = 0; view < Views; view++)
        {
            for (var version = 1; version <= 4; version++)
            {
                var dataset = Shared(Datasets);
                for (var build = 1; build <= 20; build += 1 + _random.Next(4))
                {
                    Link(Dataset(dataset, build), "built_from", View(view, version));
                }
            }
        }

        for (var service = 0; service < Services; service++)
        {
            for (var version = 1; version <= 5; version++)
            {
                for (var i = 0; i < 5; i++)
                {
                    Link(View(Shared(Views), 1 + _random.Next(4)), "includes", Service(service, version));
                }
            }
        }
    }

    // Deep rather than wide.
    private void MakeChains()
    {
        for (var version = 2; version <= 5000; version++)
        {
            Link(Node(NodeKinds.ModelVersion, $"old@1.{version - 1}.0"), "descends_from", Node(NodeKinds.ModelVersion, $"old@1.{version}.0"));
        }

        for (var i = 1; i <= 2000; i++)
        {
            Link(Node(NodeKinds.ModelVersion, $"tuned-{i - 1}@1.0.0"), "used", Node(NodeKinds.Run, $"tuning-{i}"));
            Link(Node(NodeKinds.Run, $"tuning-{i}"), "produced_by", Node(NodeKinds.ModelVersion, $"tuned-{i}@1.0.0"));
        }

        for (var i = 0; i < 1000; i++)
        {
            Link(Node(NodeKinds.Run, $"ring-{i}"), "used", Node(NodeKinds.Run, $"ring-{(i + 1) % 1000}"));
        }
    }

    private void MakeVersion(int model, int number)
    {
        var (version, key) = (Version(model, number), $"{model}-{number}");
        var (service, serviceVersion) = (model % Services, 1 + _random.Next(5));
        var dataset = Dataset(Shared(Datasets), 1 + _random.Next(20));
        var pipelineRun = Node(NodeKinds.PipelineRun, key);
        Link(Node(NodeKinds.Definition, $"pipeline/{ModelName(model)}@{1 + (number / 10)}"), "follows", pipelineRun);
        var stages = Array.ConvertAll(StageNames, name => Node(NodeKinds.PipelineStage, $"{key}/{name}"));
        foreach (var stage in stages)
        {
            Link(pipelineRun, "part_of", stage);
        }

        var views = Enumerable.Range(0, 5).Select(i => View(i == 0 ? 0 : Shared(Views), 1 + _random.Next(4))).ToList();
        var splits = Array.ConvertAll((string[])["train", "validation", "test"], split => Node(NodeKinds.TrainingSet, $"{key}-{split}"));
        foreach (var split in splits)
        {
            Link(dataset, "drawn_from", split);
            Link(Service(service, serviceVersion), "selected_by", split);
            Link(stages[2], "written_by", split);
            foreach (var view in views)
            {
                Link(view, "defined_by", split);
            }
        }

        var commit = Node(NodeKinds.Commit, $"{model % 50}-{number}");
        var run = version; // Replaced below: there is always a first run.
        for (var i = 0; i < 4; i++)
        {
            run = Node(NodeKinds.Run, $"{key}-{i}");
            Link(splits[0], "trained_on", run);
            Link(splits[1], "used", run);
            Link(pipelineRun, "started_by", run);
            Link(stages[3], "written_by", run);
            Link(commit, "ran_code_of", run);
        }

        var report = Node(NodeKinds.EvaluationReport, key);
        Link(splits[2], "measured_on", report);
        Link(stages[4], "written_by", report);
        Link(run, "produced_by", version);
        Link(stages[5], "written_by", version);
        Link(report, "evaluated_by", version);
        foreach (var ingredient in (NodeRef[])[dataset, Service(service, serviceVersion), .. views])
        {
            Link(ingredient, Lineage.Feeds, version);
        }

        Link(version, "version_of", Node(NodeKinds.Model, ModelName(model)));
        if (number == 1)
        {
            Link(Node(NodeKinds.Model, ModelName(model)), "watched_by", Node(NodeKinds.Monitor, $"monitor-{model}"));
        }
        else
        {
            Link(Version(model, number - 1), "descends_from", version);
            Link(Node(NodeKinds.Monitor, $"monitor-{model}"), "triggered", pipelineRun);
        }

        if (number % 4 == 1)
        {
            Link(version, "rolls_out", Node(NodeKinds.Rollout, key));
            Link(version, "deployed_as", Node(NodeKinds.Deployment, key));
            foreach (var evidence in (NodeRef[])[version, run, report, dataset, .. views])
            {
                Link(evidence, "evidence_of", Node(NodeKinds.Document, $"card-{model}@1.{number}"));
            }
        }
    }

    // The first few are used by most, the others by few.
    private int Shared(int count) => (int)(count * Math.Pow(_random.NextDouble(), 4));

    private static NodeRef Service(int number, int version) => Node(NodeKinds.FeatureService, $"service-{number}@{version}");

    private static NodeRef Node(string kind, string id) => new(kind, id);

    private void Link(NodeRef from, string relation, NodeRef to)
    {
        var (source, target) = (Id(from), Id(to));
        if (_known.Add((source, relation, target)))
        {
            _edges.Add(string.Create(CultureInfo.InvariantCulture, $"({source},'{relation}',{target},0)"));
        }
    }

    private int Id(NodeRef node)
    {
        if (!_ids.TryGetValue(node, out var id))
        {
            id = _ids.Count + 1;
            _ids.Add(node, id);
            _nodes.Add(string.Create(CultureInfo.InvariantCulture, $"({id},'{node.Kind}','{node.Id}')"));
        }

        return id;
    }

    private async Task FlushAsync()
    {
        await InsertAsync("lineage_nodes (id, kind, name)", _nodes);
        await InsertAsync("lineage_edges (from_node, relation, to_node, created_at_ms)", _edges);
    }

    private async Task InsertAsync(string table, List<string> rows)
    {
        await _database.WriteAsync(transaction =>
        {
            foreach (var chunk in rows.Chunk(RowsPerStatement))
            {
                Execute(transaction, new StringBuilder("INSERT INTO ").Append(table).Append(" VALUES ").AppendJoin(',', chunk).ToString());
            }
        }, default);
        rows.Clear();
    }

    private static void Execute(WriteTransaction transaction, string sql)
    {
        using var command = transaction.Connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
