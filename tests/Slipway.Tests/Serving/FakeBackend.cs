using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Slipway.Serving.Remote;

namespace Slipway.Tests.Serving;

/// <summary>Another server, which answers whatever a test tells it to.</summary>
internal sealed class FakeBackend : IAsyncDisposable
{
    private readonly WebApplication _app;

    private FakeBackend(WebApplication app) => _app = app;

    /// <summary>What is answered to each request, by its path and body.</summary>
    public Func<HttpContext, string, Task> Answer { get; set; } = (context, _) => context.Response.WriteAsync("{}");

    /// <summary>What came.</summary>
    public ConcurrentQueue<(string Path, string Body, string? Authorization)> Requests { get; } = new();

    public string Authority => new Uri(_app.Urls.Single()).Authority;

    public RemoteHosts Hosts(string? variable = null) => RemoteHosts.Parse([variable is null ? Authority : $"{Authority}={variable}"], name => name == "TOKEN" ? "s3cret" : null);

    public static async Task<FakeBackend> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder(["--hostBuilder:reloadConfigOnChange=false"]);
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0));
        var backend = new FakeBackend(builder.Build());
        backend._app.Run(backend.HandleAsync);
        await backend._app.StartAsync();
        return backend;
    }

    public static Func<HttpContext, string, Task> Always(string body, int status = 200) => (context, _) =>
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        return context.Response.WriteAsync(body);
    };

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(new CancellationToken(canceled: true));
        await _app.DisposeAsync();
    }

    private async Task HandleAsync(HttpContext context)
    {
        using var reader = new StreamReader(context.Request.Body);
        var body = await reader.ReadToEndAsync(context.RequestAborted);
        Requests.Enqueue((context.Request.Path, body, context.Request.Headers.Authorization));
        await Answer(context, body);
    }
}
