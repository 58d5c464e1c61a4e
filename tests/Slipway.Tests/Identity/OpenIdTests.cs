using System.Buffers.Text;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts.Identity;
using Slipway.Identity.OpenId;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Tests.Identity;

/// <summary>Signing in at a real OpenID provider, and its tokens in the hands of programs and of forgers.</summary>
[Trait("capability", "X-51")]
public sealed class OpenIdTests : IAsyncLifetime
{
    private readonly Ahead _clock = new();
    private OpenIdServer _provider = null!;
    private WholeServer _server = null!;

    public async ValueTask InitializeAsync()
    {
        _provider = await OpenIdServer.StartAsync(new Dictionary<string, object>
        {
            ["Dora"] = new { roles = new[] { "data", "visitors" }, groups = new[] { "Risk Team", "ethics" } },
            ["nobody"] = new { roles = new[] { "kitchen" } },
            ["ada"] = new { roles = new[] { "ops" } },
        });
        var options = OpenIdOptions.Of(
            _provider.Issuer, OpenIdServer.ClientId, OpenIdServer.ClientSecret, null, null, null, null, "data=data_scientist,ops=ml_engineer,visitors=viewer,machines=service", null, OpenIdServer.Audience);
        _server = await WholeServer.StartAsync(server => server with { OpenId = options }, services => services.AddSingleton<TimeProvider>(_clock));
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        await _provider.DisposeAsync();
    }

    [Fact]
    public async Task A_user_signs_in_at_the_provider_and_has_the_role_and_groups_of_its_claims()
    {
        var (end, cookies) = await SignInAsync("Dora");

        Assert.Equal("/models", end.RequestUri!.PathAndQuery);
        var user = _server.Users.Find("dora")!;
        Assert.Equal((Role.DataScientist, "ethics risk-team", $"{_provider.Issuer}|Dora"), (user.Role, string.Join(' ', user.Groups), user.ProviderSubject));
        var session = cookies.GetCookies(_server.Address)["slipway_session"]!;
        Assert.True(session.HttpOnly);
        Assert.Contains("dora", (await _server.BrowseAsync("/experiments", $"slipway_session={session.Value}")).Text, StringComparison.Ordinal);
        Assert.Null(cookies.GetCookies(_server.Address)["slipway_openid"]);
        Assert.Equal(["user.signed_in", "user.created"], _server.Service<AuditTrail>().List(new NodeRef(NodeKinds.User, "dora")).Select(row => row.Action));

        // The second sign-in makes no second user.
        await SignInAsync("Dora");
        Assert.Single(_server.Users.List(), each => each.Name == "dora");
    }

    [Fact]
    public async Task Who_has_no_role_here_or_is_disabled_or_has_another_s_name_does_not_come_in()
    {
        Assert.Contains("has no role here", await (await SignInAsync("nobody")).End.ReadAsync(), StringComparison.Ordinal);

        await _server.AddAsync("ada", Role.Administrator);
        Assert.Contains("There is a user &#x27;ada&#x27; already", await (await SignInAsync("ada")).End.ReadAsync(), StringComparison.Ordinal);
        Assert.Null(_server.Users.Find("ada")!.ProviderSubject);

        await SignInAsync("Dora");
        await _server.Users.SetStateAsync("dora", active: false, Caller.System("test"), WholeServer.Cancel);
        var (end, cookies) = await SignInAsync("Dora");
        Assert.Contains("disabled", await end.ReadAsync(), StringComparison.Ordinal);
        Assert.Null(cookies.GetCookies(_server.Address)["slipway_session"]);
    }

    [Fact]
    public async Task An_answer_that_does_not_belong_to_this_browser_s_question_is_refused()
    {
        foreach (var query in new[] { "?code=x&state=y", "?code=x", "?error=access_denied&state=y", "?error=%3Cscript%3E&state=y" })
        {
            var answer = await _server.GetAsync($"/sign-in/openid/callback{query}", null);
            Assert.Equal(HttpStatusCode.Unauthorized, answer.Status);
            Assert.DoesNotContain("<script>", answer.Text, StringComparison.Ordinal);
        }

        // The code of one browser, with its state, in another browser: the cookie of the question is missing there.
        var (end, _) = await SignInAsync("Dora", stopBeforeCallback: true);
        Assert.Contains("code=", end.RequestUri!.Query, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.Unauthorized, (await _server.GetAsync(end.RequestUri.PathAndQuery, null)).Status);
        Assert.Null(_server.Users.Find("dora"));
    }

    [Fact]
    public async Task Programs_send_the_provider_s_tokens_until_a_letter_of_them_is_changed()
    {
        var token = await MachineTokenAsync();

        var me = await _server.GetAsync($"{WholeServer.Api}/whoami", token);
        Assert.True(me.Status == HttpStatusCode.OK, me.Text);
        Assert.Equal(("machine", "service"), (me.Json.GetProperty("name").GetString(), me.Json.GetProperty("role").GetString()));

        var parts = token.Split('.');
        var claims = Encoding.UTF8.GetString(Base64Url.DecodeFromChars(parts[1])).Replace("machines", "ops", StringComparison.Ordinal);
        var header = Encoding.UTF8.GetString(Base64Url.DecodeFromChars(parts[0]));
        string[] forged =
        [
            $"{parts[0]}.{Encode(claims)}.{parts[2]}",
            $"{Encode("""{"alg":"none"}""")}.{Encode(claims)}.",
            $"{Encode(header.Replace("ES256", "none", StringComparison.Ordinal))}.{Encode(claims)}.",
            $"{Encode(header.Replace("ES256", "HS256", StringComparison.Ordinal))}.{parts[1]}.{parts[2]}",
            $"{Encode(header.Replace("ES256", "RS256", StringComparison.Ordinal))}.{parts[1]}.{parts[2]}",
            $"{parts[0]}.{parts[1]}.",
            "a.b.c",
        ];
        foreach (var wrong in forged)
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await _server.GetAsync($"{WholeServer.Api}/whoami", wrong)).Status);
        }
    }

    [Fact]
    public async Task Keys_that_the_provider_has_changed_are_fetched_again_and_the_old_ones_forgotten()
    {
        var unused = await MachineTokenAsync();
        Assert.Equal(HttpStatusCode.OK, (await _server.GetAsync($"{WholeServer.Api}/whoami", await MachineTokenAsync())).Status);
        await _provider.RotateKeysAsync();

        var next = await MachineTokenAsync();
        _clock.By = TimeSpan.FromSeconds(11);
        Assert.Equal(HttpStatusCode.OK, (await _server.GetAsync($"{WholeServer.Api}/whoami", next)).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await _server.GetAsync($"{WholeServer.Api}/whoami", unused)).Status);
    }

    [Fact]
    public async Task Without_the_provider_passwords_and_keys_still_work_and_the_page_says_what_is_wrong()
    {
        var key = await _server.AddAsync("grace", Role.Approver);
        _provider.Kill();
        await using var restart = new AsyncRestart(_provider);

        var page = await _server.GetAsync("/sign-in/openid", null);

        Assert.Equal(HttpStatusCode.ServiceUnavailable, page.Status);
        Assert.Contains("does not answer as it should", page.Text, StringComparison.Ordinal);
        Assert.DoesNotContain(OpenIdServer.ClientSecret, page.Text, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await _server.GetAsync($"{WholeServer.Api}/whoami", key)).Status);
    }

    // Follows the redirections of both servers, and fills in the provider's own sign-in form.
    private async Task<(End End, CookieContainer Cookies)> SignInAsync(string account, bool stopBeforeCallback = false)
    {
        var cookies = new CookieContainer();
        using var client = new HttpClient(new SocketsHttpHandler { CookieContainer = cookies, AllowAutoRedirect = false });
        var request = new HttpRequestMessage(HttpMethod.Get, new Uri(_server.Address, "/sign-in/openid?back=/models"));
        for (var hops = 0; hops < 15; hops++)
        {
            using var answer = await client.SendAsync(request, WholeServer.Cancel);
            var at = request.RequestUri!;
            if (answer.Headers.Location is { } location)
            {
                var next = new Uri(at, location);
                if ((stopBeforeCallback && next.AbsolutePath == "/sign-in/openid/callback") || (next.Port == _server.Address.Port && next.AbsolutePath == "/models"))
                {
                    return (new End(next, ""), cookies);
                }

                request = new HttpRequestMessage(HttpMethod.Get, next);
                continue;
            }

            var text = await answer.Content.ReadAsStringAsync(WholeServer.Cancel);
            if (at.Port == _server.Address.Port)
            {
                return (new End(at, text), cookies);
            }

            var form = Regex.Match(text, """<form[^>]*action="([^"]+)"[^>]*method="post""", RegexOptions.IgnoreCase);
            Assert.True(form.Success, text);
            request = new HttpRequestMessage(HttpMethod.Post, new Uri(at, form.Groups[1].Value))
            {
                Content = new FormUrlEncodedContent([new("prompt", "login"), new("login", account), new("password", "any")]),
            };
        }

        throw new InvalidOperationException("Too many redirections.");
    }

    private async Task<string> MachineTokenAsync()
    {
        using var client = new HttpClient();
        using var request = new HttpRequestMessage(HttpMethod.Post, $"{_provider.Issuer}/token") { Content = new FormUrlEncodedContent([new("grant_type", "client_credentials"), new("scope", "api")]) };
        request.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String("machine:machine-secret"u8));
        using var answer = await client.SendAsync(request, WholeServer.Cancel);
        var text = await answer.Content.ReadAsStringAsync(WholeServer.Cancel);
        Assert.True(answer.IsSuccessStatusCode, text);
        return JsonDocument.Parse(text).RootElement.GetProperty("access_token").GetString()!;
    }

    private static string Encode(string text) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(text));

    private sealed record End(Uri RequestUri, string Text)
    {
        public Task<string> ReadAsync() => Task.FromResult(Text);
    }

    // The provider's tokens are of now; this server may be some seconds ahead.
    private sealed class Ahead : TimeProvider
    {
        public TimeSpan By { get; set; }

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + By;
    }

    // The provider is ended once more when the test is over, whatever the test did with it.
    private sealed class AsyncRestart(OpenIdServer provider) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync() => await provider.StartAgainAsync();
    }
}
