using System.CommandLine;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.RegularExpressions;
using Slipway.Cli;
using Slipway.Cli.Commands;
using Slipway.Client;
using Slipway.Client.Registry;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Native.Onnx;
using Slipway.Registry.Formats;
using Slipway.Storage;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

/// <summary>Files on disk become a version, by the client and by the command line.</summary>
[Collection("The console shows one progress bar at a time")]
public sealed class RegisterFilesTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("slipway-register-").FullName;
    private RegistryHost _host = null!;
    private SlipwayClient _client = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await RegistryHost.StartAsync();
        _client = new SlipwayClient(_host.Area.Client.BaseAddress!);
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _host.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    [Trait("capability", "REG-01")]
    public async Task A_folder_is_sent_whole_hashed_on_the_way_and_not_sent_again_after_a_broken_attempt()
    {
        Write("model/model.onnx", Onnx(1));
        Write("model/data/large.bin", new byte[3_000_000]);
        var files = ModelFiles.List(Path.Combine(_folder, "model"));
        var cache = Path.Combine(_folder, "cache");
        var progress = new Total();

        var sent = await _client.UploadFilesAsync(files, progress, default, cache);

        Assert.Equal(["data/large.bin", "model.onnx"], sent.Select(file => file.Path));
        Assert.Equal(sent.Sum(file => file.SizeBytes), progress.Done);
        foreach (var file in sent)
        {
            Assert.True(await _host.Blobs.VerifyAsync(file.Sha256, default));
        }

        // Again: nothing is received, so that what is in the store stays the very file it was.
        var before = sent.Select(file => File.GetLastWriteTimeUtc(_host.Blobs.PathOf(file.Sha256))).ToList();
        Assert.Equal(sent, await _client.UploadFilesAsync(files, null, default, cache));
        Assert.Equal(before, sent.Select(file => File.GetLastWriteTimeUtc(_host.Blobs.PathOf(file.Sha256))));

        // A file that was changed since is sent as it is now.
        Write("model/data/large.bin", [1, 2, 3]);
        var changed = await _client.UploadFilesAsync(ModelFiles.List(Path.Combine(_folder, "model")), null, default, cache);
        Assert.Equal(3, changed[0].SizeBytes);
    }

    [Fact]
    public async Task A_large_file_on_the_servers_machine_is_handed_over_and_sent_where_that_fails()
    {
        Write("large.bin", [.. Enumerable.Range(0, 6_000_000).Select(i => (byte)(i * 7 % 251))]);
        var files = ModelFiles.List(At("large.bin"));
        var handed = Path.Combine(_host.Area.Service<StorageOptions>().TemporaryDirectory, "handed");
        var progress = new Total();

        var taken = Assert.Single(await _client.UploadFilesAsync(files, progress, default, At("cache")));

        Assert.Equal(6_000_000, progress.Done);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(At("large.bin")))), taken.Sha256);
        Assert.True(await _host.Blobs.VerifyAsync(taken.Sha256, default));
        Assert.Empty(Directory.GetFiles(handed)); // It was used, and the copy is the blob now.
        Assert.True(File.Exists(At("large.bin")));

        Directory.Delete(handed);
        await File.WriteAllTextAsync(handed, "no folder can be made here");
        progress = new Total();
        var sent = Assert.Single(await _client.UploadFilesAsync(files, progress, default, At("another cache")));
        Assert.Equal((taken, 6_000_000), (sent, progress.Done));
    }

    [Fact]
    [Trait("capability", "REG-23")]
    public async Task A_hand_over_takes_nothing_but_a_file_copied_to_where_it_said()
    {
        var place = await _client.PostAsync<HandOver>("blobs/hand-overs", null, default);
        File.CreateSymbolicLink(place.Path, "/etc/hostname");
        Write("outside", "secret"u8.ToArray());

        foreach (var (token, code) in new[]
        {
            (place.Token, ErrorCode.NotFound), (Guid.NewGuid().ToString("N"), ErrorCode.NotFound), ("..%2f..%2foutside", ErrorCode.InvalidArgument),
            ($"{{{Guid.NewGuid()}}}", ErrorCode.InvalidArgument),
        })
        {
            Assert.Equal(code, (await Assert.ThrowsAsync<SlipwayException>(() => _client.PostAsync<StoredBlob>($"blobs/hand-overs/{token}", null, default))).Code);
        }

        Assert.Empty(_host.Blobs.List());
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(Path.GetDirectoryName(place.Path)!));
        }
    }

    [Fact]
    [Trait("capability", "REG-23")]
    public async Task A_link_in_the_folder_is_refused_and_content_that_is_not_what_the_sender_says_too()
    {
        Write("model/model.onnx", Onnx(1));
        File.CreateSymbolicLink(Path.Combine(_folder, "model", "weights.bin"), "/etc/hostname");

        var error = Assert.Throws<SlipwayException>(() => ModelFiles.List(Path.Combine(_folder, "model")));

        Assert.Contains("is a link to '/etc/hostname'", error.Message, StringComparison.Ordinal);
        using var content = new ByteArrayContent([1, 2, 3]);
        using var answer = await _host.Area.Client.PostAsync(new Uri($"/api/slipway/v1/blobs?sha256={new string('0', 64)}", UriKind.Relative), content);
        Assert.Equal(400, (int)answer.StatusCode);
        Assert.Contains("but the content that arrived has", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "REG-01")]
    [Trait("capability", "REG-19")]
    [Trait("capability", "CIC-01")]
    public async Task The_command_line_registers_a_folder_with_all_its_parts_and_each_is_read_back()
    {
        Write("model/model.onnx", Onnx(1));
        Write("requirements.txt", "onnxruntime==1.20"u8.ToArray());
        Write("signature.json", JsonSerializer.SerializeToUtf8Bytes(Signature(), JsonDefaults.Options));
        Write("features.json", JsonSerializer.SerializeToUtf8Bytes(Features(), JsonDefaults.Options));
        Write("baseline.json", "{}"u8.ToArray());
        Write("report.json", JsonSerializer.SerializeToUtf8Bytes(Report(), JsonDefaults.Options));
        string[] common =
        [
            "registry", "register", Model, At("model"), "--environment", At("requirements.txt"), "--signature", At("signature.json"), "--features", At("features.json"), "--baseline", At("baseline.json"),
            "--evaluation", At("report.json"), "--run-id", "run-7", "--owner", "carol", "--tag", "team=ops", "--description", "Late or not", "--json",
        ];

        var first = JsonSerializer.Deserialize<ModelVersionRecord>(await CliAsync([.. common, "--commit", "3f2a"]), JsonDefaults.Options)!;

        var version = _host.Registry.Get(Model, first.Version);
        Assert.Equal(("1.0.0", "run-7", "carol", "Late or not", "ops", "3f2a"), (version.Version, version.RunId, version.Owner, version.Description, version.Tags["team"], version.Commit));
        Assert.Equal("onnxruntime==1.20", System.Text.Encoding.UTF8.GetString(await _host.Blobs.ReadVerifiedAsync(version.EnvironmentSha256!, default)));
        Assert.Equal(["origin", "destination"], version.Signature.Inputs.Select(field => field.Name));
        Assert.Equal(Features().Features, version.FeatureSchema.Features);
        Assert.Equal(0.66, (await _host.Registry.ReadReportAsync(version, default))!.Metrics["auc"]);
        Assert.NotNull(version.BaselineSha256);

        // Without --commit, that of the checkout the command runs in, which these tests do.
        var second = JsonSerializer.Deserialize<ModelVersionRecord>(await CliAsync([.. common, "--bump", "major", "--parent", "1.0.0"]), JsonDefaults.Options)!;
        Assert.Equal(("2.0.0", "1.0.0"), (second.Version, second.ParentVersion));
        Assert.Equal(40, second.Commit!.Length);
    }

    [Fact]
    [Trait("capability", "X-41")]
    public async Task The_command_line_makes_a_variant_and_shows_both_benchmarks()
    {
        Write("net.onnx", OnnxConverters.LogisticRegression(["a", "b"], [0, 0], [1, 1], [1, -1], 0));
        Write("rows.csv", "b,a\n1,2\n0,0\n"u8.ToArray());
        await CliAsync("registry", "register", "net", At("net.onnx"));

        var made = JsonSerializer.Deserialize<ModelVersionRecord>(await CliAsync("registry", "variant", "net", "1.0.0", "--kind", "optimized", "--sample", At("rows.csv"), "--json"), JsonDefaults.Options)!;
        var other = JsonSerializer.Deserialize<ModelVersionRecord>(await CliAsync("registry", "variant", "net", "1.0.0", "--file", At("net.onnx"), "--bump", "minor", "--json"), JsonDefaults.Options)!;

        var lines = ProfileLines.Of(made).ToList();
        Assert.Equal("1.0.1", made.Version);
        Assert.Contains("Variant of 1.0.0 (optimized), both run on 2 rows (sample):", lines);
        Assert.Contains(lines, line => Regex.IsMatch(line, "^  before [0-9,]+ bytes, one row p50 [0-9.]+ µs"));
        Assert.Contains(lines, line => Regex.IsMatch(line, "^  after  [0-9,]+ bytes, one row p50 [0-9.]+ µs"));
        Assert.Equal(("1.1.0", "1.0.0", VariantKind.File, 0L), (other.Version, other.ParentVersion, other.Profile!.Variant!.Kind, other.Profile.Variant.Answers.Sum(answer => answer.Unequal)));
    }

    [Fact]
    [Trait("capability", "REG-20")]
    [Trait("capability", "REG-22")]
    public async Task A_model_that_its_provider_runs_is_inventoried_without_a_file_beside_the_others_with_type_owner_purpose_and_risk()
    {
        await _host.RegisterAsync();
        await CliAsync("registry", "register", "helper", "--kind", "foundation", "--provider", "Example AI", "--model-id", "big-model-4", "--licence", "Proprietary", "--terms-url", "https://example.com/terms");
        await CliAsync("registry", "describe", "helper", "--risk-class", "very-high", "--purpose", "=Answers customers", "--owner", "carol", "--reason", "review of May");

        var inventory = JsonSerializer.Deserialize<ModelInventory>(await CliAsync("registry", "inventory", "--json"), JsonDefaults.Options)!;

        Assert.Equal([Model, "helper"], inventory.Models.Select(entry => entry.Model));
        Assert.Equal((ModelKind.Trained, ModelFormat.Onnx, "slipway", "ada", RiskClass.Low),
            (inventory.Models[0].Kind, inventory.Models[0].Type, inventory.Models[0].Framework, inventory.Models[0].Owner, inventory.Models[0].RiskClass));
        var helper = inventory.Models[1];
        Assert.Equal((ModelKind.Foundation, ModelFormat.External, "Example AI", "carol", "=Answers customers", RiskClass.VeryHigh, "Proprietary"),
            (helper.Kind, helper.Type, helper.Provider, helper.Owner, helper.Purpose, helper.RiskClass, helper.Licence));
        var csv = (await CliAsync("registry", "inventory", "--csv")).Split('\n', StringSplitOptions.TrimEntries);
        Assert.Equal("model,kind,type,framework,provider,owner,purpose,risk_class,licence,newest_version,production_version", csv[0]);
        Assert.Equal("helper,foundation,external,,Example AI,carol,'=Answers customers,very_high,Proprietary,1.0.0,", csv[2]);
        Assert.Empty(_host.Registry.Get("helper", "1.0.0").Files);
        var audit = _host.Area.Service<Slipway.Storage.Audit.AuditTrail>().List(new Slipway.Storage.NodeRef("model", "helper"))[0];
        Assert.Equal(("model.described", "review of May"), (audit.Action, audit.Reason));
        Assert.Contains("\"risk_class\":\"low\"", audit.BeforeJson, StringComparison.Ordinal);
    }

    [Theory]
    [Trait("capability", "REG-22")]
    [InlineData("trained", "p", "m", null, "'external' must have a kind")]
    [InlineData("saas", "", "m", null, "'external' must have a kind")]
    [InlineData("saas", "p", "m", "javascript:alert(1)", "'external.terms_url' must be an address")]
    public async Task A_model_without_files_must_say_whose_it_is(string kind, string provider, string modelId, string? terms, string message)
    {
        var request = new RegisterVersion("helper", "auto", null, [], null, null, null, null, null, null, [])
        {
            External = new ExternalModel(Enum.Parse<ModelKind>(kind, ignoreCase: true), provider, modelId, null, terms),
        };

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.Registry.RegisterAsync(request, Ada, default));

        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.Equal(0, _host.Count("models"));
    }

    [Fact]
    [Trait("capability", "EVL-07")]
    public async Task A_version_is_measured_in_a_process_of_its_own_and_the_figures_stay_with_it()
    {
        await _host.RegisterAsync();
        Assert.Equal((Model, "1.0.0"), _host.Registry.OwedBenchmark());

        await _host.Registry.MeasureAsync(Model, "1.0.0", TimeProvider.System, default);

        var benchmark = _host.Registry.Get(Model, "1.0.0").Profile!.Benchmark!;
        Assert.Null(benchmark.Fault);
        Assert.InRange(benchmark.LatencyUsP50!.Value, 0.1, benchmark.LatencyUsP95!.Value);
        Assert.True(benchmark.LatencyUsP95 <= benchmark.LatencyUsP99);
        Assert.True(benchmark is { LoadMs: > 0, RowsPerSecondBatch64: > 0, CpuUsPerRow: > 0, PeakMemoryBytes: > 0, SizeBytes: > 0 });
        Assert.Null(_host.Registry.OwedBenchmark());
        Assert.Equal("model_version.benchmarked", _host.AuditOf("1.0.0")[0].Action);
    }

    [Fact]
    [Trait("capability", "EVL-07")]
    public async Task A_model_that_does_not_load_leaves_the_reason_in_place_of_figures()
    {
        var blob = await _host.Blobs.PutAsync(
            new Slipway.Native.Onnx.OnnxModelWriter("odd").AddInput("x", Slipway.Native.Onnx.OnnxElementType.Float, -1, 2).AddOutput("y", Slipway.Native.Onnx.OnnxElementType.Float, -1, 2).AddNode("NoSuchOperator", ["x"], ["y"]).ToBytes(),
            default);
        await _host.Registry.RegisterAsync(await _host.RequestAsync() with { Files = [new ArtifactFile("model.onnx", blob.Sha256, blob.SizeBytes)] }, Ada, default);

        await _host.Registry.MeasureAsync(Model, "1.0.0", TimeProvider.System, default);

        Assert.Contains("NoSuchOperator", _host.Registry.Get(Model, "1.0.0").Profile!.Benchmark!.Fault, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_trial_that_cannot_read_its_model_says_so_and_throws_nothing()
    {
        var result = await ModelTrial.RunAsync(new TrialRequest("/nowhere", Measure: true), default);

        Assert.Contains("/nowhere", result.Fault, StringComparison.Ordinal);
    }

    private async Task<string> CliAsync(params string[] arguments)
    {
        var root = new RootCommand();
        var connection = new ConnectionOptions();
        connection.AddTo(root);
        root.Add(RegistryCommand.Create(connection));
        using var output = new StringWriter();
        var parsed = root.Parse([.. arguments, "--server", _client.Server.ToString()]);
        Assert.Empty(parsed.Errors);
        Assert.Equal(ExitCode.Ok, await parsed.InvokeAsync(new InvocationConfiguration { Output = output, EnableDefaultExceptionHandler = false }));
        return output.ToString();
    }

    private string At(string path) => Path.Combine(_folder, path);

    private void Write(string path, byte[] content)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(At(path))!);
        File.WriteAllBytes(At(path), content);
    }

    private sealed class Total : IProgress<long>
    {
        private long _done;

        public long Done => _done;

        public void Report(long value)
        {
            long seen;
            while ((seen = Interlocked.Read(ref _done)) < value && Interlocked.CompareExchange(ref _done, value, seen) != seen)
            {
                // Another upload reported in between.
            }
        }
    }
}
