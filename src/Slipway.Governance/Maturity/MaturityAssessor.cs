using Slipway.Contracts.Governance;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Contracts.Tracking;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Governance.Verification;
using Slipway.Monitoring;
using Slipway.Pipelines;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Serving.Predictions;
using Slipway.Serving.Rollouts;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;
using Slipway.Tracking;

namespace Slipway.Governance.Maturity;

/// <summary>
/// Rates five dimensions by what the records show. Most checks speak of versions in production that have served; where there is
/// none, nothing is shown and nothing passes.
/// </summary>
public sealed class MaturityAssessor(
    ModelRegistry registry, RunStore runs, DatasetStore datasets, FeatureRegistry features, PipelineService pipelines, DeploymentStore deployments, DeploymentReports serving,
    PredictionLog predictions, RolloutReports rollouts, MonitorStore monitors, DefinitionStore definitions, AuditTrail audit, BlobStore blobs, Lineage lineage, TimeProvider clock)
{
    private static readonly TimeSpan Quarter = TimeSpan.FromDays(90);
    private static readonly TimeSpan HalfYear = TimeSpan.FromDays(180);
    private static readonly string[] PurposeTags = ["intended_use", "limitations", "risk_tier"];
    private static readonly string[] Trained = ["drift", "performance", "schedule"];

    /// <summary>Assesses the platform, or one model.</summary>
    /// <param name="model">Null for all.</param>
    /// <param name="cancellationToken">Interrupts re-hashing.</param>
    public async Task<MaturityReport> AssessAsync(string? model, CancellationToken cancellationToken)
    {
        var scope = Production(model);
        var dimensions = new List<MaturityDimension>
        {
            MaturityRules.Rate("data", await DataAsync(scope, model, cancellationToken)),
            MaturityRules.Rate("training", await TrainingAsync(scope, model, cancellationToken)),
            MaturityRules.Rate("deployment", Deployment(scope, model)),
            MaturityRules.Rate("monitoring", Monitoring(scope, model)),
            MaturityRules.Rate("governance", await GovernanceAsync(scope, model, cancellationToken)),
        };
        return MaturityRules.Report(clock.GetUtcNow(), [.. scope.Select(version => version.Node.Id)], dimensions);
    }

    private List<ModelVersionRecord> Production(string? model) =>
        [.. registry.ListModels().Where(known => model is null || known.Name == model).Select(known => registry.FindInStage(known.Name, Stage.Production))
            .OfType<ModelVersionRecord>().Where(version => predictions.Watermark(version.Model) is not null || serving.List().Any(served => served.Model == version.Model && served.Arms.Any(arm => arm.Requests > 0)))];

    private async Task<IReadOnlyList<MaturityItem>> DataAsync(List<ModelVersionRecord> scope, string? model, CancellationToken cancellationToken)
    {
        var since = clock.GetUtcNow() - Quarter;
        var recent = RecentRuns(since, model);
        var used = scope.SelectMany(version => version.Datasets).DistinctBy(dataset => (dataset.Name, dataset.Version)).ToList();
        var intact = new HashSet<string>(StringComparer.Ordinal);
        foreach (var dataset in used)
        {
            if (await blobs.VerifyAsync(dataset.Sha256, cancellationToken))
            {
                intact.Add(dataset.Sha256);
            }
        }

        return new CheckList()
            .All(1, "each production version cites dataset versions with their digests", scope, version => version.Datasets.Count > 0 && version.Datasets.All(dataset => datasets.Find(dataset.Name, dataset.Version)?.Sha256 == dataset.Sha256), Id, "register versions with the dataset versions that they were trained on")
            .All(1, "95 % of the runs of the last 90 days cite a dataset", recent, run => run.Inputs.Count > 0, run => $"run:{run.RunId}", "log the dataset of each run", 0.95)
            .All(1, "the datasets' digests verify now", used, dataset => intact.Contains(dataset.Sha256), dataset => $"dataset_version:{dataset.Name}@{dataset.Version}", "restore the changed files from a copy; 'slipway verify' names them")
            .All(2, "each of these dataset versions passed validation before the run started", scope, ValidatedBefore, Id, "add a validate stage before training")
            .Any(2, "a bad version was blocked in the last 180 days", datasets.CountFailedValidations(clock.GetUtcNow() - HalfYear), "upload a known-bad file once, as a drill, and see it fail validation")
            .All(3, "each training set is pinned to feature view versions", scope, version => version.TrainingSetSha256 is not null && version.FeatureSchema.ViewVersions.Count > 0 && !version.MissingLineage.Contains(NodeKinds.FeatureView), Id, "train from the feature store")
            .All(3, "online features use the same view versions", scope, version => features.FindService(version.FeatureSchema.Service, version.FeatureSchema.ServiceVersion) is { } service && service.Views.Select(view => view.Id).Order().SequenceEqual(version.FeatureSchema.ViewVersions.Order()), Id, "serve through the feature service that the version was trained with")
            .NotMeasured(3, "the skew rate stayed under its limit for 7 days")
            .NotMeasured(4, "each source is refreshed on schedule, fresh 99 % of the time")
            .Items;
    }

    private async Task<IReadOnlyList<MaturityItem>> TrainingAsync(List<ModelVersionRecord> scope, string? model, CancellationToken cancellationToken)
    {
        var reports = new Dictionary<string, EvaluationReport?>(StringComparer.Ordinal);
        foreach (var version in scope)
        {
            reports[version.Node.Id] = await ReportAsync(version, cancellationToken);
        }

        RunEnvironment? Environment(ModelVersionRecord version) => Run(version)?.Environment;
        var retrained = pipelines.List(limit: 1000).Count(run => (model is null || run.Model == model) && Trained.Contains(run.Trigger) && run.Status is PipelineRunStatus.Succeeded && run.FinishedAt >= clock.GetUtcNow() - Quarter);
        return new CheckList()
            .All(1, "the run's commit is recorded and its checkout was clean", scope, version => Environment(version)?.Git is { Dirty: false }, Id, "train from a clean checkout, so that the commit says what ran")
            .All(1, "the run's parameters and environment are recorded", scope, version => Run(version) is { Parameters.Count: > 0, Environment.Packages.Count: > 0 }, Id, "log parameters and the environment on the run")
            .All(1, "the run's seed is recorded", scope, version => Environment(version)?.Seed is not null, Id, "fix a seed in the pipeline")
            .All(2, "a pipeline run made the version, every stage with its inputs and outputs", scope, version => PipelineRun(version) is { } run && run.Stages.All(stage => stage.Outputs.Count > 0 && (stage.Inputs.Count > 0 || stage == run.Stages[0])), Id, "train through a pipeline")
            .All(2, "its go/no-go limit was stored before training began", scope, version => PipelineRun(version) is { ThresholdSetAt: { } set } run && run.Stages.All(stage => stage.Uses != "train" || stage.StartedAt is null || stage.StartedAt >= set), Id, "set go_no_go in the pipeline")
            .NotMeasured(3, "parameters come from a stored study, chosen on validation rows")
            .All(4, "each model has a monitor that starts its training", scope, version => monitors.List().Any(monitor => monitor.Model == version.Model && HasActions(monitor.Name)), Id, "add actions to the monitor")
            .Any(4, "a retraining that no person started finished in the last 90 days", retrained, "let a monitor or schedule start the pipeline")
            .All(4, "champion and challenger were compared on the same rows", scope, version => version.ParentVersion is null || reports[version.Node.Id]?.ComparedWithProduction is not null, Id, "compare with production in the evaluation")
            .Items;
    }

    private IReadOnlyList<MaturityItem> Deployment(List<ModelVersionRecord> scope, string? model)
    {
        var models = scope.Select(version => version.Model).ToHashSet(StringComparer.Ordinal);
        var since = clock.GetUtcNow() - HalfYear;
        var executed = registry.ListPromotions(model).Where(promotion => promotion is { Status: PromotionStatus.Executed, To: Stage.Production } && models.Contains(promotion.Model)).ToList();
        var recent = models.SelectMany(name => rollouts.List(name)).Where(rollout => rollout.Status is not RolloutStatus.Running).ToList();
        var rolledBack = models.Sum(name => registry.History(name).Count(change => change.Cause == "rollback" && change.At >= since))
            + recent.Count(rollout => rollout is { Status: RolloutStatus.RolledBack, EndedAt: { } ended } && ended >= since);
        var releases = executed.GroupBy(promotion => promotion.Model).SelectMany(group => group.OrderByDescending(promotion => promotion.ClosedAt).Take(3)).ToList();
        return new CheckList()
            .All(1, "each production version has a running deployment with actor and reason on the audit trail", scope, HasAuditedDeployment, Id, "promote through the registry, so that the server deploys and records it")
            .Any(1, "a rollback, real or as a drill, happened in the last 180 days", rolledBack, "practise a rollback: slipway registry rollback, or a rollout drill")
            .All(2, "95 % of the promotions to production were carried out by the server with every gate item met", executed, promotion => promotion.ClosedBy?.StartsWith("system:", StringComparison.Ordinal) == true && promotion.LastGate?.Passed == true, promotion => $"promotion:{promotion.Id}", "let a rollout carry out the promotion", 0.95)
            .All(2, "every approver differs from the author and the one who asked", executed, promotion => promotion.Decisions.Count > 0 && promotion.Decisions.All(decision => decision.By != promotion.RequestedBy && decision.By != registry.Find(promotion.Model, promotion.Version)?.CreatedBy), promotion => $"promotion:{promotion.Id}", "have another user approve")
            .All(3, "the last three releases of each model passed shadow or canary steps", releases, promotion => recent.Any(rollout => rollout.Model == promotion.Model && rollout.Version == promotion.Version && rollout.Status is RolloutStatus.Completed), promotion => $"promotion:{promotion.Id}", "release through a rollout")
            .Any(4, "a rollout went back by itself, and says how long the traffic took to be restored", recent.Count(rollout => rollout is { Status: RolloutStatus.RolledBack, RestoreMs: not null }), "run a drill with a version that must fail")
            .Items;
    }

    private IReadOnlyList<MaturityItem> Monitoring(List<ModelVersionRecord> scope, string? model)
    {
        var own = monitors.List().Where(monitor => model is null || monitor.Model == model).ToList();
        var critical = own.SelectMany(monitor => monitors.Alerts(monitor.Name, openOnly: false)).Where(alert => alert.Severity is AlertSeverity.Critical && alert.OpenedAt >= clock.GetUtcNow() - Quarter).ToList();
        var acted = own.SelectMany(monitor => monitors.Actions(monitor.Name)).Where(action => action.Status is MonitorActionStatus.Started).Select(action => action.AlertId).ToHashSet(StringComparer.Ordinal);
        return new CheckList()
            .All(1, "99 % of the predictions since the server started are logged with id, time and version", scope, version => serving.Get(version.Model) is var report && report.PredictionsLogged >= 99 * report.PredictionsDropped, Id, "raise the size of the prediction log's ring, or slow the callers")
            .NotMeasured(2, "latency, errors and throughput are kept for 7 days without a gap over 5 minutes")
            .All(2, "each endpoint has an alert rule with an owner", scope, version => own.Any(monitor => monitor.Model == version.Model && monitor.Owner.Length > 0), Id, "apply a monitor with an owner")
            .All(3, "a monitor covers 90 % of the features and the predictions", scope, version => own.Any(monitor => monitor.Model == version.Model && Covers(monitor.Name, version)), Id, "watch all features in the monitor")
            .All(3, "its newest window lies within two cadences of the newest prediction", own.Where(monitor => scope.Any(version => version.Model == monitor.Model)).ToList(), Current, monitor => $"monitor:{monitor.Name}", "look why the monitor stands still")
            .All(3, "a monitor compares predictions with labels", scope, version => own.Any(monitor => monitor.Model == version.Model && monitors.Status(monitor.Name).Results.Any(point => point.Subject == "performance")), Id, "send labels, and set performance limits in the monitor")
            .All(4, "each monitor is bound to an action", own.Where(monitor => scope.Any(version => version.Model == monitor.Model)).ToList(), monitor => HasActions(monitor.Name), monitor => $"monitor:{monitor.Name}", "add actions to the monitor")
            .All(4, "90 % of the critical alerts of the last 90 days led to an action", critical, alert => acted.Contains(alert.Id), alert => $"alert:{alert.Id}", "bind critical alerts to actions", 0.9)
            .Items;
    }

    private async Task<IReadOnlyList<MaturityItem>> GovernanceAsync(List<ModelVersionRecord> scope, string? model, CancellationToken cancellationToken)
    {
        var path = new LineageCheck(lineage, datasets, features, runs, deployments);
        var intact = new HashSet<string>(StringComparer.Ordinal);
        foreach (var version in scope)
        {
            if (version.ServedSha256 is { } served && await blobs.VerifyAsync(served, cancellationToken))
            {
                intact.Add(version.Node.Id);
            }
        }

        var promotions = registry.ListPromotions(model).Where(promotion => promotion.Status is PromotionStatus.Executed).ToList();
        return new CheckList()
            .All(1, "owner and purpose are filled in", scope, version => version is { Owner.Length: > 0, Description.Length: > 0 }, Id, "register with owner and description")
            .All(1, "intended use, limits and risk tier are filled in", scope, version => PurposeTags.All(tag => version.Tags.ContainsKey(tag)), Id, "register with the tags intended_use, limitations and risk_tier")
            .All(2, "run, dataset, commit, features and evaluation are all linked", scope, version => version.MissingLineage.Count == 0, Id, "register through a pipeline that runs from a checkout")
            .All(2, "no hop from the data to the deployment dangles", scope, version => path.Run(version).Passed, Id, "see 'slipway verify' for the broken hop")
            .All(2, "the model file's SHA-256 verifies now", scope, version => intact.Contains(version.Node.Id), Id, "restore the file from a copy")
            .NotMeasured(3, "each version's card has been approved by a person")
            .All(4, "every promotion was evaluated by a policy", promotions, promotion => promotion.LastGate is not null, promotion => $"promotion:{promotion.Id}", "promote through the registry")
            .Any(4, "the audit chain verifies now", audit.Verify().BrokenAtSeq is null ? 1 : 0, "see 'slipway verify' for the broken row")
            .NotMeasured(4, "the last period's report regenerates identically")
            .Items;
    }

    private List<RunRecord> RecentRuns(DateTimeOffset since, string? model)
    {
        var from = since.ToUnixTimeMilliseconds();
        var found = new List<RunRecord>();
        string? token = null;
        do
        {
            var page = runs.Search(new RunSearch([.. runs.ListExperiments().Select(experiment => experiment.ExperimentId)], $"attributes.start_time >= {from}", PageToken: token));
            found.AddRange(page.Items.Where(run => model is null || run.Tags.GetValueOrDefault("slipway.model") == model));
            token = page.NextCursor;
        }
        while (token is not null);
        return found;
    }

    private async Task<EvaluationReport?> ReportAsync(ModelVersionRecord version, CancellationToken cancellationToken)
    {
        try
        {
            return await registry.ReadReportAsync(version, cancellationToken);
        }
        catch (Contracts.SlipwayException)
        {
            return null; // Gone or changed: the comparison is not shown. 'slipway verify' names the file.
        }
    }

    private bool ValidatedBefore(ModelVersionRecord version) =>
        Run(version) is { } run && version.Datasets.Count > 0
        && version.Datasets.All(dataset => datasets.HadPassedBy(dataset.Name, dataset.Version, DateTimeOffset.FromUnixTimeMilliseconds(run.StartTimeMs)));

    private RunRecord? Run(ModelVersionRecord version) => version.RunId is { } id ? runs.Find(id) : null;

    private PipelineRun? PipelineRun(ModelVersionRecord version) => version.PipelineRunId is { } id ? pipelines.Find(id) : null;

    private bool HasAuditedDeployment(ModelVersionRecord version) =>
        deployments.ListOpen().FirstOrDefault(row => row.Model == version.Model && row.Version == version.Version && row.Arm == "stable") is { } open
        && audit.List(new NodeRef(NodeKinds.Deployment, open.Id)).Any(row => row.Action == "deployment.started" && row.Actor.Length > 0 && row.Reason is not null);

    private bool HasActions(string monitor) => definitions.Find("monitor", monitor) is { } definition && DefinitionYaml.Parse(definition.Yaml).Maps("actions").Any();

    private bool Covers(string monitor, ModelVersionRecord version)
    {
        var watched = monitors.Status(monitor).Results.Where(point => point.Metric == "psi").Select(point => point.Subject).ToHashSet(StringComparer.Ordinal);
        return watched.Contains("prediction") && version.FeatureSchema.Features.Count(feature => watched.Contains(feature.Name)) >= 0.9 * version.FeatureSchema.Features.Count;
    }

    private bool Current(MonitorSummary monitor)
    {
        var status = monitors.Status(monitor.Name);
        return status is { Watermark: { } newest, Summary.LastWindowEnd: { } end } && newest - end <= 2 * status.Cadence;
    }

    private static string Id(ModelVersionRecord version) => version.Node.ToString();
}
