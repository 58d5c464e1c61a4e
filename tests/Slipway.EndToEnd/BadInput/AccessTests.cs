using System.Net;
using System.Text;
using System.Text.Json;
using Slipway.Contracts.Identity;

namespace Slipway.EndToEnd.BadInput;

/// <summary>Names, tokens, roles and paths of those who should not get in.</summary>
[Collection(BadInputServer.Name)]
public sealed class AccessTests(BadInputFixture server)
{
    private const string Api = BadInputFixture.Api;

    public static TheoryData<string> Roots =>
    [
        "/api/2.0/mlflow-artifacts/artifacts/", "/api/2.0/mlflow-artifacts/artifacts/0/RUN/artifacts/", "/api/slipway/v1/models/flight-delay/versions/1.0.0/files/",
        "/governance/documents/", "/assets/", "/assets/x/", "/get-artifact?run_id=RUN&path=", "/api/2.0/mlflow/artifacts/list?run_id=RUN&path=", "/api/2.0/mlflow-artifacts/artifacts?path=",
    ];

    [Theory, MemberData(nameof(Roots)), Trait("capability", "TRK-03")]
    public async Task No_path_leads_out_of_the_store(string root)
    {
        using var created = await server.Client.PostAsync(
            new Uri("/api/2.0/mlflow/runs/create", UriKind.Relative), new StringContent("""{"experiment_id":"0"}""", Encoding.UTF8, "application/json"), TestContext.Current.CancellationToken);
        var run = JsonDocument.Parse(await created.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).RootElement.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;
        string[] ways =
        [
            "../../../../../../etc/passwd", "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "%252e%252e%252fetc%252fpasswd", "..%2f..%2f..%2fetc%2fpasswd", "..%5c..%5cetc", "..\\..\\etc", "a%00b",
            "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "C:%5cx", "C:/x", "....//....//etc/passwd", "%c0%ae%c0%ae/etc/passwd", "../slipway.db", "..%2fslipway.db", "file:///etc/passwd",
        ];
        foreach (var way in ways)
        {
            foreach (var method in new[] { "GET", "PUT", "DELETE" })
            {
                var (status, text) = await server.SendRawAsync(method, root.Replace("RUN", run, StringComparison.Ordinal) + way);
                Assert.True(status is >= 400 and < 500, $"{method} {root}{way}: {status} {text}");
                Assert.DoesNotContain("root:", text, StringComparison.Ordinal);
                Assert.DoesNotContain("SQLite", text, StringComparison.Ordinal);
            }
        }

        await server.AssertWellAsync();
    }

    [Theory]
    [InlineData("evil.example")]
    [InlineData("127.0.0.1.evil.example")]
    [InlineData("0.0.0.0")]
    [InlineData("2130706433")]
    [InlineData("127.0.0.1@evil.example")]
    public async Task A_host_that_is_not_ours_gets_nothing_but_health(string host)
    {
        Assert.InRange((await server.SendRawAsync("GET", $"{Api}/whoami", host: host)).Status, 400, 403);
        Assert.Equal(200, (await server.SendRawAsync("GET", "/health")).Status);
    }

    [Theory]
    [InlineData("http://evil.example")]
    [InlineData("http://127.0.0.1.evil.example")]
    [InlineData("null")]
    [InlineData("file://")]
    public async Task A_change_asked_for_by_a_page_of_another_site_is_refused(string origin)
    {
        var answer = await server.SendAsync(HttpMethod.Post, $"{Api}/features/materialize", new StringContent("{}", Encoding.UTF8, "application/json"),
            change: request => request.Headers.TryAddWithoutValidation("Origin", origin));

        Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
        await server.AssertRefusedAsync(answer, origin);
    }

    [Theory]
    [InlineData("Bearer x")]
    [InlineData("Bearer slw_0000000000000000000000000000000000000000")]
    [InlineData("Bearer ' OR 1=1 --")]
    [InlineData("Basic YWRtaW46eA==")]
    public async Task A_wrong_token_is_refused_even_where_none_is_needed(string credentials)
    {
        var answer = await server.SendAsync(HttpMethod.Get, $"{Api}/whoami", change: request => request.Headers.TryAddWithoutValidation("Authorization", credentials));

        Assert.Equal(HttpStatusCode.Unauthorized, answer.Status);
        await server.AssertRefusedAsync(answer, "token");
    }

    [Theory]
    [InlineData(Role.Viewer, "definitions", """{"files":[]}""")]
    [InlineData(Role.Viewer, "promotions", "{}")]
    [InlineData(Role.Viewer, "rollouts", "{}")]
    [InlineData(Role.Service, "promotions", "{}")]
    [InlineData(Role.DataScientist, "promotions/x/execute", "{}")]
    [InlineData(Role.DataScientist, "models/flight-delay/rollback", "{}")]
    [InlineData(Role.DataScientist, "rollouts", "{}")]
    [InlineData(Role.DataScientist, "rollouts/x/abort", "{}")]
    [InlineData(Role.DataScientist, "monitors/x/run", "{}")]
    [InlineData(Role.MlEngineer, "promotions/x/approve", "{}")]
    [InlineData(Role.MlEngineer, "users", """{"name":"me-too","role":"administrator"}""")]
    [InlineData(Role.Approver, "users", """{"name":"me-too","role":"administrator"}""")]
    [InlineData(Role.Approver, "promotions/x/execute", "{}")]
    [InlineData(Role.Approver, "definitions", """{"files":[]}""")]
    [InlineData(Role.Auditor, "definitions", """{"files":[]}""")]
    [InlineData(Role.Auditor, "promotions/x/approve", "{}")]
    public async Task A_role_does_not_reach_past_its_permissions(Role? role, string route, string body)
    {
        var answer = await server.PostAsync($"{Api}/{route}", body, role);

        Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
        await server.AssertRefusedAsync(answer, "permission");
    }

    [Fact, Trait("capability", "X-51")]
    public async Task The_local_administrator_may_ask_for_a_promotion_but_never_decides_on_one()
    {
        var (status, text) = await server.PostAsync($"{Api}/promotions", """{"model":"flight-delay","version":"1.1.0","to":"archived","reason":"old"}""", Role.MlEngineer);
        Assert.True(status == HttpStatusCode.Created, text);
        var id = JsonDocument.Parse(text).RootElement.GetProperty("id").GetString();

        foreach (var decision in new[] { "approve", "reject" })
        {
            var answer = await server.PostAsync($"{Api}/promotions/{id}/{decision}", """{"comment":"it is my machine"}""");
            Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
            await server.AssertRefusedAsync(answer, "'local' is not a stored user");
        }

        Assert.Contains("\"decisions\":[]", (await server.SendAsync(HttpMethod.Get, $"{Api}/promotions/{id}")).Text, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "X-51")]
    public async Task Who_trains_models_applies_their_definitions_but_not_the_policy_that_guards_their_promotion()
    {
        const string experiment = "kind: experiment\nname: by-a-data-scientist\n";
        const string policy = "kind: policy\nname: flight-delay\nmodel: flight-delay\nproduction:\n  approvals: 0\n";
        var before = (await server.SendAsync(HttpMethod.Get, $"{Api}/definitions")).Text;

        var answer = await server.PostAsync(
            $"{Api}/definitions", JsonSerializer.Serialize(new { files = new[] { new { path = "a.yaml", yaml = experiment }, new { path = "b.yaml", yaml = policy } } }), Role.DataScientist);

        Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
        await server.AssertRefusedAsync(answer, "b.yaml", "'operate'", "data_scientist", "Nothing was applied");
        Assert.Equal(before, (await server.SendAsync(HttpMethod.Get, $"{Api}/definitions")).Text);
    }

    [Theory]
    [InlineData(Role.Viewer, HttpStatusCode.Forbidden)]
    [InlineData(Role.DataScientist, HttpStatusCode.Forbidden)]
    [InlineData(Role.Auditor, HttpStatusCode.OK)]
    [InlineData(Role.Approver, HttpStatusCode.OK)]
    public async Task The_audit_trail_as_a_whole_is_for_those_who_answer_for_it(Role role, HttpStatusCode expected)
    {
        Assert.Equal(expected, (await server.SendAsync(HttpMethod.Get, $"{Api}/audit", role: role)).Status);
        Assert.Equal(expected, (await server.SendAsync(HttpMethod.Get, "/governance/audit", role: role)).Status);
    }

    [Fact, Trait("capability", "REG-05")]
    public async Task Nobody_approves_what_they_asked_for_themselves()
    {
        var (status, text) = await server.PostAsync($"{Api}/promotions", """{"model":"flight-delay","version":"1.2.0","to":"archived","reason":"mine"}""", Role.Administrator);
        Assert.True(status == HttpStatusCode.Created, text);
        var id = JsonDocument.Parse(text).RootElement.GetProperty("id").GetString();

        await server.AssertRefusedAsync(await server.PostAsync($"{Api}/promotions/{id}/approve", """{"comment":"fine by me"}""", Role.Administrator), "a-administrator");
        Assert.DoesNotContain("\"archived\"", (await server.SendAsync(HttpMethod.Get, $"{Api}/models/flight-delay/versions/1.2.0")).Text, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "CIC-06"), Trait("capability", "X-51")]
    public async Task From_the_command_line_users_keys_and_grants_are_made_used_and_taken_back()
    {
        var added = await RunAsync(0, "user", "add", "robot", "--role", "service", "--group", "ci");
        Assert.StartsWith("slw_", added.GetProperty("token").GetString(), StringComparison.Ordinal);
        Assert.Equal("disabled", (await RunAsync(0, "user", "disable", "robot")).GetProperty("state").GetString());
        await RunAsync(4, "whoami", "--token", added.GetProperty("token").GetString()!);
        Assert.Equal("active", (await RunAsync(0, "user", "enable", "robot")).GetProperty("state").GetString());

        var key = await RunAsync(0, "key", "create", "promote", "--user", "robot", "--allow", "read", "--allow", "operate", "--model", "flight-delay", "--environment", "staging", "--expires", "1d");
        var token = key.GetProperty("token").GetString()!;
        var me = await RunAsync(0, "whoami", "--token", token);
        Assert.Equal("""["read","operate"]""", me.GetProperty("permissions").GetRawText().Replace("\n", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal));
        await RunAsync(4, "registry", "rollback", "flight-delay", "--reason", "by robot", "--token", token);
        await RunAsync(2, "key", "create", "x", "--user", "robot", "--expires", "soon");
        await RunAsync(0, "key", "revoke", key.GetProperty("id").GetString()!);
        await RunAsync(4, "whoami", "--token", token);

        var grant = await RunAsync(0, "grant", "add", "MANAGE", "--group", "ci", "--model", "flight-delay", "--environment", "staging");
        Assert.Single((await RunAsync(0, "grant", "list", "--group", "ci")).GetProperty("grants").EnumerateArray());
        await RunAsync(2, "grant", "add", "OWNER", "--user", "robot", "--model", "flight-delay");
        await RunAsync(0, "grant", "remove", grant.GetProperty("id").GetRawText());
        Assert.Empty((await RunAsync(0, "grant", "list", "--group", "ci")).GetProperty("grants").EnumerateArray());
        await RunAsync(0, "user", "delete", "robot");
        await RunAsync(1, "user", "show", "robot");
    }

    private async Task<JsonElement> RunAsync(int exitCode, params string[] arguments)
    {
        var (exit, output, error) = await SlipwayProgram.RunAsync(TestContext.Current.CancellationToken, [.. arguments, "--server", server.Server.Address.ToString(), "--json"]);
        Assert.True(exit == exitCode, $"{string.Join(' ', arguments)}: {exit} {error}");
        return exit == 0 ? JsonDocument.Parse(output).RootElement : default;
    }

    [Theory]
    [InlineData("application/json", "{}")]
    [InlineData("text/plain", "token=x")]
    [InlineData("application/x-www-form-urlencoded", "token=x&back=%2F%0D%0ASet-Cookie:x")]
    [InlineData("multipart/form-data; boundary=x", "--x")]
    public async Task A_wrong_sign_in_is_no_fault_of_the_server(string contentType, string body)
    {
        using var content = new StringContent(body);
        content.Headers.ContentType = System.Net.Http.Headers.MediaTypeHeaderValue.Parse(contentType);
        var (status, _) = await server.SendAsync(HttpMethod.Post, "/sign-in", content);

        Assert.InRange((int)status, 200, 499);
        await server.AssertWellAsync();
    }
}
