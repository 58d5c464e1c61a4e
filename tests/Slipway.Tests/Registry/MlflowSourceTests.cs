using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Slipway.Contracts.Registry;
using Slipway.Registry.Mlflow;
using Slipway.Storage;
using Slipway.Storage.S3;
using Slipway.Tests.Hosting;
using Slipway.Tracking;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

/// <summary>Versions made from sources by MLflow's client: what is kept of them, and what no source may reach.</summary>
public sealed class MlflowSourceTests : IAsyncLifetime
{
    private const string Mlmodel =
        """
        artifact_path: model
        flavors:
          onnx: {data: model.onnx, onnx_version: 1.16.0}
          python_function: {loader_module: mlflow.onnx}
        signature:
          inputs: '[{"type": "double", "name": "distance", "required": true}, {"type": "string", "name": "origin", "required": false}]'
          outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}]'
        """;

    private readonly string _root = Directory.CreateTempSubdirectory("slipway-root-").FullName;
    private RegistryHost _host = null!;
    private string _experiment = null!;
    private string _run = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await StartAsync(null);
        await MakeRunAsync();
        await PostAsync("registered-models/create", new { name = "iris" });
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        Directory.Delete(_root, recursive: true);
    }

    [Theory, Trait("capability", "TRK-12"), Trait("capability", "INT-01")]
    [InlineData("runs:/{run}/model")]
    [InlineData("mlflow-artifacts:/{experiment}/{run}/artifacts/model")]
    [InlineData("models:/{model}")]
    [InlineData("mlflow-artifacts:/{experiment}/models/{model}/artifacts")]
    public async Task A_version_is_a_snapshot_of_its_source_with_all_that_the_files_say_of_themselves(string source)
    {
        var model = await MakeLoggedModelAsync();
        await LogAsync(_run, "model/");
        await LogAsync(model, "");
        source = source.Replace("{run}", _run, StringComparison.Ordinal).Replace("{experiment}", _experiment, StringComparison.Ordinal).Replace("{model}", model, StringComparison.Ordinal);

        var answer = (await PostAsync("model-versions/create", new { name = "iris", source, run_id = _run, run_link = "http://runs/1", description = "first", tags = new[] { new { key = "team", value = "ops" } } })).GetProperty("model_version");

        Assert.Equal(("1", "READY", "None", source, _run), (Text(answer, "version"), Text(answer, "status"), Text(answer, "current_stage"), Text(answer, "source"), Text(answer, "run_id")));
        Assert.False(answer.TryGetProperty("status_message", out _));
        var version = _host.Registry.Get("iris", "1");
        Assert.Equal(["MLmodel", "data/notes.txt", "model.onnx", "requirements.txt"], version.Files.Select(file => file.Path));
        Assert.Equal((ModelFormat.Onnx, "model.onnx", "1.0.0", "first"), (version.Format, version.ServedPath, version.Version, version.Description));
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData("onnx==1.16\n"u8)), version.EnvironmentSha256);
        Assert.Equal(["distance FP64 -1,1 False", "origin BYTES -1,1 True"], version.Signature.Inputs.Select(field => $"{field.Name} {field.Type} {string.Join(',', field.Shape)} {field.Optional}"));
        Assert.Equal("output_0", Assert.Single(version.Signature.Outputs).Name);
        Assert.Equal(source, Text(await GetAsync("model-versions/get-download-uri?name=iris&version=1"), "artifact_uri"));

        // The version does not change with the run.
        await _host.Area.Service<ArtifactStore>().LogAsync(_run, "model/model.onnx", "other"u8.ToArray(), Ada, default);
        Assert.Equal(Onnx(1), await _host.Area.Client.GetByteArrayAsync("/model-versions/get-artifact?name=iris&version=1&path=model.onnx"));
        var second = (await PostAsync("model-versions/create", new { name = "iris", source = "models:/iris/1" })).GetProperty("model_version");
        Assert.Equal("2", Text(second, "version"));
        Assert.Equal(version.Files, _host.Registry.Get("iris", "2").Files);
    }

    [Fact]
    public async Task A_source_without_files_says_so_and_one_on_another_server_is_never_asked_for_them()
    {
        var none = (await PostAsync("model-versions/create", new { name = "iris", source = $"runs:/{_run}/nothing" })).GetProperty("model_version");
        Assert.Contains("No files", Text(none, "status_message"), StringComparison.Ordinal);

        // Nothing listens there; asking would fail.
        var far = (await PostAsync("model-versions/create", new { name = "iris", source = "https://127.0.0.1:1/models/x" })).GetProperty("model_version");
        Assert.Equal("READY", Text(far, "status"));
        var version = _host.Registry.Get("iris", "2");
        Assert.Equal((ModelFormat.External, "https://127.0.0.1:1/models/x"), (version.Format, version.Source));
        Assert.Empty(version.Files);
    }

    [Theory]
    [InlineData("/etc/")]
    [InlineData("//etc")]
    [InlineData("file:///etc")]
    [InlineData("file:etc")]
    [InlineData("file:/etc/passwd")]
    [InlineData(":///etc")]
    [InlineData("//proc/self/root")]
    [InlineData("http://h/../../etc")]
    [InlineData("mlflow-artifacts:/../../etc")]
    [InlineData("mlflow-artifacts://other/1/{run}/artifacts")]
    [InlineData("s3://b/../x")]
    [InlineData("s3://somebody/else")]
    [InlineData("file:///a/../../etc")]
    [InlineData(@"file:///..\..\..\etc")]
    [InlineData(@"file://C:\..")]
    [InlineData("C:\\Windows")]
    [InlineData("runs:/{run}/../../etc")]
    [InlineData("runs:/{run}/%2e%2e/%2e%2e/etc")]
    [InlineData("runs:/{run}/%252e%252e%252fetc")]
    [InlineData("runs:/{run}/..%5c..%5cetc")]
    [InlineData("http://x/a;/../../../etc")]
    [InlineData("http:///#/../../../../etc/")]
    [InlineData("http:///etc")]
    [InlineData("file:///x?/../../")]
    [InlineData("dbfs:/../../etc")]
    [InlineData("dbfs:/models/x")]
    [InlineData("ftp://host/x")]
    [InlineData("gopher://127.0.0.1:70/x")]
    [InlineData("{root}/{experiment}/{run}/artifacts")]
    [InlineData("model")]
    [InlineData("dummy-source")]
    [InlineData("runs:/{run}/a\u0000b")]
    [InlineData("runs:/{run}//x")]
    public async Task A_source_that_could_lead_elsewhere_is_refused_and_nothing_is_registered(string source)
    {
        source = source.Replace("{run}", _run, StringComparison.Ordinal).Replace("{experiment}", _experiment, StringComparison.Ordinal).Replace("{root}", _root, StringComparison.Ordinal);

        foreach (var isPrompt in new[] { false, true })
        {
            // A tag that says that it is a prompt opens no other place; only the prompt's own placeholder is taken then.
            var tags = isPrompt ? [new { key = "mlflow.prompt.is_prompt", value = "true" }] : new[] { new { key = "a", value = "b" } };
            var (status, body) = await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/create", new { name = "iris", source, run_id = _run, tags });
            if (isPrompt && source == "dummy-source")
            {
                Assert.Equal(200, status);
                continue;
            }

            Assert.True(status == 400, $"{source}: {status} {body}");
            Assert.Equal("INVALID_PARAMETER_VALUE", body.GetProperty("error_code").GetString());
        }

        Assert.All(_host.Registry.ListVersions("iris"), version => Assert.Equal(("dummy-source", 0), (version.Source, version.Files.Count)));
    }

    [Theory]
    [InlineData("runs:/ffffffffffffffffffffffffffffffff/model")]
    [InlineData("models:/m-ffffffffffffffffffffffffffffffff")]
    [InlineData("models:/other/3")]
    public async Task A_source_that_is_not_there_is_not_found(string source) =>
        Assert.Equal(404, (await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/create", new { name = "iris", source })).Status);

    [Fact]
    public async Task A_version_cannot_claim_another_run_and_needs_a_model()
    {
        var (status, body) = await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/create", new { name = "iris", source = $"runs:/{_run}/model", run_id = new string('a', 32) });
        Assert.Equal(400, status);
        Assert.Contains(_run, body.GetProperty("message").GetString(), StringComparison.Ordinal);
        var (missing, why) = await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/create", new { name = "rose", source = $"runs:/{_run}/model" });
        Assert.Equal((404, "Registered Model with name=rose not found"), (missing, why.GetProperty("message").GetString()));
    }

    [Theory]
    [InlineData("path=../../etc/passwd")]
    [InlineData("path=/etc/passwd")]
    [InlineData("path=C:/x")]
    [InlineData("path=%252e%252e/x")]
    [InlineData("path=a%5c..%5cb")]
    [InlineData("path=")]
    public async Task A_version_s_files_are_read_by_its_manifest_alone(string query)
    {
        await LogAsync(_run, "model/");
        await PostAsync("model-versions/create", new { name = "iris", source = $"runs:/{_run}/model" });

        Assert.Equal(400, (await _host.Area.GetAsync($"/model-versions/get-artifact?name=iris&version=1&{query}")).Status);
        Assert.Equal(404, (await _host.Area.GetAsync("/model-versions/get-artifact?name=iris&version=1&path=other")).Status);
    }

    [Fact]
    public async Task Files_a_client_wrote_below_the_artifact_root_are_taken_from_the_run_s_own_folder_only()
    {
        await using var host = await StartAsync($"file://{_root}");
        (_host, var before) = (host, _host);
        try
        {
            await MakeRunAsync();
            await PostAsync("registered-models/create", new { name = "iris" });
            var owned = Path.Combine(_root, _experiment, _run, "artifacts");
            Directory.CreateDirectory(Path.Combine(owned, "my model"));
            await File.WriteAllTextAsync(Path.Combine(owned, "my model", "weights.pkl"), "pickled");
            var secret = Path.Combine(_root, "secret.txt");
            await File.WriteAllTextAsync(secret, "secret");

            await PostAsync("model-versions/create", new { name = "iris", source = $"file://{owned}/my%20model", run_id = _run });
            await PostAsync("model-versions/create", new { name = "iris", source = $"{owned}/my model", run_id = _run });
            foreach (var version in _host.Registry.ListVersions("iris"))
            {
                Assert.Equal(("weights.pkl", ModelFormat.Pickle, (string?)null), (Assert.Single(version.Files).Path, version.Format, version.ServedPath));
            }

            File.CreateSymbolicLink(Path.Combine(owned, "link"), secret);
            Directory.CreateSymbolicLink(Path.Combine(owned, "folder"), _root);
            foreach (var source in new[] { secret, _root, $"{_root}/{_experiment}", $"{owned}/link", $"{owned}/folder/secret.txt", owned, $"file://localhost{owned}/my%20model", $"{owned}x" })
            {
                var (status, body) = await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/create", new { name = "iris", source, run_id = _run });
                Assert.True(status == 400, $"{source}: {status} {body}");
            }

            Assert.Equal(400, (await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/create", new { name = "iris", source = $"{owned}/my model" })).Status);
            Assert.Equal(2, _host.Registry.ListVersions("iris").Count);
            Assert.DoesNotContain(Convert.ToHexStringLower(SHA256.HashData("secret"u8)), _host.Blobs.List());
        }
        finally
        {
            _host = before;
        }
    }

    [Fact]
    public async Task Objects_a_client_wrote_below_the_artifact_root_are_taken_by_content()
    {
        await using var s3 = await S3Server.StartAsync();
        await using var host = await StartAsync($"s3://{S3Server.Bucket}/runs", s3);
        (_host, var before) = (host, _host);
        try
        {
            await MakeRunAsync();
            await PostAsync("registered-models/create", new { name = "iris" });
            using var bucket = new S3Bucket(s3.Settings, S3Server.Bucket);
            var file = Path.Combine(_root, "model.onnx");
            await File.WriteAllBytesAsync(file, Onnx(4));
            await bucket.PutFileAsync($"runs/{_experiment}/{_run}/artifacts/model/model.onnx", file, default);
            await bucket.PutFileAsync("secret.onnx", file, default);

            await PostAsync("model-versions/create", new { name = "iris", source = $"s3://{S3Server.Bucket}/runs/{_experiment}/{_run}/artifacts/model", run_id = _run });
            Assert.Equal(("model.onnx", ModelFormat.Onnx), (_host.Registry.Get("iris", "1").ServedPath, _host.Registry.Get("iris", "1").Format));
            foreach (var source in new[] { $"s3://{S3Server.Bucket}/secret.onnx", $"s3://{S3Server.Bucket}", $"s3://{S3Server.Bucket}/runs/{_experiment}", "s3://other/x" })
            {
                Assert.Equal(400, (await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/create", new { name = "iris", source, run_id = _run })).Status);
            }
        }
        finally
        {
            _host = before;
        }
    }

    [Theory]
    [InlineData("flavors: [")]
    [InlineData("- a")]
    [InlineData("a: &x [1]\nb: [*x, *x]")]
    [InlineData("signature: {inputs: '[{\"name\": \"a\", \"type\": \"long\"}, {\"name\": \"a\", \"type\": \"long\"}]'}")]
    [InlineData("signature: {inputs: 'no json'}")]
    public void A_file_that_is_no_MLmodel_is_none(string yaml) => Assert.Null(MlmodelFile.Parse(Encoding.UTF8.GetBytes(yaml)));

    [Fact]
    public void Tags_and_depth_of_an_MLmodel_make_nothing()
    {
        Assert.Equal(["python_function"], MlmodelFile.Parse("flavors: {python_function: !!js/function 'function () { throw 1 }'}"u8.ToArray())!.Flavors);
        Assert.Null(MlmodelFile.Parse(Encoding.UTF8.GetBytes(new string('[', 200_000))));
        Assert.Empty(MlmodelFile.Parse("signature: {inputs: 'null'}"u8.ToArray())!.Signature.Inputs);
    }

    private static Task<RegistryHost> StartAsync(string? artifactRoot, S3Server? s3 = null) => RegistryHost.StartAsync(
        services =>
        {
            services.AddSlipwayTracking();
            if (artifactRoot is not null)
            {
                var storage = (StorageOptions)services.Last(service => service.ServiceType == typeof(StorageOptions)).ImplementationInstance!;
                services.Add(new Microsoft.Extensions.DependencyInjection.ServiceDescriptor(typeof(StorageOptions), new StorageOptions
                {
                    DataDirectory = storage.DataDirectory,
                    DatabasePath = storage.DatabasePath,
                    PostgresConnection = storage.PostgresConnection,
                    BlobDirectory = storage.BlobDirectory,
                    ArtifactRoot = artifactRoot,
                    S3 = s3?.Settings ?? storage.S3,
                }));
            }
        },
        app => app.MapSlipwayTracking());

    private async Task MakeRunAsync()
    {
        _experiment = (await PostAsync("experiments/create", new { name = "iris" })).GetProperty("experiment_id").GetString()!;
        _run = (await PostAsync("runs/create", new { experiment_id = _experiment })).GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;
    }

    private async Task<string> MakeLoggedModelAsync() =>
        (await PostAsync("logged-models", new { experiment_id = _experiment, name = "model", source_run_id = _run })).GetProperty("model").GetProperty("info").GetProperty("model_id").GetString()!;

    private async Task LogAsync(string owner, string folder)
    {
        var artifacts = _host.Area.Service<ArtifactStore>();
        await artifacts.LogAsync(owner, $"{folder}MLmodel", Encoding.UTF8.GetBytes(Mlmodel), Ada, default);
        await artifacts.LogAsync(owner, $"{folder}model.onnx", Onnx(1), Ada, default);
        await artifacts.LogAsync(owner, $"{folder}requirements.txt", "onnx==1.16\n"u8.ToArray(), Ada, default);
        await artifacts.LogAsync(owner, $"{folder}data/notes.txt", "note"u8.ToArray(), Ada, default);
        if (folder.Length > 0)
        {
            await artifacts.LogAsync(owner, "modelling.txt", "not the model's"u8.ToArray(), Ada, default);
        }
    }

    private async Task<JsonElement> PostAsync(string path, object body)
    {
        var (status, answer) = await _host.Area.PostAsync($"/api/2.0/mlflow/{path}", body);
        Assert.True(status == 200, answer.ToString());
        return answer;
    }

    private async Task<JsonElement> GetAsync(string path)
    {
        var (status, answer) = await _host.Area.GetAsync($"/api/2.0/mlflow/{path}");
        Assert.True(status == 200, answer.ToString());
        return answer;
    }

    private static string? Text(JsonElement element, string name) => element.GetProperty(name).GetString();
}
