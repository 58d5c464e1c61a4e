using System.Text.Json;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class StageEndpointTests : IAsyncLifetime
{
    private const string Api = "/api/slipway/v1";
    private const string Version = $"{Api}/models/{Model}/versions/1.0.0";

    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await RegistryHost.StartAsync();
        await _host.ApplyPolicyAsync("""
            kind: policy
            name: flight-delay
            model: flight-delay
            environments: [{ name: preprod, approvals: 1 }]
            staging: { approvals: 1, checklist: [load_tested] }
            """);
        await _host.RegisterAsync();
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "REG-05")]
    public async Task Open_requests_are_listed_with_their_steps_and_comments_and_closed_ones_are_not()
    {
        var id = (await PostAsync($"{Api}/promotions", new { model = Model, version = "1.0.0", to = "staging", reason = "ready" })).GetProperty("id").GetString();
        await PostAsync($"{Api}/promotions/{id}/comments", new { comment = "which slices?" });

        var open = Assert.Single((await _host.Area.GetAsync($"{Api}/approvals?model={Model}")).Body.GetProperty("promotions").EnumerateArray().ToList());

        Assert.Equal(("approvals", 1), (open.GetProperty("steps")[0].GetProperty("name").GetString(), open.GetProperty("steps")[0].GetProperty("needed").GetInt32()));
        Assert.Equal("which slices?", open.GetProperty("comments")[0].GetProperty("comment").GetString());
        await PostAsync($"{Api}/promotions/{id}/withdraw", new { comment = "not yet" });
        Assert.Empty((await _host.Area.GetAsync($"{Api}/approvals")).Body.GetProperty("promotions").EnumerateArray());
    }

    [Fact]
    [Trait("capability", "REG-14")]
    public async Task Checklist_deprecation_and_retirement_answer_over_HTTP_what_the_registry_holds()
    {
        Assert.False((await _host.Area.GetAsync($"{Version}/checklist?to=staging")).Body.GetProperty("items")[0].TryGetProperty("ticked_by", out _));
        Assert.Equal(204, (await _host.Area.PostAsync($"{Version}/checklist/load_tested", new { comment = "3 ms" })).Status);
        Assert.Equal("ada", (await _host.Area.GetAsync($"{Version}/checklist?to=staging")).Body.GetProperty("items")[0].GetProperty("ticked_by").GetString());
        Assert.Equal(404, (await _host.Area.GetAsync($"{Version}/deprecation")).Status);
        await PostAsync($"{Version}/deprecation", new { reason = "old", end_of_life = "2100-01-01T00:00:00Z" });
        Assert.Contains("is deprecated: old; its life ends 2100-01-01", (await _host.Area.GetAsync($"{Version}/deprecation")).Body.GetProperty("warning").GetString(), StringComparison.Ordinal);
        Assert.Equal("1.0.0", (await _host.Area.GetAsync($"{Api}/deprecations")).Body.GetProperty("deprecations")[0].GetProperty("version").GetString());
        Assert.Equal(204, (await _host.Area.PostAsync($"{Version}/deprecation/withdraw", new { comment = "not so old" })).Status);
        await PostAsync($"{Version}/retirement/notice", new { comment = "ends in June" });
        Assert.True((await _host.Area.GetAsync($"{Version}/retirement")).Body.GetProperty("steps")[0].GetProperty("done").GetBoolean());
        Assert.Equal("preprod", (await _host.Area.GetAsync($"{Api}/models/{Model}/environments")).Body.GetProperty("environments")[0].GetProperty("environment").GetString());
    }

    [Theory]
    [InlineData("GET", $"{Api}/models/{Model}/as-of?at=soon", null, 400, "'at' must be a date or instant")]
    [InlineData("GET", $"{Api}/models/none/as-of?at=2001-05-31", null, 404, "There is no model 'none'")]
    [InlineData("GET", $"{Version}/gate?to=moon", null, 404, "'moon' is neither a stage")]
    [InlineData("POST", $"{Api}/promotions", """{"model":"flight-delay","version":"1.0.0","reason":"x"}""", 400, "'to' is missing")]
    [InlineData("POST", $"{Api}/promotions", """{"model":"flight-delay","version":"1.0.0","reason":"x","to":"staging","environment":"preprod"}""", 400, "exclude each other")]
    [InlineData("POST", $"{Version}/checklist/dance", """{"comment":"x"}""", 400, "'item' must be one of load_tested, not 'dance'")]
    [InlineData("POST", $"{Version}/checklist/load_tested", "{}", 400, "'note' must say why")]
    [InlineData("POST", $"{Version}/deprecation", "{}", 400, "'reason' must say why")]
    [InlineData("POST", $"{Version}/deprecation", """{"reason":"x","replacement":"1.0.0"}""", 400, "'replacement' names 1.0.0 itself")]
    [InlineData("POST", $"{Version}/retirement/burial", """{"comment":"x"}""", 400, "'step' must be one of notice, migration, archive, deletion")]
    [InlineData("POST", $"{Version}/copies", """{"server":"moon","reason":"x"}""", 400, "'server' must be the address of a server")]
    [InlineData("POST", $"{Api}/registry/imports", """{"source":"http://a","reason":"x"}""", 400, "'passport' is missing")]
    [InlineData("POST", $"{Api}/registry/imports", """{"source":"http://a","reason":"x","passport":{}}""", 400, "")]
    [InlineData("POST", $"{Api}/registry/imports/blobs", "{}", 400, "'sha256' is missing")]
    [InlineData("POST", $"{Api}/registry/imports/blobs/../etc", "x", 404, "")]
    [InlineData("POST", $"{Api}/registry/imports/blobs/ABC", "x", 400, "'ABC' must be a SHA-256 in lower-case hex")]
    public async Task Bad_input_is_one_sentence_and_changes_nothing(string method, string path, string? body, int status, string message)
    {
        var before = (_host.Count("audit_events"), _host.Count("promotions"), _host.Count("model_versions"));

        var (code, answer) = await _host.Area.SendAsync(new HttpMethod(method), path, body);

        Assert.Equal(status, code);
        if (message.Length > 0)
        {
            Assert.Contains(message, answer.GetProperty("message").GetString(), StringComparison.Ordinal);
        }

        Assert.Equal(before, (_host.Count("audit_events"), _host.Count("promotions"), _host.Count("model_versions")));
    }

    [Fact]
    public async Task A_viewer_may_not_comment()
    {
        var id = (await PostAsync($"{Api}/promotions", new { model = Model, version = "1.0.0", to = "staging", reason = "ready" })).GetProperty("id").GetString();
        using var request = new HttpRequestMessage(HttpMethod.Post, $"{Api}/promotions/{id}/comments") { Content = new StringContent("""{"comment":"me too"}""", System.Text.Encoding.UTF8, "application/json") };
        request.Headers.Add("X-Role", "viewer");

        using var response = await _host.Area.Client.SendAsync(request);

        Assert.Equal(System.Net.HttpStatusCode.Forbidden, response.StatusCode);
        Assert.Empty(_host.Registry.FindPromotion(id!)!.Comments);
    }

    private async Task<JsonElement> PostAsync(string path, object body)
    {
        var (status, answer) = await _host.Area.PostAsync(path, body);
        Assert.InRange(status, 200, 299);
        return answer;
    }
}
