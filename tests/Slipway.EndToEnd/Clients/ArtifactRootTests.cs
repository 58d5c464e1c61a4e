using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Slipway.Storage.S3;
using Slipway.Tests.Hosting;

namespace Slipway.EndToEnd.Clients;

/// <summary>Clients that write the files of runs below the artifact root by themselves, as MLflow's do when the server names a root.</summary>
public sealed class ArtifactRootTests
{
    [Fact, Trait("capability", "TRK-03"), Trait("capability", "DAT-03")]
    public async Task A_folder_is_handed_out_as_the_root_and_read_without_leaving_it()
    {
        var ct = TestContext.Current.CancellationToken;
        var root = SlipwayProgram.NewDataFolder();
        await using var server = await RunningServer.StartAsync(SlipwayProgram.NewDataFolder(), ct, "--artifact-root", $"file://{root}");
        using var http = new HttpClient { BaseAddress = server.Address };

        Assert.Equal($"file://{root}/0", (await ExperimentAsync(http, "0", ct)).GetProperty("artifact_location").GetString());
        var (run, uri) = await RunAsync(http, ct);
        Assert.Equal($"file://{root}/0/{run}/artifacts", uri);
        var folder = uri["file://".Length..];
        Directory.CreateDirectory(Path.Combine(folder, "model"));
        await File.WriteAllTextAsync(Path.Combine(folder, "notes.txt"), "by hand", ct);
        await File.WriteAllTextAsync(Path.Combine(folder, "model", "weights.txt"), "1 2 3", ct);
        Directory.CreateSymbolicLink(Path.Combine(folder, "out"), "/etc");
        File.CreateSymbolicLink(Path.Combine(folder, "hosts"), "/etc/hosts");
        using (var sent = await http.PutAsync(new Uri($"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/sent.txt", UriKind.Relative), new ByteArrayContent("sent"u8.ToArray()), ct))
        {
            Assert.Equal(HttpStatusCode.OK, sent.StatusCode);
        }

        Assert.Equal(["model/", "notes.txt 7", "sent.txt 4"], await ListAsync(http, run, "", ct));
        Assert.Equal(["model/weights.txt 5"], await ListAsync(http, run, "&path=model", ct));
        Assert.Equal("by hand", await http.GetStringAsync($"/get-artifact?run_id={run}&path=notes.txt", ct));
        Assert.Equal("1 2 3", await http.GetStringAsync($"/get-artifact?run_id={run}&path=model/weights.txt", ct));
        foreach (var path in new[] { "hosts", "out/hosts", "out", "../artifacts/notes.txt", "none.txt", "model" })
        {
            using var answer = await http.GetAsync(new Uri($"/get-artifact?run_id={run}&path={path}", UriKind.Relative), ct);
            Assert.True(answer.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.BadRequest, $"{path}: {answer.StatusCode}");
        }

        Assert.Equal(HttpStatusCode.OK, await CreateAsync(http, "own", $"file://{root}/own/place", ct));
        foreach (var place in new[] { "file:///etc", $"file://{root}", $"file://{root}/../x", $"file://{root}/%2e%2e/x", $"file://{root}other/x", "s3://bucket/x", $"{root}/x" })
        {
            Assert.Equal(HttpStatusCode.BadRequest, await CreateAsync(http, $"at {place}", place, ct));
        }
    }

    [Fact, Trait("capability", "TRK-03"), Trait("capability", "DAT-03")]
    public async Task A_bucket_is_handed_out_as_the_root_and_read_from()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var s3 = await S3Server.StartAsync();
        var environment = new Dictionary<string, string> { ["AWS_ACCESS_KEY_ID"] = s3.Settings.AccessKey!, ["AWS_SECRET_ACCESS_KEY"] = s3.Settings.SecretKey! };
        await using var server = await RunningServer.StartAsync(
            SlipwayProgram.NewDataFolder(), environment, ct, "--artifact-root", $"s3://{S3Server.Bucket}/runs", "--s3-endpoint", s3.Address.ToString());
        using var http = new HttpClient { BaseAddress = server.Address };
        var (run, uri) = await RunAsync(http, ct);
        Assert.Equal($"s3://{S3Server.Bucket}/runs/0/{run}/artifacts", uri);
        var file = Path.GetTempFileName();
        await File.WriteAllBytesAsync(file, Encoding.UTF8.GetBytes("from a client"), ct);
        using (var bucket = new S3Bucket(s3.Settings, S3Server.Bucket))
        {
            await bucket.PutFileAsync($"runs/0/{run}/artifacts/model/notes.txt", file, ct);
        }

        File.Delete(file);
        Assert.Equal(["model/"], await ListAsync(http, run, "", ct));
        Assert.Equal(["model/notes.txt 13"], await ListAsync(http, run, "&path=model", ct));
        Assert.Equal("from a client", await http.GetStringAsync($"/get-artifact?run_id={run}&path=model/notes.txt", ct));
        using var none = await http.GetAsync(new Uri($"/get-artifact?run_id={run}&path=none.txt", UriKind.Relative), ct);
        Assert.Equal(HttpStatusCode.NotFound, none.StatusCode);
    }

    private static async Task<JsonElement> ExperimentAsync(HttpClient http, string id, CancellationToken ct) =>
        (await http.GetFromJsonAsync<JsonElement>($"/api/2.0/mlflow/experiments/get?experiment_id={id}", ct)).GetProperty("experiment");

    private static async Task<HttpStatusCode> CreateAsync(HttpClient http, string name, string location, CancellationToken ct)
    {
        using var answer = await http.PostAsJsonAsync("/api/2.0/mlflow/experiments/create", new { name, artifact_location = location }, ct);
        return answer.StatusCode;
    }

    private static async Task<(string Run, string Uri)> RunAsync(HttpClient http, CancellationToken ct)
    {
        using var created = await http.PostAsJsonAsync("/api/2.0/mlflow/runs/create", new { experiment_id = "0", start_time = 1 }, ct);
        var info = (await created.Content.ReadFromJsonAsync<JsonElement>(ct)).GetProperty("run").GetProperty("info");
        return (info.GetProperty("run_id").GetString()!, info.GetProperty("artifact_uri").GetString()!);
    }

    private static async Task<List<string>> ListAsync(HttpClient http, string run, string more, CancellationToken ct)
    {
        var answer = await http.GetFromJsonAsync<JsonElement>($"/api/2.0/mlflow/artifacts/list?run_id={run}{more}", ct);
        return [.. answer.GetProperty("files").EnumerateArray().Select(file =>
            file.GetProperty("is_dir").GetBoolean() ? $"{file.GetProperty("path").GetString()}/" : $"{file.GetProperty("path").GetString()} {file.GetProperty("file_size").GetInt64()}")];
    }
}
