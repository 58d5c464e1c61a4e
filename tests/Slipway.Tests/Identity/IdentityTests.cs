using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.Extensions.Logging.Abstractions;
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

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private UserStore Users => _host.Service<UserStore>();

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayIdentity(), app => app.MapSlipwayIdentity());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [Trait("capability", "OPS-02")]
    [InlineData(Role.Viewer, "Read")]
    [InlineData(Role.Service, "Read Predict")]
    [InlineData(Role.DataScientist, "Read Predict Write")]
    [InlineData(Role.MlEngineer, "Read Predict Write Operate Audit")]
    [InlineData(Role.Approver, "Read Approve Audit")]
    [InlineData(Role.Auditor, "Read Audit")]
    [InlineData(Role.Administrator, "Read Predict Write Operate Approve Audit Admin")]
    public void A_role_holds_exactly_its_permissions(Role role, string permissions)
    {
        Assert.Equal(permissions, string.Join(' ', Roles.Of(role)));
        Assert.False(Roles.Allows(role, (Permission)99));
        Assert.Equal(role, CallerIdentity.Of(Roles.Principal("ada", role))!.Access.Role);
        Assert.Equal(role, Roles.Parse(Roles.Name(role)));
    }

    [Fact]
    public async Task Users_of_the_five_roles_of_before_keep_their_tokens_under_the_new_names()
    {
        var folder = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        try
        {
            var options = TestDatabase.Options(folder);
            await using (var old = Database.Open(options, [MigrationSet.Of<Database>("storage")], TimeProvider.System, NullLogger<Database>.Instance))
            {
                using var first = new StreamReader(typeof(UserStore).Assembly.GetManifestResourceStream("Slipway.Identity.Migrations.0001-users.sql")!);
                var sql = (await first.ReadToEndAsync(Cancel)).Replace("STRICT, WITHOUT ROWID", "", StringComparison.Ordinal);
                await old.WriteAsync(transaction =>
                {
                    transaction.Connection.Execute(sql);
                    transaction.Connection.Execute("INSERT INTO schema_migrations (area, number, name, sha256, applied_at_ms) VALUES ('identity', 1, '0001-users.sql', '', 0)");
                    foreach (var role in (string[])["Viewer", "Service", "Engineer", "Approver", "Admin"])
                    {
                        var digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"slw_{role}")));
                        transaction.Connection.Execute("INSERT INTO users VALUES (@name, @role, @digest, 'admin', 7)", new { name = role.ToLowerInvariant(), role, digest });
                    }
                }, Cancel);
            }

            await using var database = Database.Open(options, [MigrationSet.Of<Database>("storage"), MigrationSet.Of<UserStore>("identity")], TimeProvider.System, NullLogger<Database>.Instance);
            var users = new UserStore(database, new IdentityDirectory(database, TimeProvider.System));

            Assert.Equal(
                ["admin administrator", "approver approver", "engineer ml_engineer", "service service", "viewer viewer"],
                users.List().Select(user => $"{user.Name} {Roles.Name(user.Role)}"));
            Assert.Equal(("engineer", 7L), (users.FindByToken("slw_Engineer")!.Name, users.FindByToken("slw_Engineer")!.CreatedAtMs));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task A_changed_role_counts_from_the_next_request_and_is_audited_with_the_one_before()
    {
        var (_, token) = await Users.CreateAsync("grace", Role.Approver, Caller.System("test"), default, ["lead", "ethics", "lead"]);
        Assert.Equal(["ethics", "lead"], Users.FindByToken(token)!.Groups);

        var (status, answer) = await _host.SendAsync(HttpMethod.Patch, "/api/slipway/v1/users/grace", new { role = "engineer", groups = new[] { "product" } });

        Assert.Equal((200, "ml_engineer", "product"), (status, answer.GetProperty("role").GetString(), answer.GetProperty("groups")[0].GetString()));
        Assert.Equal((Role.MlEngineer, "product"), (Users.FindByToken(token)!.Role, Assert.Single(Users.FindByToken(token)!.Groups)));
        var row = _host.Service<AuditTrail>().List(new NodeRef(NodeKinds.User, "grace"))[0];
        Assert.Equal(
            ("ada", "user.changed", """{"role":"approver","groups":["ethics","lead"]}""", """{"role":"ml_engineer","groups":["product"]}"""),
            (row.Actor, row.Action, row.BeforeJson, row.AfterJson));
    }

    [Theory]
    [InlineData("""{"role":"root"}""", 400, "'role' must be")]
    [InlineData("""{}""", 400, "changes nothing")]
    [InlineData("""{"groups":["Ethics"]}""", 400, "'groups' must be")]
    [InlineData("""{"groups":[null]}""", 400, "'groups' must be")]
    [InlineData("""{"role":"viewer"}""", 409, "the only administrator")]
    public async Task A_change_that_cannot_be_is_refused_and_nothing_changes(string body, int status, string words)
    {
        await Users.BootstrapAsync(null, false, Cancel);

        var answer = await _host.SendAsync(HttpMethod.Patch, "/api/slipway/v1/users/admin", body);

        Assert.Equal(status, answer.Status);
        Assert.Contains(words, answer.Body.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(Role.Administrator, Users.Find("admin")!.Role);
        Assert.DoesNotContain(_host.Service<AuditTrail>().List(), row => row.Action == "user.changed");
    }

    [Fact]
    public async Task A_token_finds_its_user_and_is_stored_only_as_a_digest()
    {
        var (user, token) = await Users.CreateAsync("grace", Role.Approver, Caller.System("test"), default);

        Assert.StartsWith("slw_", token, StringComparison.Ordinal);
        Assert.Equivalent(user, Users.FindByToken(token));
        Assert.Equivalent(user, Users.FindByToken(token));
        Assert.Null(Users.FindByToken(token[..^1] + (token[^1] == 'A' ? 'E' : 'A')));
        Assert.Null(Users.FindByToken(""));
        Assert.Equivalent(user, Users.Find("grace"));
        var stored = _host.Read(connection => connection.QuerySingle<string>("SELECT secret_sha256 FROM api_keys WHERE user_name = 'grace'"));
        Assert.Equal(64, stored.Length);
        Assert.DoesNotContain(_host.Service<AuditTrail>().List(), row => row.AfterJson!.Contains(token, StringComparison.Ordinal));
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task Making_a_user_is_audited_with_its_maker_and_role()
    {
        await Users.CreateAsync("grace", Role.Approver, new Caller("admin", "request-1"), default);

        var row = Assert.Single(_host.Service<AuditTrail>().List(new NodeRef(NodeKinds.User, "grace")), row => row.Action == "user.created");
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

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Users.CreateAsync("grace", Role.Administrator, Caller.System("test"), default));

        Assert.Equal(ErrorCode.AlreadyExists, error.Code);
        Assert.Equal(Role.Viewer, Users.FindByToken(token)!.Role);
    }

    [Fact]
    public async Task The_first_start_makes_one_admin_and_later_starts_none()
    {
        var starts = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Users.BootstrapAsync(null, false, default)));

        var token = Assert.Single(starts, start => start.AdministratorKey is not null).AdministratorKey!;
        Assert.Equal(("admin", Role.Administrator), (Users.FindByToken(token)!.Name, Users.FindByToken(token)!.Role));
        Assert.Single(starts, start => start.SignInCode is not null);
        Assert.Equal(new FirstStart(null, null, true), await Users.BootstrapAsync(null, false, default));
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
        Assert.Equal("""{"name":"ada","role":"ml_engineer","groups":[],"permissions":["read","predict","write","operate","audit"]}""", me.GetRawText());
    }

    [Theory]
    [InlineData("""{"name":"grace","role":"root"}""", "'role' must be one of viewer, service, data_scientist, ml_engineer, approver, auditor, administrator, not 'root'.")]
    [InlineData("""{"name":"grace"}""", "'role' must be one of viewer, service, data_scientist, ml_engineer, approver, auditor, administrator, not ''.")]
    [InlineData("""{"role":"viewer"}""", "'name' is missing; give the user's name.")]
    public async Task A_faulty_user_request_is_told_its_fault(string body, string message)
    {
        var (status, error) = await _host.PostAsync("/api/slipway/v1/users", body);

        Assert.Equal(400, status);
        Assert.Equal(message, error.GetProperty("message").GetString());
    }
}
