using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;

namespace Slipway.EndToEnd.BadInput;

/// <summary>A server that wants a login, asked without one: routes by other spellings, passwords that others shipped with, routes that others forgot to guard.</summary>
public sealed class LoginTests
{
    private const string Password = "harbour-crane-lantern-42";

    [Fact, Trait("capability", "TRK-18")]
    public async Task Nothing_is_open_by_another_spelling_a_known_password_or_a_forgotten_route()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var server = await RunningServer.StartAsync(
            SlipwayProgram.NewDataFolder(), new Dictionary<string, string> { ["SLIPWAY_ADMIN_PASSWORD"] = Password }, ct, "--require-login", "true");

        // A path that leads to no route is not found, whoever asks; one that leads to a route wants a login.
        foreach (var target in new[]
        {
            "/api/2.0/mlflow/experiments/search?max_results=1", "/ajax-api/2.0/mlflow/experiments/search?max_results=1", "/API/2.0/MLFLOW/experiments/SEARCH?max_results=1",
            "/api/2.0/mlflow/experiments/%73earch?max_results=1", "/api/2.0/mlflow/experiments/search/?max_results=1", "//api/2.0/mlflow/experiments/search?max_results=1",
            "/api/2.0/./mlflow/experiments/search?max_results=1", "/api/2.0/x/../mlflow/experiments/search?max_results=1", "/api/2.0/mlflow;x/experiments/search?max_results=1",
            "/api/2.0/mlflow/users/get?username=admin", "/api/2.0/mlflow/users/get/?username=admin", "/API/2.0/mlflow/users/get?username=admin",
            "/ajax-api/3.0/jobs/", "/ajax-api/3.0/jobs/1", "/api/3.0/mlflow/traces/tr-1", "/ajax-api/2.0/mlflow/gateway-proxy?gateway_path=../../", "/graphql", "/get-artifact?run_id=x&path=y",
            "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files?artifact_file_path=x", "/api/slipway/v1/models", "/v2/models/x", "/metrics", "/",
        })
        {
            var (status, text) = await RawAsync(server.Address, "GET", target, "", ct);
            Assert.True(status is 301 or 302 or 303 or 400 or 401 or 403 or 404 or 405 or 501, $"GET {target}: {status} {text}");
            Assert.DoesNotContain("\"experiments\"", text, StringComparison.Ordinal);
        }

        foreach (var target in new[] { "/v1/traces", "/api/2.0/mlflow/runs/create", "/api/2.0/mlflow/users/create", "/api/2.0/mlflow/users/create/", "/ajax-api/3.0/jobs/search", "/api/2.0/mlflow/webhooks" })
        {
            var (status, text) = await RawAsync(server.Address, "POST", target, "{\"experiment_id\":\"0\"}", ct);
            Assert.True(status is 401 or 403 or 404 or 405 or 501, $"POST {target}: {status} {text}");
        }

        using var http = new HttpClient { BaseAddress = server.Address };
        Assert.Equal(HttpStatusCode.Unauthorized, await SearchAsync(http, "admin", "password1234", ct));
        Assert.Equal(HttpStatusCode.Unauthorized, await SearchAsync(http, "admin", "", ct));
        Assert.Equal(HttpStatusCode.OK, await SearchAsync(http, "admin", Password, ct));

        http.DefaultRequestHeaders.Authorization = Basic("admin", Password);
        foreach (var weak in new[] { "", "a", "password1234", "grace" })
        {
            using var created = await http.PostAsJsonAsync("/api/2.0/mlflow/users/create", new { username = "grace", password = weak }, ct);
            Assert.Equal(HttpStatusCode.BadRequest, created.StatusCode);
        }
    }

    private static AuthenticationHeaderValue Basic(string name, string password) => new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{name}:{password}")));

    private static async Task<HttpStatusCode> SearchAsync(HttpClient http, string name, string password, CancellationToken ct)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/api/2.0/mlflow/experiments/search?max_results=1") { Headers = { Authorization = Basic(name, password) } };
        using var answer = await http.SendAsync(request, ct);
        return answer.StatusCode;
    }

    // The request target exactly as given: no client may tidy it up first.
    private static async Task<(int Status, string Text)> RawAsync(Uri server, string method, string target, string body, CancellationToken ct)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, server.Port, ct);
        await using var stream = socket.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(
            $"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{server.Port}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\n\r\n{body}"), ct);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        var answer = await reader.ReadToEndAsync(ct);
        return (int.Parse(answer.AsSpan(9, 3), CultureInfo.InvariantCulture), answer[(answer.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..]);
    }
}
