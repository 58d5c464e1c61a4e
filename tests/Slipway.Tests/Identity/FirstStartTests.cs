using System.Net;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Identity;
using Slipway.Identity.Keys;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Web;

namespace Slipway.Tests.Identity;

/// <summary>How the first administrator comes in, and when the server would rather not start.</summary>
public sealed class FirstStartTests : IDisposable
{
    private readonly string _data = Directory.CreateTempSubdirectory("slipway-test-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private ServerOptions Options => new() { DataDirectory = _data, Database = TestDatabase.Address(_data), Port = 0, GrpcPort = 0 };

    public void Dispose() => Directory.Delete(_data, recursive: true);

    [Fact, Trait("capability", "X-51")]
    public async Task An_empty_database_gets_one_administrator_without_a_default_password()
    {
        var said = await RunAsync(Options with { Host = "0.0.0.0" }, async server =>
        {
            var key = (await File.ReadAllTextAsync(Path.Combine(_data, "admin.token"), Cancel)).Trim();
            foreach (var guess in new[] { "password1234", "admin", "password", "" })
            {
                Assert.Equal(HttpStatusCode.Unauthorized, await Me(server, WholeServer.Basic("admin", guess)));
            }

            Assert.Equal(HttpStatusCode.OK, await Me(server, $"Bearer {key}"));
            Assert.Equal(HttpStatusCode.Unauthorized, await Me(server, null));
        });

        Assert.Contains("/sign-in/link?code=", said.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("slw_", said.Output + said.Error, StringComparison.Ordinal);
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(_data, "admin.token")));
        }

        // The next start makes nothing and prints no link.
        var again = await RunAsync(Options, _ => Task.CompletedTask);
        Assert.DoesNotContain("code=", again.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_password_given_at_the_first_start_is_the_administrator_s_and_is_printed_nowhere()
    {
        const string password = "given by the operator";
        var said = await RunAsync(Options with { Host = "0.0.0.0", AdminPassword = password }, async server =>
            Assert.Equal(HttpStatusCode.OK, await Me(server, WholeServer.Basic("admin", password))));

        Assert.DoesNotContain(password, said.Output + said.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("code=", said.Output, StringComparison.Ordinal);

        // Later it changes nothing, as long as an administrator can come in.
        await RunAsync(Options with { Host = "0.0.0.0", AdminPassword = "another at the next start" }, async server =>
        {
            Assert.Equal(HttpStatusCode.OK, await Me(server, WholeServer.Basic("admin", password)));
            Assert.Equal(HttpStatusCode.Unauthorized, await Me(server, WholeServer.Basic("admin", "another at the next start")));
        });
    }

    [Theory]
    [InlineData("admin")]
    [InlineData("password1234")]
    public async Task A_weak_administrator_s_password_stops_the_start_without_repeating_it(string password)
    {
        var (exit, _, error) = await StartAsync(Options with { AdminPassword = password });

        Assert.Equal(2, exit);
        Assert.Contains("SLIPWAY_ADMIN_PASSWORD", error, StringComparison.Ordinal);
        Assert.DoesNotContain(password == "admin" ? "'admin'" : password, error, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "OPS-02")]
    public async Task A_server_that_others_reach_does_not_start_when_nobody_could_sign_in_or_login_is_switched_off()
    {
        var (off, _, why) = await StartAsync(Options with { Host = "0.0.0.0", RequireLogin = false });
        Assert.Equal(2, off);
        Assert.Contains("--require-login", why, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_data)); // The next start is still the first.

        await using (var app = SlipwayServer.Build(Options))
        {
            await app.Services.GetRequiredService<UserStore>().BootstrapAsync(null, false, Cancel);
            var keys = app.Services.GetRequiredService<KeyStore>();
            await keys.RevokeAsync(Assert.Single(keys.List("admin")).Id, Caller.System("test"), Cancel);
            await app.Services.GetRequiredService<UserStore>().SetPasswordAsync("admin", "soon to be forgotten", Caller.System("test"), Cancel); // Also ends the link of the first start.
            await app.Services.GetRequiredService<Database>().WriteAsync(transaction => Dapper.SqlMapper.Execute(transaction.Connection, "UPDATE users SET password_hash = NULL"), Cancel);
        }

        var (exit, output, error) = await StartAsync(Options with { Host = "0.0.0.0" });
        Assert.Equal(1, exit);
        Assert.Contains("no administrator could sign in", error, StringComparison.Ordinal);
        Assert.Contains("SLIPWAY_ADMIN_PASSWORD", error, StringComparison.Ordinal);
        Assert.DoesNotContain("listens", output, StringComparison.Ordinal);

        await RunAsync(Options with { Host = "0.0.0.0", AdminPassword = "let in once more" }, async server =>
            Assert.Equal(HttpStatusCode.OK, await Me(server, WholeServer.Basic("admin", "let in once more"))));
    }

    [Fact]
    public async Task On_loopback_this_machine_is_the_administrator_unless_login_is_required_or_a_proxy_speaks_for_others()
    {
        await RunAsync(Options, async server =>
        {
            Assert.Equal(HttpStatusCode.OK, await Me(server, null));
            Assert.Equal(HttpStatusCode.Unauthorized, await Me(server, "Bearer wrong"));
            Assert.Equal(HttpStatusCode.Unauthorized, await Me(server, null, ("X-Forwarded-For", "203.0.113.9")));
            Assert.Equal(HttpStatusCode.Unauthorized, await Me(server, null, ("Forwarded", "for=203.0.113.9")));
        });
        await RunAsync(Options with { RequireLogin = true }, async server => Assert.Equal(HttpStatusCode.Unauthorized, await Me(server, null)));

        // A proxy that does not say for whom it asks: its users are not this machine.
        var behindProxy = Options with { PublicAddress = "https://models.example.com" };
        await RunAsync(behindProxy, async server => Assert.Equal(HttpStatusCode.Unauthorized, await Me(server, null)));
        await RunAsync(behindProxy with { RequireLogin = false }, async server => Assert.Equal(HttpStatusCode.OK, await Me(server, null)));
        await RunAsync(Options with { PublicAddress = "http://localhost:8080" }, async server => Assert.Equal(HttpStatusCode.OK, await Me(server, null)));
    }

    private static async Task<HttpStatusCode> Me(Uri server, string? authorization, params (string Name, string Value)[] headers)
    {
        using var client = new HttpClient();
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(server, $"{WholeServer.Api}/whoami"));
        if (authorization is not null)
        {
            request.Headers.TryAddWithoutValidation("Authorization", authorization);
        }

        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        using var answer = await client.SendAsync(request, Cancel);
        return answer.StatusCode;
    }

    private static async Task<(int Exit, string Output, string Error)> StartAsync(ServerOptions options)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        return (await SlipwayServer.RunAsync(options, output, error, Cancel), output.ToString(), error.ToString());
    }

    private static async Task<(string Output, string Error)> RunAsync(ServerOptions options, Func<Uri, Task> use)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var output = new Announcement();
        using var error = new StringWriter();
        var running = SlipwayServer.RunAsync(options, output, error, stop.Token);
        var first = await Task.WhenAny(output.Address, running);
        Assert.True(first == output.Address, $"It did not start: {error}");
        try
        {
            await use(await output.Address);
        }
        finally
        {
            await stop.CancelAsync();
            await running;
        }

        return (output.ToString(), error.ToString());
    }

    // Standard output that tells the address as soon as the server has said it.
    private sealed class Announcement : StringWriter
    {
        private readonly TaskCompletionSource<Uri> _address = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<Uri> Address => _address.Task;

        public override Task FlushAsync(CancellationToken cancellationToken)
        {
            var text = ToString();
            var at = text.IndexOf("http://", StringComparison.Ordinal);
            _address.TrySetResult(new Uri(text[at..].Split([' ', ';', '\n'])[0].Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal)));
            return Task.CompletedTask;
        }
    }
}
