using System.Diagnostics;
using System.Net;
using Dapper;
using Slipway.Contracts.Identity;
using Slipway.Identity;
using Slipway.Storage;

namespace Slipway.Tests.Identity;

/// <summary>Names and passwords, as MLflow's clients send them.</summary>
public sealed class PasswordTests(WholeServerFixture fixture) : IClassFixture<WholeServerFixture>, IAsyncLifetime
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
    public async Task Name_and_password_let_in_as_mlflow_s_clients_send_them_and_nothing_else_does()
    {
        Assert.Equal(_ada, (await Me(WholeServer.Basic(_ada, Password))).Json.GetProperty("name").GetString());
        foreach (var wrong in new[] { WholeServer.Basic(_ada, Password + "x"), WholeServer.Basic(_ada, ""), WholeServer.Basic("nobody", Password), WholeServer.Basic("", Password), "Basic %%%", "Basic YWRh", "Digest x" })
        {
            var answer = await Me(wrong);
            Assert.Equal(HttpStatusCode.Unauthorized, answer.Status);
            Assert.DoesNotContain(Password, answer.Text, StringComparison.Ordinal);
        }

        // An API key is its own name and password.
        var grace = WholeServer.NewName("grace");
        var key = await _server.AddAsync(grace, Role.Approver);
        Assert.Equal(grace, (await Me(WholeServer.Basic("whoever", key))).Json.GetProperty("name").GetString());
        Assert.Equal(grace, (await Me(key)).Json.GetProperty("name").GetString());
    }

    [Fact]
    public async Task A_password_that_was_right_is_not_hashed_again_until_it_changes()
    {
        var header = WholeServer.Basic(_ada, Password);
        var first = await TimeAsync();
        var next = TimeSpan.MaxValue;
        for (var n = 0; n < 20; n++)
        {
            next = TimeSpan.FromTicks(Math.Min(next.Ticks, (await TimeAsync()).Ticks));
        }

        // A hash takes a tenth of a second, and the quickest of many requests is not one that a busy machine held up.
        Assert.True(next * 4 < first, $"The first took {first}, the quickest of the twenty after it {next}.");

        async Task<TimeSpan> TimeAsync()
        {
            var watch = Stopwatch.StartNew();
            Assert.Equal(HttpStatusCode.OK, (await Me(header)).Status);
            return watch.Elapsed;
        }

        await _server.Users.SetPasswordAsync(_ada, "another one altogether", Caller.System("test"), WholeServer.Cancel);
        Assert.Equal(HttpStatusCode.Unauthorized, (await Me(header)).Status);
        Assert.Equal(HttpStatusCode.OK, (await Me(WholeServer.Basic(_ada, "another one altogether"))).Status);

        await _server.Users.SetStateAsync(_ada, active: false, Caller.System("test"), WholeServer.Cancel);
        Assert.Equal(HttpStatusCode.Unauthorized, (await Me(WholeServer.Basic(_ada, "another one altogether"))).Status);
    }

    [Fact]
    public async Task Guessing_is_slowed_down_for_the_user_and_keys_go_on_working()
    {
        var key = (await _server.Service<Slipway.Identity.Keys.KeyStore>().CreateAsync(_ada, "ci", KeyLimits.None, null, Caller.System("test"), WholeServer.Cancel)).Secret;
        for (var n = 0; n < LoginThrottle.FreeAttempts; n++)
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await Me(WholeServer.Basic(_ada, $"wrong number {n}"))).Status);
        }

        var locked = await Me(WholeServer.Basic(_ada, Password));
        Assert.Equal(HttpStatusCode.TooManyRequests, locked.Status);
        Assert.Equal("1", locked.Headers.GetValues("Retry-After").Single());
        Assert.Equal(HttpStatusCode.OK, (await Me(key)).Status);

        _server.Clock.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(HttpStatusCode.OK, (await Me(WholeServer.Basic(_ada, Password))).Status);
    }

    [Fact]
    public async Task Many_guesses_at_once_count_as_many_and_many_right_requests_as_one()
    {
        var right = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => Me(WholeServer.Basic(_ada, Password))));
        Assert.All(right, answer => Assert.Equal(HttpStatusCode.OK, answer.Status));

        var guesses = await Task.WhenAll(Enumerable.Range(0, 20).Select(n => Me(WholeServer.Basic(_ada, $"guess number {n}"))));
        Assert.InRange(guesses.Count(answer => answer.Status == HttpStatusCode.Unauthorized), 1, LoginThrottle.FreeAttempts);
        Assert.Contains(guesses, answer => answer.Status == HttpStatusCode.TooManyRequests);
    }

    [Fact]
    public async Task Users_change_their_own_password_with_the_one_before_and_administrators_anyone_s()
    {
        var header = WholeServer.Basic(_ada, Password);
        var administrator = fixture.Administrator;
        var path = $"{WholeServer.Api}/users/{_ada}/password";

        Assert.Equal(HttpStatusCode.Forbidden, (await _server.SendAsync(HttpMethod.Put, path, header, new { password = "a brand new one" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.SendAsync(HttpMethod.Put, path, await _server.AddAsync(WholeServer.NewName("eve"), Role.MlEngineer), new { password = "a brand new one", current_password = Password })).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await _server.SendAsync(HttpMethod.Put, path, header, new { password = "short", current_password = Password })).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await _server.SendAsync(HttpMethod.Put, path, header, new { password = "a brand new one", current_password = Password })).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await Me(header)).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await _server.SendAsync(HttpMethod.Put, path, administrator, new { password = "yet another one" })).Status);
        Assert.Equal(HttpStatusCode.OK, (await Me(WholeServer.Basic(_ada, "yet another one"))).Status);
        Assert.Equal(0L, _server.Service<Database>().Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM users WHERE password_hash LIKE '%another%'")));
    }

    private Task<Answer> Me(string credentials) => _server.GetAsync($"{WholeServer.Api}/whoami", credentials);
}
