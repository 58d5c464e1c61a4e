using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class CopyTests : IAsyncLifetime
{
    private RegistryHost _source = null!;
    private RegistryHost _target = null!;
    private SlipwayClient _from = null!;
    private SlipwayClient _to = null!;

    public async ValueTask InitializeAsync()
    {
        (_source, _target) = (await RegistryHost.StartAsync(), await RegistryHost.StartAsync());
        (_from, _to) = (new SlipwayClient(_source.Area.Client.BaseAddress!), new SlipwayClient(_target.Area.Client.BaseAddress!));
    }

    public async ValueTask DisposeAsync()
    {
        _from.Dispose();
        _to.Dispose();
        await _source.DisposeAsync();
        await _target.DisposeAsync();
    }

    [Fact]
    [Trait("capability", "REG-15")]
    public async Task A_version_arrives_whole_under_its_own_number_and_both_ends_know_of_each_other()
    {
        await RegisterAsync();
        await RegisterAsync();
        await _source.PromoteAsync("1.0.1", Stage.Staging);

        var imported = await CopyAsync("staging");

        Assert.True(imported.Created);
        var (sent, arrived) = (_source.Registry.Find(Model, "1.0.1")!, _target.Registry.Find(Model, "1.0.1")!);
        Assert.Equal((Stage.Development, 1, "ada", sent.RunId), (arrived.Stage, arrived.Number, arrived.CreatedBy, arrived.RunId));
        Assert.Equal(sent.Files, arrived.Files);
        Assert.Equal((sent.BaselineSha256, sent.EnvironmentSha256, sent.EvaluationReportSha256), (arrived.BaselineSha256, arrived.EnvironmentSha256, arrived.EvaluationReportSha256));
        Assert.Equal(sent.ServedSha256, Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(await _target.Registry.ReadFileAsync(arrived, "model.onnx", default))));
        Assert.True(_target.Blobs.Exists((await _target.Registry.ReadReportAsync(arrived, default))!.PredictionsSha256!));
        Assert.Empty(arrived.MissingLineage);
        var (there, here) = (Assert.Single(_source.Registry.ListCopies(Model, "1.0.1")), Assert.Single(_target.Registry.ListCopies(Model, "1.0.1")));
        Assert.Equal(("to", Address(_to)), (there.Direction, there.Server));
        Assert.Equal(("from", Address(_from), there.Manifest), (here.Direction, here.Server, here.Manifest));
        Assert.Contains(_source.Registry.LineageOf(sent).Edges, edge => edge.Relation == "copied_to" && edge.To.Id == $"{Address(_to)}/models/{Model}/versions/1.0.1");
        Assert.Contains(_target.Registry.LineageOf(arrived).Edges, edge => edge.Relation == "copied_to" && edge.From.Id == $"{Address(_from)}/models/{Model}/versions/1.0.1");
        Assert.Equal("model_version.copied_to", _source.AuditOf("1.0.1")[0].Action);
        var audit = _target.AuditOf("1.0.1")[0];
        Assert.Equal(("model_version.copied_from", "tested in staging"), (audit.Action, audit.Reason));
        Assert.Contains("grace", audit.AfterJson, StringComparison.Ordinal); // Who approved it there.
    }

    [Fact]
    [Trait("capability", "REG-15")]
    public async Task Copying_again_changes_nothing_and_sends_nothing()
    {
        await RegisterAsync();
        await CopyAsync("1.0.0");
        var before = (_target.Count("audit_events"), _source.Count("audit_events"), _target.Count("model_versions"));
        var sent = new List<ArtifactFile>();

        var again = await _from.CopyVersionAsync(_to, Model, "1.0.0", "tested in staging", new Told(sent.Add), default);

        Assert.False(again.Created);
        Assert.Empty(sent);
        Assert.Equal(before, (_target.Count("audit_events"), _source.Count("audit_events"), _target.Count("model_versions")));
    }

    [Fact]
    [Trait("capability", "REG-15")]
    public async Task What_an_attempt_that_broke_off_has_sent_is_not_sent_again()
    {
        await RegisterAsync();
        var first = new List<ArtifactFile>();
        await Assert.ThrowsAsync<OperationCanceledException>(() => _from.CopyVersionAsync(_to, Model, "1.0.0", "tested", new Told(blob =>
        {
            first.Add(blob);
            throw new OperationCanceledException();
        }), default));
        Assert.Equal(0, _target.Count("model_versions"));

        var second = new List<ArtifactFile>();
        await _from.CopyVersionAsync(_to, Model, "1.0.0", "tested", new Told(second.Add), default);

        Assert.Single(first);
        Assert.DoesNotContain(first[0], second);
        Assert.Equal(4, second.Count);
    }

    [Fact]
    [Trait("capability", "REG-15")]
    public async Task A_blob_that_was_changed_on_the_way_or_is_missing_is_refused_and_nothing_is_registered()
    {
        var version = await RegisterAsync();
        var error = await Assert.ThrowsAsync<SlipwayException>(() => _to.UploadAsync<ArtifactFile>($"registry/imports/blobs/{version.ServedSha256}", new MemoryStream([1, 2, 3]), null, default));
        Assert.Contains($"not {version.ServedSha256}: it was changed or cut short on the way", error.Message, StringComparison.Ordinal);
        var passport = await _from.GetAsync<VersionPassport>($"models/{Model}/versions/1.0.0/passport", default);

        error = await Assert.ThrowsAsync<SlipwayException>(() => _to.PostAsync<ImportedVersion>("registry/imports", new ImportVersion(Address(_from), passport, "tested"), default));

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains("files/model.onnx has not arrived whole", error.Message, StringComparison.Ordinal);
        Assert.Equal((0, 0), (_target.Count("model_versions"), _target.Count("version_copies")));
    }

    [Fact]
    [Trait("capability", "REG-15")]
    public async Task Another_version_with_the_same_number_is_never_replaced()
    {
        await RegisterAsync();
        await _target.RegisterAsync();
        var before = _target.Registry.Find(Model, "1.0.0")!.ServedSha256;

        var error = await Assert.ThrowsAsync<SlipwayException>(() => CopyAsync("1.0.0"));

        Assert.Contains("There is another flight-delay 1.0.0 here, with other content", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, _target.Registry.Find(Model, "1.0.0")!.ServedSha256);
        Assert.Empty(_source.Registry.ListCopies(Model, "1.0.0"));
    }

    [Fact]
    public async Task A_passport_whose_manifest_does_not_match_its_blobs_is_refused()
    {
        await RegisterAsync();
        await CopyAsync("1.0.0");
        var passport = await _from.GetAsync<VersionPassport>($"models/{Model}/versions/1.0.0/passport", default);

        foreach (var (changed, message) in new[]
        {
            (passport with { Manifest = new string('0', 64) }, "'passport.manifest' is 0000"),
            (passport with { Blobs = [.. passport.Blobs.Skip(1)] }, "'passport.blobs' does not name files/model.onnx"),
            (passport with { Version = passport.Version with { Version = "one" } }, "'passport' must hold a version"),
        })
        {
            var error = await Assert.ThrowsAsync<SlipwayException>(() => _to.PostAsync<ImportedVersion>("registry/imports", new ImportVersion(Address(_from), changed, "tested"), default));
            Assert.Contains(message, error.Message, StringComparison.Ordinal);
        }
    }

    private async Task<ModelVersionRecord> RegisterAsync() =>
        await _source.RegisterAsync(report: Report() with { PredictionsSha256 = await _source.PutScoresAsync([(true, 0.9), (false, 0.1)]) });

    private Task<ImportedVersion> CopyAsync(string version) => _from.CopyVersionAsync(_to, Model, version, "tested in staging", null, default);

    private static string Address(SlipwayClient client) => client.Server.GetLeftPart(UriPartial.Authority);

    private sealed class Told(Action<ArtifactFile> tell) : IProgress<ArtifactFile>
    {
        public void Report(ArtifactFile value) => tell(value);
    }
}
