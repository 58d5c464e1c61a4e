using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Storage.Blobs;

namespace Slipway.Tests.Registry.External;

/// <summary>
/// The part of an MLflow server that a registry is read from and written to, over real HTTP, with MLflow's routes, shapes and rules:
/// a stage is one of four, versions in Production may be several, an alias is one version. Its faults are switches.
/// </summary>
internal sealed class MlflowFake : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, FakeModel> _models = new(StringComparer.Ordinal);
    private readonly List<FakeVersion> _versions = [];
    private readonly Dictionary<string, JsonObject> _runs = new(StringComparer.Ordinal);
    private readonly Dictionary<string, byte[]> _files = new(StringComparer.Ordinal);
    private long _nowMs = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    private MlflowFake(WebApplication app) => _app = app;

    public Uri Address => new(_app.Urls.Single());

    /// <summary>Every request, as <c>POST model-versions/transition-stage</c>.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    /// <summary>Cuts every connection.</summary>
    public bool IsDown { get; set; }

    /// <summary>Cuts the connection after the next write was done, as a crash on the way back does.</summary>
    public bool LosesAnswer { get; set; }

    /// <summary>Goes down when the next write arrives, and does not do it.</summary>
    public bool GoesDownAtWrite { get; set; }

    /// <summary>Whether it has no stages.</summary>
    public bool HasNoStages { get; init; }

    /// <summary>The most it puts on a page.</summary>
    public int PageMax { get; init; } = 1000;

    /// <summary>The Authorization header that it demands; null for none.</summary>
    public string? Demands { get; set; }

    /// <summary>Refuses every write with 403.</summary>
    public bool IsReadOnly { get; set; }

    /// <summary>Answers everything with a redirect to here.</summary>
    public string? RedirectsTo { get; set; }

    /// <summary>Runs before each write to the registry.</summary>
    public Action? BeforeWrite { get; set; }

    public IEnumerable<string> Writes => Requests.Where(request => !request.StartsWith("GET", StringComparison.Ordinal));

    public static async Task<MlflowFake> StartAsync(bool hasNoStages = false, int pageMax = 1000)
    {
        // Empty, so that no file of settings is watched: the watchers of a user are counted, and there is a server per test.
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0));
        var app = builder.Build();
        var fake = new MlflowFake(app) { HasNoStages = hasNoStages, PageMax = pageMax };
        app.Run(fake.AnswerAsync);
        await app.StartAsync();
        return fake;
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    /// <summary>What <c>mlflow.register_model</c> leaves behind: a run, its files, a model and the next version.</summary>
    public int Register(string model, IReadOnlyDictionary<string, byte[]> files, string user = "ada", IReadOnlyDictionary<string, string>? tags = null, string description = "",
        IReadOnlyDictionary<string, double>? metrics = null, string? testDigest = null, string? commit = "3f2a", string runStatus = "FINISHED", string? source = null, IReadOnlyList<DatasetRef>? datasets = null)
    {
        lock (_lock)
        {
            var runId = Guid.NewGuid().ToString("N");
            _runs[runId] = Run(runId, user, metrics, testDigest, commit, runStatus, datasets ?? [new DatasetRef("flights", 1, new string('d', 64))]);
            foreach (var (path, content) in files)
            {
                _files[source is null ? $"1/{runId}/artifacts/model/{path}" : $"{new Uri(source).AbsolutePath.TrimStart('/')}/{path}"] = content;
            }

            if (!_models.ContainsKey(model))
            {
                _models[model] = new FakeModel { Created = Now(), Updated = _nowMs };
            }

            var version = new FakeVersion
            {
                Name = model,
                Number = _versions.Where(each => each.Name == model).Select(each => each.Number).DefaultIfEmpty().Max() + 1,
                Created = Now(),
                Updated = _nowMs,
                RunId = runId,
                User = user,
                Description = description,
                Source = source ?? $"mlflow-artifacts:/1/{runId}/artifacts/model",
                Tags = new Dictionary<string, string>(tags ?? new Dictionary<string, string>(), StringComparer.Ordinal),
            };
            _versions.Add(version);
            return version.Number;
        }
    }

    /// <summary>The same for a registration of ours.</summary>
    public async Task<int> RegisterAsync(RegisterVersion request, BlobStore blobs, string user)
    {
        var files = new Dictionary<string, byte[]>
        {
            ["MLmodel"] = Encoding.UTF8.GetBytes(ModelFile(request.Signature!)),
            ["feature_schema.json"] = JsonSerializer.SerializeToUtf8Bytes(request.FeatureSchema, JsonDefaults.Options),
            ["baseline.json"] = await blobs.ReadVerifiedAsync(request.BaselineSha256!, default),
            ["conda.yaml"] = await blobs.ReadVerifiedAsync(request.EnvironmentSha256!, default),
        };
        foreach (var file in request.Files)
        {
            files[file.Path] = await blobs.ReadVerifiedAsync(file.Sha256, default);
        }

        if (request.EvaluationReportSha256 is { } report)
        {
            files["evaluation_report.json"] = await blobs.ReadVerifiedAsync(report, default);
        }

        var tags = new Dictionary<string, string>(request.Tags, StringComparer.Ordinal);
        return Register(request.Model, files, user, tags, request.Description, commit: request.Commit, datasets: request.Datasets);
    }

    public string StageOf(string model, int number) => Version(model, number).Stage;

    public string? TagOf(string model, int number, string key) => Version(model, number).Tags.GetValueOrDefault(key);

    public int? AliasOf(string model, string alias) => _models[model].Aliases.TryGetValue(alias, out var number) ? number : null;

    /// <summary>What a person does on the server's own page.</summary>
    public void ByHand(string model, int number, string stage)
    {
        lock (_lock)
        {
            var version = Version(model, number);
            (version.Stage, version.Updated) = (stage, Now());
        }
    }

    public void SetAliasByHand(string model, string alias, int? number)
    {
        lock (_lock)
        {
            if (number is { } set)
            {
                _models[model].Aliases[alias] = set;
            }
            else
            {
                _models[model].Aliases.Remove(alias);
            }
        }
    }

    public void DeleteByHand(string model, int number)
    {
        lock (_lock)
        {
            _versions.RemoveAll(version => version.Name == model && version.Number == number);
        }
    }

    public void DescribeByHand(string model, int number, string description)
    {
        lock (_lock)
        {
            var version = Version(model, number);
            (version.Description, version.Updated) = (description, Now());
        }
    }

    public void DescribeModelByHand(string model, string description, string key, string value)
    {
        lock (_lock)
        {
            (_models[model].Description, _models[model].Tags[key], _models[model].Updated) = (description, value, Now());
        }
    }

    public void EndRunOf(string model, int number)
    {
        lock (_lock)
        {
            _runs[Version(model, number).RunId]["info"]!["status"] = "FINISHED";
        }
    }

    private FakeVersion Version(string model, int number) => _versions.Single(version => version.Name == model && version.Number == number);

    private long Now() => ++_nowMs;

    private static string ModelFile(ModelSignature signature)
    {
        static string Columns(IReadOnlyList<SignatureField> fields) => JsonSerializer.Serialize(fields.Select(field => new
        {
            type = field.Type switch { "BYTES" => "string", "FP32" => "float", _ => "long" },
            name = field.Name,
            required = !field.Optional,
        }));
        return $"""
            flavors:
              onnx:
                onnx_version: 1.17.0
            signature:
              inputs: '{Columns(signature.Inputs)}'
              outputs: '{Columns(signature.Outputs)}'
            """;
    }

    private static JsonObject Run(string runId, string user, IReadOnlyDictionary<string, double>? metrics, string? testDigest, string? commit, string status, IReadOnlyList<DatasetRef> datasets)
    {
        static JsonNode Pair(string key, string value) => new JsonObject { ["key"] = key, ["value"] = value };
        static JsonNode Input(string name, string digest, string context) => new JsonObject
        {
            ["tags"] = new JsonArray(Pair("mlflow.data.context", context)),
            ["dataset"] = new JsonObject { ["name"] = name, ["digest"] = digest, ["source_type"] = "local", ["source"] = "{}" },
        };
        return new JsonObject
        {
            ["info"] = new JsonObject
            {
                ["run_id"] = runId,
                ["run_uuid"] = runId,
                ["experiment_id"] = "1",
                ["run_name"] = "fit",
                ["user_id"] = user,
                ["status"] = status,
                ["start_time"] = 1_700_000_000_000,
                ["end_time"] = 1_700_000_060_000,
                ["artifact_uri"] = $"mlflow-artifacts:/1/{runId}/artifacts",
                ["lifecycle_stage"] = "active",
            },
            ["data"] = new JsonObject
            {
                ["metrics"] = new JsonArray([.. (metrics ?? new Dictionary<string, double>()).Select(metric => (JsonNode)new JsonObject { ["key"] = metric.Key, ["value"] = metric.Value, ["timestamp"] = 1_700_000_050_000, ["step"] = 3 })]),
                ["params"] = new JsonArray(Pair("depth", "6")),
                ["tags"] = new JsonArray([.. (commit is null ? [] : new[] { Pair("mlflow.source.git.commit", commit) })]),
            },
            ["inputs"] = new JsonObject
            {
                ["dataset_inputs"] = new JsonArray([.. datasets.Select(dataset => Input(dataset.Name, dataset.Sha256, "training")), .. testDigest is null ? [] : new[] { Input("flights-april", testDigest, "test") }]),
            },
        };
    }

    private async Task AnswerAsync(HttpContext context)
    {
        var request = context.Request;
        var path = request.Path.Value!;
        var route = path.StartsWith("/api/2.0/mlflow/", StringComparison.Ordinal) ? path["/api/2.0/mlflow/".Length..] : path;
        Requests.Enqueue($"{request.Method} {route}");
        if (IsDown)
        {
            context.Abort();
            return;
        }

        if (RedirectsTo is { } elsewhere)
        {
            context.Response.Redirect(elsewhere);
            return;
        }

        if (Demands is { } demanded && request.Headers.Authorization != demanded)
        {
            await FailAsync(context, 401, "UNAUTHENTICATED", "You are not authenticated.");
            return;
        }

        var body = request.ContentLength > 0 ? (await JsonNode.ParseAsync(request.Body))!.AsObject() : [];
        if (!HttpMethods.IsGet(request.Method))
        {
            BeforeWrite?.Invoke();
            if (GoesDownAtWrite)
            {
                (GoesDownAtWrite, IsDown) = (false, true);
                context.Abort();
                return;
            }

            if (IsReadOnly)
            {
                await FailAsync(context, 403, "PERMISSION_DENIED", "Permission denied");
                return;
            }
        }

        if (path.StartsWith("/api/2.0/mlflow-artifacts/artifacts/", StringComparison.Ordinal))
        {
            await (_files.TryGetValue(path["/api/2.0/mlflow-artifacts/artifacts/".Length..], out var stored)
                ? context.Response.Body.WriteAsync(stored).AsTask() : FailAsync(context, 404, "RESOURCE_DOES_NOT_EXIST", "No such artifact"));
            return;
        }

        if (path == "/get-artifact")
        {
            await (_files.TryGetValue($"1/{request.Query["run_uuid"]}/artifacts/{request.Query["path"]}", out var content)
                ? context.Response.Body.WriteAsync(content).AsTask() : FailAsync(context, 404, "RESOURCE_DOES_NOT_EXIST", "No such artifact"));
            return;
        }

        JsonObject? answer;
        lock (_lock)
        {
            answer = Route(request, route, body);
        }

        if (answer is null)
        {
            await FailAsync(context, 404, "RESOURCE_DOES_NOT_EXIST", $"Not found: {route}");
        }
        else if (IsDown || (LosesAnswer && !HttpMethods.IsGet(request.Method)))
        {
            LosesAnswer = false;
            context.Abort();
        }
        else
        {
            await context.Response.WriteAsync(answer.ToJsonString());
        }
    }

    private JsonObject? Route(HttpRequest request, string route, JsonObject body)
    {
        string Query(string key) => request.Query[key].ToString();
        string Body(string key) => (string?)body[key] ?? "";
        FakeVersion? Of(string name, string number) => _versions.FirstOrDefault(version => version.Name == name && version.Number.ToString(CultureInfo.InvariantCulture) == number);
        switch ($"{request.Method} {route}")
        {
            case "GET registered-models/search":
                return Page(request, "registered_models", Ordered(_models.Select(model => (model.Key, Number: 0, model.Value.Updated, Json: Wire(model.Key))), request));
            case "GET registered-models/get":
                return _models.ContainsKey(Query("name")) ? new JsonObject { ["registered_model"] = Wire(Query("name")) } : null;
            case "GET model-versions/search":
                var filter = Query("filter");
                return Page(request, "model_versions", Ordered(
                    _versions.Where(version => filter.Length == 0 || filter == $"name = '{version.Name}'" || filter == $"name = \"{version.Name}\"").Select(version => (version.Name, version.Number, version.Updated, Json: Wire(version))), request));
            case "GET model-versions/get":
                return Of(Query("name"), Query("version")) is { } one ? new JsonObject { ["model_version"] = Wire(one) } : null;
            case "GET model-versions/get-download-uri":
                return Of(Query("name"), Query("version")) is { } located ? new JsonObject { ["artifact_uri"] = located.Source } : null;
            case "GET runs/get":
                return _runs.TryGetValue(Query("run_id"), out var run) ? new JsonObject { ["run"] = run.DeepClone() } : null;
            case "GET experiments/get":
                return new JsonObject { ["experiment"] = new JsonObject { ["experiment_id"] = "1", ["name"] = "delays", ["artifact_location"] = "mlflow-artifacts:/1", ["lifecycle_stage"] = "active" } };
            case "GET /api/2.0/mlflow-artifacts/artifacts":
                return new JsonObject { ["files"] = Folder(Query("path"), "") };
            case "GET artifacts/list":
                // Of a run the paths begin at its root, below the artifact root at the folder asked for.
                var folder = Query("path");
                return new JsonObject { ["files"] = Folder($"1/{Query("run_id")}/artifacts{(folder.Length == 0 ? "" : $"/{folder}")}", folder.Length == 0 ? "" : $"{folder}/") };
            case "POST model-versions/transition-stage" when !HasNoStages:
                return Of(Body("name"), Body("version")) is { } moved && Moved(moved, Body("stage")) ? new JsonObject { ["model_version"] = Wire(moved) } : null;
            case "POST model-versions/set-tag":
                return Of(Body("name"), Body("version")) is { } tagged && Tagged(tagged, Body("key"), Body("value")) ? [] : null;
            case "POST registered-models/alias":
                return Of(Body("name"), Body("version")) is { } pointed && Pointed(pointed, Body("alias")) ? [] : null;
            case "DELETE registered-models/alias":
                return _models.TryGetValue(Body("name"), out var model) && model.Aliases.Remove(Body("alias")) ? [] : null;
            default:
                return null;
        }
    }

    private bool Moved(FakeVersion version, string stage)
    {
        (version.Stage, version.Updated) = (stage, Now());
        return true;
    }

    private bool Tagged(FakeVersion version, string key, string value)
    {
        (version.Tags[key], version.Updated) = (value, Now());
        return true;
    }

    private bool Pointed(FakeVersion version, string alias)
    {
        _models[version.Name].Aliases[alias] = version.Number;
        return true;
    }

    private JsonArray Folder(string folder, string prefix) => new([.. _files
        .Where(file => file.Key.StartsWith(folder + "/", StringComparison.Ordinal))
        .Select(file => (Name: file.Key[(folder.Length + 1)..], file.Value.Length))
        .GroupBy(file => file.Name.Split('/')[0], StringComparer.Ordinal)
        .Select(group => (JsonNode)new JsonObject { ["path"] = prefix + group.Key, ["is_dir"] = group.First().Name.Contains('/', StringComparison.Ordinal), ["file_size"] = group.First().Length })]);

    private static IEnumerable<JsonObject> Ordered(IEnumerable<(string Name, int Number, long Updated, JsonObject Json)> items, HttpRequest request) =>
        request.Query["order_by"].ToString() switch
        {
            "last_updated_timestamp DESC" => items.OrderByDescending(item => item.Updated).Select(item => item.Json),
            _ => items.OrderBy(item => item.Name, StringComparer.Ordinal).ThenBy(item => item.Number).Select(item => item.Json),
        };

    private JsonObject Page(HttpRequest request, string list, IEnumerable<JsonObject> items)
    {
        var offset = int.TryParse(request.Query["page_token"], CultureInfo.InvariantCulture, out var given) ? given : 0;
        var size = Math.Min(PageMax, int.Parse(request.Query["max_results"].ToString(), CultureInfo.InvariantCulture));
        var all = items.ToList();
        var page = new JsonObject { [list] = new JsonArray([.. all.Skip(offset).Take(size)]) };
        if (offset + size < all.Count)
        {
            page["next_page_token"] = (offset + size).ToString(CultureInfo.InvariantCulture);
        }

        return page;
    }

    private JsonObject Wire(string model) => new()
    {
        ["name"] = model,
        ["creation_timestamp"] = _models[model].Created,
        ["last_updated_timestamp"] = _models[model].Updated,
        ["description"] = _models[model].Description,
        ["tags"] = Tags(_models[model].Tags),
        ["aliases"] = new JsonArray([.. _models[model].Aliases.Select(alias => (JsonNode)new JsonObject { ["alias"] = alias.Key, ["version"] = alias.Value.ToString(CultureInfo.InvariantCulture) })]),
    };

    private JsonObject Wire(FakeVersion version)
    {
        var wire = new JsonObject
        {
            ["name"] = version.Name,
            ["version"] = version.Number.ToString(CultureInfo.InvariantCulture),
            ["creation_timestamp"] = version.Created,
            ["last_updated_timestamp"] = version.Updated,
            ["user_id"] = version.User,
            ["description"] = version.Description,
            ["source"] = version.Source,
            ["run_id"] = version.RunId,
            ["status"] = "READY",
            ["tags"] = Tags(version.Tags),
        };
        if (!HasNoStages)
        {
            wire["current_stage"] = version.Stage;
        }

        return wire;
    }

    private static JsonArray Tags(IReadOnlyDictionary<string, string> tags) => new([.. tags.Select(tag => (JsonNode)new JsonObject { ["key"] = tag.Key, ["value"] = tag.Value })]);

    private static Task FailAsync(HttpContext context, int status, string code, string message)
    {
        context.Response.StatusCode = status;
        return context.Response.WriteAsync(new JsonObject { ["error_code"] = code, ["message"] = message }.ToJsonString());
    }

    private sealed class FakeModel
    {
        public long Created { get; init; }

        /// <summary>No alias shows here: a server need not count one as a change.</summary>
        public long Updated { get; set; }

        public string Description { get; set; } = "";

        public Dictionary<string, string> Tags { get; } = new(StringComparer.Ordinal);

        public Dictionary<string, int> Aliases { get; } = new(StringComparer.Ordinal);
    }

    private sealed class FakeVersion
    {
        public required string Name { get; init; }

        public required int Number { get; init; }

        public required long Created { get; init; }

        public required string RunId { get; init; }

        public required string User { get; init; }

        public required string Source { get; init; }

        public required Dictionary<string, string> Tags { get; init; }

        public string Description { get; set; } = "";

        public string Stage { get; set; } = "None";

        public long Updated { get; set; }
    }
}
