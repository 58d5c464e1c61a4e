using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using Dapper;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Slipway.Registry.Webhooks;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tracking;

namespace Slipway.Tests.Registry;

/// <summary>MLflow's webhooks: a receiver on this machine, trusted by name, hears what the registry does; what is not trusted and public hears nothing.</summary>
public sealed class MlflowWebhookTests : IAsyncLifetime
{
    private const string Api = "/api/2.0/mlflow";
    private const string Secret = "a secret of the receiver's";

    private readonly ConcurrentQueue<Heard> _heard = new();
    private readonly ConcurrentQueue<int> _answers = new();
    private WebApplication _receiver = null!;
    private RegistryHost _host = null!;

    private string Address => _receiver.Urls.Single();

    public async ValueTask InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder(["--hostBuilder:reloadConfigOnChange=false"]);
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        _receiver = builder.Build();
        _receiver.Map("/{**path}", async (HttpContext context) =>
        {
            using var reader = new StreamReader(context.Request.Body);
            _heard.Enqueue(new Heard(context.Request.Headers.ToDictionary(header => header.Key, header => header.Value.ToString(), StringComparer.OrdinalIgnoreCase), await reader.ReadToEndAsync(), context.Request.Path));
            context.Response.StatusCode = _answers.TryDequeue(out var status) ? status : 200;
            if (context.Response.StatusCode == 302)
            {
                context.Response.Headers.Location = "/inner";
            }

            await context.Response.WriteAsync(context.Request.Path == "/long" ? new string('x', 100_000) : "taken");
        });
        await _receiver.StartAsync();
        _host = await StartAsync(new Uri(Address).Authority);
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        await _receiver.DisposeAsync();
    }

    [Fact, Trait("capability", "INT-01")]
    public async Task Each_change_reaches_its_subscriber_signed_as_mlflow_signs()
    {
        var webhook = await CreateAsync(Address + "/hook", Secret, "REGISTERED_MODEL.CREATED", "MODEL_VERSION.CREATED", "MODEL_VERSION_TAG.SET", "MODEL_VERSION_TAG.DELETED", "MODEL_VERSION_ALIAS.CREATED", "MODEL_VERSION_ALIAS.DELETED");
        await CreateAsync(Address + "/prompts", null, "PROMPT.CREATED", "PROMPT_VERSION.CREATED");
        await SendAsync("POST", "registered-models/create", new { name = "iris", tags = new[] { new { key = "team", value = "ops" } } });
        await SendAsync("POST", "model-versions/create", new { name = "iris", source = "https://models.example/iris" });
        await SendAsync("POST", "model-versions/set-tag", new { name = "iris", version = "1", key = "a", value = "b" });
        await SendAsync("DELETE", "model-versions/delete-tag", new { name = "iris", version = "1", key = "a" });
        await SendAsync("POST", "registered-models/alias", new { name = "iris", alias = "champion", version = "1" });
        await SendAsync("DELETE", "registered-models/alias", new { name = "iris", alias = "champion" });
        await SendAsync("POST", "registered-models/create", new { name = "hello", tags = new[] { new { key = "mlflow.prompt.is_prompt", value = "true" } } });
        await SendAsync("POST", "model-versions/create", new { name = "hello", source = "dummy-source", tags = new[] { new { key = "mlflow.prompt.text", value = "Hi" } } });
        await _host.RegisterAsync();

        var all = await HeardAsync(10);
        Assert.Equal(
            [
                """model_version.created {"name":"flight-delay","version":"1","source":"","run_id":"RUN","tags":{},"description":null}""",
                """model_version.created {"name":"iris","version":"1","source":"https://models.example/iris","run_id":null,"tags":{},"description":null}""",
                """model_version_alias.created {"name":"iris","alias":"champion","version":"1"}""",
                """model_version_alias.deleted {"name":"iris","alias":"champion"}""",
                """model_version_tag.deleted {"name":"iris","version":"1","key":"a"}""",
                """model_version_tag.set {"name":"iris","version":"1","key":"a","value":"b"}""",
                """prompt.created {"name":"hello","tags":{},"description":null}""",
                """prompt_version.created {"name":"hello","version":"1","template":"Hi","tags":{},"description":null}""",
                """registered_model.created {"name":"flight-delay","tags":{},"description":null}""",
                """registered_model.created {"name":"iris","tags":{"team":"ops"},"description":null}""",
            ],
            all.Select(heard => System.Text.RegularExpressions.Regex.Replace(heard.ToString(), "\"run-\\d+\"", "\"RUN\"")).Order(StringComparer.Ordinal));
        Assert.Equal(10, all.Select(heard => heard.Headers["X-MLflow-Delivery-Id"]).Distinct().Count());
        foreach (var heard in all)
        {
            Assert.Equal("application/json", heard.Headers["Content-Type"]);
            Assert.InRange(long.Parse(heard.Headers["X-MLflow-Timestamp"], System.Globalization.CultureInfo.InvariantCulture), 1, long.MaxValue);
            Assert.Equal(
                heard.Path == "/hook" ? WebhookSender.Signature(Secret, heard.Headers["X-MLflow-Delivery-Id"], heard.Headers["X-MLflow-Timestamp"], heard.Body) : null,
                heard.Headers.GetValueOrDefault("X-MLflow-Signature"));
        }

        // The signature's value for one known input, computed with Python's hmac module.
        Assert.Equal("v1,FBhQvUxwRZEwPkHvJlYP68fzcPeHBTuRJdaSnq1LtyA=", WebhookSender.Signature("s", "id", "1", "{}"));
        Assert.DoesNotContain(Secret, JsonSerializer.Serialize(webhook), StringComparison.Ordinal);
        Assert.DoesNotContain(Secret, JsonSerializer.Serialize(_host.Area.Service<AuditTrail>().List(new NodeRef("webhook", webhook.GetProperty("webhook_id").GetString()!))), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_receiver_that_fails_is_asked_again_with_the_same_delivery_and_given_up_after_three_attempts()
    {
        await CreateAsync(Address + "/hook", null, "REGISTERED_MODEL.CREATED");
        _answers.Enqueue(503);
        _answers.Enqueue(500);
        await SendAsync("POST", "registered-models/create", new { name = "a" });
        var three = await HeardAsync(3);
        Assert.Single(three.Select(heard => heard.Headers["X-MLflow-Delivery-Id"]).Distinct());
        await UntilAsync(() => States() == "delivered:3");

        foreach (var status in new[] { 500, 502, 429 })
        {
            _answers.Enqueue(status);
        }

        await SendAsync("POST", "registered-models/create", new { name = "b" });
        await UntilAsync(() => States() == "delivered:3 failed:3");
        _answers.Enqueue(400); // Saying no is an answer: it is not asked again.
        await SendAsync("POST", "registered-models/create", new { name = "c" });
        await UntilAsync(() => States() == "delivered:3 failed:1 failed:3");
        _answers.Enqueue(302);
        await SendAsync("POST", "registered-models/create", new { name = "d" });
        await UntilAsync(() => States() == "delivered:3 failed:1 failed:1 failed:3");
        Assert.DoesNotContain(_heard, heard => heard.Path == "/inner");
    }

    [Fact]
    public async Task Webhooks_are_listed_changed_tested_disabled_and_deleted()
    {
        var id = (await CreateAsync(Address + "/hook", Secret, "MODEL_VERSION.CREATED")).GetProperty("webhook_id").GetString();
        await CreateAsync(Address + "/long", null, "MODEL_VERSION.CREATED");
        var first = await GetAsync("webhooks?max_results=1");
        var second = await GetAsync($"webhooks?max_results=1&page_token={first.GetProperty("next_page_token").GetString()}");
        Assert.False(second.TryGetProperty("next_page_token", out _));
        Assert.NotEqual(first.GetProperty("webhooks")[0].GetProperty("webhook_id").GetString(), second.GetProperty("webhooks")[0].GetProperty("webhook_id").GetString());

        var result = (await SendAsync("POST", $"webhooks/{id}/test", new { @event = new { entity = "MODEL_VERSION_TAG", action = "SET" } })).GetProperty("result");
        Assert.Equal((true, 200, "taken"), (result.GetProperty("success").GetBoolean(), result.GetProperty("response_status").GetInt32(), result.GetProperty("response_body").GetString()));
        Assert.Equal("""model_version_tag.set {"name":"example_model","version":"1","key":"example_key","value":"example_value"}""", _heard.Single().ToString());

        var changed = (await SendAsync("PATCH", $"webhooks/{id}", new { name = "renamed", url = Address + "/long", status = "DISABLED" })).GetProperty("webhook");
        Assert.Equal(("renamed", "DISABLED", "MODEL_VERSION"), (changed.GetProperty("name").GetString(), changed.GetProperty("status").GetString(), changed.GetProperty("events")[0].GetProperty("entity").GetString()));
        // What is read of a long answer is bounded.
        Assert.Equal(16 * 1024, (await SendAsync("POST", $"webhooks/{id}/test", new { })).GetProperty("result").GetProperty("response_body").GetString()!.Length);

        await SendAsync("DELETE", $"webhooks/{id}", new { });
        Assert.Equal(404, (await _host.Area.GetAsync($"{Api}/webhooks/{id}")).Status);
        Assert.Equal(["webhook.deleted", "webhook.updated", "webhook.created"], _host.Area.Service<AuditTrail>().List(new NodeRef("webhook", id!)).Select(row => row.Action));
    }

    [Fact]
    public async Task A_secret_is_encrypted_in_the_database_and_one_that_an_earlier_build_wrote_is_from_the_next_start_on()
    {
        var id = (await CreateAsync(Address + "/hook", Secret, "REGISTERED_MODEL.CREATED")).GetProperty("webhook_id").GetString()!;
        var other = (await CreateAsync(Address + "/other", "another", "MODEL_VERSION.CREATED")).GetProperty("webhook_id").GetString()!;
        var store = _host.Area.Service<WebhookStore>();
        var folder = _host.Area.Service<StorageOptions>().DataDirectory;
        foreach (var file in Directory.EnumerateFiles(folder, "slipway.db*"))
        {
            await using var content = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            using var text = new StreamReader(content, System.Text.Encoding.Latin1);
            Assert.DoesNotContain(Secret, await text.ReadToEndAsync(), StringComparison.Ordinal);
        }

        Assert.True(Columns(id) is { Plain: null, Sealed: not null });

        // As an earlier build left it: it signs at once, and is encrypted when the server starts.
        await WriteAsync("UPDATE webhooks SET secret = @Secret, sealed_secret = NULL WHERE id = @id", new { id, Secret });
        Assert.Equal(Secret, store.FindSecret(id));
        Assert.True(store.Get(id).HasSecret);
        await store.SealOldAsync(default);
        Assert.True(Columns(id) is { Plain: null, Sealed: not null });
        Assert.Equal("another", store.FindSecret(other));

        await SendAsync("POST", "registered-models/create", new { name = "iris" });
        var heard = Assert.Single(await HeardAsync(1));
        Assert.Equal(WebhookSender.Signature(Secret, heard.Headers["X-MLflow-Delivery-Id"], heard.Headers["X-MLflow-Timestamp"], heard.Body), heard.Headers["X-MLflow-Signature"]);

        // One that cannot be decrypted sends nothing, and above all nothing unsigned.
        await WriteAsync("UPDATE webhooks SET sealed_secret = (SELECT sealed_secret FROM webhooks WHERE id = @other) WHERE id = @id", new { id, other });
        await SendAsync("POST", "registered-models/create", new { name = "setosa" });
        await UntilAsync(() => States() == "delivered:1 failed:3");
        Assert.Single(_heard);
        Assert.Equal($"The secret of webhook:{id} was changed in the database and cannot be read; set it anew.",
            _host.Area.Read(connection => connection.ExecuteScalar<string>("SELECT last_answer FROM webhook_deliveries WHERE state = 'failed'")));

        await SendAsync("PATCH", $"webhooks/{id}", new { secret = "" });
        Assert.False(store.Get(id).HasSecret);
        Assert.True(Columns(id) is { Plain: null, Sealed: null });

        (string? Plain, string? Sealed) Columns(string webhook) =>
            _host.Area.Read(connection => connection.QuerySingle<(string?, string?)>("SELECT secret, sealed_secret FROM webhooks WHERE id = @webhook", new { webhook }));

        Task WriteAsync(string sql, object parameters) => _host.Area.Service<Database>().WriteAsync(transaction => { transaction.Connection.Execute(sql, parameters); }, default);
    }

    [Theory]
    [InlineData("http://receiver.example/x")]
    [InlineData("https://127.0.0.1/x")]
    [InlineData("https://[::1]/x")]
    [InlineData("https://169.254.169.254/latest/meta-data")]
    [InlineData("https://10.1.2.3/x")]
    [InlineData("https://192.168.0.1/x")]
    [InlineData("https://[::ffff:10.0.0.1]/x")]
    [InlineData("https://[fd00::1]/x")]
    [InlineData("https://[fe80::1]/x")]
    [InlineData("https://2130706433/x")]
    [InlineData("https://0x7f.1/x")]
    [InlineData("https://localhost/x")]
    [InlineData("https://user:pass@example.com/x")]
    [InlineData("ftp://example.com/x")]
    [InlineData("file:///etc/passwd")]
    [InlineData("//example.com")]
    [InlineData("x")]
    [InlineData("")]
    public async Task A_receiver_that_is_not_public_or_not_https_is_refused(string url)
    {
        var (status, body) = await _host.Area.PostAsync($"{Api}/webhooks", new { name = "w", url, events = new[] { new { entity = "REGISTERED_MODEL", action = "CREATED" } } });

        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), (status, body.GetProperty("error_code").GetString()));
        Assert.Equal(0, _host.Count("webhooks"));
    }

    [Theory]
    [InlineData("8.8.8.8", true)]
    [InlineData("2606:4700:4700::1111", true)]
    [InlineData("100.64.0.1", false)]
    [InlineData("172.31.255.255", false)]
    [InlineData("198.18.0.1", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("224.0.0.1", false)]
    [InlineData("255.255.255.255", false)]
    [InlineData("64:ff9b::7f00:1", false)]
    [InlineData("2002:7f00:1::", false)]
    [InlineData("::ffff:127.0.0.1", false)]
    [InlineData("::", false)]
    public void Addresses_of_the_internet_are_told_from_all_others(string address, bool isPublic) => Assert.Equal(isPublic, PublicAddress.Is(IPAddress.Parse(address)));

    [Fact]
    public async Task A_name_that_leads_into_the_network_is_refused_when_the_connection_is_made()
    {
        // The text says nothing of where this machine's own name leads.
        using var sender = new WebhookSender(new WebhookOptions(), TimeProvider.System);
        var answer = await sender.SendAsync($"https://{Dns.GetHostName()}:{new Uri(Address).Port}/x", null, "id", "{}", default);

        Assert.Null(answer.Status);
        Assert.NotNull(answer.Error);
        Assert.Empty(_heard);
    }

    [Theory]
    [InlineData("""{"url":"URL","events":[{"entity":"REGISTERED_MODEL","action":"CREATED"}]}""", "'name'")]
    [InlineData("""{"name":"w","url":"URL"}""", "'events'")]
    [InlineData("""{"name":"w","url":"URL","events":[{"entity":"REGISTERED_MODEL","action":"DELETED"}]}""", "Invalid action 'deleted'")]
    [InlineData("""{"name":"w","url":"URL","events":[{"entity":"RUN","action":"CREATED"}]}""", "events[0].entity")]
    [InlineData("""{"name":"w","url":"URL","events":[{"entity":"REGISTERED_MODEL","action":"CREATED"}],"status":"ASLEEP"}""", "'status'")]
    public async Task A_wrong_webhook_is_refused_with_the_field_named(string body, string message)
    {
        var (status, answer) = await _host.Area.PostAsync($"{Api}/webhooks", body.Replace("URL", Address, StringComparison.Ordinal));

        Assert.Equal(400, status);
        Assert.Contains(message, answer.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    private static Task<RegistryHost> StartAsync(string trusted) => RegistryHost.StartAsync(
        services => services.AddSlipwayTracking().AddSingleton(new WebhookOptions { TrustedHosts = [trusted], RetryAfter = TimeSpan.FromMilliseconds(20), Timeout = TimeSpan.FromMinutes(1) }),
        app => app.MapSlipwayTracking());

    private async Task<JsonElement> CreateAsync(string url, string? secret, params string[] events) => (await SendAsync("POST", "webhooks", new
    {
        name = "w",
        url,
        secret,
        events = events.Select(text => text.Split('.')).Select(parts => new { entity = parts[0], action = parts[1] }),
    })).GetProperty("webhook");

    private string States() => _host.Area.Read(connection => string.Join(' ', connection
        .Query<(string State, long Attempts)>("SELECT state, attempts FROM webhook_deliveries ORDER BY state, attempts").Select(row => $"{row.State}:{row.Attempts}")));

    private async Task<List<Heard>> HeardAsync(int count)
    {
        await UntilAsync(() => _heard.Count >= count);
        return [.. _heard];
    }

    private async Task UntilAsync(Func<bool> condition)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        while (!condition())
        {
            Assert.False(patience.IsCancellationRequested, $"It did not come to pass: {_heard.Count} heard, {States()}.");
            await Task.Delay(20, CancellationToken.None);
        }
    }

    private async Task<JsonElement> SendAsync(string method, string path, object body)
    {
        var (status, answer) = await _host.Area.SendAsync(new HttpMethod(method), $"{Api}/{path}", body);
        Assert.True(status == 200, answer.ToString());
        return answer;
    }

    private async Task<JsonElement> GetAsync(string path)
    {
        var (status, answer) = await _host.Area.GetAsync($"{Api}/{path}");
        Assert.True(status == 200, answer.ToString());
        return answer;
    }

    private sealed record Heard(Dictionary<string, string> Headers, string Body, string Path)
    {
        public override string ToString()
        {
            var body = JsonDocument.Parse(Body).RootElement;
            Assert.True(body.GetProperty("timestamp").TryGetDateTimeOffset(out _));
            return $"{body.GetProperty("entity").GetString()}.{body.GetProperty("action").GetString()} {body.GetProperty("data").GetRawText()}";
        }
    }
}
