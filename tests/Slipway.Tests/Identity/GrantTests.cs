using System.Net;
using System.Text.Json;
using Dapper;
using Slipway.Contracts.Identity;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Definitions;
using Slipway.Tracking;

namespace Slipway.Tests.Identity;

/// <summary>Grants on single models and experiments, over the whole server and through every way round them that MLflow has had.</summary>
public sealed class GrantTests(WholeServerFixture fixture) : IClassFixture<WholeServerFixture>, IAsyncLifetime
{
    private const string Mlflow = "/api/2.0/mlflow";
    private const string Mlflow3 = "/api/3.0/mlflow";
    private readonly WholeServer _server = fixture.Server;
    private readonly string _administrator = fixture.Administrator;
    private readonly string _name = WholeServer.NewName("ada");
    private readonly string _group = WholeServer.NewName("risk");
    private readonly string _salaries = WholeServer.NewName("salaries");
    private string _ada = "";
    private string _secret = "";
    private string _open = "";
    private string _run = "";

    public async ValueTask InitializeAsync()
    {
        _ada = await _server.AddAsync(_name, Role.DataScientist, _group);
        var experiments = _server.Service<ExperimentStore>();
        _secret = await experiments.CreateAsync(_salaries, null, Caller.System("test"), WholeServer.Cancel);
        _open = await experiments.CreateAsync(WholeServer.NewName("weather"), null, Caller.System("test"), WholeServer.Cancel);
        _run = (await _server.PostAsync($"{Mlflow}/runs/create", _administrator, new { experiment_id = _secret, tags = new[] { new { key = "mlflow.user", value = "boss" } } }))
            .Json.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;
        await GiveAsync(new { user = _name, experiment = _secret, permission = "NO_PERMISSIONS" });
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    // CVE-2025-15381, CVE-2026-33866, CVE-2026-2651, CVE-2024-4263: the ways to another's experiment by its runs, files, traces and models.
    [Fact, Trait("capability", "GOV-07"), Trait("capability", "X-51")]
    public async Task No_way_leads_to_an_experiment_that_is_closed_to_the_caller()
    {
        (HttpMethod Method, string Path, string? Body)[] ways =
        [
            (HttpMethod.Get, $"{Mlflow}/experiments/get?experiment_id={_secret}", null),
            (HttpMethod.Get, $"{Mlflow}/experiments/get-by-name?experiment_name={_salaries}", null),
            (HttpMethod.Post, $"{Mlflow}/experiments/update", $$"""{"experiment_id":"{{_secret}}","new_name":"mine"}"""),
            (HttpMethod.Post, $"{Mlflow}/experiments/update", $$"""{"Experiment_ID":"{{_secret}}","new_name":"mine"}"""),
            (HttpMethod.Post, $"{Mlflow}/experiments/update", $$"""{"experiment_id":"{{_open}}","experiment_id":"{{_secret}}","new_name":"mine"}"""),
            (HttpMethod.Post, $"{Mlflow}/experiments/update", JsonSerializer.Serialize($$"""{"experiment_id":"{{_secret}}","new_name":"mine"}""")),
            (HttpMethod.Post, $"{Mlflow}/experiments/delete", $$"""{"experiment_id":"{{_secret}}"}"""),
            (HttpMethod.Post, $"{Mlflow}/experiments/set-experiment-tag", $$"""{"experiment_id":"{{_secret}}","key":"a","value":"b"}"""),
            (HttpMethod.Post, $"{Mlflow}/experiments/search-datasets", $$"""{"experiment_ids":["{{_open}}","{{_secret}}"]}"""),
            (HttpMethod.Post, $"{Mlflow}/runs/create", $$"""{"experiment_id":"{{_secret}}"}"""),
            (HttpMethod.Post, $"{Mlflow}/runs/create", $$"""{"experiment_id":{{_secret}}}"""),
            (HttpMethod.Get, $"{Mlflow}/runs/get?run_id={_run}", null),
            (HttpMethod.Get, $"{Mlflow}/runs/get?run_uuid={_run}", null),
            (HttpMethod.Post, $"{Mlflow}/runs/search", $$"""{"experiment_ids":["{{_open}}","{{_secret}}"]}"""),
            (HttpMethod.Post, $"{Mlflow}/runs/log-metric", $$"""{"run_id":"{{_run}}","key":"a","value":NaN,"timestamp":1}"""),
            (HttpMethod.Post, $"{Mlflow}/runs/log-batch", $$"""{"run_id":"{{_run}}","metrics":[{"key":"a","value":1,"timestamp":1,"step":0}]}"""),
            (HttpMethod.Post, $"{Mlflow}/runs/set-tag", $$"""{"run_id":"{{_run}}","key":"a","value":"b"}"""),
            (HttpMethod.Post, $"{Mlflow}/runs/delete", $$"""{"run_id":"{{_run}}"}"""),
            (HttpMethod.Get, $"{Mlflow}/metrics/get-history?run_id={_run}&metric_key=a", null),
            (HttpMethod.Get, $"{Mlflow}/metrics/get-history-bulk?run_id={_run}&metric_key=a", null),
            (HttpMethod.Get, $"{Mlflow}/artifacts/list?run_id={_run}", null),
            (HttpMethod.Get, $"/get-artifact?run_id={_run}&path=a", null),
            (HttpMethod.Get, $"/api/2.0/mlflow-artifacts/artifacts/{_secret}/{_run}/artifacts/a", null),
            (HttpMethod.Put, $"/api/2.0/mlflow-artifacts/artifacts/{_secret}/{_run}/artifacts/a", "x"),
            (HttpMethod.Put, $"/api/2.0/mlflow-artifacts/artifacts/{_open}/{_run}/artifacts/a", "x"),
            (HttpMethod.Delete, $"/api/2.0/mlflow-artifacts/artifacts/{_secret}/{_run}/artifacts/a", null),
            (HttpMethod.Get, $"/api/2.0/mlflow-artifacts/artifacts?path={_secret}/{_run}/artifacts", null),
            (HttpMethod.Post, $"{Mlflow}/logged-models", $$"""{"experiment_id":"{{_secret}}","name":"m"}"""),
            (HttpMethod.Post, $"{Mlflow}/logged-models/search", $$"""{"experiment_ids":["{{_secret}}"]}"""),
            (HttpMethod.Post, $"{Mlflow3}/traces/search", $$$"""{"locations":[{"mlflow_experiment":{"experiment_id":"{{{_secret}}}"}}]}"""),
            (HttpMethod.Post, $"{Mlflow3}/traces/delete-traces", $$"""{"experiment_id":"{{_secret}}","max_timestamp_millis":9}"""),
            (HttpMethod.Post, $"{Mlflow3}/datasets/create", $$"""{"name":"d","experiment_ids":["{{_secret}}"]}"""),
            (HttpMethod.Post, $"{Mlflow3}/datasets/search", "{}"),
            (HttpMethod.Get, $"{WholeServer.Api}/runs/{_run}", null),
            (HttpMethod.Get, $"{WholeServer.Api}/runs/compare?run_id={_run}", null),
            (HttpMethod.Get, $"{WholeServer.Api}/runs/compare-config?run_id={_run}&run_id={_run}", null),
            (HttpMethod.Put, $"{WholeServer.Api}/runs/{_run}", "{}"),
            (HttpMethod.Put, $"{WholeServer.Api}/experiments", $$"""{"name":"{{_salaries}}"}"""),
            (HttpMethod.Get, $"{WholeServer.Api}/metric-series?run_id={_run}&key=a", null),
            (HttpMethod.Get, $"{WholeServer.Api}/audit", null),
            (HttpMethod.Get, $"{WholeServer.Api}/verify", null),
            (HttpMethod.Get, $"/experiments/{_secret}", null),
            (HttpMethod.Get, $"/experiments/{_secret}/runs.csv", null),
            (HttpMethod.Get, $"/runs/{_run}", null),
            (HttpMethod.Get, $"/experiments/compare?run={_run}", null),
            (HttpMethod.Get, $"/search?q={_salaries}", null),
        ];
        foreach (var (method, path, body) in ways)
        {
            foreach (var spelling in path.StartsWith("/api/", StringComparison.Ordinal) && !path.Contains("slipway", StringComparison.Ordinal) ? (string[])[path, path.Replace("/api/", "/ajax-api/", StringComparison.Ordinal), path.Replace("/api/", "/API/", StringComparison.Ordinal)] : [path])
            {
                var answer = await _server.SendAsync(method, spelling, _ada, body);
                Assert.True(answer.Status == HttpStatusCode.Forbidden, $"{method} {spelling} {body}: {answer.Status} {answer.Text}");
            }
        }

        var traced = await _server.SendAsync(HttpMethod.Post, "/v1/traces", _ada, new ByteArrayContent([]), request =>
        {
            request.Headers.Add("x-mlflow-experiment-id", _secret);
            request.Content!.Headers.ContentType = new("application/x-protobuf");
        });
        Assert.Equal(HttpStatusCode.Forbidden, traced.Status);

        // Nothing of it has been done, and the same ways are open on the other experiment.
        var record = _server.Service<RunStore>().Get(_run);
        Assert.Equal((0, 0), (record.Metrics.Count, record.Artifacts.Count));
        Assert.Equal(_salaries, _server.Service<ExperimentStore>().Find(_secret)!.Name);
        Assert.Equal(HttpStatusCode.OK, (await _server.GetAsync($"{Mlflow}/experiments/get?experiment_id={_open}", _ada)).Status);
        Assert.Equal(HttpStatusCode.OK, (await _server.PostAsync($"{Mlflow}/runs/create", _ada, new { experiment_id = _open })).Status);
        Assert.Equal(HttpStatusCode.OK, (await _server.PostAsync($"{Mlflow}/runs/search", _ada, new { experiment_ids = new[] { _open } })).Status);
    }

    [Theory]
    [InlineData("""{"experiment_id":"\ud800"}""")]
    [InlineData("""{"experiment_id":"0","\udfff":1}""")]
    public async Task Half_a_surrogate_pair_is_refused_before_anyone_asks_whose_it_is(string body)
    {
        var answer = await _server.SendAsync(HttpMethod.Post, $"{Mlflow}/runs/create", _ada, body);

        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
    }

    [Fact, Trait("capability", "GOV-07")]
    public async Task Listings_and_their_pages_leave_out_what_is_closed_without_a_gap()
    {
        for (var n = 0; n < 4; n++)
        {
            var id = await _server.Service<ExperimentStore>().CreateAsync($"closed-{n}-of-{_name}", null, Caller.System("test"), WholeServer.Cancel);
            await GiveAsync(new { group = _group, experiment = id, permission = "NO_PERMISSIONS" });
            await _server.Service<ExperimentStore>().CreateAsync($"opened-{n}-of-{_name}", null, Caller.System("test"), WholeServer.Cancel);
        }

        var names = new List<string>();
        string? page = null;
        do
        {
            var answer = (await _server.PostAsync($"{Mlflow}/experiments/search", _ada, new { max_results = 2, page_token = page })).Json;
            var found = answer.GetProperty("experiments").EnumerateArray().Select(experiment => experiment.GetProperty("name").GetString()!).ToList();
            page = answer.TryGetProperty("next_page_token", out var token) ? token.GetString() : null;
            Assert.True(found.Count == 2 || page is null, "A page has a gap.");
            names.AddRange(found);
        }
        while (page is not null);

        Assert.Equal(Enumerable.Range(0, 4).Select(n => $"opened-{n}-of-{_name}"), names.Where(name => name.EndsWith(_name, StringComparison.Ordinal)).Order(StringComparer.Ordinal));
        Assert.DoesNotContain(_salaries, names);
        Assert.DoesNotContain(_salaries, (await _server.GetAsync($"{WholeServer.Api}/experiments", _ada)).Text, StringComparison.Ordinal);
        Assert.Contains(_salaries, (await _server.GetAsync($"{WholeServer.Api}/experiments", _administrator)).Text, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "OPS-02")]
    public async Task Neither_a_viewer_nor_a_data_scientist_promotes_without_a_grant_and_a_grant_in_staging_is_for_staging()
    {
        foreach (var (name, role) in new[] { (WholeServer.NewName("vic"), Role.Viewer), (WholeServer.NewName("dana"), Role.DataScientist) })
        {
            var key = await _server.AddAsync(name, role);
            foreach (var path in new[] { "models/fraud/rollback", "rollouts" })
            {
                Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{WholeServer.Api}/{path}", key, new { model = "fraud", version = "1.0.0", reason = "x" })).Status);
            }

            await GiveAsync(new { user = name, model = "fraud", environment = "staging", permission = "MANAGE" });
            Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{WholeServer.Api}/models/fraud/rollback", key, new { reason = "x" })).Status);
            await GiveAsync(new { user = name, model = "fraud", environment = "production", permission = "MANAGE" });
            // It fails for want of a model now, not of a right.
            Assert.Equal(HttpStatusCode.Conflict, (await _server.PostAsync($"{WholeServer.Api}/models/fraud/rollback", key, new { reason = "x" })).Status);
            Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{WholeServer.Api}/models/churn/rollback", key, new { reason = "x" })).Status);
        }
    }

    [Fact, Trait("capability", "GOV-07")]
    public async Task Files_of_what_is_closed_do_not_come_along_into_a_model_of_one_s_own()
    {
        var (mine, theirs) = (WholeServer.NewName("mine"), WholeServer.NewName("theirs"));
        foreach (var (model, key) in new[] { (mine, _ada), (theirs, _administrator) })
        {
            Assert.Equal(HttpStatusCode.OK, (await _server.PostAsync($"{Mlflow}/registered-models/create", key, new { name = model })).Status);
        }

        Assert.Equal(HttpStatusCode.OK, (await CreateVersionAsync(_administrator, new { name = theirs, source = $"runs:/{_run}/model" })).Status);
        await GiveAsync(new { user = _name, model = theirs, permission = "NO_PERMISSIONS" });
        foreach (var body in new object[]
        {
            new { name = mine, source = $"runs:/{_run}/model" },
            new { name = mine, source = $"RUNS:/{_run}/model" },
            new { name = mine, source = $"mlflow-artifacts:/{_secret}/{_run}/artifacts/model" },
            new { name = mine, source = "https://example.com/model", run_id = _run },
            new { name = mine, source = $"models:/{theirs}/1" },
            new { name = mine, source = $"models:/{theirs}@champion" },
            new { name = mine, source = $"models:/%74{theirs[1..]}/1" },
        })
        {
            var answer = await CreateVersionAsync(_ada, body);
            Assert.True(answer.Status == HttpStatusCode.Forbidden, $"{JsonSerializer.Serialize(body)}: {answer.Status} {answer.Text}");
        }

        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{WholeServer.Api}/models/{mine}/versions", _ada, new { run_id = _run })).Status);
        Assert.Empty(_server.Service<ModelRegistry>().ListVersions(mine));
        var own = (await _server.PostAsync($"{Mlflow}/runs/create", _ada, new { experiment_id = _open })).Json.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString();
        Assert.Equal(HttpStatusCode.OK, (await CreateVersionAsync(_ada, new { name = mine, source = $"runs:/{own}/model" })).Status);
    }

    [Fact, Trait("capability", "GOV-07"), Trait("capability", "OPS-02")]
    public async Task A_version_leaves_production_only_by_those_who_may_change_what_runs_there()
    {
        var model = WholeServer.NewName("fraud");
        Assert.Equal(HttpStatusCode.OK, (await _server.PostAsync($"{Mlflow}/registered-models/create", _administrator, new { name = model })).Status);
        Assert.Equal(HttpStatusCode.OK, (await CreateVersionAsync(_administrator, new { name = model, source = $"runs:/{_run}/model" })).Status);
        var version = _server.Service<ModelRegistry>().ListVersions(model)[0].Version;
        await _server.Service<Database>().WriteAsync(transaction => transaction.Connection.Execute("UPDATE model_versions SET stage = 'production' WHERE model = @model", new { model }), WholeServer.Cancel);
        await GiveAsync(new { user = _name, model, permission = "MANAGE" });
        await GiveAsync(new { user = _name, model, environment = "production", permission = "READ" });

        foreach (var stage in new[] { "Archived", "archived", "None" })
        {
            Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{Mlflow}/model-versions/transition-stage", _ada, new { name = model, version = "1", stage })).Status);
        }

        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{WholeServer.Api}/promotions", _ada, new { model, version, to = "archived", reason = "x" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{WholeServer.Api}/promotions", _ada, new { model, version = "1", to = " Production ", reason = "x" })).Status);
        Assert.Empty(_server.Service<ModelRegistry>().ListPromotions(model));

        await GiveAsync(new { user = _name, model, environment = "production", permission = "MANAGE" });
        Assert.Equal(HttpStatusCode.Created, (await _server.PostAsync($"{WholeServer.Api}/promotions", _ada, new { model, version, to = "archived", reason = "x" })).Status);
    }

    [Fact, Trait("capability", "GOV-07")]
    public async Task A_definition_file_about_what_is_closed_is_neither_applied_nor_compared()
    {
        var model = WholeServer.NewName("fraud");
        await GiveAsync(new { user = _name, model, permission = "NO_PERMISSIONS" });
        var requirement = $"REQ-{model}";
        var open = $"kind: requirement\nname: {requirement}\ntext: It answers.\n";
        var closed = $"kind: requirement\nname: {requirement}\ntext: It answers in time.\nmodels: [{model}]\n";
        (string Yaml, bool DryRun)[] ways = [(closed, false), (closed, true), ($"kind: experiment\nname: {_salaries}\n", false), ($"kind: experiment\nname: {_salaries}\n", true)];
        foreach (var (yaml, dryRun) in ways)
        {
            var refused = await ApplyAsync(_ada, yaml, dryRun);
            Assert.True(refused.Status == HttpStatusCode.Forbidden, $"{yaml}: {refused.Status} {refused.Text}");
        }

        Assert.Equal(HttpStatusCode.OK, (await ApplyAsync(_ada, open, dryRun: false)).Status);
        Assert.Equal(HttpStatusCode.OK, (await ApplyAsync(_administrator, closed, dryRun: false)).Status);
        // It is about the model now: neither shown nor taken away from it.
        Assert.Equal(HttpStatusCode.Forbidden, (await ApplyAsync(_ada, open, dryRun: true)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await ApplyAsync(_ada, open, dryRun: false)).Status);
        Assert.Equal(closed, _server.Service<DefinitionStore>().Find("requirement", requirement)!.Yaml);
        Assert.Null(_server.Service<DefinitionStore>().Find("experiment", _salaries));
    }

    [Fact]
    public async Task A_grant_counts_from_the_next_request_and_is_audited_with_the_one_before()
    {
        await GiveAsync(new { user = _name, experiment = _secret, permission = "READ" });
        Assert.Equal(HttpStatusCode.OK, (await _server.GetAsync($"{Mlflow}/experiments/get?experiment_id={_secret}", _ada)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{Mlflow}/runs/create", _ada, new { experiment_id = _secret })).Status);
        await GiveAsync(new { user = _name, experiment = _secret, permission = "EDIT" });
        Assert.Equal(HttpStatusCode.OK, (await _server.PostAsync($"{Mlflow}/runs/create", _ada, new { experiment_id = _secret })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{Mlflow}/runs/delete", _ada, new { run_id = _run })).Status);
        var grant = await GiveAsync(new { user = _name, experiment = _secret, permission = "MANAGE" });
        Assert.Equal(HttpStatusCode.OK, (await _server.PostAsync($"{Mlflow}/runs/delete", _ada, new { run_id = _run })).Status);

        var row = _server.Service<AuditTrail>().List(new NodeRef(NodeKinds.User, _name))[0];
        Assert.Equal(("boss", "grant.changed"), (row.Actor, row.Action));
        Assert.Contains("\"level\":\"EDIT\"", row.BeforeJson, StringComparison.Ordinal);
        Assert.Contains("\"level\":\"MANAGE\"", row.AfterJson, StringComparison.Ordinal);

        Assert.Equal(HttpStatusCode.NoContent, (await _server.SendAsync(HttpMethod.Delete, $"{WholeServer.Api}/grants/{grant}", _administrator)).Status);
        Assert.Equal("grant.taken_back", _server.Service<AuditTrail>().List(new NodeRef(NodeKinds.User, _name))[0].Action);
        Assert.Equal(HttpStatusCode.OK, (await _server.PostAsync($"{Mlflow}/runs/create", _ada, new { experiment_id = _secret })).Status);
    }

    [Theory]
    [InlineData("""{"permission":"READ","model":"m"}""", "either 'user' or 'group'")]
    [InlineData("""{"permission":"READ","user":"boss","group":"risk","model":"m"}""", "either 'user' or 'group'")]
    [InlineData("""{"permission":"READ","user":"boss"}""", "either 'model' or 'experiment'")]
    [InlineData("""{"permission":"OWNER","user":"boss","model":"m"}""", "'permission' must be one of")]
    [InlineData("""{"permission":"READ","user":"boss","experiment":"1","environment":"staging"}""", "'environment'")]
    [InlineData("""{"permission":"READ","user":"boss","model":""}""", "'model'")]
    [InlineData("""{"permission":"READ","user":"nobody","model":"m"}""", "no user 'nobody'")]
    public async Task A_faulty_grant_is_told_its_fault_and_nothing_is_given(string body, string words)
    {
        var answer = await _server.PostAsync($"{WholeServer.Api}/grants", _administrator, body);

        Assert.InRange((int)answer.Status, 400, 404);
        Assert.Contains(words, answer.Text, StringComparison.Ordinal);
        Assert.Equal(0, (await _server.GetAsync($"{WholeServer.Api}/grants?user=boss", _administrator)).Json.GetProperty("grants").GetArrayLength());
    }

    private Task<Answer> CreateVersionAsync(string key, object body) => _server.PostAsync($"{Mlflow}/model-versions/create", key, body);

    private Task<Answer> ApplyAsync(string key, string yaml, bool dryRun) =>
        _server.PostAsync($"{WholeServer.Api}/definitions", key, new { files = new[] { new { path = "a.yaml", yaml } }, dry_run = dryRun });

    private async Task<long> GiveAsync(object grant)
    {
        var answer = await _server.PostAsync($"{WholeServer.Api}/grants", _administrator, grant);
        Assert.True(answer.Status == HttpStatusCode.OK, answer.Text);
        return answer.Json.GetProperty("id").GetInt64();
    }
}
