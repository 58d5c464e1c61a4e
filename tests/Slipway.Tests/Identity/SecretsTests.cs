using System.Collections.Concurrent;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Slipway.Contracts.Identity;
using Slipway.Identity.OpenId;
using Slipway.Identity.Sessions;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Web;

namespace Slipway.Tests.Identity;

/// <summary>Secrets planted wherever one can be: none comes out again in the log, an error, the audit trail or the database.</summary>
[Trait("capability", "OPS-01")]
public sealed class SecretsTests
{
    private const string Password = "planted password of ada";
    private const string WrongPassword = "planted wrong password";
    private const string NewPassword = "planted newer password";
    private const string ClientSecret = "planted-client-secret";
    private const string AdminPassword = "planted admin password";

    [Fact]
    public async Task No_secret_comes_out_in_the_log_an_error_the_audit_trail_or_the_database()
    {
        using var log = new Recorder();
        // Nobody listens at the provider's address, so that asking it fails.
        var openId = OpenIdOptions.Of("http://127.0.0.1:1", "slipway", ClientSecret, null, null, null, null, null, null, "api");
        await using var server = await WholeServer.StartAsync(options => options with { OpenId = openId, AdminPassword = AdminPassword }, services => services.AddSingleton<ILoggerProvider>(log));
        await server.Users.BootstrapAsync(AdminPassword, false, WholeServer.Cancel);
        await server.Users.CreateWithPasswordAsync("ada", Role.DataScientist, Password, Caller.System("test"), WholeServer.Cancel);
        var key = await server.AddAsync("grace", Role.Administrator);
        var link = await server.Service<SignInLinkStore>().CreateAsync("ada", Caller.System("test"), WholeServer.Cancel);
        var session = (await server.FormAsync("/sign-in", null, ("user", "ada"), ("password", Password))).Cookie!.Split('=')[1];
        var secrets = new List<string> { Password, WrongPassword, NewPassword, ClientSecret, AdminPassword, key, link, session };
        secrets.AddRange([WholeServer.Basic("ada", Password)["Basic ".Length..], WholeServer.Basic("ada", WrongPassword)["Basic ".Length..]]);

        const string api = WholeServer.Api;
        List<Answer> answers =
        [
            await server.GetAsync($"{api}/whoami", WholeServer.Basic("ada", WrongPassword)),
            await server.GetAsync($"{api}/whoami", WholeServer.Basic(WrongPassword, WrongPassword)),
            await server.GetAsync($"{api}/whoami", $"Bearer {Password}"),
            await server.GetAsync($"{api}/whoami", key + "x"),
            await server.GetAsync($"{api}/whoami", $"Bearer a.{key}.c"),
            await server.GetAsync($"{api}/nothing/here", key),
            await server.FormAsync("/sign-in", null, ("user", "ada"), ("password", WrongPassword)),
            await server.FormAsync("/sign-in", null, ("user", WrongPassword), ("password", Password)),
            await server.FormAsync("/sign-in", null, ("token", key + "x")),
            await server.FormAsync("/sign-in/link", null, ("code", link + "x"), ("password", NewPassword)),
            await server.GetAsync("/sign-in/openid", null),
            await server.BrowseAsync("/experiments", $"slipway_session={session}"),
            await server.PostAsync($"{api}/users", key, new { name = "Ada", role = "viewer", password = NewPassword }),
            await server.PostAsync($"{api}/users", key, new { name = "ada", role = "viewer", password = NewPassword }),
            await server.PostAsync($"{api}/users", key, $$"""{"name":"ada","role":"viewer","password":"{{NewPassword}}"""),
            await server.PostAsync($"{api}/users", key, $$"""{"name":"ada","role":"viewer","password":["{{NewPassword}}"]}"""),
            await server.PostAsync("/api/2.0/mlflow/users/create", key, new { username = "Ada", password = NewPassword }),
            await server.SendAsync(HttpMethod.Put, $"{api}/users/ada/password", WholeServer.Basic("ada", Password), new { password = NewPassword, current_password = WrongPassword }),
            await server.SendAsync(HttpMethod.Put, $"{api}/users/ada/password", key, new { password = NewPassword }),
            await server.GetAsync($"{api}/users", key),
            await server.GetAsync($"{api}/keys", key),
            await server.GetAsync($"{api}/audit?limit=1000", key),
        ];

        foreach (var secret in secrets)
        {
            Assert.DoesNotContain(secret, log.Text, StringComparison.Ordinal);
            Assert.All(answers, answer => Assert.DoesNotContain(secret, answer.Text, StringComparison.Ordinal));
            Assert.All(server.Service<AuditTrail>().List(limit: 1000), row => Assert.DoesNotContain(secret, $"{row.Reason}{row.BeforeJson}{row.AfterJson}", StringComparison.Ordinal));
            Assert.DoesNotContain(secret, Tables(server.Service<Database>()), StringComparison.Ordinal);
        }

        Assert.Contains("Wrong password", log.Text, StringComparison.Ordinal); // The log was looked at.
    }

    [Theory]
    [InlineData("postgresql://slipway:planted-database-password@127.0.0.1:1/slipway")]
    [InlineData("postgresql://slipway:planted-database-password@127.0.0.1:1/slipway?nonsense=1")]
    [InlineData("postgresql://slipway:planted-database-password@/")]
    [InlineData("oracle://slipway:planted-database-password@127.0.0.1/slipway")]
    public async Task A_database_that_cannot_be_reached_is_told_without_its_password(string database)
    {
        var data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        using var output = new StringWriter();
        using var error = new StringWriter();
        try
        {
            var exit = await SlipwayServer.RunAsync(new ServerOptions { DataDirectory = data, Database = database, Port = 0, GrpcPort = 0 }, output, error, WholeServer.Cancel);

            Assert.NotEqual(0, exit);
            Assert.NotEqual("", error.ToString());
            Assert.DoesNotContain("planted-database-password", output.ToString() + error, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    private static string Tables(Database database) => database.Read(connection => string.Join('\n',
        new[] { "users", "api_keys", "web_sessions", "sign_in_links", "grants", "audit_events", "outbox" }
            .SelectMany(table => connection.Query($"SELECT * FROM {table}")).Select(row => string.Join(' ', ((IDictionary<string, object?>)row).Values))));

    private sealed class Recorder : ILoggerProvider, ILogger
    {
        private readonly ConcurrentQueue<string> _lines = new();

        public string Text => string.Join('\n', _lines);

        public ILogger CreateLogger(string categoryName) => this;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => _lines.Enqueue($"{formatter(state, exception)} {exception}");

        public bool IsEnabled(LogLevel logLevel) => true;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public void Dispose()
        {
            // Keeps its lines for the test.
        }
    }
}
