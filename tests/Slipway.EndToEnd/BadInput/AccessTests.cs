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
    [InlineData(Role.Engineer, "promotions/x/approve", "{}")]
    [InlineData(Role.Engineer, "users", """{"name":"me-too","role":"admin"}""")]
    [InlineData(Role.Approver, "users", """{"name":"me-too","role":"admin"}""")]
    [InlineData(null, "users", """{"name":"me-too","role":"admin"}""")]
    [InlineData(null, "promotions/x/approve", "{}")]
    [InlineData(null, "promotions/x/reject", "{}")]
    public async Task A_role_does_not_reach_past_its_permissions(Role? role, string route, string body)
    {
        var answer = await server.PostAsync($"{Api}/{route}", body, role);

        Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
        await server.AssertRefusedAsync(answer, "permission");
    }

    [Fact, Trait("capability", "REG-05")]
    public async Task Nobody_approves_what_they_asked_for_themselves()
    {
        var (status, text) = await server.PostAsync($"{Api}/promotions", """{"model":"flight-delay","version":"1.2.0","to":"archived","reason":"mine"}""", Role.Approver);
        Assert.True(status == HttpStatusCode.Created, text);
        var id = JsonDocument.Parse(text).RootElement.GetProperty("id").GetString();

        await server.AssertRefusedAsync(await server.PostAsync($"{Api}/promotions/{id}/approve", """{"comment":"fine by me"}""", Role.Approver), "a-approver");
        Assert.DoesNotContain("\"archived\"", (await server.SendAsync(HttpMethod.Get, $"{Api}/models/flight-delay/versions/1.2.0")).Text, StringComparison.Ordinal);
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
