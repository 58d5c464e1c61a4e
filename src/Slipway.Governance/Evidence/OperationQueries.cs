using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Identity;
using Slipway.Monitoring;
using Slipway.Pipelines;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Serving.Rollouts;
using Slipway.Storage.Audit;

namespace Slipway.Governance.Evidence;

/// <summary>Queries about models as a whole, pipelines, serving, monitors, users and the audit trail. The one argument, where there is one, is the name.</summary>
internal static class OperationQueries
{
    public static IEnumerable<EvidenceQuery> All(
        ModelRegistry registry, PipelineService pipelines, DeploymentStore deployments, DeploymentReports serving, RolloutReports rollouts, MonitorStore monitors,
        AuditTrail audit, UserStore users) =>
        [
            .. Models(registry, pipelines), .. Pipelines(pipelines), .. Serving(deployments, serving, rollouts), .. Monitors(monitors),
            EvidenceQuery.Of("platform.users", 0, _ => new Found(
                string.Join(", ", users.List().GroupBy(user => user.Role).OrderBy(group => group.Key).Select(group => $"{group.Count()} {Roles.Name(group.Key)}")),
                [.. users.List().Select(user => user.Node.ToString())])),
            EvidenceQuery.Live("audit.events", 0, _ => new Found($"{Figures.Of(audit.Count())} events in one hash chain", $"audit_event:{audit.Count()}")),
        ];

    private static IEnumerable<EvidenceQuery> Models(ModelRegistry registry, PipelineService pipelines) =>
        [
            EvidenceQuery.Of("platform.models", 0, _ => new Found(Figures.Of((long)registry.ListModels().Count), [.. registry.ListModels().Select(model => $"model:{model.Name}")])),
            EvidenceQuery.Of("model.versions", 1, arguments => new Found(
                string.Join(", ", registry.ListVersions(arguments[0]).Reverse().Select(version => $"{version.Version} ({version.Stage.ToString().ToLowerInvariant()})")),
                [.. registry.ListVersions(arguments[0]).Select(version => version.Node.ToString())])),
            EvidenceQuery.Of("model.production", 1, arguments => registry.FindInStage(arguments[0], Stage.Production) is { } version
                ? new Found(version.Version, version.Node.ToString()) : new Found(null, $"model:{arguments[0]}")),
            EvidenceQuery.Of("model.rollbacks", 1, arguments => new Found(
                Figures.Of((long)registry.History(arguments[0]).Count(change => change.Cause == "rollback")), $"model:{arguments[0]}")),
            EvidenceQuery.Of("model.gate", 1, arguments =>
            {
                var executed = registry.ListPromotions(arguments[0]).FirstOrDefault(promotion => promotion is { Status: PromotionStatus.Executed, To: Stage.Production });
                return executed?.LastGate is { } gate
                    ? new Found($"{gate.Policy}: {string.Join(", ", gate.Items.Select(item => $"{item.Name} {(item.Passed ? "met" : "not met")}"))}", $"promotion:{executed.Id}")
                    : new Found(null, $"model:{arguments[0]}");
            }),
            EvidenceQuery.Of("model.pipelines", 1, arguments =>
            {
                var own = pipelines.Pipelines().Where(pipeline => pipeline.Model == arguments[0]).ToList();
                return new Found(string.Join(", ", own.Select(pipeline => $"{pipeline.Name}@{pipeline.Version}")), [.. own.Select(pipeline => $"definition:pipeline/{pipeline.Name}@{pipeline.Version}")]);
            }),
        ];

    private static IEnumerable<EvidenceQuery> Pipelines(PipelineService pipelines)
    {
        EvidenceQuery Of(string name, Func<PipelineInfo, string?> value) => EvidenceQuery.Of($"pipeline.{name}", 1, arguments =>
            pipelines.Pipelines().FirstOrDefault(pipeline => pipeline.Name == arguments[0]) is { } pipeline
                ? new Found(value(pipeline), $"definition:pipeline/{pipeline.Name}@{pipeline.Version}") : new Found(null));
        return
        [
            Of("stages", pipeline => string.Join(" → ", pipeline.Stages.Select(stage => stage.Name))),
            Of("threshold", pipeline => pipeline.GoNoGo is { } limit ? $"{limit.Metric} {Figures.Of(limit.Minimum)}{(limit.MustBeatBaselines ? ", beats every trivial baseline" : "")}" : null),
            Of("parameters", pipeline => string.Join(", ", pipeline.Parameters.Select(pair => $"{pair.Key}={pair.Value}"))),
            EvidenceQuery.Of("pipeline.runs", 1, arguments =>
            {
                var runs = pipelines.List(arguments[0], 1000);
                return new Found(
                    string.Join(", ", runs.GroupBy(run => $"{run.Trigger} {run.Status.ToString().ToLowerInvariant()}").OrderBy(group => group.Key, StringComparer.Ordinal)
                        .Select(group => $"{group.Count()} {group.Key}")),
                    [.. runs.Select(run => $"pipeline_run:{run.Id}")]);
            }),
        ];
    }

    private static IEnumerable<EvidenceQuery> Serving(DeploymentStore deployments, DeploymentReports serving, RolloutReports rollouts)
    {
        EvidenceQuery Live(string name, Func<ArmReport, string> value) => EvidenceQuery.Live($"serving.{name}", 1, arguments =>
        {
            var stable = serving.List().FirstOrDefault(model => model.Model == arguments[0])?.Arms.FirstOrDefault(arm => arm.Arm == "stable");
            return stable is { Requests: > 0 } ? new Found(value(stable), $"model_version:{arguments[0]}@{stable.Version}") : new Found(null, $"model:{arguments[0]}");
        });
        return
        [
            EvidenceQuery.Of("deployment.now", 1, arguments =>
            {
                var open = deployments.ListOpen().Where(row => row.Model == arguments[0] && row.Arm == "stable").ToList();
                return new Found(string.Join(", ", open.Select(row => $"{row.Version} since {Figures.Of(row.StartedAt)}")), [.. open.Select(row => $"deployment:{row.Id}")]);
            }),
            EvidenceQuery.Of("deployment.of_version", 2, arguments =>
            {
                var rows = deployments.List(arguments[0]).Where(row => row.Version == arguments[1]).Reverse().ToList();
                return new Found(
                    string.Join("; ", rows.Select(row => $"{row.Arm} from {Figures.Of(row.StartedAt)}{(row.EndedAt is { } end ? $" to {Figures.Of(end)} ({row.Outcome})" : "")}")),
                    [.. rows.Select(row => $"deployment:{row.Id}")]);
            }),
            EvidenceQuery.Of("rollout.outcomes", 1, arguments =>
            {
                var ended = rollouts.List(arguments[0]).Where(rollout => rollout.Status is not RolloutStatus.Running).Reverse().ToList();
                return new Found(
                    string.Join("; ", ended.Select(rollout => $"{rollout.Version} {rollout.Status.ToString().ToLowerInvariant()}{(rollout.RestoreMs is { } ms ? $", restored in {Figures.Of(ms)} ms" : "")}")),
                    [.. ended.Select(rollout => $"rollout:{rollout.Id}")]);
            }),
            EvidenceQuery.Of("rollout.plan", 1, arguments => rollouts.List(arguments[0]) is [var newest, ..]
                ? new Found(string.Join(" → ", newest.Steps.Select(step => step.Shadow ? "shadow" : step.Percent < 0 ? "by flag" : $"{Figures.Of(step.Percent)} %")), $"rollout:{newest.Id}", $"definition:rollout/{newest.Spec}")
                : new Found(null, $"model:{arguments[0]}")),
            Live("requests", arm => Figures.Of(arm.Requests)),
            Live("error_rate", arm => Figures.Percent(arm.ErrorRate)),
            Live("latency_p50", arm => $"{Figures.Of(arm.LatencyMsP50)} ms"),
            Live("latency_p99", arm => $"{Figures.Of(arm.LatencyMsP99)} ms"),
        ];
    }

    private static IEnumerable<EvidenceQuery> Monitors(MonitorStore monitors)
    {
        EvidenceQuery Of(string name, Func<MonitorStatus, string?> value, bool moving = false) => new($"monitor.{name}", 1, moving, (arguments, _) =>
        {
            var status = monitors.Status(arguments[0]);
            return Task.FromResult(new Found(value(status), $"monitor:{status.Summary.Name}"));
        });
        return
        [
            EvidenceQuery.Of("model.monitors", 1, arguments =>
            {
                var own = monitors.List().Where(monitor => monitor.Model == arguments[0]).ToList();
                return new Found(string.Join(", ", own.Select(monitor => monitor.Name)), [.. own.Select(monitor => $"definition:monitor/{monitor.Name}@{monitor.DefinitionVersion}")]);
            }),
            Of("owner", status => status.Summary.Owner),
            Of("procedure", status => status.Summary.Procedure),
            Of("schedule", status => $"every {Figures.Of(status.Cadence)} over windows of {Figures.Of(status.Window)}"),
            Of("drift_limits", status => $"PSI {Figures.Of(status.Limits.PsiInvestigate)} investigate, {Figures.Of(status.Limits.PsiAct)} act"),
            Of("method", status => $"{status.Method.Reference}; {status.Method.Bins}; {status.Method.ZeroFill}"),
            Of("performance_limits", status => status.Limits is { PerformanceMetric: { } metric, WarningLimit: { } warning, CriticalLimit: { } critical }
                ? $"{metric} {Figures.Of(warning)} warning, {Figures.Of(critical)} critical" : null, moving: true),
            Of("drift_now", status => status.Results.Where(point => point.Metric == "psi").MaxBy(point => point.Value) is { } worst
                ? $"worst PSI {Figures.Of(worst.Value)} ({worst.Subject}) in the window to {Figures.Of(worst.WindowEnd)}" : null, moving: true),
            Of("performance_now", status => status.Results.FirstOrDefault(point => point.Subject == "performance" && point.Metric == (status.Limits.PerformanceMetric ?? "auc")) is { } point
                ? $"{point.Metric} {Figures.Of(point.Value)} of {Figures.Of(point.N)} labels in the window to {Figures.Of(point.WindowEnd)}" : null, moving: true),
            Of("open_alerts", status => Figures.Of((long)status.OpenAlerts.Count), moving: true),
            Of("actions", status => Figures.Of((long)status.Actions.Count), moving: true),
        ];
    }
}
