using System.Net;
using Dapper;
using Slipway.Contracts.Identity;
using Slipway.Identity.Keys;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Tests.Identity;

/// <summary>API keys: shown once, limited, expiring, withdrawn.</summary>
public sealed class KeyTests(WholeServerFixture fixture) : IClassFixture<WholeServerFixture>
{
    private const string Api = WholeServer.Api;
    private readonly WholeServer _server = fixture.Server;
    private readonly string _administrator = fixture.Administrator;
    private readonly string _ada = WholeServer.NewName("ada");
    private readonly string _ci = WholeServer.NewName("ci");

    [Fact, Trait("capability", "OPS-01")]
    public async Task A_key_is_shown_once_and_kept_as_a_digest()
    {
        var ada = await _server.AddAsync(_ada, Role.DataScientist);

        var made = await _server.PostAsync($"{Api}/users/{_ada}/keys", ada, new { name = "nightly", expires_in = "90d" });
        var secret = made.Json.GetProperty("token").GetString()!;

        Assert.Equal(HttpStatusCode.Created, made.Status);
        Assert.Equal("no-store", made.Headers.CacheControl!.ToString());
        Assert.Equal(_ada, (await _server.GetAsync($"{Api}/whoami", secret)).Json.GetProperty("name").GetString());
        Assert.DoesNotContain(secret, (await _server.GetAsync($"{Api}/keys", ada)).Text, StringComparison.Ordinal);
        var stored = _server.Service<Database>().Read(connection => connection.QuerySingle<string>("SELECT secret_sha256 FROM api_keys WHERE name = 'nightly' AND user_name = @user", new { user = _ada }));
        Assert.Matches("^[0-9a-f]{64}$", stored);
        var row = _server.Service<AuditTrail>().List(new NodeRef(NodeKinds.User, _ada))[0];
        Assert.Equal((_ada, "api_key.created"), (row.Actor, row.Action));
        Assert.DoesNotContain(secret, row.AfterJson, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_expired_key_and_a_withdrawn_one_are_refused_from_the_next_request_on()
    {
        var ada = await _server.AddAsync(_ada, Role.DataScientist);
        var brief = (await _server.PostAsync($"{Api}/users/{_ada}/keys", ada, new { name = "brief", expires_in = "30m" })).Json.GetProperty("token").GetString()!;
        var other = await _server.PostAsync($"{Api}/users/{_ada}/keys", ada, new { name = "other" });
        var otherSecret = other.Json.GetProperty("token").GetString()!;

        Assert.Equal(HttpStatusCode.OK, (await _server.GetAsync($"{Api}/whoami", brief)).Status);
        _server.Clock.Advance(TimeSpan.FromMinutes(30));
        Assert.Equal(HttpStatusCode.Unauthorized, (await _server.GetAsync($"{Api}/whoami", brief)).Status);

        var id = other.Json.GetProperty("id").GetString();
        Assert.Equal(HttpStatusCode.NoContent, (await _server.SendAsync(HttpMethod.Delete, $"{Api}/keys/{id}", ada)).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await _server.GetAsync($"{Api}/whoami", otherSecret)).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await _server.SendAsync(HttpMethod.Delete, $"{Api}/keys/{id}", ada)).Status);
        Assert.Equal(HttpStatusCode.OK, (await _server.GetAsync($"{Api}/whoami", ada)).Status);
    }

    [Fact]
    public async Task The_time_of_last_use_is_noted_without_a_write_for_each_request()
    {
        var ada = await _server.AddAsync(_ada, Role.DataScientist);
        var writes = Writes();

        for (var n = 0; n < 10; n++)
        {
            await _server.GetAsync($"{Api}/whoami", ada);
        }

        Assert.Equal(writes, Writes());
        var key = Assert.Single(_server.Service<KeyStore>().List(_ada));
        Assert.Equal(_server.Clock.GetUtcNow().ToUnixTimeMilliseconds(), key.LastUsedAtMs);
    }

    [Fact, Trait("capability", "X-51"), Trait("capability", "CIC-06")]
    public async Task Only_an_administrator_widens_a_service_account_and_only_key_by_key()
    {
        var ci = await _server.AddAsync(_ci, Role.Service);
        object wish = new { name = "promote", permissions = new[] { "read", "write", "operate" }, models = new[] { "fraud" }, environments = new[] { "staging" } };

        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{Api}/users/{_ci}/keys", ci, wish)).Status);
        var made = await _server.PostAsync($"{Api}/users/{_ci}/keys", _administrator, wish);
        Assert.True(made.Status == HttpStatusCode.Created, made.Text);
        var key = made.Json.GetProperty("token").GetString()!;

        var me = (await _server.GetAsync($"{Api}/whoami", key)).Json;
        Assert.Equal("""["read","write","operate"]""", me.GetProperty("permissions").GetRawText());
        Assert.Equal("""["fraud"]""", me.GetProperty("limits").GetProperty("models").GetRawText());

        // What it names, it reaches: these fail for want of a promotion and a model, not of a right. What it does not name, it never reaches.
        Assert.Equal(HttpStatusCode.NotFound, (await _server.PostAsync($"{Api}/promotions", key, new { model = "fraud", version = "1.0.0", to = "staging", reason = "ci" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{Api}/promotions", key, new { model = "fraud", version = "1.0.0", to = "production", reason = "ci" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{Api}/promotions", key, new { model = "churn", version = "1.0.0", to = "staging", reason = "ci" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{Api}/models/fraud/rollback", key, new { reason = "x" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{Api}/definitions", key, new { files = Array.Empty<object>() })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync("/api/2.0/mlflow/experiments/create", key, new { name = "x" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{Api}/users/{_ci}/keys", key, new { name = "more" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.SendAsync(HttpMethod.Put, $"{Api}/users/{_ci}/password", key, new { password = "to stay for ever" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync("/api/2.0/mlflow/experiments/create", ci, new { name = "x" })).Status);
    }

    [Theory]
    [InlineData("""{}""", 400, "'name'")]
    [InlineData("""{"name":""}""", 400, "'name'")]
    [InlineData("""{"name":"x","permissions":[]}""", 400, "'permissions' is empty")]
    [InlineData("""{"name":"x","permissions":["operate"]}""", 400, "holds operate")]
    [InlineData("""{"name":"x","expires_in":"soon"}""", 400, "'expires_in'")]
    [InlineData("""{"name":"x","expires_in":"0d"}""", 400, "'expires_in'")]
    [InlineData("""{"name":"x","models":["*"]}""", 400, "'models'")]
    [InlineData("""{"name":"x","models":[]}""", 400, "'models'")]
    [InlineData("""{"name":"first"}""", 409, "already")]
    public async Task A_faulty_key_request_is_told_its_fault_and_makes_nothing(string body, int status, string words)
    {
        var ada = await _server.AddAsync(_ada, Role.DataScientist);

        var answer = await _server.PostAsync($"{Api}/users/{_ada}/keys", ada, body);

        Assert.Equal((status, true), ((int)answer.Status, answer.Text.Contains(words, StringComparison.Ordinal)));
        Assert.Single(_server.Service<KeyStore>().List(_ada));
    }

    [Fact]
    public async Task Nobody_sees_or_withdraws_another_s_keys_but_administrators()
    {
        await _server.AddAsync(_ada, Role.DataScientist);
        var eve = await _server.AddAsync(WholeServer.NewName("eve"), Role.MlEngineer);
        var id = Assert.Single(_server.Service<KeyStore>().List(_ada)).Id;

        Assert.Equal(HttpStatusCode.Forbidden, (await _server.GetAsync($"{Api}/keys?user={_ada}", eve)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.SendAsync(HttpMethod.Delete, $"{Api}/keys/{id}", eve)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync($"{Api}/users/{_ada}/keys", eve, new { name = "x" })).Status);
        Assert.DoesNotContain($"\"user\":\"{_ada}\"", (await _server.GetAsync($"{Api}/keys", eve)).Text, StringComparison.Ordinal);
        Assert.Contains($"\"user\":\"{_ada}\"", (await _server.GetAsync($"{Api}/keys", _administrator)).Text, StringComparison.Ordinal);
        Assert.Contains($"\"user\":\"{_ada}\"", (await _server.GetAsync($"{Api}/keys", await _server.AddAsync(WholeServer.NewName("vera"), Role.Auditor))).Text, StringComparison.Ordinal);
        Assert.Null(_server.Service<KeyStore>().Find(id)!.RevokedAtMs);
    }

    [Fact]
    public async Task A_deleted_user_loses_keys_and_grants_and_its_name_is_never_given_again()
    {
        var ada = await _server.AddAsync(_ada, Role.DataScientist);
        await _server.PostAsync($"{Api}/grants", _administrator, new { user = _ada, model = "fraud", permission = "MANAGE" });

        Assert.Equal(HttpStatusCode.NoContent, (await _server.SendAsync(HttpMethod.Delete, $"{Api}/users/{_ada}", _administrator)).Status);

        Assert.Equal(HttpStatusCode.Unauthorized, (await _server.GetAsync($"{Api}/whoami", ada)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await _server.GetAsync($"{Api}/users/{_ada}", _administrator)).Status);
        Assert.Equal("""{"grants":[]}""", (await _server.GetAsync($"{Api}/grants?user={_ada}", _administrator)).Text);
        var again = await _server.PostAsync($"{Api}/users", _administrator, new { name = _ada, role = "viewer" });
        Assert.Equal((HttpStatusCode.Conflict, true), (again.Status, again.Text.Contains("was deleted", StringComparison.Ordinal)));
    }

    private long Writes() => _server.Service<Database>().Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM audit_events"));
}
