using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts.Identity;
using Slipway.EndToEnd.Pages;
using Slipway.Identity;
using Slipway.Storage;
using Slipway.Web;

namespace Slipway.EndToEnd.BadInput;

/// <summary>One server with a model in production and a user of each role, shared by all tests of bad input: what one test sends must not harm the next.</summary>
public sealed class BadInputFixture : ServerFixture
{
    public const string Api = "/api/slipway/v1";
    public const string Infer = $"/v2/models/{Seed.Model}/infer";

    private readonly Dictionary<Role, string> _tokens = [];

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        while (!(await Client.GetAsync(new Uri($"/v2/models/{Seed.Model}/ready", UriKind.Relative), limit.Token)).IsSuccessStatusCode)
        {
            await Task.Delay(20, limit.Token);
        }
    }

    public async Task<(HttpStatusCode Status, string Text)> SendAsync(
        HttpMethod method, string path, HttpContent? content = null, Role? role = null, Action<HttpRequestMessage>? change = null)
    {
        using var request = new HttpRequestMessage(method, new Uri(path, UriKind.Relative)) { Content = content };
        if (role is { } known)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", _tokens[known]);
        }

        change?.Invoke(request);
        using var answer = await Client.SendAsync(request, TestContext.Current.CancellationToken);
        return (answer.StatusCode, await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
    }

    public Task<(HttpStatusCode Status, string Text)> PostAsync(string path, string json, Role? role = null) =>
        SendAsync(HttpMethod.Post, path, new StringContent(json, Encoding.UTF8, "application/json"), role);

    public Task<(HttpStatusCode Status, string Text)> PostBytesAsync(string path, byte[] body) =>
        SendAsync(HttpMethod.Post, path, new ByteArrayContent(body) { Headers = { ContentType = new MediaTypeHeaderValue("application/octet-stream") } });

    public Task<(HttpStatusCode Status, string Text)> ApplyAsync(string yaml) =>
        PostAsync($"{Api}/definitions", JsonSerializer.Serialize(new { files = new[] { new { path = "x.yaml", yaml } } }));

    /// <summary>The request target exactly as given: no client may tidy it up first.</summary>
    public async Task<(int Status, string Text)> SendRawAsync(string method, string target, string headers = "", string host = "127.0.0.1")
    {
        var ct = TestContext.Current.CancellationToken;
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, Server.Address.Port, ct);
        await using var stream = socket.GetStream();
        await stream.WriteAsync(Encoding.Latin1.GetBytes($"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"), ct);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        var answer = await reader.ReadToEndAsync(ct);
        return (int.Parse(answer.AsSpan(9, 3), System.Globalization.CultureInfo.InvariantCulture), answer[(answer.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..]);
    }

    /// <summary>A refusal is 4xx with one sentence of ours; the server is well and has logged no fault.</summary>
    public async Task AssertRefusedAsync((HttpStatusCode Status, string Text) answer, params string[] words)
    {
        Assert.True((int)answer.Status is >= 400 and < 500, $"{answer.Status}: {answer.Text}");
        var body = JsonDocument.Parse(answer.Text).RootElement;
        var sentence = new[] { "detail", "message", "error" }.Select(name => body.TryGetProperty(name, out var text) ? text.GetString() : null).First(text => text is not null)!;
        Assert.InRange(sentence.Length, 10, 4000);
        Assert.EndsWith(".", sentence.TrimEnd('}', '\''), StringComparison.Ordinal);
        Assert.DoesNotContain("Exception", sentence, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", sentence, StringComparison.Ordinal);
        Assert.DoesNotContain("Failed to bind", sentence, StringComparison.Ordinal);
        Assert.All(words, word => Assert.Contains(word, sentence, StringComparison.Ordinal));
        await AssertWellAsync();
    }

    public async Task AssertWellAsync()
    {
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Get, "/health")).Status);
        Assert.DoesNotContain(" fail: ", Server.Said, StringComparison.Ordinal);
    }

    protected override async Task SeedAsync(string dataDirectory)
    {
        await Seed.WriteAsync(dataDirectory);
        await using var app = SlipwayServer.Build(new ServerOptions { DataDirectory = dataDirectory, Port = 0, GrpcPort = 0 });
        var users = app.Services.GetRequiredService<UserStore>();
        foreach (var role in Enum.GetValues<Role>())
        {
            _tokens[role] = (await users.CreateAsync($"a-{role}".ToLowerInvariant(), role, Caller.System("test"), default)).Token;
        }
    }
}

[CollectionDefinition(Name)]
public sealed class BadInputServer : ICollectionFixture<BadInputFixture>
{
    public const string Name = "bad input";
}
