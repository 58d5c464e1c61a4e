using System.Net;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts.Identity;
using Slipway.Identity.Sessions;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Tests.Identity;

/// <summary>Browsers: signing in, staying signed in, and what ends it.</summary>
public sealed class SessionTests(WholeServerFixture fixture) : IClassFixture<WholeServerFixture>, IAsyncLifetime
{
    private const string Password = "correct horse battery";
    private readonly WholeServer _server = fixture.Server;
    private readonly string _ada = WholeServer.NewName("ada");

    public async ValueTask InitializeAsync()
    {
        _server.Clock.Advance(TimeSpan.FromHours(2));
        await _server.Users.CreateWithPasswordAsync(_ada, Role.DataScientist, Password, Caller.System("test"), WholeServer.Cancel);
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact, Trait("capability", "X-51")]
    public async Task Signing_in_sets_a_cookie_that_scripts_cannot_read_and_signing_out_makes_it_worthless()
    {
        var answer = await SignIn();

        Assert.Equal((HttpStatusCode.Found, "/models"), (answer.Status, answer.Headers.Location!.OriginalString));
        Assert.Contains("httponly", answer.SetCookie!, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("samesite=lax", answer.SetCookie!, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("secure", answer.SetCookie!, StringComparison.OrdinalIgnoreCase); // Over http a browser would throw it away.
        var cookie = answer.Cookie!;
        Assert.Contains(_ada, (await _server.BrowseAsync("/experiments", cookie)).Text, StringComparison.Ordinal);
        var stored = _server.Service<Database>().Read(connection => connection.QuerySingle<string>("SELECT id_sha256 FROM web_sessions WHERE user_name = @user", new { user = _ada }));
        Assert.DoesNotContain(cookie.Split('=')[1], stored, StringComparison.Ordinal);
        Assert.True(cookie.Split('=')[1].Length >= 43); // 256 bits.

        var signedOut = await _server.FormAsync("/sign-out", cookie);
        Assert.Equal((HttpStatusCode.Found, "/sign-in"), (signedOut.Status, signedOut.Headers.Location!.OriginalString));
        Assert.Equal(HttpStatusCode.Found, (await _server.BrowseAsync("/experiments", cookie)).Status);
        Assert.Equal(0L, _server.Service<Database>().Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM web_sessions WHERE user_name = @user", new { user = _ada })));
        Assert.Equal(["user.signed_out", "user.signed_in"], _server.Service<AuditTrail>().List(new NodeRef(NodeKinds.User, _ada)).Select(row => row.Action).Take(2));
    }

    [Fact]
    public async Task A_wrong_password_and_an_unknown_user_get_the_same_page()
    {
        var wrong = await _server.FormAsync("/sign-in", null, ("user", _ada), ("password", "wrong password"));
        var unknown = await _server.FormAsync("/sign-in", null, ("user", "eve"), ("password", "wrong password"));

        Assert.Equal((HttpStatusCode.Unauthorized, HttpStatusCode.Unauthorized), (wrong.Status, unknown.Status));
        Assert.Equal(wrong.Text, unknown.Text);
        Assert.Null(wrong.SetCookie);
        Assert.DoesNotContain("wrong password", wrong.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("//evil.example")]
    [InlineData("/\\evil.example")]
    [InlineData("https://evil.example")]
    [InlineData("javascript:alert(1)")]
    public async Task After_signing_in_nobody_is_led_elsewhere(string back) =>
        Assert.Equal("/", (await _server.FormAsync("/sign-in", null, ("user", _ada), ("password", Password), ("back", back))).Headers.Location!.OriginalString);

    [Fact]
    public async Task A_session_ends_when_it_is_idle_and_after_a_week_in_any_case()
    {
        var cookie = (await SignIn()).Cookie!;

        for (var hours = 0; hours < 7 * 24 - 11; hours += 11)
        {
            Assert.Equal(HttpStatusCode.OK, (await _server.BrowseAsync("/experiments", cookie)).Status);
            _server.Clock.Advance(TimeSpan.FromHours(11));
        }

        _server.Clock.Advance(TimeSpan.FromHours(11));
        Assert.Equal(HttpStatusCode.Found, (await _server.BrowseAsync("/experiments", cookie)).Status);

        var other = (await SignIn()).Cookie!;
        _server.Clock.Advance(SessionStore.IdleMax);
        Assert.Equal(HttpStatusCode.Found, (await _server.BrowseAsync("/experiments", other)).Status);
    }

    [Theory]
    [InlineData("disabled")]
    [InlineData("password")]
    [InlineData("deleted")]
    [InlineData("signed out everywhere")]
    public async Task What_changes_for_the_user_ends_its_sessions_at_once(string change)
    {
        var (first, second) = ((await SignIn()).Cookie!, (await SignIn()).Cookie!);
        Assert.Equal(HttpStatusCode.OK, (await _server.BrowseAsync("/experiments", first)).Status);
        Assert.Equal(HttpStatusCode.OK, (await _server.BrowseAsync("/experiments", second)).Status);

        var by = Caller.System("test");
        await (change switch
        {
            "disabled" => _server.Users.SetStateAsync(_ada, active: false, by, WholeServer.Cancel),
            "password" => _server.Users.SetPasswordAsync(_ada, "another one altogether", by, WholeServer.Cancel),
            "deleted" => DeleteAsync(by),
            _ => _server.Service<SessionStore>().EndAllAsync(_ada, by, WholeServer.Cancel),
        });

        Assert.Equal(HttpStatusCode.Found, (await _server.BrowseAsync("/experiments", first)).Status);
        Assert.Equal(HttpStatusCode.Found, (await _server.BrowseAsync("/experiments", second)).Status);
        Assert.Equal(0L, _server.Service<Database>().Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM web_sessions WHERE user_name = @user", new { user = _ada })));
    }

    private async Task DeleteAsync(Caller by)
    {
        await _server.AddAsync(WholeServer.NewName("other-boss"), Role.Administrator);
        await _server.Users.DeleteAsync(_ada, by, WholeServer.Cancel);
    }

    [Theory]
    [InlineData(null, null, false)]
    [InlineData("http://evil.example", "cross-site", false)]
    [InlineData("http://127.0.0.1:1", "same-site", false)]
    [InlineData("null", "cross-site", false)]
    [InlineData("OURS", "same-site", false)]
    [InlineData("OURS", "same-origin", true)]
    [InlineData("OURS", null, true)]
    [InlineData(null, "same-origin", true)]
    public async Task A_change_with_a_cookie_has_to_come_from_one_of_our_pages(string? origin, string? site, bool taken)
    {
        var cookie = (await SignIn()).Cookie!;

        var answer = await _server.SendAsync(HttpMethod.Post, "/api/2.0/mlflow/experiments/create", null, new { name = $"by-{_ada}" }, request =>
        {
            request.Headers.Add("Cookie", cookie);
            if (origin is not null)
            {
                request.Headers.Add("Origin", origin == "OURS" ? _server.Address.GetLeftPart(UriPartial.Authority) : origin);
            }

            if (site is not null)
            {
                request.Headers.Add("Sec-Fetch-Site", site);
            }
        });

        Assert.Equal(taken ? HttpStatusCode.OK : HttpStatusCode.Forbidden, answer.Status);
        Assert.Equal(taken ? 1L : 0L, _server.Service<Database>().Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM experiments WHERE name = @name", new { name = $"by-{_ada}" })));
    }

    [Fact]
    public async Task A_sign_in_or_out_that_another_site_s_page_sends_does_nothing()
    {
        var cookie = (await SignIn()).Cookie!;
        foreach (var path in new[] { "/sign-in", "/sign-out" })
        {
            var answer = await _server.SendAsync(HttpMethod.Post, path, null, new FormUrlEncodedContent([new("user", _ada), new("password", Password)]), request =>
            {
                request.Headers.Add("Origin", "http://evil.example");
                request.Headers.Add("Cookie", cookie);
            });
            Assert.Equal((HttpStatusCode.Forbidden, null), (answer.Status, answer.SetCookie));
        }

        Assert.Equal(HttpStatusCode.OK, (await _server.BrowseAsync("/experiments", cookie)).Status);
    }

    [Fact]
    public async Task A_token_signs_a_browser_in_unless_it_is_limited()
    {
        var grace = WholeServer.NewName("grace");
        var key = await _server.AddAsync(grace, Role.Approver);
        var (_, limited) = await _server.Service<Slipway.Identity.Keys.KeyStore>().CreateAsync(
            grace, "only-reads", new KeyLimits([Slipway.Contracts.Permission.Read], null, null, null), null, Caller.System("test"), WholeServer.Cancel);

        Assert.Equal(HttpStatusCode.Found, (await _server.FormAsync("/sign-in", null, ("token", key))).Status);
        Assert.Equal((HttpStatusCode.Forbidden, null), Status(await _server.FormAsync("/sign-in", null, ("token", limited))));
        Assert.Equal((HttpStatusCode.Unauthorized, null), Status(await _server.FormAsync("/sign-in", null, ("token", "slw_0000000000000000000000000000000000000000000"))));
    }

    [Fact, Trait("capability", "OPS-01")]
    public async Task A_link_lets_in_once_to_choose_a_password_and_looking_at_it_uses_nothing_up()
    {
        var links = _server.Service<SignInLinkStore>();
        var code = await links.CreateAsync(_ada, Caller.System("test"), WholeServer.Cancel);
        Assert.Contains(_ada, (await _server.GetAsync($"/sign-in/link?code={code}", null)).Text, StringComparison.Ordinal);
        Assert.Contains(_ada, (await _server.GetAsync($"/sign-in/link?code={code}", null)).Text, StringComparison.Ordinal);

        Assert.Equal(HttpStatusCode.BadRequest, (await _server.FormAsync("/sign-in/link", null, ("code", code), ("password", "short"))).Status);
        var used = await _server.FormAsync("/sign-in/link", null, ("code", code), ("password", "chosen by myself"));
        Assert.Equal(HttpStatusCode.Found, used.Status);
        Assert.Equal(HttpStatusCode.OK, (await _server.BrowseAsync("/experiments", used.Cookie!)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await _server.FormAsync("/sign-in/link", null, ("code", code), ("password", "chosen by another"))).Status);
        Assert.Equal(HttpStatusCode.OK, (await _server.GetAsync($"{WholeServer.Api}/whoami", WholeServer.Basic(_ada, "chosen by myself"))).Status);

        var late = await links.CreateAsync(_ada, Caller.System("test"), WholeServer.Cancel);
        _server.Clock.Advance(SignInLinkStore.Life);
        Assert.Equal(HttpStatusCode.NotFound, (await _server.GetAsync($"/sign-in/link?code={late}", null)).Status);
        Assert.DoesNotContain(_server.Service<AuditTrail>().List(), row => row.AfterJson?.Contains(code, StringComparison.Ordinal) is true);
    }

    [Fact]
    public async Task Behind_a_proxy_with_https_the_cookie_is_for_https_and_this_host_alone()
    {
        await using var server = await WholeServer.StartAsync(options => options with { PublicAddress = "https://models.example.com" });
        await server.Users.CreateWithPasswordAsync("other", Role.Viewer, Password, Caller.System("test"), WholeServer.Cancel);

        var answer = await server.SendAsync(HttpMethod.Post, "/sign-in", null, new FormUrlEncodedContent([new("user", "other"), new("password", Password)]), request =>
        {
            request.Headers.Host = "models.example.com";
            request.Headers.Add("Origin", "https://models.example.com");
        });

        Assert.StartsWith("__Host-slipway_session=", answer.SetCookie!, StringComparison.Ordinal);
        Assert.Contains("secure", answer.SetCookie!, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("path=/", answer.SetCookie!, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("domain", answer.SetCookie!, StringComparison.OrdinalIgnoreCase);
    }

    // The name without a prefix can be set by another host of the domain, or by a page without https: with a session of the attacker's own in it.
    [Fact]
    public async Task Behind_a_proxy_with_https_a_session_under_the_other_cookie_s_name_counts_for_nothing()
    {
        await using var server = await WholeServer.StartAsync(options => options with { PublicAddress = "https://models.example.com" });
        await server.Users.CreateWithPasswordAsync("other", Role.Viewer, Password, Caller.System("test"), WholeServer.Cancel);
        var id = await server.Service<SessionStore>().StartAsync("other", "password", Caller.System("test"), WholeServer.Cancel);

        Assert.Equal(HttpStatusCode.Found, (await server.BrowseAsync("/experiments", $"slipway_session={id}")).Status);
        Assert.Equal(HttpStatusCode.OK, (await server.BrowseAsync("/experiments", $"__Host-slipway_session={id}")).Status);
        Assert.Equal(HttpStatusCode.OK, (await server.BrowseAsync("/experiments", $"slipway_session=planted; __Host-slipway_session={id}")).Status);
    }

    [Fact]
    public async Task Signing_out_with_a_cookie_that_is_no_session_writes_nothing()
    {
        long Revision() => _server.Service<Database>().Read(connection => connection.ExecuteScalar<long>("SELECT revision FROM identity_revision"));
        var before = Revision();

        foreach (var cookie in new[] { "slipway_session=made-up", $"slipway_session={new string('x', 4000)}" })
        {
            Assert.Equal(HttpStatusCode.Found, (await _server.FormAsync("/sign-out", cookie)).Status);
        }

        Assert.Equal(before, Revision());
    }

    [Fact]
    public async Task Behind_a_proxy_a_link_names_the_address_that_its_user_reaches()
    {
        await using var server = await WholeServer.StartAsync(options => options with { PublicAddress = "https://models.example.com" });
        var key = await server.AddAsync("grace", Role.Administrator);

        var link = (await server.SendAsync(HttpMethod.Post, $"{WholeServer.Api}/users/grace/link", key)).Json.GetProperty("url").GetString();

        Assert.StartsWith("https://models.example.com/sign-in/link?code=", link, StringComparison.Ordinal);
    }

    private static (HttpStatusCode, string?) Status(Answer answer) => (answer.Status, answer.SetCookie);

    private Task<Answer> SignIn() => _server.FormAsync("/sign-in", null, ("user", _ada), ("password", Password), ("back", "/models"));
}
