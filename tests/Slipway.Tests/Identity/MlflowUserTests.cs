using System.Net;
using System.Text.Json;
using Slipway.Contracts.Identity;
using Slipway.Identity.Keys;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Tests.Identity;

/// <summary>The users and permissions of MLflow's basic-auth app, in the shapes that its AuthServiceClient reads.</summary>
public sealed class MlflowUserTests(WholeServerFixture fixture) : IClassFixture<WholeServerFixture>
{
    private readonly WholeServer _server = fixture.Server;
    private readonly string _administrator = fixture.Administrator;
    private readonly string _ada = WholeServer.NewName("ada");

    public static TheoryData<string> Prefixes => ["/api/2.0/mlflow", "/ajax-api/2.0/mlflow"];

    [Theory, MemberData(nameof(Prefixes)), Trait("capability", "X-51")]
    public async Task Users_are_made_read_changed_and_deleted_as_mlflow_s_client_does(string api)
    {
        var made = await _server.PostAsync($"{api}/users/create", _administrator, new { username = _ada, password = "a password of her own" });
        Assert.True(made.Status == HttpStatusCode.OK, made.Text);
        var user = made.Json.GetProperty("user");
        Assert.Equal(["id", "username", "is_admin", "experiment_permissions", "registered_model_permissions", "scorer_permissions"], user.EnumerateObject().Select(property => property.Name));
        Assert.Equal((JsonValueKind.Number, _ada, false, 0), (user.GetProperty("id").ValueKind, user.GetProperty("username").GetString(), user.GetProperty("is_admin").GetBoolean(), user.GetProperty("experiment_permissions").GetArrayLength()));
        Assert.DoesNotContain("password", made.Text, StringComparison.Ordinal);

        var ada = WholeServer.Basic(_ada, "a password of her own");
        Assert.Equal(_ada, (await _server.GetAsync($"{api}/users/get?username={_ada}", ada)).Json.GetProperty("user").GetProperty("username").GetString());
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.GetAsync($"{api}/users/get?username=boss", ada)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.GetAsync($"{api}/users/list", ada)).Status);
        Assert.Contains((await _server.GetAsync($"{api}/users/list", _administrator)).Json.GetProperty("users").EnumerateArray(), each => each.GetProperty("username").GetString() == _ada);

        // A key that somebody found is not enough to keep the account.
        var (_, key) = await _server.Service<KeyStore>().CreateAsync(_ada, "found", KeyLimits.None, null, Caller.System("test"), WholeServer.Cancel);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.SendAsync(HttpMethod.Patch, $"{api}/users/update-password", key, new { username = _ada, password = "one of the finder's" })).Status);

        var change = await _server.SendAsync(HttpMethod.Patch, $"{api}/users/update-password", ada, new { username = _ada, password = "another one of hers" });
        Assert.Equal((HttpStatusCode.OK, "{}"), (change.Status, change.Text));
        Assert.Equal(HttpStatusCode.Unauthorized, (await _server.GetAsync($"{api}/users/get?username={_ada}", ada)).Status);
        ada = WholeServer.Basic(_ada, "another one of hers");
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.SendAsync(HttpMethod.Patch, $"{api}/users/update-admin", ada, new { username = _ada, is_admin = true })).Status);
        Assert.Equal(HttpStatusCode.OK, (await _server.SendAsync(HttpMethod.Patch, $"{api}/users/update-admin", _administrator, new { username = _ada, is_admin = true })).Status);
        Assert.Equal(Role.Administrator, _server.Users.Find(_ada)!.Role);
        Assert.Equal(HttpStatusCode.OK, (await _server.SendAsync(HttpMethod.Patch, $"{api}/users/update-admin", _administrator, new { username = _ada, is_admin = false })).Status);
        Assert.Equal(HttpStatusCode.OK, (await _server.SendAsync(HttpMethod.Delete, $"{api}/users/delete", _administrator, new { username = _ada })).Status);
        Assert.Equal((HttpStatusCode.NotFound, "RESOURCE_DOES_NOT_EXIST"), Error(await _server.GetAsync($"{api}/users/get?username={_ada}", _administrator)));
        Assert.Equal(
            ["user.deleted", "api_key.revoked", "user.changed", "user.changed", "user.password_changed", "api_key.created", "user.created"],
            _server.Service<AuditTrail>().List(new NodeRef(NodeKinds.User, _ada)).Select(row => row.Action));
    }

    [Theory, MemberData(nameof(Prefixes)), Trait("capability", "GOV-07")]
    public async Task Permissions_are_given_read_changed_and_taken_back_as_mlflow_s_client_does(string api)
    {
        await _server.AddAsync(_ada, Role.Viewer);
        foreach (var (path, field, name, wrapper) in new[]
        {
            ("experiments", "experiment_id", "0", "experiment_permission"), ("registered-models", "name", "fraud", "registered_model_permission"),
        })
        {
            object Body(string? permission) => new Dictionary<string, string?> { [field] = name, ["username"] = _ada, ["permission"] = permission };
            var query = $"?{field}={name}&username={_ada}";
            Assert.Equal((HttpStatusCode.NotFound, "RESOURCE_DOES_NOT_EXIST"), Error(await _server.GetAsync($"{api}/{path}/permissions/get{query}", _administrator)));
            Assert.Equal((HttpStatusCode.NotFound, "RESOURCE_DOES_NOT_EXIST"), Error(await _server.SendAsync(HttpMethod.Patch, $"{api}/{path}/permissions/update", _administrator, Body("READ"))));

            var made = await _server.PostAsync($"{api}/{path}/permissions/create", _administrator, Body("EDIT"));
            Assert.True(made.Status == HttpStatusCode.OK, made.Text);
            Assert.Equal([field, "user_id", "permission"], made.Json.GetProperty(wrapper).EnumerateObject().Select(property => property.Name));
            Assert.Equal("EDIT", made.Json.GetProperty(wrapper).GetProperty("permission").GetString());
            Assert.Equal((HttpStatusCode.BadRequest, "RESOURCE_ALREADY_EXISTS"), Error(await _server.PostAsync($"{api}/{path}/permissions/create", _administrator, Body("READ"))));
            Assert.Equal((HttpStatusCode.BadRequest, "INVALID_PARAMETER_VALUE"), Error(await _server.SendAsync(HttpMethod.Patch, $"{api}/{path}/permissions/update", _administrator, Body("OWNER"))));

            var changed = await _server.SendAsync(HttpMethod.Patch, $"{api}/{path}/permissions/update", _administrator, Body("NO_PERMISSIONS"));
            Assert.Equal((HttpStatusCode.OK, "{}"), (changed.Status, changed.Text));
            Assert.Equal("NO_PERMISSIONS", (await _server.GetAsync($"{api}/{path}/permissions/get{query}", _administrator)).Json.GetProperty(wrapper).GetProperty("permission").GetString());
            Assert.Equal((HttpStatusCode.OK, "{}"), Same(await _server.SendAsync(HttpMethod.Delete, $"{api}/{path}/permissions/delete", _administrator, Body(null))));
            Assert.Equal(HttpStatusCode.NotFound, (await _server.SendAsync(HttpMethod.Delete, $"{api}/{path}/permissions/delete", _administrator, Body(null))).Status);
        }
    }

    [Fact]
    public async Task Who_has_manage_shares_and_nobody_else_does()
    {
        var eveName = WholeServer.NewName("eve");
        var (ada, eve) = (await _server.AddAsync(_ada, Role.Viewer), await _server.AddAsync(eveName, Role.MlEngineer));
        object share = new { experiment_id = "0", username = eveName, permission = "NO_PERMISSIONS" };
        const string path = "/api/2.0/mlflow/experiments/permissions/create";

        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync(path, ada, share)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync(path, eve, share)).Status);
        await _server.PostAsync(path, _administrator, new { experiment_id = "0", username = _ada, permission = "MANAGE" });
        Assert.Equal(HttpStatusCode.OK, (await _server.PostAsync(path, ada, share)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.PostAsync(path, ada, new { experiment_id = "1", username = eveName, permission = "READ" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.GetAsync("/api/2.0/mlflow/experiments/get?experiment_id=0", eve)).Status);
    }

    [Theory]
    [InlineData("users/create", """{"username":"ada"}""", "password")]
    [InlineData("users/create", """{"username":"ada","password":""}""", "password")]
    [InlineData("users/create", """{"username":"ada","password":"x"}""", "'password' must have 8")]
    [InlineData("users/create", """{"username":"ada","password":"password1234"}""", "first that anyone would try")]
    [InlineData("users/create", """{"password":"long enough to pass"}""", "username")]
    [InlineData("users/create", """[]""", "JSON object")]
    [InlineData("users/create", """{""", "JSON")]
    [InlineData("experiments/permissions/create", """{"experiment_id":"0","username":"boss"}""", "permission")]
    public async Task A_faulty_request_is_told_its_fault_in_mlflow_s_words(string path, string body, string words)
    {
        var answer = await _server.PostAsync($"/api/2.0/mlflow/{path}", _administrator, body);

        Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
        Assert.Contains(words, answer.Json.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Null(_server.Users.Find("ada"));
    }

    [Fact]
    public async Task Permissions_of_scorers_and_the_sign_up_page_s_form_are_not_built_and_say_so()
    {
        Assert.Equal(HttpStatusCode.NotImplemented, (await _server.PostAsync("/api/3.0/mlflow/scorers/permissions/create", _administrator, "{}")).Status);
        Assert.Equal(HttpStatusCode.NotImplemented, (await _server.PostAsync("/api/2.0/mlflow/users/create-ui", _administrator, "{}")).Status);
    }

    private static (HttpStatusCode, string?) Error(Answer answer) => (answer.Status, answer.Json.GetProperty("error_code").GetString());

    private static (HttpStatusCode, string) Same(Answer answer) => (answer.Status, answer.Text);
}
