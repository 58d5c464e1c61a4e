using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Storage;

[Trait("database", "none"), Trait("capability", "OPS-04"), Trait("capability", "OPS-01")]
public sealed class AuditRedactionTests
{
    private static readonly AuditRedaction Usual = new([]);

    [Theory]
    [InlineData("password")]
    [InlineData("Password")]
    [InlineData("db_password")]
    [InlineData("apiKey")]
    [InlineData("API_KEY")]
    [InlineData("x-api-key")]
    [InlineData("private_key")]
    [InlineData("aws_secret_access_key")]
    [InlineData("clientSecret")]
    [InlineData("accessToken")]
    [InlineData("HF_TOKEN")]
    [InlineData("Authorization")]
    [InlineData("set-cookie")]
    [InlineData("credentials")]
    [InlineData("password2")]
    public void Values_under_names_that_mean_a_secret_are_hidden(string name)
    {
        var json = Usual.Json(new Dictionary<string, object?> { [name] = "hunter2", ["stage"] = "production" })!;

        Assert.DoesNotContain("hunter2", json, StringComparison.Ordinal);
        Assert.Contains(AuditRedaction.Hidden, json, StringComparison.Ordinal);
        Assert.Contains("\"stage\":\"production\"", json, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("max_tokens")]
    [InlineData("token_hash")]
    [InlineData("key")]
    [InlineData("sort_key")]
    [InlineData("passwordless")]
    [InlineData("secretary")]
    [InlineData("model")]
    public void Other_names_keep_their_values(string name) =>
        Assert.Equal($$"""{"{{name}}":"kept"}""", Usual.Json(new Dictionary<string, string> { [name] = "kept" }));

    [Fact]
    public void Secrets_are_found_at_any_depth_whatever_their_type_and_null_stays_null()
    {
        var json = Usual.Json(new { a = new object[] { new { token = 12345, name = "x" }, new { secret = new { inner = "hunter2" } }, new Dictionary<string, string?> { ["password"] = null } } });

        Assert.Equal("""{"a":[{"token":"[redacted]","name":"x"},{"secret":"[redacted]"},{"password":null}]}""", json);
    }

    [Fact]
    public void A_label_named_after_a_secret_loses_its_value() => Assert.Equal(
        """[{"key":"wandb_api_key","value":"[redacted]"},{"key":"team","value":"red"}]""",
        Usual.Json(new[] { new { key = "wandb_api_key", value = "hunter2" }, new { key = "team", value = "red" } }));

    [Theory]
    [InlineData("postgresql://ada:hunter2@db/x", "postgresql://ada:[redacted]@db/x")]
    [InlineData("see https://bot:hunter2@git.example/r.git and http://a:b@c", "see https://bot:[redacted]@git.example/r.git and http://a:[redacted]@c")]
    [InlineData("http://host:8080/path@2", "http://host:8080/path@2")]
    [InlineData("https://ada@host/", "https://ada@host/")]
    public void Passwords_inside_addresses_are_hidden(string text, string kept)
    {
        Assert.Equal(kept, AuditRedaction.Text(text));
        Assert.Equal($$"""{"remote":"{{kept}}"}""", Usual.Json(new { remote = text }));
    }

    [Fact]
    public void Configured_names_are_hidden_too_however_they_are_written()
    {
        var configured = new AuditRedaction(["national-insurance_number", " Email "]);

        Assert.Equal(
            """{"NationalInsuranceNumber":"[redacted]","email":"[redacted]","emails":"kept"}""",
            configured.Json(new Dictionary<string, string> { ["NationalInsuranceNumber"] = "QQ", ["email"] = "a@b", ["emails"] = "kept" }));
        Assert.Contains("a@b", Usual.Json(new { email = "a@b" }), StringComparison.Ordinal);
    }

    [Fact]
    public void A_value_without_secrets_is_the_same_json_as_ever()
    {
        var value = new { text = "\"quoted\" \\ back", n = 1.10, when = DateTimeOffset.UnixEpoch, list = new[] { 1, 2 }, nothing = (string?)null };

        Assert.Equal(System.Text.Json.JsonSerializer.Serialize(value, Contracts.JsonDefaults.Options), Usual.Json(value));
        Assert.Null(Usual.Json(null));
    }

    [Fact]
    public async Task What_reaches_the_trail_has_been_through_it()
    {
        await using var stores = new TestStores();
        await stores.Database.WriteAsync(transaction => transaction.Audit(
            TestStores.Caller, "model.created", new NodeRef(NodeKinds.Model, "x"), "from https://a:hunter2@b", new { password = "hunter2" }, new { nested = new { api_token = "hunter2" } }), default);

        var row = Assert.Single(stores.Get<AuditTrail>().List());

        Assert.DoesNotContain("hunter2", row.ToString(), StringComparison.Ordinal);
        Assert.Equal("""{"nested":{"api_token":"[redacted]"}}""", row.AfterJson);
        Assert.True(stores.Get<AuditTrail>().Verify().Passed);
    }
}
