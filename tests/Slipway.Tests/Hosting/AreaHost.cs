using System.Data.Common;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Identity;
using Slipway.Storage;
using Slipway.Web.Http;

namespace Slipway.Tests.Hosting;

/// <summary>One area over real HTTP: Kestrel on a free loopback port, a data folder of its own, the caller's role by header.</summary>
internal sealed class AreaHost : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly string _data;

    private AreaHost(WebApplication app, string data)
    {
        _app = app;
        _data = data;
        Client = new HttpClient { BaseAddress = new Uri(app.Urls.Single()) };
    }

    public HttpClient Client { get; }

    public T Service<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    public T Read<T>(Func<DbConnection, T> query) => Service<Database>().Read(query);

    public static async Task<AreaHost> StartAsync(Action<IServiceCollection> services, Action<IEndpointRouteBuilder> map)
    {
        var data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        var builder = WebApplication.CreateSlimBuilder(["--hostBuilder:reloadConfigOnChange=false"]);
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0));
        builder.Services.AddSlipwayStorage(TestDatabase.Options(data));
        builder.Services.ConfigureHttpJsonOptions(json => JsonDefaults.Apply(json.SerializerOptions).Converters.Insert(0, new DeferredJson()));
        services(builder.Services);
        var app = builder.Build();
        app.UseExceptionHandler(handler => handler.Run(AnswerError));
        app.Use((context, next) =>
        {
            context.User = Roles.Principal((string?)context.Request.Headers["X-User"] ?? "ada", Roles.Parse((string?)context.Request.Headers["X-Role"] ?? "ml_engineer"));
            return next(context);
        });
        map(app);
        await app.StartAsync();
        return new AreaHost(app, data);
    }

    public async Task<(int Status, JsonElement Body)> SendAsync(HttpMethod method, string path, object? body = null)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null)
        {
            request.Content = new StringContent(body as string ?? JsonSerializer.Serialize(body), System.Text.Encoding.UTF8, "application/json");
        }

        using var response = await Client.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        return ((int)response.StatusCode, text.Length == 0 ? default : JsonDocument.Parse(text).RootElement.Clone());
    }

    public Task<(int Status, JsonElement Body)> GetAsync(string path) => SendAsync(HttpMethod.Get, path);

    public Task<(int Status, JsonElement Body)> PostAsync(string path, object body) => SendAsync(HttpMethod.Post, path, body);

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
        Directory.Delete(_data, recursive: true);
    }

    private static Task AnswerError(HttpContext context)
    {
        var feature = context.Features.Get<IExceptionHandlerFeature>()!;
        var (name, status) = feature.Error switch
        {
            SlipwayException failure => MlflowErrorCodes.Of(failure.Code),
            BadHttpRequestException bad => ("BAD_REQUEST", bad.StatusCode),
            _ => ("INTERNAL_ERROR", 500),
        };
        context.Response.StatusCode = status;
        return context.Response.WriteAsJsonAsync(new { error_code = name, message = feature.Error.Message });
    }
}
