using System.Text;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Identity;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Identity;

public sealed class IdentityTests : IAsyncLifetime
{
    private AreaHost _host = null!;

    private UserStore Users => _host.Service<UserStore>();

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayIdentity(), app => app.MapSlipwayIdentity());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [Trait("capability", "OPS-02")]
    [InlineData(Role.Viewer, "Read")]
    [InlineData(Role.Service, "Read Predict")]
    [InlineData(Role.Engineer, "Read Predict Write")]
    [InlineData(Role.Approver, "Read Predict Write Approve")]
    [InlineData(Role.Admin, "Read Predict Write Approve Admin")]
    public void A_role_holds_exactly_its_permissions(Role role, string permissions)
    {
        Assert.Equal(permissions, string.Join(' ', Roles.Of(role)));
        Assert.False(Roles.Allows(role, (Permission)99));
        Assert.Equal(role, Roles.RoleOf(Roles.Principal("ada", role)));
    }

    [Fact]
    public async Task A_token_finds_its_user_and_is_stored_only_as_a_digest()
    {
        var (user, token) = await Users.CreateAsync("grace", Role.Approver, Caller.System("test"), default);

        Assert.StartsWith("slw_", token, StringComparison.Ordinal);
        Assert.Equal(user, Users.FindByToken(token));
        Assert.Equal(user, Users.FindByToken(token));
        Assert.Null(Users.FindByToken(token[..^1] + (token[^1] == 'A' ? 'E' : 'A')));
        Assert.Null(Users.FindByToken(""));
        Assert.Equal(user, Users.Find("grace"));
        var stored = _host.Read(connection => connection.QuerySingle<string>("SELECT token_sha256 FROM users WHERE name = 'grace'"));
        Assert.Equal(64, stored.Length);
        Assert.DoesNotContain(_host.Service<AuditTrail>().List(), row => row.AfterJson!.Contains(token, StringComparison.Ordinal));
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task Making_a_user_is_audited_with_its_maker_and_role()
    {
        await Users.CreateAsync("grace", Role.Approver, new Caller("admin", "request-1"), default);

        var row = Assert.Single(_host.Service<AuditTrail>().List(new NodeRef(NodeKinds.User, "grace")));
        Assert.Equal(("admin", "user.created", "request-1"), (row.Actor, row.Action, row.RequestId));
        Assert.Contains("approver", row.AfterJson, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("Ada")]
    [InlineData("-ada")]
    [InlineData("system:x")]
    [InlineData("ada\n")]
    [InlineData("local")]
    [InlineData("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
    public async Task A_name_the_server_could_mistake_is_refused_and_nothing_is_written(string name)
    {
        var error = await Assert.ThrowsAsync<SlipwayException>(() => Users.CreateAsync(name, Role.Viewer, Caller.System("test"), default));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains("'name'", error.Message, StringComparison.Ordinal);
        Assert.Empty(Users.List());
    }

    [Fact]
    public async Task A_taken_name_keeps_its_first_token()
    {
        var (_, token) = await Users.CreateAsync("grace", Role.Viewer, Caller.System("test"), default);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Users.CreateAsync("grace", Role.Admin, Caller.System("test"), default));

        Assert.Equal(ErrorCode.AlreadyExists, error.Code);
        Assert.Equal(Role.Viewer, Users.FindByToken(token)!.Role);
    }

    [Fact]
    public async Task The_first_start_makes_one_admin_and_later_starts_none()
    {
        var tokens = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Users.BootstrapAdminAsync(default)));

        var token = Assert.Single(tokens, token => token is not null);
        Assert.Equal(("admin", Role.Admin), (Users.FindByToken(token!)!.Name, Users.FindByToken(token!)!.Role));
        Assert.Null(await Users.BootstrapAdminAsync(default));
    }

    [Fact]
    public void The_token_is_read_from_bearer_and_from_the_basic_password()
    {
        var basic = Convert.ToBase64String(Encoding.UTF8.GetBytes("anyone:slw_abc:d"));

        Assert.Equal("slw_abc", Credentials.Token("Bearer slw_abc"));
        Assert.Equal("slw_abc", Credentials.Token("bearer  slw_abc "));
        Assert.Equal("slw_abc:d", Credentials.Token($"Basic {basic}"));
        Assert.Equal("", Credentials.Token("Basic %%%"));
        Assert.Equal("", Credentials.Token("Digest abc"));
        Assert.Null(Credentials.Token(null));
        Assert.Null(Credentials.Token(""));
    }

    [Fact]
    public async Task Users_are_made_and_listed_over_http_and_the_list_shows_no_token()
    {
        var (status, created) = await _host.PostAsync("/api/slipway/v1/users", new { name = "grace", role = "approver" });
        var (_, list) = await _host.GetAsync("/api/slipway/v1/users");
        var (_, me) = await _host.GetAsync("/api/slipway/v1/whoami");

        Assert.Equal(201, status);
        Assert.Equal("grace", Users.FindByToken(created.GetProperty("token").GetString()!)!.Name);
        Assert.Equal("approver", list.GetProperty("users")[0].GetProperty("role").GetString());
        Assert.DoesNotContain("slw_", list.GetRawText(), StringComparison.Ordinal);
        Assert.Equal("""{"name":"ada","role":"engineer","permissions":["read","predict","write"]}""", me.GetRawText());
    }

    [Theory]
    [InlineData("""{"name":"grace","role":"root"}""", "'role' must be one of viewer, service, engineer, approver, admin, not 'root'.")]
    [InlineData("""{"name":"grace"}""", "'role' must be one of viewer, service, engineer, approver, admin, not ''.")]
    [InlineData("""{"role":"viewer"}""", "'name' is missing; give the user's name.")]
    public async Task A_faulty_user_request_is_told_its_fault(string body, string message)
    {
        var (status, error) = await _host.PostAsync("/api/slipway/v1/users", body);

        Assert.Equal(400, status);
        Assert.Equal(message, error.GetProperty("message").GetString());
    }
}
