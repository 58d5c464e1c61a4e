using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Contracts.Tracking;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Monitoring;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Serving.Predictions;
using Slipway.Serving.Rollouts;
using Slipway.Storage.Audit;
using Slipway.Tracking;
using Slipway.Web.Pages.Monitors;
using Slipway.Web.Pages.Shared;

namespace Slipway.Web.Pages.Home;

/// <summary>One station of a model's life.</summary>
/// <param name="Name">Which.</param>
/// <param name="Sign">How it stands.</param>
/// <param name="What">The thing there now.</param>
/// <param name="Detail">A few words on it.</param>
/// <param name="Href">Its page; null when there is none.</param>
/// <param name="At">Since when; null when it has no age.</param>
public sealed record Station(string Name, Sign Sign, string What, string Detail, string? Href = null, DateTimeOffset? At = null);

/// <summary>A model's life as a line of seven stations.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">The version shown: the one in production, else the newest.</param>
/// <param name="Stations">data, features, experiment, version, approval, deployment, monitor.</param>
public sealed record Lifecycle(ModelSummary Model, ModelVersionRecord Version, IReadOnlyList<Station> Stations);

/// <summary>Something that waits for a person.</summary>
/// <param name="Sign">How urgent.</param>
/// <param name="Text">What.</param>
/// <param name="Href">Where.</param>
/// <param name="At">Since when.</param>
public sealed record Notice(Sign Sign, string Text, string Href, DateTimeOffset At);

/// <summary>Everything Home shows.</summary>
/// <param name="Answer">One line.</param>
/// <param name="Sign">How things stand.</param>
/// <param name="Notices">What waits, newest first.</param>
/// <param name="Models">One row each.</param>
/// <param name="Counts">Name and number.</param>
/// <param name="Recent">The newest audit events.</param>
public sealed record HomeView(
    string Answer, Sign Sign, IReadOnlyList<Notice> Notices, IReadOnlyList<Lifecycle> Models, IReadOnlyList<(string Name, string Value, string Href)> Counts,
    IReadOnlyList<AuditEvent> Recent);

/// <summary>Reads each model's life from the areas' own stores.</summary>
public sealed class Lifecycles(
    ModelRegistry registry, RunStore runs, DatasetStore datasets, FeatureRegistry features, OnlineStore online, DeploymentReports deployments,
    DeploymentStore held, RolloutReports rollouts, MonitorStore monitors, PredictionLog predictions, AuditTrail audit)
{
    private const int RowsMax = 50;

    /// <summary>The state of everything now.</summary>
    public HomeView Look()
    {
        var models = registry.ListModels();
        var promotions = registry.ListPromotions();
        var running = rollouts.List().Where(rollout => rollout.Status is RolloutStatus.Running).ToList();
        var now = new Now(
            promotions.ToLookup(promotion => promotion.Model), deployments.List().ToDictionary(summary => summary.Model),
            held.ListOpen().ToLookup(deployment => deployment.Model), running.ToLookup(rollout => rollout.Model), monitors.List().ToLookup(monitor => monitor.Model));
        // Those in production first; the page Models has them all.
        var rows = models.Where(model => model.Versions > 0).OrderBy(model => model.ProductionVersion is null).ThenBy(model => model.Name, StringComparer.Ordinal).Take(RowsMax).Select(model => Row(model, now)).ToList();
        List<Notice> notices =
        [
            .. promotions.Where(promotion => promotion.Status is PromotionStatus.Pending)
                .Select(promotion => new Notice(Sign.Warn,
                    $"{promotion.Model} {promotion.Version} waits for approval to go to {promotion.To} (asked by {promotion.RequestedBy}: {promotion.Reason})",
                    Links.Version(promotion.Model, promotion.Version), promotion.RequestedAt)),
            .. monitors.Alerts(null, openOnly: true).Select(alert => new Notice(BandSign.Of(alert), alert.Message, Links.Subject(alert.Monitor, alert.Subject), alert.OpenedAt)),
            .. running.Select(rollout => new Notice(Sign.Unknown,
                $"{rollout.Model} {rollout.Version} takes over from {rollout.StableVersion}: step {rollout.Step} of {rollout.Steps.Count}", Links.Rollout(rollout.Id), rollout.StartedAt)),
        ];
        var (answer, sign) = Answer(rows, notices);
        return new HomeView(answer, sign, [.. notices.OrderByDescending(notice => notice.At)], rows,
        [
            ("models", Format.Count(models.Count), "/models"),
            ("versions", Format.Count(models.Sum(model => model.Versions)), "/models"),
            ("datasets", Format.Count(datasets.ListDefinitions().Count), "/data"),
            ("experiments", Format.Count(runs.ListExperiments().Count), "/experiments"),
            ("predictions since the start", Format.Count(predictions.Written), "/deployments"),
            ("audit events", Format.Count(audit.Count()), "/governance/audit"),
        ], audit.List(limit: 8));
    }

    private static (string Answer, Sign Sign) Answer(List<Lifecycle> rows, List<Notice> notices)
    {
        var open = notices.Count(notice => notice.Sign is not Sign.Unknown);
        var waiting = open == 0 ? "nothing waits for you" : open == 1 ? "one thing waits for you" : $"{open} things wait for you";
        var worst = notices.Any(notice => notice.Sign is Sign.Bad) ? Sign.Bad : open > 0 ? Sign.Warn : Sign.Ok;
        return rows.Where(row => row.Version.Stage is Stage.Production).ToList() switch
        {
            [] when rows.Count == 0 => ("No model is registered yet.", Sign.Unknown),
            [] => ($"No version is in production yet; {waiting}.", worst is Sign.Ok ? Sign.Unknown : worst),
            [var only] => ($"{only.Model.Name} {only.Version.Version} is in production; {waiting}.", worst),
            var several => ($"{several.Count} models are in production; {waiting}.", worst),
        };
    }

    private Lifecycle Row(ModelSummary model, Now now)
    {
        var version = registry.Get(model.Name, model.ProductionVersion ?? model.NewestVersion!);
        return new Lifecycle(model, version,
            [Data(version), Features(version), Experiment(version), Version(version), Approval(version, now), Deployment(version, now), Monitor(now.Monitors[model.Name].FirstOrDefault())]);
    }

    private Station Data(ModelVersionRecord version)
    {
        if (version.Datasets.Count == 0)
        {
            return new Station("data", Sign.Warn, "none recorded", "The version names no dataset.");
        }

        var used = version.Datasets[0];
        var record = datasets.Find(used.Name, used.Version);
        var validation = datasets.FindValidation(used.Name, used.Version);
        var (sign, detail) = validation switch
        {
            null => (Sign.Unknown, "not validated"),
            { Passed: true } => (Sign.Ok, $"{Format.Plural(validation.Checks.Count, "check")}, {validation.Checks.Count(check => !check.Passed)} breached"),
            _ => (Sign.Bad, "validation failed"),
        };
        return new Station("data", sign, $"{used.Name}@{used.Version}", record is null ? detail : $"{Format.Count(record.Rows)} rows, {detail}",
            record is null ? null : Links.Dataset(used.Name, used.Version), record is null ? null : DateTimeOffset.FromUnixTimeMilliseconds(record.CreatedAtMs));
    }

    private Station Features(ModelVersionRecord version)
    {
        var schema = version.FeatureSchema;
        var upTo = features.FindService(schema.Service, schema.ServiceVersion)?.Views.Where(view => !view.Definition.OnDemand)
            .Select(view => online.MaterializedUpTo(view.Id)).DefaultIfEmpty().Min();
        return new Station("features", schema.Features.Count > 0 ? Sign.Ok : Sign.Unknown, $"{schema.Service}@{schema.ServiceVersion}",
            Format.Plural(schema.Features.Count, "feature") + (upTo is { } instant ? $", online up to {instant.UtcDateTime:yyyy-MM-dd}" : ""), "/data#features-title");
    }

    private Station Experiment(ModelVersionRecord version) => version.RunId is { } id && runs.Find(id) is { } run
        ? new Station("experiment", run.Flags.Count > 0 ? Sign.Warn : run.Status is RunStatus.Finished ? Sign.Ok : run.Status is RunStatus.Failed or RunStatus.Killed ? Sign.Bad : Sign.Unknown,
            run.Name, run.Metric("auc") is { } auc ? $"AUC {Format.Number(auc)}" : run.Status.ToString().ToLowerInvariant(), Links.Run(run.RunId), DateTimeOffset.FromUnixTimeMilliseconds(run.EndTimeMs ?? run.StartTimeMs))
        : new Station("experiment", Sign.Unknown, version.RunId is { } known ? Format.Short(known) : "", "The run is not kept here.");

    private static Station Version(ModelVersionRecord version) => new("version", version.MissingLineage.Count == 0 ? Sign.Ok : Sign.Warn,
        version.Version, version.MissingLineage.Count == 0 ? $"in {version.Stage}" : $"in {version.Stage}; lineage lacks {string.Join(", ", version.MissingLineage)}",
        Links.Version(version.Model, version.Version), version.CreatedAt);

    private static Station Approval(ModelVersionRecord version, Now now)
    {
        var promotion = now.Promotions[version.Model].FirstOrDefault(known => known.Version == version.Version && known.Status is not PromotionStatus.Withdrawn);
        var by = promotion?.Decisions.LastOrDefault(decision => decision.Approved)?.By;
        return promotion switch
        {
            null => new Station("approval", Sign.Unknown, "not asked for", "no promotion yet", Links.Version(version.Model, version.Version) + "#gate"),
            { Status: PromotionStatus.Pending } => new Station("approval", Sign.Warn, $"to {promotion.To}", "waits for an approver", Links.Version(version.Model, version.Version) + "#approvals", promotion.RequestedAt),
            { Status: PromotionStatus.Rejected } => new Station("approval", Sign.Bad, $"to {promotion.To}", $"rejected by {promotion.ClosedBy}", Links.Version(version.Model, version.Version) + "#approvals", promotion.ClosedAt),
            _ => new Station("approval", Sign.Ok, $"to {promotion.To}", by is null ? "the policy asks for none" : $"approved by {by}", Links.Version(version.Model, version.Version) + "#approvals",
                promotion.Decisions.Select(decision => (DateTimeOffset?)decision.At).LastOrDefault() ?? promotion.RequestedAt),
        };
    }

    private static Station Deployment(ModelVersionRecord version, Now now)
    {
        var rollout = now.Rollouts[version.Model].FirstOrDefault();
        var since = now.Held[version.Model].FirstOrDefault(deployment => deployment.Version == version.Version)?.StartedAt;
        return now.Deployments.GetValueOrDefault(version.Model) switch
        {
            null => new Station("deployment", Sign.Unknown, "not deployed", "no version answers", Links.Deployment(version.Model)),
            { Ready: false } down => new Station("deployment", Sign.Bad, "not ready", down.LoadFailure ?? "no version answers", Links.Deployment(version.Model)),
            var up => new Station("deployment", rollout is null ? Sign.Ok : Sign.Warn,
                string.Join(", ", up.Arms.Select(arm => $"{arm.Version} {Format.Percent(arm.Share)}")),
                rollout is null ? $"{Format.Count(up.Arms.Sum(arm => arm.Requests))} requests, {Format.Count(up.Arms.Sum(arm => arm.Errors))} failed" : $"rollout of {rollout.Version}, step {rollout.Step} of {rollout.Steps.Count}",
                rollout is null ? Links.Deployment(version.Model) : Links.Rollout(rollout.Id), since),
        };
    }

    private static Station Monitor(MonitorSummary? monitor) => monitor switch
    {
        null => new Station("monitor", Sign.Unknown, "none", "no monitor watches it", "/monitors"),
        { Windows: 0 } => new Station("monitor", Sign.Unknown, monitor.Name, "no window has closed yet", Links.Monitor(monitor.Name)),
        _ => new Station("monitor", BandSign.Of(monitor.Band), BandSign.Name(monitor.Band),
            $"{Format.Plural(monitor.OpenAlerts, "open alert")}, window to {monitor.LastWindowEnd?.UtcDateTime:yyyy-MM-dd HH:mm}", Links.Monitor(monitor.Name)),
    };

    /// <summary>What every row looks something up in, read once.</summary>
    private sealed record Now(
        ILookup<string, PromotionRecord> Promotions, IReadOnlyDictionary<string, DeploymentSummary> Deployments, ILookup<string, DeploymentRecord> Held,
        ILookup<string, RolloutResponse> Rollouts, ILookup<string, MonitorSummary> Monitors);
}
