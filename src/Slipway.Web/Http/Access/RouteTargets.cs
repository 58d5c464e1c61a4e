using System.Collections.Concurrent;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Monitoring;
using Slipway.Pipelines;
using Slipway.Registry;
using Slipway.Serving.Grpc;
using Slipway.Serving.Reviews;
using Slipway.Serving.Rollouts;
using Slipway.Serving.Streams;
using Slipway.Tracking;
using Slipway.Tracking.EvaluationDatasets;
using Slipway.Tracking.Traces;
using Slipway.Web.Pages.Experiments;

namespace Slipway.Web.Http.Access;

/// <summary>
/// Which model or experiment each route is about: one table for the whole server, by path and method. A route that no row fits is
/// about none, and its permission alone decides. <c>docs/reference/access.md</c> is written from it.
/// </summary>
internal sealed class RouteTargets
{
    private const string Native = "/api/slipway/v1";
    private const string Production = "production";

    private readonly ConcurrentDictionary<Endpoint, RouteTarget?> _known = new();
    private readonly List<Rule> _rules = [];

    private readonly RunStore _runs;
    private readonly ExperimentStore _experiments;
    private readonly LoggedModelStore _loggedModels;
    private readonly TraceStore _traces;
    private readonly EvaluationDatasetStore _evaluationDatasets;
    private readonly ModelRegistry _registry;
    private readonly RolloutReports _rollouts;
    private readonly StreamStore _streams;
    private readonly ReviewStore _reviews;
    private readonly MonitorStore _monitors;
    private readonly PipelineService _pipelines;

    public RouteTargets(
        RunStore runs, ExperimentStore experiments, LoggedModelStore loggedModels, TraceStore traces, EvaluationDatasetStore evaluationDatasets, ModelRegistry registry,
        RolloutReports rollouts, StreamStore streams, ReviewStore reviews, MonitorStore monitors, PipelineService pipelines)
    {
        (_runs, _experiments, _loggedModels, _traces, _evaluationDatasets) = (runs, experiments, loggedModels, traces, evaluationDatasets);
        (_registry, _rollouts, _streams, _reviews, _monitors, _pipelines) = (registry, rollouts, streams, reviews, monitors, pipelines);
        AddTracking();
        AddRegistry();
        AddNative();
        AddPages();
    }

    /// <summary>What the route is about; null when about no one model or experiment.</summary>
    public RouteTarget? Of(RouteEndpoint endpoint) => _known.GetOrAdd(endpoint, _ => Find(endpoint));

    private RouteTarget? Find(RouteEndpoint endpoint)
    {
        var path = ("/" + endpoint.RoutePattern.RawText!.Trim('/')).Replace("/ajax-api/", "/api/", StringComparison.Ordinal).Replace("/api/2.0mlflow/", "/api/2.0/mlflow/", StringComparison.Ordinal);
        var methods = endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? [];
        // More exact rows come before those for all below a path.
        return _rules.Find(rule => rule.Fits(path) && (rule.Method is null || methods.Contains(rule.Method)))?.Target;
    }

    private void AddTracking()
    {
        foreach (var version in (string[])["2.0", "3.0"])
        {
            var mlflow = $"/api/{version}/mlflow";
            Add($"{mlflow}/experiments/search", new RouteTarget.Filtered());
            Add($"{mlflow}/experiments/list", new RouteTarget.Filtered());
            Add($"{mlflow}/experiments/create", null);
            Add($"{mlflow}/experiments/permissions/*", null);
            Add($"{mlflow}/experiments/get-by-name", Experiments("the experiment of 'experiment_name'", fields => fields.Query("experiment_name").SelectMany(IdOf)));
            Add($"{mlflow}/experiments/search-datasets", Experiments("the experiments of 'experiment_ids'", fields => fields.Body("experiment_ids"), inBody: true));
            Add($"{mlflow}/experiments/delete", Experiments("the experiment of 'experiment_id'", fields => fields.Fields("experiment_id"), inBody: true, removes: true));
            Add($"{mlflow}/experiments/restore", Experiments("the experiment of 'experiment_id'", fields => fields.Fields("experiment_id"), inBody: true, removes: true));
            Add($"{mlflow}/experiments/*", Experiments("the experiment of 'experiment_id'", fields => fields.Fields("experiment_id"), inBody: true));
            Add($"{mlflow}/runs/create", Experiments("the experiment of 'experiment_id'", fields => fields.Body("experiment_id").DefaultIfEmpty("0"), inBody: true));
            Add($"{mlflow}/runs/search", Experiments("the experiments of 'experiment_ids'", fields => fields.Body("experiment_ids"), inBody: true) with { NoneIsAll = ResourceKind.Experiment });
            Add($"{mlflow}/runs/delete", OfRuns("run_id", inBody: true, removes: true));
            Add($"{mlflow}/runs/restore", OfRuns("run_id", inBody: true, removes: true));
            Add($"{mlflow}/runs/*", OfRuns("run_id", inBody: true));
            Add($"{mlflow}/metrics/*", OfRuns("run_id"));
            Add($"{mlflow}/artifacts/*", OfRuns("run_id"));
            Add($"{mlflow}/upload-artifact", Experiments("the experiment of the run of 'run_uuid'", fields => RunsToExperiments(fields.Query("run_id", "run_uuid"))));
            Add($"{mlflow}/get-trace-artifact", Experiments("the experiment of the trace of 'request_id'", fields => TracesToExperiments(fields.Query("request_id", "trace_id"))));
            Add($"{mlflow}/logged-models", Experiments("the experiment of 'experiment_id'", fields => fields.Body("experiment_id").DefaultIfEmpty("0"), inBody: true), "POST");
            Add($"{mlflow}/logged-models/search", Experiments("the experiments of 'experiment_ids'", fields => fields.Body("experiment_ids"), inBody: true) with { NoneIsAll = ResourceKind.Experiment });
            Add($"{mlflow}/logged-models/{{model_id}}", Experiments("the experiment of the logged model", fields => LoggedModelsToExperiments(fields.Route("model_id")), removes: true), "DELETE");
            Add($"{mlflow}/logged-models/*", Experiments("the experiment of the logged model", fields => LoggedModelsToExperiments(fields.Route("model_id"))));
            Add($"{mlflow}/traces", Experiments("the experiments that the request names", fields => [.. fields.Anywhere("experiment_id"), .. fields.Query("experiment_ids")], inBody: true) with { NoneIsAll = ResourceKind.Experiment });
            Add($"{mlflow}/traces/search", Experiments("the experiments that the request names", fields => [.. fields.Anywhere("experiment_id"), .. fields.Anywhere("experiment_ids")], inBody: true) with { NoneIsAll = ResourceKind.Experiment });
            Add($"{mlflow}/traces/delete-traces", Experiments("the experiment of 'experiment_id'", fields => fields.Body("experiment_id"), inBody: true, removes: true));
            Add($"{mlflow}/traces/calculate-filter-correlation", Experiments("the experiments of 'experiment_ids'", fields => fields.Body("experiment_ids"), inBody: true) with { NoneIsAll = ResourceKind.Experiment });
            Add($"{mlflow}/traces/link-to-run", Experiments("the experiments of the run and the traces", fields => [.. RunsToExperiments(fields.Body("run_id")), .. TracesToExperiments(fields.Body("trace_ids"))], inBody: true));
            Add($"{mlflow}/traces/batchGet", Experiments("the experiments of the traces of 'trace_ids'", fields => TracesToExperiments(fields.Query("trace_ids"))));
            Add($"{mlflow}/traces/get", Experiments("the experiment of the trace of 'trace_id'", fields => TracesToExperiments(fields.Query("trace_id"))));
            Add($"{mlflow}/traces/*", Experiments("the experiment of the trace", fields => TracesToExperiments([.. fields.Route("trace_id"), .. fields.Route("request_id")])));
            Add($"{mlflow}/scorers/permissions/*", null);
            Add($"{mlflow}/scorers/delete", Experiments("the experiment of 'experiment_id'", fields => fields.Fields("experiment_id"), inBody: true, removes: true));
            Add($"{mlflow}/scorers/*", Experiments("the experiment of 'experiment_id'", fields => fields.Fields("experiment_id"), inBody: true) with { NoneIsAll = ResourceKind.Experiment });
            Add($"{mlflow}/datasets/create", Experiments("the experiments of 'experiment_ids'", fields => fields.Body("experiment_ids"), inBody: true));
            Add($"{mlflow}/datasets/search", Experiments("the experiments of 'experiment_ids'", fields => fields.Fields("experiment_ids"), inBody: true) with { NoneIsAll = ResourceKind.Experiment });
            Add($"{mlflow}/datasets/{{dataset_id}}", Experiments("the experiments of the evaluation dataset", fields => EvaluationDatasetsToExperiments(fields.Route("dataset_id")), removes: true), "DELETE");
            Add($"{mlflow}/datasets/*", Experiments("the experiments of the evaluation dataset", fields => [.. EvaluationDatasetsToExperiments(fields.Route("dataset_id")), .. fields.Body("experiment_ids")], inBody: true));
        }

        const string artifacts = "/api/2.0/mlflow-artifacts/artifacts";
        Add($"{artifacts}/{{experiment_id}}/traces/*", Experiments("the experiment in the path, and the trace's", fields => [.. fields.Route("experiment_id"), .. TracesToExperiments(fields.Route("trace_id"))]));
        Add(artifacts, Experiments("the experiment of the run in 'path'", fields => fields.Query("path").SelectMany(OwnersExperiments)));
        Add($"{artifacts}/{{**path}}", Experiments("the experiment of the run in the path", fields => fields.Route("path").SelectMany(OwnersExperiments), removes: true), "DELETE");
        Add($"{artifacts}/{{**path}}", Experiments("the experiment of the run in the path", fields => fields.Route("path").SelectMany(OwnersExperiments)));
        foreach (var upload in (string[])["create", "complete", "abort"])
        {
            Add($"/api/2.0/mlflow-artifacts/mpu/{upload}/{{**path}}", Experiments(
                "the experiment of the run in the path", fields => fields.Route("path").SelectMany(OwnersExperiments)));
        }

        Add("/get-artifact", OfRuns("run_id"));
        Add("/v1/traces", Experiments("the experiment of the header x-mlflow-experiment-id", fields => fields.Request.Headers["x-mlflow-experiment-id"].OfType<string>().DefaultIfEmpty("0")));
    }

    private void AddRegistry()
    {
        const string mlflow = "/api/2.0/mlflow";
        Add($"{mlflow}/registered-models/search", new RouteTarget.Filtered());
        Add($"{mlflow}/model-versions/search", new RouteTarget.Filtered());
        Add($"{mlflow}/registered-models/permissions/*", null);
        Add($"{mlflow}/registered-models/delete", Models("the model of 'name'", fields => fields.Fields("name"), inBody: true, removes: true));
        Add($"{mlflow}/model-versions/delete", Models("the model of 'name'", fields => fields.Fields("name"), inBody: true, removes: true));
        Add($"{mlflow}/registered-models/rename", Models("the model of 'name', and its new name", fields => fields.Fields("name", "new_name"), inBody: true));
        Add($"{mlflow}/model-versions/transition-stage", new RouteTarget.Named("the model of 'name' in the stage of 'stage', and in production when the version is there", fields =>
            fields.Body("name").SelectMany(name => InStages(name, fields.Body("stage"), fields.Body("version"))), InBody: true));
        // The files come along: whoever may not see them where they are shall not see them in a model of their own.
        Add($"{mlflow}/model-versions/create", Models("the model of 'name'; reads the run, logged model or version of 'source', 'run_id' and 'model_id'", fields => fields.Body("name"), inBody: true) with
        {
            Sources = fields => [.. fields.Body("source", "run_id", "model_id").SelectMany(OwnersOf)],
        });
        Add($"{mlflow}/registered-models/*", Models("the model of 'name'", fields => fields.Fields("name"), inBody: true));
        Add($"{mlflow}/model-versions/*", Models("the model of 'name'", fields => fields.Fields("name"), inBody: true));
        // What they tell goes to another server, about every model.
        Add($"{mlflow}/webhooks/*", new RouteTarget.Whole(ResourceKind.Model));
        Add("/model-versions/get-artifact", Models("the model of 'name'", fields => fields.Query("name")));
    }

    private void AddNative()
    {
        var inProduction = new RouteTarget.Named("the model in production", fields => fields.Route("model").Select(model => Resource.Model(model, Production)));
        Add($"{Native}/models", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/models/{{model}}/rollback", inProduction);
        Add($"{Native}/models/{{model}}", Models("the model", fields => fields.Route("model"), removes: true), "DELETE");
        Add($"{Native}/models/{{model}}/versions", Models("the model; reads the run of 'run_id'", fields => fields.Route("model"), inBody: true) with
        {
            Sources = fields => RunsToExperiments(fields.Body("run_id")).Select(Resource.Experiment),
        }, "POST");
        Add($"{Native}/models/{{model}}/*", Models("the model", fields => fields.Route("model")));
        Add($"{Native}/promotions", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/promotions", new RouteTarget.Named("the model of 'model' in the stage of 'to' or the environment of 'environment', and in production when the version is there", fields =>
            fields.Body("model").SelectMany(model => InStages(model, fields.Body("to", "environment"), fields.Body("version"))), InBody: true), "POST");
        Add($"{Native}/promotions/*", OfPromotions());
        Add($"{Native}/approvals", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/deprecations", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/registry/imports/*", Models("the models that the passport names", fields => fields.Anywhere("model"), inBody: true));
        Add($"{Native}/deployments", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/deployments/{{model}}/*", Models("the model", fields => fields.Route("model")));
        Add($"{Native}/reviews", Models("the model of 'model'", fields => fields.Query("model")), "GET");
        Add($"{Native}/reviews/*", Models("the model of the case", fields => Known(fields.Route("id"), _reviews.Get).Select(found => found.Model)));
        Add($"{Native}/streams", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/streams/*", new RouteTarget.Named("the model of the stream, in production", fields => Known(fields.Route("name"), _streams.ModelOf).Select(model => Resource.Model(model, Production))));
        Add($"{Native}/slos", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/slos/{{model}}", Models("the model", fields => fields.Route("model")));
        Add($"{Native}/rollouts", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/rollouts", new RouteTarget.Named("the model of 'model' in production", fields => fields.Body("model").Select(model => Resource.Model(model, Production)), InBody: true), "POST");
        Add($"{Native}/rollouts/*", new RouteTarget.Named("the model of the rollout, in production", fields => Known(fields.Route("id"), _rollouts.Get).Select(rollout => Resource.Model(rollout.Model, Production))));
        Add($"{Native}/monitors", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/monitors/*", Models("the monitor's model", fields => MonitorsToModels(fields.Route("name"))));
        Add($"{Native}/alerts", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/alerts/*", Models("the alert's model", fields => fields.Route("id").SelectMany(id => _monitors.Alerts(null, openOnly: false).Where(alert => alert.Id == id).Select(alert => alert.Model))));
        Add($"{Native}/pipelines", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/pipelines/runs/*", Models("the model that the run makes a version of", fields => Known(fields.Route("id"), _pipelines.Get).Select(run => run.Model)));
        Add($"{Native}/pipelines/*", Models("the model that the pipeline makes versions of", fields => fields.Route("name").SelectMany(name => _pipelines.Pipelines().Where(pipeline => pipeline.Name == name).Select(pipeline => pipeline.Model))));
        Add($"{Native}/experiments", new RouteTarget.Filtered(), "GET");
        Add($"{Native}/experiments", Experiments("the experiment of 'name', if there is one", fields => fields.Body("name").SelectMany(IdOf), inBody: true), "PUT");
        Add($"{Native}/experiments/*", Experiments("the experiment", fields => fields.Route("experiment")));
        Add($"{Native}/runs/compare", Experiments("the experiments of the runs of 'run_id'", fields => RunsToExperiments(fields.Query("run_id"))));
        Add($"{Native}/runs/compare-config", Experiments("the experiments of the runs of 'run_id'", fields => RunsToExperiments(fields.Query("run_id"))));
        Add($"{Native}/runs/{{run}}", Experiments("the experiment of the run, or of 'experiment_id' and 'experiment'", fields =>
            [.. RunsToExperiments(fields.Route("run")), .. fields.Body("experiment_id"), .. fields.Body("experiment", "experiment_name").SelectMany(IdOf)], inBody: true), "PUT");
        Add($"{Native}/runs/*", Experiments("the experiment of the run", fields => RunsToExperiments(fields.Route("run"))));
        Add($"{Native}/metric-series", Experiments("the experiments of the runs of 'run_id'", fields => RunsToExperiments(fields.Query("run_id"))));
        foreach (var everything in (string[])["verify", "evidence", "maturity", "documents", "documents/{id}", "audit", "audit/*", "lineage", "lineage/*", "inventory", "model-pages", "model-pages/*"])
        {
            Add($"{Native}/{everything}", new RouteTarget.Whole(ResourceKind.Model, ResourceKind.Experiment));
        }

        Add($"{Native}/definitions", new RouteTarget.Whole(ResourceKind.Model), "GET");
        Add("/metrics", new RouteTarget.Whole(ResourceKind.Model));
        Add("/v2/models/stats", new RouteTarget.Filtered());
        Add("/v2/repository/index", new RouteTarget.Filtered());
        Add("/v2/repository/models/{model}/*", inProduction);
        foreach (var call in (string[])["ModelReady", "ModelMetadata", "ModelConfig", "ModelInfer", "ModelStreamInfer", "RepositoryModelLoad", "RepositoryModelUnload"])
        {
            Add(GrpcRoutes.Service + call, new RouteTarget.InMessages());
        }

        Add(GrpcRoutes.Service + "ModelStatistics", new RouteTarget.Filtered());
        Add(GrpcRoutes.Service + "RepositoryIndex", new RouteTarget.Filtered());
        Add("/invocations", new RouteTarget.InMessages());
        foreach (var path in (string[])["/v1/models/{model}", "/v1/models/{model}:predict", "/v1/models/{model}/*"])
        {
            Add(path, Models("the model", fields => fields.Route("model")));
        }

        Add("/v2/models/{model}/*", Models("the model", fields => fields.Route("model")));
    }

    private void AddPages()
    {
        Add("/experiments", new RouteTarget.Filtered(), "GET");
        Add("/experiments/compare", Experiments("the experiments of the runs of 'run'", fields => RunsToExperiments(fields.Query("run"))));
        Add("/experiments/{id}/stage", Experiments("the experiment", fields => fields.Route("id"), removes: true));
        Add("/experiments/{id}/bin", Experiments("the experiment", fields => fields.Route("id"), removes: true), "POST");
        Add("/experiments/{id}/*", Experiments("the experiment, or all", fields => fields.Route("id").Where(id => id != RunsView.AllExperiments)) with { NoneIsAll = ResourceKind.Experiment });
        Add("/runs/{id}/*", Experiments("the experiment of the run", fields => RunsToExperiments(fields.Route("id"))));
        Add("/pipelines/runs/{id}", Models("the model that the run makes a version of", fields => Known(fields.Route("id"), _pipelines.Get).Select(run => run.Model)));
        Add("/models/{model}/*", Models("the model", fields => fields.Route("model")));
        Add("/approvals/*", OfPromotions(), "POST");
        Add("/deployments/{model}/review/*", Models("the model", fields => fields.Route("model")));
        Add("/deployments/{model}", Models("the model", fields => fields.Route("model")));
        Add("/rollouts/{id}", Models("the model of the rollout", fields => Known(fields.Route("id"), _rollouts.Get).Select(rollout => rollout.Model)));
        Add("/rollouts/{id}/*", new RouteTarget.Named("the model of the rollout, in production", fields => Known(fields.Route("id"), _rollouts.Get).Select(rollout => Resource.Model(rollout.Model, Production))), "POST");
        Add("/monitors/{name}/*", Models("the monitor's model", fields => MonitorsToModels(fields.Route("name"))));
        foreach (var everything in (string[])["/", "/home/live", "/search", "/models", "/approvals", "/deployments", "/monitors", "/governance", "/governance/audit", "/governance/audit/check", "/lineage", "/governance/documents/{file}"])
        {
            Add(everything, new RouteTarget.Whole(ResourceKind.Model, ResourceKind.Experiment), "GET");
        }
    }

    private void Add(string path, RouteTarget? target, string? method = null) => _rules.Add(new Rule(path, method, target));

    private static RouteTarget.Named Experiments(string says, Func<RequestFields, IEnumerable<string>> ids, bool inBody = false, bool removes = false) =>
        new(says, fields => ids(fields).Select(Resource.Experiment), inBody, removes);

    private static RouteTarget.Named Models(string says, Func<RequestFields, IEnumerable<string>> names, bool inBody = false, bool removes = false) =>
        new(says, fields => names(fields).Select(name => Resource.Model(name)), inBody, removes);

    private RouteTarget.Named OfPromotions() => new("the model of the promotion in the stage or environment it leads to, and in production when the version is there", fields =>
        fields.Route("id").Select(_registry.FindPromotion).OfType<PromotionRecord>().SelectMany(promotion => InStages(promotion.Model, [promotion.Target.Name], [promotion.Version])));

    private RouteTarget.Named OfRuns(string name, bool inBody = false, bool removes = false) => Experiments(
        $"the experiment of the run of '{name}'", fields => RunsToExperiments(fields.Fields("run_id", "run_uuid", "run_ids")), inBody, removes);

    private IEnumerable<string> RunsToExperiments(IEnumerable<string> runs) => runs.Select(_runs.Find).OfType<RunRecord>().Select(run => run.ExperimentId);

    private IEnumerable<string> TracesToExperiments(IEnumerable<string> traces) => traces.Select(_traces.Find).OfType<TraceRecord>().Select(trace => trace.ExperimentId);

    private IEnumerable<string> LoggedModelsToExperiments(IEnumerable<string> models) => Known(models, _loggedModels.Get).Select(model => model.ExperimentId);

    private IEnumerable<string> EvaluationDatasetsToExperiments(IEnumerable<string> datasets) => Known(datasets, _evaluationDatasets.Get).SelectMany(dataset => dataset.ExperimentIds);

    private IEnumerable<string> MonitorsToModels(IEnumerable<string> monitors) =>
        monitors.SelectMany(name => _monitors.List().Where(monitor => monitor.Name == name).Select(monitor => monitor.Model));

    private IEnumerable<string> IdOf(string experimentName) => _experiments.FindByName(experimentName) is { } found ? [found.ExperimentId] : [];

    // Leaving production changes what runs there as much as coming to it does. MLflow's None is our development.
    private IEnumerable<Resource> InStages(string model, IEnumerable<string> stages, IEnumerable<string> versions)
    {
        var environments = stages.Select(stage => stage.Trim().ToLowerInvariant()).Select(stage => stage == "none" ? "development" : stage).ToList();
        if (versions.Any(version => _registry.Find(model, version)?.Stage is Stage.Production))
        {
            environments.Add(Production);
        }

        return environments.Select(environment => Resource.Model(model, environment));
    }

    // Whose the files behind a source are, such as runs:/<run>/…, mlflow-artifacts:/<experiment>/…, models:/<name>@<alias> or a folder below a run's.
    private IEnumerable<Resource> OwnersOf(string source)
    {
        var text = Uri.UnescapeDataString(source);
        var parts = text.Split(['/', '\\', ':', '?', '#'], StringSplitOptions.RemoveEmptyEntries);
        var experiments = RunsToExperiments(parts).Concat(LoggedModelsToExperiments(parts.Where(LoggedModelStore.IsModelId))).Select(Resource.Experiment);
        return text.StartsWith("models:", StringComparison.OrdinalIgnoreCase) && parts is [_, var name, ..]
            ? [.. experiments, Resource.Model(name), .. name.LastIndexOf('@') is > 0 and var at ? [Resource.Model(name[..at])] : (Resource[])[]]
            : experiments;
    }

    // experiment/run/artifacts/… or experiment/models/model/artifacts/…, however it is spelt: the owner's id is one of the first parts.
    private IEnumerable<string> OwnersExperiments(string path)
    {
        var parts = path.Split(['/', '\\'], 8, StringSplitOptions.RemoveEmptyEntries);
        return [.. parts.Take(1), .. RunsToExperiments(parts), .. LoggedModelsToExperiments(parts.Where(LoggedModelStore.IsModelId))];
    }

    // What does not exist is nobody's: the handler says so.
    private static List<T> Known<T>(IEnumerable<string> ids, Func<string, T> get)
    {
        var found = new List<T>();
        foreach (var id in ids)
        {
            try
            {
                found.Add(get(id));
            }
            catch (SlipwayException e) when (e.Code is ErrorCode.NotFound)
            {
                // Left to the handler.
            }
        }

        return found;
    }

    /// <param name="Path">The route's pattern; with <c>/*</c> at the end also all below it.</param>
    /// <param name="Method">The only method; null for all.</param>
    /// <param name="Target">What it is about; null for none, where a wider row would fit too.</param>
    private sealed record Rule(string Path, string? Method, RouteTarget? Target)
    {
        public bool Fits(string path) => Path.EndsWith("/*", StringComparison.Ordinal)
            ? path.StartsWith(Path.AsSpan(0, Path.Length - 1), StringComparison.Ordinal) || path.AsSpan().SequenceEqual(Path.AsSpan(0, Path.Length - 2))
            : path == Path;
    }
}
