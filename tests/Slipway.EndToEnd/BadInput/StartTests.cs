using System.Net.Sockets;
using System.Text;
using Microsoft.Data.Sqlite;
using Slipway.Tests.Hosting;

namespace Slipway.EndToEnd.BadInput;

/// <summary>The command line with wrong arguments, and servers that cannot start: one sentence, the right exit code, nothing lost.</summary>
[Collection(BadInputServer.Name)]
public sealed class StartTests(BadInputFixture server)
{
    public static TheoryData<int, string, string[]> Wrong => new()
    {
        { 2, "Required command", [] },
        { 2, "'launch'", ["launch"] },
        { 2, "--port", ["server", "--port", "abc"] },
        { 2, "--port must be", ["server", "--port", "70000"] },
        { 2, "--host 'evil'", ["server", "--host", "evil", "--data", "DATA"] },
        { 2, "--max-body", ["server", "--max-body", "-1", "--data", "DATA"] },
        { 2, "--data", ["server", "--data", ""] },
        { 2, "--data", ["server", "--data", "/dev/null"] },
        { 2, "--database", ["server", "--database", "", "--data", "DATA"] },
        { 2, "--database", ["server", "--database", "oracle://x", "--data", "DATA"] },
        { 2, "--artifact-root", ["server", "--artifact-root", "ftp://x", "--data", "DATA"] },
        { 2, "--artifact-root", ["server", "--artifact-root", "s3://bucket/../x", "--data", "DATA"] },
        { 2, "--artifacts-destination", ["server", "--artifacts-destination", "gs://bucket", "--data", "DATA"] },
        { 2, "--s3-endpoint", ["server", "--s3-endpoint", "nonsense", "--data", "DATA"] },
        { 1, "needs credentials", ["server", "--artifacts-destination", "s3://bucket/a", "--s3-endpoint", "http://127.0.0.1:1", "--data", "DATA"] },
        { 2, "--server", ["registry", "list", "--server", "nonsense"] },
        { 3, "No Slipway server answers", ["registry", "list", "--server", "http://127.0.0.1:1"] },
        { 4, "token", ["registry", "list", "--server", "SERVER", "--token", "wrong"] },
        { 2, "'role'", ["user", "add", "bob", "--role", "root", "--server", "SERVER"] },
        { 1, "'nope'", ["registry", "info", "nope", "--server", "SERVER"] },
        { 1, "'nope'", ["pipeline", "run", "nope", "--server", "SERVER"] },
        { 1, "'nope'", ["monitor", "status", "nope", "--server", "SERVER"] },
        { 1, "'nope'", ["rollout", "status", "nope", "--server", "SERVER"] },
        { 2, "key=value", ["pipeline", "run", "nope", "-p", "bad", "--server", "SERVER"] },
        { 2, "no file or folder", ["apply", "/nope", "--server", "SERVER"] },
        { 2, "one YAML mapping", ["apply", "/etc/passwd", "--server", "SERVER"] },
    };

    [Theory, MemberData(nameof(Wrong))]
    public async Task A_wrong_command_ends_with_its_exit_code_and_a_sentence(int exitCode, string words, string[] arguments)
    {
        var data = SlipwayProgram.NewDataFolder();
        try
        {
            var (exit, _, error) = await SlipwayProgram.RunAsync(TestContext.Current.CancellationToken,
                [.. arguments.Select(argument => argument.Replace("DATA", data, StringComparison.Ordinal).Replace("SERVER", server.Server.Address.ToString(), StringComparison.Ordinal))]);

            Assert.True(exit == exitCode, $"{exit}: {error}");
            AssertSentence(error, words);
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    [Theory, Trait("capability", "OPS-01")]
    [InlineData("whoami")]
    [InlineData("server")]
    [InlineData("db", "backup")]
    public async Task Help_shows_no_secret_of_the_environment(params string[] command)
    {
        var ct = TestContext.Current.CancellationToken;
        var planted = new[] { "SLIPWAY_TOKEN", "SLIPWAY_ADMIN_PASSWORD", "SLIPWAY_OIDC_CLIENT_SECRET", "SLIPWAY_NEW_PASSWORD" }.Select(name => KeyValuePair.Create(name, "planted-secret"))
            .Append(KeyValuePair.Create("SLIPWAY_DATABASE", "postgresql://slipway:planted-secret@127.0.0.1:1/slipway"));
        using var process = SlipwayProgram.Start(planted, [.. command, "--help"]);
        var (output, error) = (process.StandardOutput.ReadToEndAsync(ct), process.StandardError.ReadToEndAsync(ct));
        await process.WaitForExitAsync(ct);

        Assert.Contains("Usage", await output, StringComparison.Ordinal);
        Assert.DoesNotContain("planted-secret", await output + await error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_folder_in_use_and_a_port_in_use_are_told_apart()
    {
        AssertSentence(await StartFailsAsync(server.DataDirectory), "Another Slipway server");
        var data = SlipwayProgram.NewDataFolder();
        try
        {
            AssertSentence(await StartFailsAsync(data, $"{server.Server.Address.Port}"), "in use by another program");
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }

        await server.AssertWellAsync();
    }

    [Theory]
    [InlineData("text", "is not an SQLite database")]
    [InlineData("folder", "cannot be used")]
    [InlineData("cut", "cannot be used")]
    [InlineData("values", "cannot be used")]
    [InlineData("newer", "knows only")]
    public async Task A_database_that_is_not_ours_is_left_as_it_is(string fault, string words)
    {
        var data = SlipwayProgram.NewDataFolder();
        var file = Path.Combine(data, "slipway.db");
        try
        {
            if (fault is "folder")
            {
                Directory.CreateDirectory(file);
            }
            else if (fault is "text")
            {
                await File.WriteAllTextAsync(file, "This is a text, and no database at all.", TestContext.Current.CancellationToken);
            }
            else
            {
                await using (await RunningServer.StartAsync(data, TestContext.Current.CancellationToken))
                {
                }

                Spoil(fault, data, file);
            }

            var before = File.Exists(file) ? await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken) : [];

            AssertSentence(await StartFailsAsync(data), words);

            Assert.Equal(before, File.Exists(file) ? await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken) : []);
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    [Fact]
    public async Task An_upload_cut_off_by_a_kill_or_a_stop_leaves_nothing_behind()
    {
        var ct = TestContext.Current.CancellationToken;
        var data = SlipwayProgram.NewDataFolder();
        try
        {
            foreach (var kill in new[] { true, false })
            {
                await using var running = await RunningServer.StartAsync(data, ct);
                using var client = new HttpClient { BaseAddress = running.Address };
                using var applied = await client.PostAsync(new Uri($"{BadInputFixture.Api}/definitions", UriKind.Relative), new StringContent(
                    """{"files":[{"path":"x","yaml":"kind: dataset\nname: cut\ntimestamp: d\nsource: {type: file, owner: o, update_frequency: daily, pii: false, licence: l}\ncolumns: [{name: d, type: timestamp}]"}]}""",
                    Encoding.UTF8, "application/json"), ct);
                Assert.True(applied.IsSuccessStatusCode);
                using var upload = new TcpClient();
                await upload.ConnectAsync(running.Address.Host, running.Address.Port, ct);
                await upload.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"POST {BadInputFixture.Api}/datasets/cut/versions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nPAR1"), ct);
                while (!Directory.EnumerateFiles(Path.Combine(data, "tmp"), "dataset-*").Any())
                {
                    await Task.Delay(10, ct);
                }

                if (kill)
                {
                    await running.KillAsync(ct);
                }
                else
                {
                    upload.Close();
                }
            }

            await using var survivor = await RunningServer.StartAsync(data, ct);
            Assert.Empty(Directory.EnumerateFiles(Path.Combine(data, "tmp"), "dataset-*"));
            using var after = new HttpClient { BaseAddress = survivor.Address };
            Assert.Contains("\"versions\":[]", await after.GetStringAsync(new Uri($"{BadInputFixture.Api}/datasets/cut", UriKind.Relative), ct), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    private static void Spoil(string fault, string data, string file)
    {
        switch (fault)
        {
            case "cut":
                using (var stream = File.OpenWrite(file))
                {
                    stream.SetLength(20_000);
                }

                break;
            case "values":
                File.WriteAllText(Path.Combine(data, "online.db"), "This is a text, and no database at all.");
                break;
            default:
                using (var connection = new SqliteConnection($"Data Source={file};Pooling=False"))
                {
                    connection.Open();
                    using var command = connection.CreateCommand();
                    command.CommandText = "INSERT INTO schema_migrations VALUES ('registry', 99, 'x', 'x', 1)";
                    command.ExecuteNonQuery();
                }

                break;
        }
    }

    private static async Task<string> StartFailsAsync(string data, string? port = null)
    {
        var (exit, _, error) = await SlipwayProgram.RunAsync(
            TestContext.Current.CancellationToken, "server", "--data", data, "--port", port ?? $"{FreePort.Next()}", "--grpc-port", "0");
        Assert.Equal(1, exit);
        return error;
    }

    private static void AssertSentence(string error, string words)
    {
        Assert.Contains(words, error, StringComparison.Ordinal);
        Assert.DoesNotContain("Exception", error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
        Assert.InRange(error.Trim().Split('\n').Length, 1, 4);
    }
}
