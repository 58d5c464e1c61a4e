using System.Text.Json;
using Dapper;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking.Traces;

public sealed class EvaluationDatasetApiTests : IAsyncLifetime
{
    private const string Api = "/api/3.0/mlflow/datasets";

    private AreaHost _host = null!;

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "TRK-18")]
    public async Task A_dataset_is_made_read_tagged_and_deleted()
    {
        var (status, created) = await _host.PostAsync($"{Api}/create", """{"name":"questions","experiment_ids":["0"],"source_type":"TRACE","tags":"{\"team\":\"ops\",\"mlflow.user\":\"ada\"}","unknown":1}""");
        var id = created.GetProperty("dataset").GetProperty("dataset_id").GetString()!;
        await _host.SendAsync(HttpMethod.Patch, $"{Api}/{id}/tags", """{"tags":"{\"level\":\"2\",\"team\":null}"}""");
        await _host.SendAsync(HttpMethod.Delete, $"{Api}/{id}/tags/mlflow.user");
        await _host.PostAsync($"{Api}/{id}/records", """{"records":"[{\"inputs\":{\"q\":\"a\"}}]"}""");

        var (_, read) = await _host.GetAsync($"{Api}/{id}");
        var (_, experiments) = await _host.GetAsync($"{Api}/{id}/experiment-ids");
        var (deleted, _) = await _host.SendAsync(HttpMethod.Delete, $"{Api}/{id}");
        var (twice, _) = await _host.SendAsync(HttpMethod.Delete, $"{Api}/{id}");

        Assert.Equal(200, status);
        Assert.StartsWith("d-", id, StringComparison.Ordinal);
        var dataset = read.GetProperty("dataset");
        Assert.Equal(("questions", "ada", """{"level":"2"}"""), (dataset.GetProperty("name").GetString(), dataset.GetProperty("created_by").GetString(), dataset.GetProperty("tags").GetString()));
        Assert.Equal("""{"inputs":{"q":"string"},"expectations":{},"outputs":{}}""", dataset.GetProperty("schema").GetString());
        Assert.Equal("""{"num_records":1}""", dataset.GetProperty("profile").GetString());
        Assert.Equal(8, dataset.GetProperty("digest").GetString()!.Length);
        Assert.Equal("0", experiments.GetProperty("experiment_ids")[0].GetString());
        Assert.Equal((200, 200), (deleted, twice));
        Assert.Equal(404, (await _host.GetAsync($"{Api}/{id}")).Status);
        Assert.Equal(0L, _host.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM evaluation_dataset_records")));
        Assert.Equal(["evaluation_dataset.deleted", "evaluation_dataset.records_changed", "evaluation_dataset.tag_deleted", "evaluation_dataset.tags_set", "evaluation_dataset.created"], _host.Service<AuditTrail>().List().Select(row => row.Action));
    }

    [Fact]
    public async Task A_record_with_the_same_inputs_is_merged_into_the_one_there_is()
    {
        var id = await Create("q");
        var (_, first) = await Upsert(id, """[{"inputs":{"b":1,"a":{"y":2,"x":[1,2]}},"expectations":{"answer":"yes"},"tags":{"mlflow.user":"ada"},"source":{"source_type":"TRACE","source_data":{"trace_id":"tr-1"}}},{"inputs":{"q":"é\"<"},"outputs":["o"]}]""");
        var (_, again) = await Upsert(id, """[{"inputs":{"a":{"x":[1,2],"y":2},"b":1},"expectations":{"answer":"no","more":true},"tags":{"t":1},"outputs":{"o":1}},{"inputs":{"a":{"x":[2,1],"y":2},"b":1}}]""");

        var (_, page) = await _host.GetAsync($"{Api}/{id}/records");
        var records = JsonDocument.Parse(page.GetProperty("records").GetString()!).RootElement;

        Assert.Equal((2, 0), Counts(first));
        Assert.Equal((1, 1), Counts(again));
        Assert.Equal(3, records.GetArrayLength());
        var record = records[0];
        Assert.StartsWith("dr-", record.GetProperty("dataset_record_id").GetString(), StringComparison.Ordinal);
        Assert.Equal("""{"answer":"no","more":true}""", Compact(record.GetProperty("expectations")));
        Assert.Equal("""{"mlflow.user":"ada","t":1}""", Compact(record.GetProperty("tags")));
        Assert.Equal("""{"o":1}""", Compact(record.GetProperty("outputs")));
        Assert.Equal(("tr-1", "TRACE", "ada"), (record.GetProperty("source_id").GetString(), record.GetProperty("source_type").GetString(), record.GetProperty("created_by").GetString()));
        Assert.Equal("é\"<", records[1].GetProperty("inputs").GetProperty("q").GetString());
        Assert.Equal("""{"num_records":3}""", (await _host.GetAsync($"{Api}/{id}")).Body.GetProperty("dataset").GetProperty("profile").GetString());
    }

    [Fact]
    public async Task Records_come_in_pages_without_gap_or_double()
    {
        var id = await Create("q");
        await Upsert(id, JsonSerializer.Serialize(Enumerable.Range(0, 25).Select(i => new { inputs = new { i } })));
        var seen = new List<int>();
        var token = "";
        do
        {
            var (_, page) = await _host.GetAsync($"{Api}/{id}/records?max_results=10&page_token={token}");
            seen.AddRange(JsonDocument.Parse(page.GetProperty("records").GetString()!).RootElement.EnumerateArray().Select(record => record.GetProperty("inputs").GetProperty("i").GetInt32()));
            token = page.TryGetProperty("next_page_token", out var next) ? next.GetString()! : "";
        }
        while (token.Length > 0);

        Assert.Equal(Enumerable.Range(0, 25), seen);
    }

    [Fact]
    public async Task Datasets_are_found_by_experiment_name_tag_and_maker_over_pages()
    {
        var (_, other) = await _host.PostAsync("/api/2.0/mlflow/experiments/create", new { name = "other" });
        var experiment = other.GetProperty("experiment_id").GetString()!;
        await Create("alpha", """{"team":"ops"}""");
        var beta = await Create("beta", """{"team":"dev"}""");
        await Create("gamma");
        var (added, withBoth) = await _host.PostAsync($"{Api}/{beta}/add-experiments", new { experiment_ids = new[] { experiment, "0" } });
        var ofExperiment = await Search(new { experiment_ids = new[] { experiment } });
        var (_, after) = await _host.PostAsync($"{Api}/{beta}/remove-experiments", new { experiment_ids = new[] { "0", "99" } });

        Assert.Equal(200, added);
        Assert.Equal(2, withBoth.GetProperty("dataset").GetProperty("experiment_ids").GetArrayLength());
        Assert.Equal("beta", ofExperiment);
        Assert.Equal(experiment, Assert.Single(after.GetProperty("dataset").GetProperty("experiment_ids").EnumerateArray()).GetString());
        Assert.Equal("alpha beta gamma", await Search(new { order_by = new[] { "name" } }));
        Assert.Equal("gamma beta alpha", await Search(new { order_by = new[] { "name DESC" }, max_results = 1 }));
        Assert.Equal("alpha gamma", await Search(new { filter_string = "name LIKE '%a%' AND name != 'beta'", order_by = new[] { "name" } }));
        Assert.Equal("beta", await Search(new { filter_string = "tags.team = 'dev'" }));
        Assert.Equal("alpha beta gamma", await Search(new { filter_string = "created_time > 1000 AND last_update_time > 5", order_by = new[] { "created_by", "name" } }));
        Assert.Equal("", await Search(new { filter_string = "created_by = 'ada'" }));
        var (_, byQuery) = await _host.GetAsync($"{Api}/search?experiment_ids={experiment}&filter_string={Uri.EscapeDataString("name = 'beta'")}&max_results=5");
        Assert.Equal("beta", byQuery.GetProperty("datasets")[0].GetProperty("name").GetString());
    }

    private async Task<string> Create(string name, string? tags = null)
    {
        var (status, created) = await _host.PostAsync($"{Api}/create", new { name, experiment_ids = new[] { "0" }, tags });
        Assert.Equal(200, status);
        return created.GetProperty("dataset").GetProperty("dataset_id").GetString()!;
    }

    private Task<(int Status, JsonElement Body)> Upsert(string id, string records) => _host.PostAsync($"{Api}/{id}/records", new { records });

    // All pages of a search, by name.
    private async Task<string> Search(object search)
    {
        var names = new List<string>();
        var body = JsonSerializer.SerializeToNode(search)!.AsObject();
        while (true)
        {
            var (status, page) = await _host.PostAsync($"{Api}/search", body.ToJsonString());
            Assert.Equal(200, status);
            names.AddRange(page.TryGetProperty("datasets", out var found) ? found.EnumerateArray().Select(dataset => dataset.GetProperty("name").GetString()!) : []);
            if (!page.TryGetProperty("next_page_token", out var next))
            {
                return string.Join(' ', names);
            }

            body["page_token"] = next.GetString();
        }
    }

    private static (int Inserted, int Updated) Counts(JsonElement answer) => (answer.GetProperty("inserted_count").GetInt32(), answer.GetProperty("updated_count").GetInt32());

    private static string Compact(JsonElement json) => JsonSerializer.Serialize(json);
}
