using System.Net;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class RegistryEndpointTests : IAsyncLifetime
{
    private const string Root = "/api/slipway/v1";

    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await RegistryHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "REG-14")]
    public async Task A_version_is_registered_promoted_compared_and_rolled_back_over_http()
    {
        for (var i = 0; i < 2; i++)
        {
            var (status, version) = await SendAsync(HttpMethod.Post, $"/models/{Model}/versions", Json(await _host.RequestAsync() with { Model = "ignored" }));
            Assert.Equal(201, status);
            Assert.Equal($"1.0.{i}", version.GetProperty("version").GetString());
            await PromoteAsync($"1.0.{i}", "staging");
            await PromoteAsync($"1.0.{i}", "production");
        }

        Assert.Equal("1.0.1", (await GetAsync($"/models/{Model}/production")).GetProperty("version").GetString());
        Assert.Equal("1.0.1", (await GetAsync($"/models/{Model}/production?as_of=9999-01-01")).GetProperty("version").GetString());
        Assert.Equal("1.0.1", (await GetAsync("/models")).GetProperty("models")[0].GetProperty("production_version").GetString());
        Assert.Equal(Model, (await GetAsync($"/models/{Model}")).GetProperty("name").GetString());
        Assert.Equal(["1.0.1", "1.0.0"], (await GetAsync($"/models/{Model}/versions")).GetProperty("versions").EnumerateArray().Select(row => row.GetProperty("version").GetString()));
        Assert.Equal("1.0.0", (await GetAsync($"/models/{Model}/versions?stage=archived")).GetProperty("versions")[0].GetProperty("version").GetString());
        Assert.Equal("archived", (await GetAsync($"/models/{Model}/versions/1")).GetProperty("stage").GetString());
        Assert.Equal(4, (await GetAsync($"/models/{Model}/versions/1.0.0/history")).GetProperty("changes").GetArrayLength());
        Assert.Equal(7, (await GetAsync($"/models/{Model}/history")).GetProperty("changes").GetArrayLength());
        Assert.True((await GetAsync($"/models/{Model}/versions/production/lineage")).GetProperty("complete").GetBoolean());
        Assert.False((await GetAsync($"/models/{Model}/versions/1.0.0/gate?to=production")).GetProperty("passed").GetBoolean());
        Assert.Equal("t1", (await GetAsync($"/models/{Model}/versions/1.0.0/evaluation")).GetProperty("test_set_sha256").GetString());
        Assert.True((await GetAsync($"/models/{Model}/compare?a=1.0.0&b=1.0.1")).GetProperty("same_test_set").GetBoolean());
        Assert.Equal(4, (await GetAsync($"/promotions?model={Model}")).GetProperty("promotions").GetArrayLength());
        var decision = (await GetAsync("/promotions/promotion-4")).GetProperty("decisions")[0];
        Assert.Equal(("grace", "read it"), (decision.GetProperty("by").GetString(), decision.GetProperty("comment").GetString()));

        var (rolledBack, restored) = await SendAsync(HttpMethod.Post, $"/models/{Model}/rollback", """{"reason":"errors"}""");
        Assert.Equal((200, "1.0.0"), (rolledBack, restored.GetProperty("version").GetString()));
        var (aliased, alias) = await SendAsync(HttpMethod.Put, $"/models/{Model}/aliases/champion", """{"version":"production"}""");
        Assert.Equal((200, "champion"), (aliased, alias.GetProperty("aliases")[0].GetString()));
    }

    [Fact]
    [Trait("capability", "REG-23")]
    public async Task A_file_is_served_byte_for_byte_and_refused_once_it_was_changed()
    {
        var version = await _host.RegisterAsync();
        var path = $"{Root}/models/{Model}/versions/1.0.0/files/model.onnx";

        using var response = await _host.Area.Client.GetAsync(path);
        Assert.Equal(await File.ReadAllBytesAsync(_host.Blobs.PathOf(version.ServedSha256!)), await response.Content.ReadAsByteArrayAsync());
        Assert.Equal("nosniff", response.Headers.GetValues("X-Content-Type-Options").Single());
        Assert.Equal("attachment", response.Content.Headers.ContentDisposition!.DispositionType);

        _host.Damage(version.ServedSha256!);
        using var refused = await _host.Area.Client.GetAsync(path);
        Assert.Equal(HttpStatusCode.Conflict, refused.StatusCode);
    }

    [Theory]
    [InlineData("GET", "/models/other", null, 404, "no model 'other'")]
    [InlineData("GET", "/models/other/versions/1.0.0", null, 404, "no version '1.0.0'")]
    [InlineData("GET", "/models/flight-delay/production", null, 404, "no version in production")]
    [InlineData("GET", "/models/flight-delay/production?as_of=2001-05-31", null, 404, "no version in production as of 2001-05-31 00:00:00Z")]
    [InlineData("GET", "/models/flight-delay/production?as_of=yesterday", null, 400, "'as_of' must be a date")]
    [InlineData("GET", "/models/flight-delay/versions?stage=live", null, 400, "'live' is not a stage")]
    [InlineData("GET", "/models/flight-delay/versions/1.0.0/gate", null, 400, "'to' is missing")]
    [InlineData("GET", "/models/flight-delay/compare?a=1.0.0", null, 400, "'b' is missing")]
    [InlineData("GET", "/models/flight-delay/versions/1.0.0/files/../../x", null, 404, "")]
    [InlineData("GET", "/models/flight-delay/versions/1.0.0/files/secret.txt", null, 404, "it has model.onnx")]
    [InlineData("GET", "/promotions/promotion-9", null, 404, "no promotion 'promotion-9'")]
    [InlineData("POST", "/promotions", "{}", 400, "'model' is missing")]
    [InlineData("POST", "/promotions", """{"model":"flight-delay","version":"1.0.0","to":"live","reason":"x"}""", 400, "")]
    [InlineData("POST", "/promotions", """{"model":"flight-delay","version":"1.0.0","reason":"x"}""", 400, "'to' is missing")]
    [InlineData("POST", "/promotions", """{"model":"flight-delay","version":"1.0.0","to":"staging"}""", 400, "'reason'")]
    [InlineData("POST", "/promotions/promotion-9/approve", """{"comment":"x"}""", 404, "no promotion")]
    [InlineData("POST", "/promotions/promotion-9/execute", "{}", 404, "no promotion")]
    [InlineData("POST", "/models/flight-delay/rollback", "{}", 400, "'reason'")]
    [InlineData("POST", "/models/flight-delay/versions", "{}", 400, "'bump' must be")]
    [InlineData("POST", "/models/flight-delay/versions", "{", 400, "")]
    [InlineData("POST", "/models/flight-delay/versions", """{"files":[null],"signature":{"inputs":[null]},"tags":null}""", 400, "'files'")]
    [InlineData("POST", "/models/a%3Ab/versions", "{}", 400, "'model' must have")]
    public async Task Bad_input_is_answered_with_a_sentence_that_names_the_field(string method, string path, string? body, int status, string message)
    {
        await _host.RegisterAsync();

        var (answered, text) = await SendRawAsync(new HttpMethod(method), path, body);

        Assert.Equal(status, answered);
        Assert.Contains(message, text, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", text, StringComparison.Ordinal);
        Assert.Equal(1, _host.Count("model_versions"));
    }

    private async Task PromoteAsync(string version, string to)
    {
        var (status, promotion) = await SendAsync(HttpMethod.Post, "/promotions", $$"""{"model":"{{Model}}","version":"{{version}}","to":"{{to}}","reason":"ready"}""");
        Assert.Equal(201, status);
        var id = promotion.GetProperty("id").GetString();
        Assert.Equal(409, (await SendAsync(HttpMethod.Post, $"/promotions/{id}/execute", "{}")).Status);
        Assert.Equal(403, (await SendAsync(HttpMethod.Post, $"/promotions/{id}/approve", """{"comment":"mine"}""")).Status);
        Assert.Equal(200, (await SendAsync(HttpMethod.Post, $"/promotions/{id}/approve", """{"comment":"read it"}""", "grace")).Status);
        Assert.Equal(200, (await SendAsync(HttpMethod.Post, $"/promotions/{id}/execute", "{}")).Status);
    }

    private async Task<JsonElement> GetAsync(string path)
    {
        var (status, body) = await SendAsync(HttpMethod.Get, path, null);
        Assert.Equal(200, status);
        return body;
    }

    private async Task<(int Status, JsonElement Body)> SendAsync(HttpMethod method, string path, string? body, string user = "ada")
    {
        var (status, text) = await SendRawAsync(method, path, body, user);
        return (status, JsonDocument.Parse(text).RootElement.Clone());
    }

    private async Task<(int Status, string Text)> SendRawAsync(HttpMethod method, string path, string? body, string user = "ada")
    {
        using var request = new HttpRequestMessage(method, Root + path);
        request.Headers.Add("X-User", user);
        if (body is not null)
        {
            request.Content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");
        }

        using var response = await _host.Area.Client.SendAsync(request);
        return ((int)response.StatusCode, await response.Content.ReadAsStringAsync());
    }

    private static string Json(RegisterVersion request) => JsonSerializer.Serialize(request, JsonDefaults.Options);
}
