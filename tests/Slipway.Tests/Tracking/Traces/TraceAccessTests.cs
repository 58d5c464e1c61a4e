using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts.Identity;
using Slipway.Identity;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Tracking.Traces;
using Slipway.Web;

namespace Slipway.Tests.Tracking.Traces;

/// <summary>The ways round authentication that MLflow's traces had (CVE-2026-2652, CVE-2025-15381, CVE-2023-6014), on the whole server.</summary>
public sealed class TraceAccessTests : IAsyncLifetime
{
    private const string TraceId = "0af7651916cd43dd8448eb211c80319c";

    private readonly string _data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
    private WebApplication _app = null!;
    private HttpClient _client = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _app = SlipwayServer.Build(new ServerOptions { DataDirectory = _data, Database = TestDatabase.Address(_data), Host = "0.0.0.0", Port = 0, GrpcPort = 0 });
        await _app.StartAsync();
        _client = new HttpClient { BaseAddress = new Uri(_app.Urls.Single().Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal)) };
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        Directory.Delete(_data, recursive: true);
    }

    [Theory]
    [InlineData("/v1/traces")]
    [InlineData("/V1/Traces")]
    [InlineData("/v1/traces/")]
    [InlineData("//v1/traces")]
    [InlineData("/v1/%74races")]
    [InlineData("/v1/./traces")]
    [InlineData("/x/../v1/traces")]
    [Trait("capability", "GOV-01")]
    public async Task A_stranger_s_spans_are_refused_however_the_path_is_spelt(string path)
    {
        var status = await Export(path, token: null);
        var wrong = await Export(path, token: "slw_wrong");

        Assert.True(status is HttpStatusCode.Unauthorized or HttpStatusCode.NotFound, $"Answered {status}.");
        Assert.True(wrong is HttpStatusCode.Unauthorized or HttpStatusCode.NotFound, $"Answered {wrong}.");
        Assert.Null(_app.Services.GetRequiredService<TraceStore>().Find("tr-" + TraceId));
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task Who_may_only_read_reads_traces_but_neither_sends_nor_judges_nor_deletes_them()
    {
        var users = _app.Services.GetRequiredService<UserStore>();
        var (_, engineer) = await users.CreateAsync("erin", Role.MlEngineer, Caller.System("test"), Cancel);
        var (_, viewer) = await users.CreateAsync("vic", Role.Viewer, Caller.System("test"), Cancel);
        Assert.Equal(HttpStatusCode.OK, await Export("/v1/traces", engineer));

        Assert.Equal(HttpStatusCode.Forbidden, await Export("/v1/traces", viewer));
        foreach (var prefix in (string[])["/api", "/ajax-api"])
        {
            Assert.Equal(HttpStatusCode.OK, await Send(HttpMethod.Get, $"{prefix}/3.0/mlflow/traces/tr-{TraceId}", viewer));
            Assert.Equal(HttpStatusCode.OK, await Send(HttpMethod.Post, $"{prefix}/3.0/mlflow/traces/search", viewer, """{"locations":[{"mlflow_experiment":{"experiment_id":"0"}}]}"""));
            Assert.Equal(HttpStatusCode.Forbidden, await Send(HttpMethod.Post, $"{prefix}/3.0/mlflow/traces/tr-{TraceId}/assessments", viewer, """{"assessment":{"assessment_name":"a","feedback":{"value":1}}}"""));
            Assert.Equal(HttpStatusCode.Forbidden, await Send(HttpMethod.Post, $"{prefix}/3.0/mlflow/traces/delete-traces", viewer, """{"experiment_id":"0","max_timestamp_millis":9999999999999}"""));
            Assert.Equal(HttpStatusCode.Forbidden, await Send(HttpMethod.Put, $"{prefix}/2.0/mlflow-artifacts/artifacts/0/traces/tr-{TraceId}/artifacts/traces.json", viewer, """{"spans":[]}"""));
            Assert.Equal(HttpStatusCode.Forbidden, await Send(HttpMethod.Post, $"{prefix}/3.0/mlflow/datasets/create", viewer, """{"name":"x"}"""));
            Assert.Equal(HttpStatusCode.Unauthorized, await Send(HttpMethod.Get, $"{prefix}/3.0/mlflow/traces/tr-{TraceId}", token: null));
        }

        Assert.Empty(_app.Services.GetRequiredService<TraceStore>().Get("tr-" + TraceId).Assessments);
    }

    private async Task<HttpStatusCode> Export(string path, string? token)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_client.BaseAddress!.GetLeftPart(UriPartial.Authority) + path, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }));
        request.Headers.Add("x-mlflow-experiment-id", "0");
        request.Headers.Authorization = token is null ? null : new AuthenticationHeaderValue("Bearer", token);
        request.Content = new ByteArrayContent(OtlpBytes.Request(OtlpBytes.Span(TraceId, "b7ad6b7169203331", null, "answer", 1, 2)));
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/x-protobuf");
        using var response = await _client.SendAsync(request, Cancel);
        return response.StatusCode;
    }

    private async Task<HttpStatusCode> Send(HttpMethod method, string path, string? token, string? body = null)
    {
        using var request = new HttpRequestMessage(method, path);
        request.Headers.Authorization = token is null ? null : new AuthenticationHeaderValue("Bearer", token);
        request.Content = body is null ? null : new StringContent(body, Encoding.UTF8, "application/json");
        using var response = await _client.SendAsync(request, Cancel);
        return response.StatusCode;
    }
}
