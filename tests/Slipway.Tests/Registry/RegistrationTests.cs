using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Tests.Registry.External;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public abstract class RegistrationTests(RegistryProvider provider) : IAsyncLifetime
{
    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await RegistryHost.StartAsync(provider: provider);

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [OwnRegistryFact("a version there is a run's files; its data sets have digests, not version numbers")]
    [Trait("capability", "REG-01")]
    public async Task One_call_stores_artifact_metadata_signature_environment_and_features_and_each_is_read_back()
    {
        var request = await _host.RequestAsync() with { Description = "Late or not", Tags = new Dictionary<string, string> { ["team"] = "ops" } };

        await _host.RegisterAsync(request, Ada);

        var version = _host.Registry.Find(Model, "1.0.0")!;
        Assert.Equal((1, Stage.Development, "ada", "ada", "Late or not"), (version.Number, version.Stage, version.CreatedBy, version.Owner, version.Description));
        Assert.Equal(request.Signature!.Inputs.Select(field => field.Name), version.Signature.Inputs.Select(field => field.Name));
        Assert.Equal([-1, 1], version.Signature.Outputs[0].Shape);
        Assert.Equal(request.FeatureSchema!.Features, version.FeatureSchema.Features);
        Assert.Equal(request.FeatureSchema.ViewVersions, version.FeatureSchema.ViewVersions);
        Assert.Equal((request.EnvironmentSha256, request.BaselineSha256), (version.EnvironmentSha256, version.BaselineSha256));
        Assert.Equal("ops", version.Tags["team"]);
        Assert.Equal(request.Datasets, version.Datasets);
        var bytes = await _host.Registry.ReadFileAsync(version, "model.onnx", default);
        Assert.Equal(request.Files[0].SizeBytes, bytes.LongLength);
        Assert.Equal(request.Files[0].Sha256, version.ServedSha256);
    }

    [OwnRegistryFact("MLflow takes a version that lacks parts; the gate names what is missing")]
    [Trait("capability", "REG-01")]
    public async Task A_registration_with_several_faults_names_all_of_them_and_writes_nothing()
    {
        var request = await _host.RequestAsync("sometimes") with
        {
            RunId = " ",
            Files = [],
            Signature = new ModelSignature([new SignatureField("a", "FP32", [1])], []),
            FeatureSchema = Features() with { Features = [] },
            EnvironmentSha256 = "abc",
        };

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.RegisterAsync(request, Ada));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        foreach (var field in new[] { "'bump'", "'run_id'", "'files'", "'signature'", "'feature_schema'", "'environment_sha256'" })
        {
            Assert.Contains(field, error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(0, _host.Count("models") + _host.Count("model_versions") + _host.Count("stage_history") + _host.Count("lineage_edges") + _host.Count("model_version_profiles"));
    }

    [OwnRegistryTheory("a version there names a place, not digests; they are taken when it is copied")]
    [Trait("capability", "REG-23")]
    [InlineData("missing", "is not stored")]
    [InlineData("damaged", "is not stored")]
    [InlineData("size", "but the blob has")]
    public async Task A_registration_whose_blob_is_not_what_it_says_is_refused(string fault, string message)
    {
        var request = await _host.RequestAsync();
        var file = request.Files[0];
        switch (fault)
        {
            case "missing": request = request with { Files = [file with { Sha256 = new string('0', 64) }] }; break;
            case "size": request = request with { Files = [file with { SizeBytes = 1 }] }; break;
            default: _host.Damage(file.Sha256); break;
        }

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.RegisterAsync(request, Ada));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.Equal(0, _host.Count("model_versions"));
    }

    [OwnRegistryFact("MLflow takes any file; a report that is none counts as missing")]
    [Trait("capability", "EVL-04")]
    public async Task The_evaluation_report_is_reachable_from_the_version_and_another_models_is_refused()
    {
        var version = await _host.RegisterAsync(report: Report(auc: 0.6612));

        Assert.Equal(0.6612, (await _host.Registry.ReadReportAsync(version, default))!.Metrics["auc"]);
        var foreign = await _host.RequestAsync(report: Report() with { Model = "other" });
        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.RegisterAsync(foreign, Ada));
        Assert.Contains("on model 'other'", error.Message, StringComparison.Ordinal);
        foreach (var text in new[] { "{}", "null", "not json", """{"model":"flight-delay","run_id":"r","test_set_sha256":"t","splits":[],"metrics":null,"baselines":[null],"created_at":"2001-01-01T00:00:00Z"}""" })
        {
            var nonsense = await _host.RequestAsync() with { EvaluationReportSha256 = (await _host.PutAsync(text)).Sha256 };
            error = await Assert.ThrowsAsync<SlipwayException>(() => _host.RegisterAsync(nonsense, Ada));
            Assert.Contains("'evaluation_report_sha256'", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(1, _host.Count("model_versions"));
    }

    [OwnRegistryTheory("MLflow takes any file; such a version is not copied")]
    [InlineData("../model.onnx")]
    [InlineData("/model.onnx")]
    [InlineData("a//model.onnx")]
    [InlineData("a\\model.onnx")]
    public async Task A_file_path_that_leads_elsewhere_is_refused(string path)
    {
        var request = await _host.RequestAsync();

        var error = await Assert.ThrowsAsync<SlipwayException>(
            () => _host.RegisterAsync(request with { Files = [request.Files[0] with { Path = path }] }, Ada));

        Assert.Contains("use a relative path such as model.onnx", error.Message, StringComparison.Ordinal);
    }

    [OwnRegistryFact("a bump cannot be asked for there; the rules, or the tag slipway.version, decide")]
    [Trait("capability", "REG-02")]
    public async Task A_retrained_model_is_a_patch_by_itself_and_a_minor_when_asked_and_keeps_the_reason()
    {
        await _host.RegisterAsync();

        var patch = await _host.RegisterAsync();
        var minor = await _host.RegisterAsync("minor");

        Assert.Equal(("1.0.1", "patch", "signature and features are unchanged"), (patch.Version, patch.Bump, patch.BumpReason));
        Assert.Equal(("1.1.0", "minor"), (minor.Version, minor.Bump));
        Assert.Contains("minor was asked for", minor.BumpReason, StringComparison.Ordinal);
    }

    [OwnRegistryTheory("a version there is numbered by its interface alone; the gate compares its evaluation")]
    [Trait("capability", "REG-02")]
    [InlineData("t1", 0.02, 0.01, "1.1.0", "minor")]
    [InlineData("t1", 0.02, 0.03, "1.0.1", "patch")]
    [InlineData("t1", -0.02, 0.01, "1.0.1", "patch")]
    public async Task A_significantly_better_evaluation_is_a_minor_version_and_says_by_how_much(string testSet, double difference, double halfWidth, string version, string bump)
    {
        await _host.RegisterAsync();

        var second = await _host.RegisterAsync(report: Report(testSet: testSet) with
        {
            ComparedWithProduction = new ProductionComparison("1.0.0", "auc", 0.66, 0.66 + difference, difference, new ConfidenceInterval(difference - halfWidth, difference + halfWidth), 0.03),
        });

        Assert.Equal((version, bump), (second.Version, second.Bump));
        Assert.Equal(bump == "minor", second.BumpReason.Contains("auc is significantly better than of 1.0.0 on the same test rows: by 0.02 (0.95 interval 0.01 to 0.03)", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_predictions_that_a_report_names_are_among_the_blobs_of_its_version_as_long_as_the_report_is_whole()
    {
        var predictions = await PredictionsAsync(0.5);
        var first = await _host.RegisterAsync(report: Report() with { PredictionsSha256 = predictions });
        var second = await _host.RegisterAsync();

        Assert.Equal([(first.Node, predictions)], Predictions(_host.Registry.ReferencedBlobs()));
        Assert.Equal([(first.Node, predictions)], Predictions(_host.Registry.ReferencedBlobs(first)));
        Assert.Empty(Predictions(_host.Registry.ReferencedBlobs(second)));
        // On a server of MLflow's there is its own description besides.
        Assert.Superset(new HashSet<string> { "baseline", "environment", "evaluation report", "model.onnx" }, _host.Registry.ReferencedBlobs(second).Select(blob => blob.Part).ToHashSet());
        Assert.All(_host.Registry.ReferencedBlobs(second), blob => Assert.Equal(second.Node, blob.Subject));

        // What a report says that was changed is not believed: the report itself is told.
        var third = await _host.RegisterAsync(report: Report(auc: 0.7) with { PredictionsSha256 = predictions });
        _host.Damage(third.EvaluationReportSha256!);
        Assert.Empty(Predictions(_host.Registry.ReferencedBlobs(third)));
        Assert.Contains(_host.Registry.ReferencedBlobs(third), blob => blob.Sha256 == third.EvaluationReportSha256);

        static IEnumerable<(Slipway.Storage.NodeRef, string)> Predictions(IEnumerable<Slipway.Storage.Blobs.BlobReference> blobs) =>
            blobs.Where(blob => blob.Part == "predictions").Select(blob => (blob.Subject, blob.Sha256));
    }

    [OwnRegistryTheory("a version there is numbered by its interface alone; the gate compares its evaluation")]
    [Trait("capability", "REG-02")]
    [Trait("capability", "EVL-06")]
    [InlineData("t1", 2.0, "minor")]
    [InlineData("t1", 0.0, "patch")]
    [InlineData("another", 2.0, "patch")]
    public async Task Stored_predictions_of_two_reports_on_one_test_set_show_what_is_significant(string testSet, double gain, string bump)
    {
        await _host.RegisterAsync(report: Report() with { PredictionsSha256 = await PredictionsAsync(0.5) });

        var second = await _host.RegisterAsync(report: Report(auc: 0.9, testSet: testSet) with { PredictionsSha256 = await PredictionsAsync(0.5 + gain) });

        Assert.Equal(bump, second.Bump);
        var auc = (await _host.Registry.CompareAsync(Model, "1.0.0", second.Version, default)).Metrics.Single(metric => metric.Name == "auc");
        Assert.Equal(testSet == "t1" ? "DeLong on 400 stored predictions" : "the test sets differ", auc.IntervalFrom);
        Assert.Equal(testSet == "t1", auc.Interval is not null);
        Assert.Equal(bump == "minor", auc.Interval?.Lower > 0);
        var patch = await _host.RequestAsync("patch", Report(auc: 0.9) with { PredictionsSha256 = await PredictionsAsync(9) });
        if (bump == "minor")
        {
            return;
        }

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.Registry.RegisterAsync(patch with
        {
            EvaluationReportSha256 = patch.EvaluationReportSha256,
            Signature = Signature("origin", "destination", "carrier?"),
        }, Ada, default));
        Assert.Contains("needs minor", error.Message, StringComparison.Ordinal);
    }

    // Scores of 400 rows: noise, and as much of the truth as is asked for.
    private async Task<string> PredictionsAsync(double truth)
    {
        var noise = new Random(4);
        var lines = Enumerable.Range(0, 400).Select(row => FormattableString.Invariant($"{row % 2},{((row % 2) * truth) + noise.NextDouble() * 3}"));
        return (await _host.PutAsync($"label,score\n{string.Join('\n', lines)}\n")).Sha256;
    }

    [OwnRegistryFact("a bump cannot be asked for there; the rules, or the tag slipway.version, decide")]
    [Trait("capability", "REG-11")]
    public async Task An_incompatible_signature_needs_a_major_version()
    {
        await _host.RegisterAsync();
        var request = await _host.RequestAsync("minor") with { Signature = Signature("origin") };

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.RegisterAsync(request, Ada));
        Assert.Contains("input 'destination' is gone", error.Message, StringComparison.Ordinal);

        Assert.Equal("2.0.0", (await _host.RegisterAsync(request with { Bump = "auto" }, Ada)).Version);
    }

    [Fact]
    [Trait("capability", "REG-02")]
    public async Task Registrations_at_the_same_time_never_share_a_version_or_a_number()
    {
        var requests = new List<RegisterVersion>();
        for (var i = 0; i < 24; i++)
        {
            requests.Add(await _host.RequestAsync());
        }

        var versions = await Task.WhenAll(requests.Select(request => Task.Run(() => _host.RegisterAsync(request, Ada))));

        Assert.Equal(24, versions.Select(version => version.Version).Distinct().Count());
        Assert.Equal(Enumerable.Range(1, 24), versions.Select(version => version.Number).Order());
    }

    [OwnRegistryFact("a semantic version cannot be asked for there")]
    public async Task The_same_explicit_version_from_many_callers_is_registered_once()
    {
        var requests = new List<RegisterVersion>();
        for (var i = 0; i < 8; i++)
        {
            requests.Add(await _host.RequestAsync("1.0.0"));
        }

        var outcomes = await Task.WhenAll(requests.Select(async request =>
        {
            try
            {
                return (await _host.RegisterAsync(request, Ada)).Version;
            }
            catch (SlipwayException e) when (e.Code == ErrorCode.AlreadyExists)
            {
                return "refused";
            }
        }));

        Assert.Equal(1, outcomes.Count(outcome => outcome == "1.0.0"));
        Assert.Equal(1, _host.Count("model_versions"));
    }

    [OwnRegistryFact("versions there have no parent; the one before is taken")]
    [Trait("capability", "REG-19")]
    public async Task A_version_names_its_parent_and_an_unknown_parent_is_refused()
    {
        await _host.RegisterAsync();
        await _host.RegisterAsync();

        var third = await _host.RegisterAsync();
        var fourth = await _host.RegisterAsync(await _host.RequestAsync() with { ParentVersion = "1.0.0" }, Ada);

        Assert.Null(_host.Registry.Find(Model, "1.0.0")!.ParentVersion);
        Assert.Equal("1.0.1", third.ParentVersion);
        Assert.Equal("1.0.0", fourth.ParentVersion);
        var orphan = await _host.RequestAsync() with { ParentVersion = "9.9.9" };
        Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<SlipwayException>(() => _host.RegisterAsync(orphan, Ada))).Code);
    }

    [Fact]
    [Trait("capability", "REG-09")]
    public async Task A_version_is_found_by_version_number_stage_alias_and_latest()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterAsync();
        await _host.Registry.SetAliasAsync(Model, "champion", "1.0.0", Ada, default);

        Assert.All(new[] { "1.0.0", "1", "production", "Production", "@champion", "champion" },
            reference => Assert.Equal("1.0.0", _host.Registry.Find(Model, reference)!.Version));
        Assert.Equal("1.0.1", _host.Registry.Find(Model, "latest")!.Version);
        Assert.Equal("1.0.1", _host.Registry.Find(Model, "2")!.Version);
        Assert.All(new[] { "3", "1.0.9", "staging", "@rival", "" }, reference => Assert.Null(_host.Registry.Find(Model, reference)));
        Assert.Null(_host.Registry.Find("other", "1.0.0"));
    }

    [Fact]
    public async Task An_alias_moves_and_is_audited_and_one_that_reads_as_a_version_is_refused()
    {
        await _host.RegisterAsync();
        await _host.RegisterAsync();
        await _host.Registry.SetAliasAsync(Model, "champion", "1.0.0", Ada, default);

        var moved = await _host.Registry.SetAliasAsync(Model, "champion", "latest", Grace, default);

        Assert.Equal(["champion"], moved.Aliases);
        Assert.Empty(_host.Registry.Find(Model, "1.0.0")!.Aliases);
        var audit = _host.AuditOf("1.0.1")[0];
        Assert.Equal(("grace", "model_version.alias_set"), (audit.Actor, audit.Action));
        Assert.Contains("1.0.0", audit.BeforeJson, StringComparison.Ordinal);
        foreach (var alias in new[] { "latest", "v3", "3", "staging", "1.0.0", "a b", "" })
        {
            var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.Registry.SetAliasAsync(Model, alias, "1.0.0", Ada, default));
            Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        }

        Assert.Equal(1, _host.Count("model_aliases"));
    }

    [OwnRegistryFact("versions there have no owner; the author is taken")]
    [Trait("capability", "REG-10")]
    public async Task Versions_are_searched_by_tag_owner_approver_and_stage()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterAsync(await _host.RequestAsync() with { Owner = "carol", Tags = new Dictionary<string, string> { ["team.name"] = "ops" } }, Ada);

        string[] Found(VersionSearch search) => [.. _host.Registry.Search(Model, search).Select(version => version.Version)];

        Assert.Equal(["1.0.1"], Found(new VersionSearch(TagKey: "team.name")));
        Assert.Equal(["1.0.1"], Found(new VersionSearch(TagKey: "team.name", TagValue: "ops")));
        Assert.Empty(Found(new VersionSearch(TagKey: "team.name", TagValue: "sales")));
        Assert.Equal(["1.0.1"], Found(new VersionSearch(Owner: "carol")));
        Assert.Equal(["1.0.0"], Found(new VersionSearch(Approver: "grace")));
        Assert.Empty(Found(new VersionSearch(Approver: "ruth")));
        Assert.Equal(["1.0.0"], Found(new VersionSearch(Stage: Stage.Production)));
        Assert.Equal(["1.0.1", "1.0.0"], Found(new VersionSearch()));
    }

    [Fact]
    [Trait("capability", "REG-14")]
    public async Task The_catalogue_shows_each_model_with_its_newest_staging_and_production_versions()
    {
        Assert.Empty(_host.Registry.ListModels());
        await _host.RegisterInProductionAsync();
        await _host.RegisterAsync();
        await _host.PromoteAsync("1.0.1", Stage.Staging);

        var model = Assert.Single(_host.Registry.ListModels());

        Assert.Equal((Model, 2, "1.0.1", "1.0.0"), (model.Name, model.Versions, model.NewestVersion, model.ProductionVersion));
        Assert.Equal(["1.0.1"], model.StagingVersions);
    }

    [Fact]
    [Trait("capability", "REG-23")]
    public async Task A_changed_artifact_is_refused_when_it_is_read()
    {
        var version = await _host.RegisterAsync();
        _host.Damage(version.ServedSha256!);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.Registry.ReadFileAsync(version, "model.onnx", default));

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains(version.ServedSha256!, error.Message, StringComparison.Ordinal);
    }
}
