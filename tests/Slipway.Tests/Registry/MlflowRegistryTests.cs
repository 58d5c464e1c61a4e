using System.Text.Json;
using Slipway.Contracts.Registry;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tracking;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

/// <summary>MLflow's registry routes over HTTP, on models that our own routes made and on their own.</summary>
public sealed class MlflowRegistryTests : IAsyncLifetime
{
    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await RegistryHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());
        await _host.RegisterInProductionAsync();
        await _host.Registry.RegisterAsync(await _host.RequestAsync() with { Tags = new Dictionary<string, string> { ["team"] = "ops" } }, Ada, default);
        await _host.Registry.RegisterAsync(await _host.RequestAsync(report: Report() with { Model = "fraud" }) with { Model = "fraud" }, Ada, default);
        await _host.Registry.SetAliasAsync(Model, "champion", "1.0.0", Ada, default);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData("/api/2.0/mlflow")]
    [InlineData("/ajax-api/2.0/mlflow")]
    public async Task A_model_and_its_versions_are_read_in_mlflows_shape(string prefix)
    {
        var model = (await GetAsync($"{prefix}/registered-models/get?name={Model}")).GetProperty("registered_model");
        Assert.Equal(Model, model.GetProperty("name").GetString());
        Assert.Equal(JsonValueKind.Number, model.GetProperty("creation_timestamp").ValueKind);
        Assert.Equal(("champion", "1"), (model.GetProperty("aliases")[0].GetProperty("alias").GetString(), model.GetProperty("aliases")[0].GetProperty("version").GetString()));
        Assert.Equal(["1 Production", "2 None"], model.GetProperty("latest_versions").EnumerateArray().Select(latest => $"{latest.GetProperty("version").GetString()} {latest.GetProperty("current_stage").GetString()}"));

        var version = (await GetAsync($"{prefix}/model-versions/get?name={Model}&version=1")).GetProperty("model_version");
        Assert.Equal("1 Production READY", $"{version.GetProperty("version").GetString()} {version.GetProperty("current_stage").GetString()} {version.GetProperty("status").GetString()}");
        Assert.Equal("1.0.0", Tag(version, "slipway.version"));
        Assert.Equal("1", (await GetAsync($"{prefix}/registered-models/alias?name={Model}&alias=champion")).GetProperty("model_version").GetProperty("version").GetString());
    }

    [Fact, Trait("capability", "INT-01")]
    public async Task The_latest_version_of_each_stage_is_answered_to_get_and_post()
    {
        var got = await GetAsync($"/api/2.0/mlflow/registered-models/get-latest-versions?name={Model}&stages=Production");
        Assert.Equal("1", Assert.Single(got.GetProperty("model_versions").EnumerateArray()).GetProperty("version").GetString());

        var (_, posted) = await _host.Area.PostAsync("/api/2.0/mlflow/registered-models/get-latest-versions", new { name = Model });
        Assert.Equal(["Production", "None"], posted.GetProperty("model_versions").EnumerateArray().Select(version => version.GetProperty("current_stage").GetString()));
        Assert.Equal(400, (await _host.Area.GetAsync($"/api/2.0/mlflow/registered-models/get-latest-versions?name={Model}&stages=Live")).Status);
    }

    [Theory, Trait("capability", "REG-10")]
    [InlineData("", "flight-delay/2 flight-delay/1 fraud/1")]
    [InlineData("name = 'fraud'", "fraud/1")]
    [InlineData("name='flight-delay' AND version_number = 2", "flight-delay/2")]
    [InlineData("version_number >= 2", "flight-delay/2")]
    [InlineData("name LIKE 'flight%'", "flight-delay/2 flight-delay/1")]
    [InlineData("name ILIKE 'FR_UD'", "fraud/1")]
    [InlineData("name LIKE 'FR%'", "")]
    [InlineData("name != 'fraud'", "flight-delay/2 flight-delay/1")]
    [InlineData("tags.team = 'ops'", "flight-delay/2")]
    [InlineData("tags.team != 'dev' AND attributes.name = 'flight-delay'", "flight-delay/2")]
    [InlineData("tags.`slipway.version` = '1.0.0'", "flight-delay/1 fraud/1")]
    [InlineData("run_id IN ('none', 'nothing')", "")]
    [InlineData("source_path LIKE 'runs:%'", "")]
    public async Task Versions_are_searched_with_mlflows_filters(string filter, string found)
    {
        var body = await GetAsync($"/api/2.0/mlflow/model-versions/search?filter={Uri.EscapeDataString(filter)}&order_by=name");

        Assert.Equal(found, string.Join(' ', Versions(body).Select(Id)));
    }

    [Theory]
    [InlineData("model-versions/search?filter=owner%20%3D%20'x'", "no attribute 'owner'")]
    [InlineData("model-versions/search?filter=name%20%3D%20'x'%20OR%20name%20%3D%20'y'", "OR is not supported")]
    [InlineData("model-versions/search?filter=name%20%3D%20'x'%20AND", "expected a key")]
    [InlineData("model-versions/search?max_results=0", "'max_results'")]
    [InlineData("registered-models/search?max_results=1001", "'max_results'")]
    [InlineData("registered-models/search?order_by=size", "'size'")]
    [InlineData("registered-models/search?order_by=name&order_by=name%20DESC", "duplicate")]
    [InlineData("registered-models/search?page_token=%25%25", "'page_token'")]
    [InlineData("registered-models/get", "'name'")]
    [InlineData("registered-models/alias?name=fraud&alias=rival", "alias rival not found")]
    [InlineData("model-versions/get?name=fraud", "'version'")]
    [InlineData("model-versions/get?name=fraud&version=one", "must be an integer")]
    public async Task A_wrong_question_is_refused_with_the_field_named(string query, string message)
    {
        var (status, body) = await _host.Area.GetAsync($"/api/2.0/mlflow/{query}");

        Assert.Equal(400, status);
        Assert.Equal("INVALID_PARAMETER_VALUE", body.GetProperty("error_code").GetString());
        Assert.Contains(message, body.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("registered-models/get?name=other", "Registered Model with name=other not found")]
    [InlineData("registered-models/get-latest-versions?name=other", "Registered Model with name=other not found")]
    [InlineData("registered-models/alias?name=other&alias=rival", "Registered Model with name=other not found")]
    [InlineData("model-versions/get?name=fraud&version=7", "Model Version (name=fraud, version=7) not found")]
    [InlineData("model-versions/get-download-uri?name=fraud&version=7", "Model Version (name=fraud, version=7) not found")]
    public async Task What_is_not_there_is_answered_as_mlflow_words_it(string query, string message)
    {
        var (status, body) = await _host.Area.GetAsync($"/api/2.0/mlflow/{query}");

        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST", message), (status, body.GetProperty("error_code").GetString(), body.GetProperty("message").GetString()));
    }

    [Fact]
    public async Task Pages_hold_every_version_once_even_when_one_is_registered_in_between()
    {
        var first = await GetAsync("/api/2.0/mlflow/model-versions/search?max_results=2&order_by=name");
        await _host.RegisterAsync();
        var second = await GetAsync($"/api/2.0/mlflow/model-versions/search?max_results=2&order_by=name&page_token={first.GetProperty("next_page_token").GetString()}");

        Assert.Equal(["flight-delay/2", "flight-delay/1"], Versions(first).Select(Id));
        Assert.Equal(["fraud/1"], Versions(second).Select(Id));
        Assert.False(second.TryGetProperty("next_page_token", out _));

        var models = await GetAsync("/api/2.0/mlflow/registered-models/search?max_results=1&order_by=name%20DESC");
        Assert.Equal("fraud", Assert.Single(models.GetProperty("registered_models").EnumerateArray()).GetProperty("name").GetString());
        var rest = await GetAsync($"/api/2.0/mlflow/registered-models/search?max_results=1&order_by=name%20DESC&page_token={models.GetProperty("next_page_token").GetString()}");
        Assert.Equal(Model, Assert.Single(rest.GetProperty("registered_models").EnumerateArray()).GetProperty("name").GetString());
        Assert.False(rest.TryGetProperty("next_page_token", out _));
        Assert.Equal(400, (await _host.Area.GetAsync($"/api/2.0/mlflow/registered-models/search?order_by=name&page_token={models.GetProperty("next_page_token").GetString()}")).Status);
    }

    [Theory, Trait("capability", "REG-10")]
    [InlineData("two words, dots.and-more")]
    [InlineData("größe 数")]
    public async Task A_model_exists_before_its_first_version_and_is_described_tagged_renamed_and_deleted(string name)
    {
        var created = await PostAsync("registered-models/create", new { name, description = "first", tags = new[] { new { key = "team", value = "ops" } } });
        Assert.Equal((name, "first", "ops"), (Field(created, "registered_model", "name"), Field(created, "registered_model", "description"), Tag(created.GetProperty("registered_model"), "team")));
        Assert.Equal((0, (string?)null), (_host.Registry.FindModel(name)!.Versions, _host.Registry.FindModel(name)!.NewestVersion));
        Assert.Equal(200, (await _host.Area.GetAsync($"/api/slipway/v1/models/{Uri.EscapeDataString(name)}")).Status);
        var twice = await _host.Area.PostAsync("/api/2.0/mlflow/registered-models/create", new { name });
        Assert.Equal((400, "RESOURCE_ALREADY_EXISTS"), (twice.Status, twice.Body.GetProperty("error_code").GetString()));

        await PostAsync("registered-models/set-tag", new { name, key = "state", value = "new" });
        await SendAsync("DELETE", "registered-models/delete-tag", new { name, key = "team" });
        await SendAsync("PATCH", "registered-models/update", new { name, description = "second" });
        var model = (await GetAsync($"/api/2.0/mlflow/registered-models/search?filter={Uri.EscapeDataString("tags.state = 'new'")}")).GetProperty("registered_models")[0];
        Assert.Equal((name, "second"), (model.GetProperty("name").GetString(), model.GetProperty("description").GetString()));
        Assert.Equal(1, model.GetProperty("tags").GetArrayLength());

        var renamed = await PostAsync("registered-models/rename", new { name, new_name = name + " 2" });
        Assert.Equal(name + " 2", Field(renamed, "registered_model", "name"));
        Assert.Equal(404, (await _host.Area.GetAsync($"/api/2.0/mlflow/registered-models/get?name={Uri.EscapeDataString(name)}")).Status);
        await SendAsync("DELETE", "registered-models/delete", new { name = name + " 2" });
        Assert.Null(_host.Registry.FindModel(name + " 2"));
        Assert.Equal(["model.deleted", "model.renamed"], Audit(name + " 2"));
        Assert.Equal(["model.described", "model.tag_deleted", "model.tag_set", "model.created"], Audit(name));
    }

    [Theory]
    [InlineData("")]
    [InlineData("a/b")]
    [InlineData("a:b")]
    [InlineData("a@b")]
    [InlineData("..")]
    [InlineData("a..b")]
    [InlineData("..\\..")]
    [InlineData(" a")]
    [InlineData("a\u0007b")]
    public async Task A_name_that_could_be_a_path_or_an_address_is_refused(string name)
    {
        var (status, body) = await _host.Area.PostAsync("/api/2.0/mlflow/registered-models/create", new { name });

        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), (status, body.GetProperty("error_code").GetString()));
        Assert.Equal(2, _host.Count("models"));
    }

    [Fact]
    public async Task A_renamed_model_takes_its_versions_history_and_lineage_along_and_gates_are_not_evaded()
    {
        await PostAsync("registered-models/alias", new { name = "fraud", alias = "production", version = "1" });
        await PostAsync("registered-models/rename", new { name = "fraud", new_name = "fraud two" });

        var version = _host.Registry.Get("fraud two", "1");
        Assert.Equal(["production"], version.Aliases);
        Assert.Single(version.Files);
        Assert.Empty(version.MissingLineage);
        Assert.Single(_host.Registry.History("fraud two"));
        Assert.Empty(_host.Registry.ListVersions("fraud"));
        var refused = await _host.Area.PostAsync("/api/2.0/mlflow/registered-models/rename", new { name = Model, new_name = "other" });
        Assert.Equal((409, "RESOURCE_CONFLICT"), (refused.Status, refused.Body.GetProperty("error_code").GetString()));
        Assert.Equal("1.0.0", _host.Registry.Find(Model, "production")!.Version);
    }

    [Fact]
    public async Task A_deleted_version_is_gone_but_its_number_is_never_given_again()
    {
        var refused = await _host.Area.SendAsync(HttpMethod.Delete, "/api/2.0/mlflow/model-versions/delete", new { name = Model, version = "1" });
        Assert.Equal((409, "RESOURCE_CONFLICT"), (refused.Status, refused.Body.GetProperty("error_code").GetString()));

        await PostAsync("registered-models/alias", new { name = Model, alias = "rival", version = "2" });
        await SendAsync("DELETE", "model-versions/delete", new { name = Model, version = "2" });

        Assert.Equal(404, (await _host.Area.GetAsync($"/api/2.0/mlflow/model-versions/get?name={Model}&version=2")).Status);
        Assert.Equal(400, (await _host.Area.GetAsync($"/api/2.0/mlflow/registered-models/alias?name={Model}&alias=rival")).Status);
        Assert.Null(_host.Registry.Find(Model, "1.0.1"));
        Assert.Equal("model_version.deleted", _host.AuditOf("1.0.1")[0].Action);
        Assert.Equal(3, (await _host.RegisterAsync()).Number);

        await SendAsync("DELETE", "registered-models/delete", new { name = "fraud" });
        await PostAsync("registered-models/create", new { name = "fraud" });
        Assert.Empty(_host.Registry.ListVersions("fraud"));
        Assert.Equal(2, (await _host.Registry.RegisterAsync(await _host.RequestAsync(report: Report() with { Model = "fraud" }) with { Model = "fraud" }, Ada, default)).Number);
    }

    [Fact, Trait("capability", "REG-05")]
    public async Task A_transition_passes_the_same_gate_and_is_carried_out_once_approved()
    {
        var asked = new { name = Model, version = "2", stage = "Staging", archive_existing_versions = false };
        var (status, body) = await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/transition-stage", asked);
        Assert.Equal((409, "RESOURCE_CONFLICT"), (status, body.GetProperty("error_code").GetString()));
        Assert.Contains("approvals", body.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(Stage.Development, _host.Registry.Get(Model, "2").Stage);

        await _host.Registry.ApproveAsync(_host.Registry.FindOpenPromotion(Model, "1.0.1", Stage.Staging)!.Id, "read it", Grace, default);
        Assert.Equal("Staging", Field(await PostAsync("model-versions/transition-stage", asked), "model_version", "current_stage"));
        Assert.Equal("Staging", Field(await PostAsync("model-versions/transition-stage", asked), "model_version", "current_stage"));

        // One version is in production: who does not say that it shall go is told.
        var (conflict, message) = await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/transition-stage", asked with { stage = "Production" });
        Assert.Equal(409, conflict);
        Assert.Contains("archive_existing_versions", message.GetProperty("message").GetString(), StringComparison.Ordinal);
        var into = asked with { stage = "production", archive_existing_versions = true };
        Assert.Equal(409, (await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/transition-stage", into)).Status);
        await _host.Registry.ApproveAsync(_host.Registry.FindOpenPromotion(Model, "1.0.1", Stage.Production)!.Id, "read it", Grace, default);
        Assert.Equal("Production", Field(await PostAsync("model-versions/transition-stage", into), "model_version", "current_stage"));
        Assert.Equal(Stage.Archived, _host.Registry.Get(Model, "1").Stage);
    }

    [Fact]
    public async Task Existing_versions_in_staging_are_archived_when_the_client_asks_for_it_and_only_for_active_stages()
    {
        await _host.PromoteAsync("1.0.1", Stage.Staging);
        var third = await _host.RegisterAsync();
        await _host.PromoteAsync(third.Version, Stage.Staging);

        await PostAsync("model-versions/transition-stage", new { name = Model, version = "3", stage = "Staging", archive_existing_versions = true });
        Assert.Equal((Stage.Archived, Stage.Staging), (_host.Registry.Get(Model, "2").Stage, _host.Registry.Get(Model, "3").Stage));

        foreach (var (stage, archive) in new[] { ("Archived", true), ("Live", false) })
        {
            var refused = await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/transition-stage", new { name = Model, version = "3", stage, archive_existing_versions = archive });
            Assert.Equal((400, "INVALID_PARAMETER_VALUE"), (refused.Status, refused.Body.GetProperty("error_code").GetString()));
        }
    }

    [Fact, Trait("capability", "REG-10")]
    public async Task Tags_descriptions_and_aliases_of_a_version_change_and_are_audited()
    {
        await PostAsync("model-versions/set-tag", new { name = Model, version = "1", key = "stage note", value = "x" });
        await PostAsync("model-versions/set-tag", new { name = Model, version = 1, key = "stage note", value = "y" });
        await SendAsync("PATCH", "model-versions/update", new { name = Model, version = "1", description = "for the board" });
        await PostAsync("registered-models/alias", new { name = Model, alias = "champion", version = "2" });
        await PostAsync("registered-models/alias", new { name = Model, alias = "staging", version = "1" });

        var version = (await GetAsync($"/api/2.0/mlflow/model-versions/get?name={Model}&version=1")).GetProperty("model_version");
        Assert.Equal(("y", "for the board"), (Tag(version, "stage note"), version.GetProperty("description").GetString()));
        Assert.Equal("2", Field(await GetAsync($"/api/2.0/mlflow/registered-models/alias?name={Model}&alias=champion"), "model_version", "version"));
        // MLflow's clients may name an alias as a stage; the stage is still what its name means.
        Assert.Equal("1", Field(await GetAsync($"/api/2.0/mlflow/registered-models/alias?name={Model}&alias=staging"), "model_version", "version"));
        Assert.Null(_host.Registry.Find(Model, "staging"));

        await SendAsync("DELETE", "model-versions/delete-tag", new { name = Model, version = "1", key = "stage note" });
        await SendAsync("DELETE", "model-versions/delete-tag", new { name = Model, version = "1", key = "never set" });
        Assert.Equal(200, (await _host.Area.SendAsync(HttpMethod.Delete, $"/api/2.0/mlflow/registered-models/alias?name={Model}&alias=staging")).Status);
        Assert.Equal(
            ["model_version.alias_deleted", "model_version.tag_deleted", "model_version.alias_set", "model_version.described", "model_version.tag_set", "model_version.tag_set"],
            _host.AuditOf("1.0.0").Select(row => row.Action).Take(6));

        foreach (var alias in new[] { "latest", "v3", "LATEST", "a b", "", "7" })
        {
            Assert.Equal(400, (await _host.Area.PostAsync("/api/2.0/mlflow/registered-models/alias", new { name = Model, alias, version = "1" })).Status);
        }

        Assert.Equal(400, (await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/set-tag", new { name = Model, version = "1", key = "k", value = new string('x', 100_001) })).Status);
        Assert.Equal(400, (await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/set-tag", new { name = Model, version = "1", key = "slipway.version", value = "9.9.9" })).Status);
    }

    [Fact]
    public async Task A_prompt_is_a_model_that_searches_hide_until_they_name_its_tag()
    {
        var isPrompt = new[] { new { key = "mlflow.prompt.is_prompt", value = "true" } };
        await PostAsync("registered-models/create", new { name = "greeting", tags = isPrompt });
        await PostAsync("model-versions/create", new
        {
            name = "greeting",
            source = "dummy-source",
            description = "v1",
            tags = new[] { isPrompt[0], new { key = "mlflow.prompt.text", value = "Hello {{name}}" } },
        });
        await PostAsync("registered-models/alias", new { name = "greeting", alias = "live", version = "1" });

        Assert.DoesNotContain((await GetAsync("/api/2.0/mlflow/registered-models/search")).GetProperty("registered_models").EnumerateArray(), model => model.GetProperty("name").GetString() == "greeting");
        Assert.DoesNotContain(Versions(await GetAsync("/api/2.0/mlflow/model-versions/search")), version => Id(version) == "greeting/1");
        var filter = Uri.EscapeDataString("tags.`mlflow.prompt.is_prompt` = 'true'");
        Assert.Equal("greeting", (await GetAsync($"/api/2.0/mlflow/registered-models/search?filter={filter}")).GetProperty("registered_models")[0].GetProperty("name").GetString());
        Assert.Equal("greeting/1", Id(Assert.Single(Versions(await GetAsync($"/api/2.0/mlflow/model-versions/search?filter={filter}")))));
        var byAlias = (await GetAsync("/api/2.0/mlflow/registered-models/alias?name=greeting&alias=live")).GetProperty("model_version");
        Assert.Equal("Hello {{name}}", Tag(byAlias, "mlflow.prompt.text"));
        Assert.DoesNotContain(_host.Registry.ListModels(), model => model.Name == "greeting");
    }

    private IEnumerable<string> Audit(string model) => _host.Area.Service<AuditTrail>().List(new NodeRef(NodeKinds.Model, model)).Select(row => row.Action);

    private Task<JsonElement> PostAsync(string path, object body) => SendAsync("POST", path, body);

    private async Task<JsonElement> SendAsync(string method, string path, object body)
    {
        var (status, answer) = await _host.Area.SendAsync(new HttpMethod(method), $"/api/2.0/mlflow/{path}", body);
        Assert.True(status == 200, answer.ToString());
        return answer;
    }

    private async Task<JsonElement> GetAsync(string path)
    {
        var (status, body) = await _host.Area.GetAsync(path);
        Assert.True(status == 200, body.ToString());
        return body;
    }

    private static List<JsonElement> Versions(JsonElement body) => body.TryGetProperty("model_versions", out var versions) ? [.. versions.EnumerateArray()] : [];

    private static string? Field(JsonElement body, string message, string field) => body.GetProperty(message).GetProperty(field).GetString();

    private static string Id(JsonElement version) => $"{version.GetProperty("name").GetString()}/{version.GetProperty("version").GetString()}";

    private static string? Tag(JsonElement version, string key) =>
        version.GetProperty("tags").EnumerateArray().Single(tag => tag.GetProperty("key").GetString() == key).GetProperty("value").GetString();
}
