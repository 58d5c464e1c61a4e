using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Dapper;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

/// <summary>Uploads in parts, step by step as MLflow's client takes them.</summary>
public sealed class MultipartUploadTests : IAsyncLifetime
{
    private const string Uploads = "/api/2.0/mlflow-artifacts/mpu";

    private AreaHost _host = null!;
    private string _run = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());
        var created = await _host.PostAsync("/api/2.0/mlflow/runs/create", new { experiment_id = "0" });
        _run = created.Body.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact, Trait("capability", "TRK-03")]
    public async Task Parts_in_any_order_become_one_file_with_its_digest()
    {
        var bytes = RandomNumberGenerator.GetBytes(300_000);
        var (id, addresses) = await BeginAsync("model", @"C:\models\weights.bin", 3);

        var marks = new string[3];
        foreach (var part in (int[])[2, 0, 1, 0])
        {
            marks[part] = await PutAsync(addresses[part], part == 2 ? bytes[200_000..] : bytes[(part * 100_000)..((part + 1) * 100_000)]);
        }

        Assert.Equal(200, await EndAsync("complete/0/RUN/artifacts/model", id, "weights.bin", marks));

        var file = Assert.Single(_host.Service<ArtifactStore>().List(_run));
        Assert.Equal(("model/weights.bin", Convert.ToHexStringLower(SHA256.HashData(bytes)), 300_000L), (file.Path, file.Sha256, file.SizeBytes));
        Assert.Equal(bytes, await _host.Client.GetByteArrayAsync($"/api/2.0/mlflow-artifacts/artifacts/0/{_run}/artifacts/model/weights.bin"));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(_host.Service<StorageOptions>().TemporaryDirectory, "uploads")));
        Assert.Equal(404, await EndAsync("complete/0/RUN/artifacts/model", id, "weights.bin", marks));
    }

    [Fact]
    public async Task What_does_not_fit_together_is_refused_and_the_upload_goes_on()
    {
        var (id, addresses) = await BeginAsync(null, "a.bin", 2);
        var first = await PutAsync(addresses[0], [1, 2]);
        Assert.Equal(400, await EndAsync("complete/0/RUN/artifacts", id, "a.bin", [first]));
        Assert.Equal(400, await EndAsync("complete/0/RUN/artifacts", id, "a.bin", [first, first]));
        var second = await PutAsync(addresses[1], [3]);
        Assert.Equal(400, await EndAsync("complete/0/RUN/artifacts", id, "a.bin", [second, first]));
        Assert.Equal(404, await EndAsync("complete/0/RUN/artifacts", id, "other.bin", [first, second]));
        Assert.Equal(404, await EndAsync("complete/0/RUN/artifacts/sub", id, "a.bin", [first, second]));
        Assert.Equal(404, await EndAsync("complete/0/RUN/artifacts", new string('0', 64), "a.bin", [first, second]));
        Assert.Empty(_host.Service<ArtifactStore>().List(_run));

        // A run that is in the bin for a moment costs nobody the parts.
        await _host.PostAsync("/api/2.0/mlflow/runs/delete", new { run_id = _run });
        Assert.Equal(400, await EndAsync("complete/0/RUN/artifacts", id, "a.bin", [first, second]));
        await _host.PostAsync("/api/2.0/mlflow/runs/restore", new { run_id = _run });
        Assert.Equal(200, await EndAsync("complete/0/RUN/artifacts", id, "a.bin", [first, second]));
        Assert.Equal([1, 2, 3], await _host.Client.GetByteArrayAsync($"/get-artifact?run_id={_run}&path=a.bin"));
    }

    [Fact]
    public async Task An_aborted_upload_leaves_nothing_and_takes_no_more_parts()
    {
        var (id, addresses) = await BeginAsync(null, "a.bin", 2);
        await PutAsync(addresses[0], [1]);

        Assert.Equal(404, await EndAsync("abort/0/RUN/artifacts", id, "b.bin", []));
        Assert.Equal(200, await EndAsync("abort/0/RUN/artifacts", id, "a.bin", []));

        using var late = await _host.Client.PutAsync(addresses[1], new ByteArrayContent([1]));
        Assert.Equal(HttpStatusCode.NotFound, late.StatusCode);
        Assert.Empty(_host.Service<ArtifactStore>().List(_run));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(_host.Service<StorageOptions>().TemporaryDirectory, "uploads")));
    }

    [Theory]
    [InlineData("create/0/RUN/artifacts", """{"path":"a.bin","num_parts":0}""", 400)]
    [InlineData("create/0/RUN/artifacts", """{"path":"a.bin","num_parts":10001}""", 400)]
    [InlineData("create/0/RUN/artifacts", """{"path":"a.bin"}""", 400)]
    [InlineData("create/0/RUN/artifacts", """{"num_parts":1}""", 400)]
    [InlineData("create/0/RUN/artifacts", """{"path":"..","num_parts":1}""", 400)]
    [InlineData("create/0/RUN/artifacts", """{"path":"x/%2e%2e%2fy","num_parts":1}""", 400)]
    [InlineData("create/0/RUN/artifacts/%252e%252e", """{"path":"a.bin","num_parts":1}""", 400)]
    [InlineData("create/0/RUN/artifacts/..%2f..", """{"path":"a.bin","num_parts":1}""", 400)]
    [InlineData("create/1/RUN/artifacts", """{"path":"a.bin","num_parts":1}""", 404)]
    [InlineData("create/etc/passwd", """{"path":"a.bin","num_parts":1}""", 400)]
    public async Task A_place_that_takes_no_file_begins_no_upload(string path, string body, int status)
    {
        Assert.Equal(status, (await _host.PostAsync($"{Uploads}/{path.Replace("RUN", _run, StringComparison.Ordinal)}", JsonSerializer.Deserialize<JsonElement>(body))).Status);
        Assert.False(Directory.Exists(Path.Combine(_host.Service<StorageOptions>().TemporaryDirectory, "uploads")));
        Assert.Equal(0L, _host.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM run_artifacts")));
    }

    private async Task<(string Id, List<Uri> Addresses)> BeginAsync(string? folder, string local, int parts)
    {
        var (status, body) = await _host.PostAsync($"{Uploads}/create/0/{_run}/artifacts{(folder is null ? "" : "/" + folder)}", new { path = local, num_parts = parts });
        Assert.Equal(200, status);
        return (body.GetProperty("upload_id").GetString()!, [.. body.GetProperty("credentials").EnumerateArray().Select(part => new Uri(part.GetProperty("url").GetString()!))]);
    }

    private async Task<string> PutAsync(Uri address, byte[] bytes)
    {
        using var content = new ByteArrayContent(bytes);
        using var answer = await _host.Client.PutAsync(address, content);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        return answer.Headers.ETag!.Tag;
    }

    private async Task<int> EndAsync(string path, string id, string local, IReadOnlyList<string> marks) => (await _host.PostAsync(
        $"{Uploads}/{path.Replace("RUN", _run, StringComparison.Ordinal)}",
        new { path = local, upload_id = id, parts = marks.Select((mark, index) => new { part_number = index + 1, etag = mark, url = "" }) })).Status;
}
