using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

/// <summary>Changes of what describes experiments, and removals of what was recorded, are audited; what a run writes about itself is not.</summary>
[Trait("capability", "GOV-01")]
public sealed class AuditedTagsTests : IAsyncLifetime
{
    private const string Api = "/api/2.0/mlflow";

    private AreaHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task Tags_of_an_experiment_leave_the_value_before_and_after_and_secrets_are_hidden()
    {
        await PostAsync("experiments/set-experiment-tag", new { experiment_id = "0", key = "team", value = "ops" });
        await PostAsync("experiments/set-experiment-tag", new { experiment_id = "0", key = "team", value = "data" });
        await PostAsync("experiments/set-experiment-tag", new { experiment_id = "0", key = "wandb_api_key", value = "hunter2" });
        await PostAsync("experiments/delete-experiment-tag", new { experiment_id = "0", key = "team" });

        var rows = _host.Service<AuditTrail>().List(new NodeRef("experiment", "0"));

        Assert.Equal(
            [
                ("experiment.tag_deleted", """{"key":"team","value":"data"}""", null), ("experiment.tag_set", null, """{"key":"wandb_api_key","value":"[redacted]"}"""),
                ("experiment.tag_set", """{"key":"team","value":"ops"}""", """{"key":"team","value":"data"}"""), ("experiment.tag_set", null, """{"key":"team","value":"ops"}"""),
            ],
            rows.Take(4).Select(row => (row.Action, row.BeforeJson, row.AfterJson)));
        Assert.All(rows.Take(4), row => Assert.Equal("ada", row.Actor));
        Assert.All(rows.Take(4), row => Assert.NotNull(row.RequestId));
    }

    [Fact]
    public async Task Removing_a_tag_of_a_run_and_renaming_it_are_audited_and_logging_is_not()
    {
        var run = (await PostAsync("runs/create", new { experiment_id = "0", run_name = "first" })).GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;
        await PostAsync("runs/log-batch", new { run_id = run, @params = new[] { new { key = "depth", value = "6" } }, tags = new[] { new { key = "note", value = "mine" } } });
        var logged = _host.Service<AuditTrail>().Count();
        await PostAsync("runs/delete-tag", new { run_id = run, key = "note" });
        await PostAsync("runs/update", new { run_id = run, run_name = "second" });
        await PostAsync("runs/update", new { run_id = run, run_name = "second" });

        var rows = _host.Service<AuditTrail>().List(new NodeRef(NodeKinds.Run, run));

        Assert.Equal(logged + 2, _host.Service<AuditTrail>().Count());
        Assert.Equal(
            [("run.renamed", """{"name":"first"}""", """{"name":"second"}"""), ("run.tag_deleted", """{"key":"note","value":"mine"}""", null)],
            rows.Take(2).Select(row => (row.Action, row.BeforeJson, row.AfterJson)));
        Assert.Equal("run.created", rows[2].Action);
    }

    private async Task<System.Text.Json.JsonElement> PostAsync(string path, object body)
    {
        var (status, answer) = await _host.PostAsync($"{Api}/{path}", body);
        Assert.Equal(200, status);
        return answer;
    }
}
