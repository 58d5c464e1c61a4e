using System.Text.Json;
using Slipway.Tracking;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

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

        var version = (await GetAsync($"{prefix}/model-versions/get?name={Model}&version=1")).GetProperty("model_version");
        Assert.Equal("1 Production READY", $"{version.GetProperty("version").GetString()} {version.GetProperty("current_stage").GetString()} {version.GetProperty("status").GetString()}");
        Assert.Equal("1.0.0", Tag(version, "slipway.version"));
        Assert.Equal("1", (await GetAsync($"{prefix}/registered-models/alias?name={Model}&alias=champion")).GetProperty("model_version").GetProperty("version").GetString());
    }

    [Fact]
    public async Task The_latest_version_of_each_stage_is_answered_to_get_and_post()
    {
        var got = await GetAsync($"/api/2.0/mlflow/registered-models/get-latest-versions?name={Model}&stages=Production");
        Assert.Equal("1", Assert.Single(got.GetProperty("model_versions").EnumerateArray()).GetProperty("version").GetString());

        var (_, posted) = await _host.Area.PostAsync("/api/2.0/mlflow/registered-models/get-latest-versions", new { name = Model });
        Assert.Equal(["Production", "None"], posted.GetProperty("model_versions").EnumerateArray().Select(version => version.GetProperty("current_stage").GetString()));
    }

    [Theory]
    [InlineData("", "flight-delay/2 flight-delay/1 fraud/1")]
    [InlineData("name = 'fraud'", "fraud/1")]
    [InlineData("name='flight-delay' AND version_number = 2", "flight-delay/2")]
    [InlineData("name LIKE 'flight%'", "flight-delay/2 flight-delay/1")]
    [InlineData("name ILIKE 'FR_UD'", "fraud/1")]
    [InlineData("name != 'fraud'", "flight-delay/2 flight-delay/1")]
    [InlineData("tags.team = 'ops'", "flight-delay/2")]
    [InlineData("tags.`slipway.version` = '1.0.0'", "flight-delay/1 fraud/1")]
    [InlineData("version_number IN ('1', '3') and name = \"fraud\"", "fraud/1")]
    public async Task Versions_are_searched_with_mlflows_filters(string filter, string found)
    {
        var body = await GetAsync($"/api/2.0/mlflow/model-versions/search?filter={Uri.EscapeDataString(filter)}&order_by=name");

        Assert.Equal(found, string.Join(' ', body.GetProperty("model_versions").EnumerateArray().Select(Id)));
    }

    [Theory]
    [InlineData("model-versions/search?filter=owner%20%3D%20'x'", "'filter' names 'owner'")]
    [InlineData("model-versions/search?filter=name%20%3D%20'x'%20OR%20name%20%3D%20'y'", "'filter' cannot be read")]
    [InlineData("model-versions/search?filter=name%20%3D%20'x'%20AND", "ends in AND")]
    [InlineData("model-versions/search?max_results=0", "'max_results'")]
    [InlineData("registered-models/search?max_results=1001", "'max_results'")]
    [InlineData("registered-models/search?order_by=size", "'order_by'")]
    [InlineData("registered-models/search?page_token=%25%25", "'page_token'")]
    [InlineData("registered-models/get", "'name'")]
    [InlineData("model-versions/get?name=fraud", "'version'")]
    public async Task A_wrong_question_is_refused_with_the_field_named(string query, string message)
    {
        var (status, body) = await _host.Area.GetAsync($"/api/2.0/mlflow/{query}");

        Assert.Equal(400, status);
        Assert.Equal("INVALID_PARAMETER_VALUE", body.GetProperty("error_code").GetString());
        Assert.Contains(message, body.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("registered-models/get?name=other")]
    [InlineData("registered-models/get-latest-versions?name=other")]
    [InlineData("registered-models/alias?name=fraud&alias=rival")]
    [InlineData("model-versions/get?name=fraud&version=7")]
    public async Task What_is_not_there_is_answered_as_mlflow_words_it(string query)
    {
        var (status, body) = await _host.Area.GetAsync($"/api/2.0/mlflow/{query}");

        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), (status, body.GetProperty("error_code").GetString()));
    }

    [Fact]
    public async Task A_version_is_not_made_or_moved_past_the_gates()
    {
        foreach (var path in new[] { "registered-models/create", "model-versions/create", "model-versions/transition-stage" })
        {
            var (status, body) = await _host.Area.PostAsync($"/api/2.0/mlflow/{path}", new { name = Model, version = "2", stage = "Production" });
            Assert.Equal((501, "NOT_IMPLEMENTED"), (status, body.GetProperty("error_code").GetString()));
        }

        Assert.Equal("1.0.0", _host.Registry.Find(Model, "production")!.Version);
    }

    [Fact]
    public async Task Pages_hold_every_version_once_even_when_one_is_registered_in_between()
    {
        var first = await GetAsync("/api/2.0/mlflow/model-versions/search?max_results=2&order_by=name");
        await _host.RegisterAsync();
        var second = await GetAsync($"/api/2.0/mlflow/model-versions/search?max_results=2&order_by=name&page_token={first.GetProperty("next_page_token").GetString()}");

        Assert.Equal(["flight-delay/2", "flight-delay/1"], first.GetProperty("model_versions").EnumerateArray().Select(Id));
        Assert.Equal(["fraud/1"], second.GetProperty("model_versions").EnumerateArray().Select(Id));
        Assert.False(second.TryGetProperty("next_page_token", out _));
        Assert.Equal(2, (await GetAsync("/api/2.0/mlflow/registered-models/search")).GetProperty("registered_models").GetArrayLength());
    }

    private async Task<JsonElement> GetAsync(string path)
    {
        var (status, body) = await _host.Area.GetAsync(path);
        Assert.Equal(200, status);
        return body;
    }

    private static string Id(JsonElement version) => $"{version.GetProperty("name").GetString()}/{version.GetProperty("version").GetString()}";

    private static string? Tag(JsonElement version, string key) =>
        version.GetProperty("tags").EnumerateArray().Single(tag => tag.GetProperty("key").GetString() == key).GetProperty("value").GetString();
}
