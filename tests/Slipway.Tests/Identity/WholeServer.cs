using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts.Identity;
using Slipway.Identity;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Tests.Storage;
using Slipway.Web;

namespace Slipway.Tests.Identity;

/// <summary>The whole server as other machines reach it: nobody comes in without credentials. Time moves only when told to.</summary>
internal sealed class WholeServer : IAsyncDisposable
{
    public const string Api = "/api/slipway/v1";

    private readonly WebApplication _app;
    private readonly string _data;

    private WholeServer(WebApplication app, string data)
    {
        (_app, _data) = (app, data);
        Address = new Uri(app.Urls.First().Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal));
        Client = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false }) { BaseAddress = Address };
    }

    public ManualClock Clock { get; private init; } = new();

    public Uri Address { get; }

    public HttpClient Client { get; }

    public UserStore Users => Service<UserStore>();

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public T Service<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    public static async Task<WholeServer> StartAsync(Func<ServerOptions, ServerOptions>? change = null, Action<IServiceCollection>? services = null)
    {
        var data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        var clock = new ManualClock();
        var options = new ServerOptions { DataDirectory = data, Database = TestDatabase.Address(data), Host = "0.0.0.0", Port = 0, GrpcPort = 0 };
        var app = SlipwayServer.Build(change?.Invoke(options) ?? options, collection =>
        {
            collection.AddSingleton<TimeProvider>(clock);
            services?.Invoke(collection);
        });
        await app.StartAsync(Cancel);
        return new WholeServer(app, data) { Clock = clock };
    }

    /// <summary>A user with an API key for everything.</summary>
    public async Task<string> AddAsync(string name, Role role, params string[] groups) => (await Users.CreateAsync(name, role, Caller.System("test"), Cancel, groups)).Token;

    /// <summary>Sends a request; <paramref name="credentials"/> is a token, or the whole header when it holds a blank, or null.</summary>
    public async Task<Answer> SendAsync(HttpMethod method, string path, string? credentials, object? body = null, Action<HttpRequestMessage>? change = null)
    {
        using var request = new HttpRequestMessage(method, path);
        if (credentials is not null)
        {
            request.Headers.TryAddWithoutValidation("Authorization", credentials.Contains(' ', StringComparison.Ordinal) ? credentials : $"Bearer {credentials}");
        }

        request.Content = body switch
        {
            null => null,
            HttpContent content => content,
            string text => new StringContent(text, Encoding.UTF8, "application/json"),
            _ => new StringContent(JsonSerializer.Serialize(body), Encoding.UTF8, "application/json"),
        };
        change?.Invoke(request);
        using var response = await Client.SendAsync(request, Cancel);
        return new Answer(response.StatusCode, await response.Content.ReadAsStringAsync(Cancel), response.Headers);
    }

    public Task<Answer> GetAsync(string path, string? credentials) => SendAsync(HttpMethod.Get, path, credentials);

    public Task<Answer> PostAsync(string path, string? credentials, object body) => SendAsync(HttpMethod.Post, path, credentials, body);

    /// <summary>Posts a form as a browser on one of our own pages does.</summary>
    public Task<Answer> FormAsync(string path, string? cookie, params (string Name, string Value)[] fields) => SendAsync(
        HttpMethod.Post, path, null, new FormUrlEncodedContent(fields.ToDictionary(field => field.Name, field => field.Value)), request =>
        {
            request.Headers.Add("Origin", Address.GetLeftPart(UriPartial.Authority));
            request.Headers.Add("Sec-Fetch-Site", "same-origin");
            if (cookie is not null)
            {
                request.Headers.Add("Cookie", cookie);
            }
        });

    public Task<Answer> BrowseAsync(string path, string cookie) => SendAsync(HttpMethod.Get, path, null, null, request => request.Headers.Add("Cookie", cookie));

    /// <summary>A name that no other test has.</summary>
    public static string NewName(string begin) => $"{begin}-{Guid.NewGuid():N}"[..(begin.Length + 9)];

    public static string Basic(string user, string password) => "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{password}"));

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        Directory.Delete(_data, recursive: true);
    }
}

/// <summary>One server for all tests of a class: each test has users of its own, and begins two hours after the one before.</summary>
public sealed class WholeServerFixture : IAsyncLifetime
{
    internal WholeServer Server { get; private set; } = null!;

    /// <summary>The key of an administrator.</summary>
    public string Administrator { get; private set; } = "";

    public async ValueTask InitializeAsync()
    {
        Server = await WholeServer.StartAsync();
        Administrator = await Server.AddAsync("boss", Role.Administrator);
    }

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}

/// <summary>What came back.</summary>
internal sealed record Answer(HttpStatusCode Status, string Text, HttpResponseHeaders Headers)
{
    public JsonElement Json => JsonDocument.Parse(Text).RootElement;

    /// <summary>The name and value of the cookie that was set; null for none.</summary>
    public string? Cookie => SetCookie?.Split(';')[0];

    public string? SetCookie => Headers.TryGetValues("Set-Cookie", out var values) ? values.First() : null;
}
