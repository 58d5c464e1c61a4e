using System.Text.RegularExpressions;
using Slipway.Contracts;
using Slipway.Contracts.Governance;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Governance.Evidence;
using Slipway.Governance.Maturity;
using Slipway.Monitoring;
using Slipway.Pipelines;
using Slipway.Registry;

namespace Slipway.Governance.Documents;

/// <summary>The MLOps strategy in fifteen sections, from the records where there are any and from supplied text where only people know.</summary>
internal sealed partial class Strategy(
    ModelRegistry registry, DatasetStore datasets, FeatureRegistry features, PipelineService pipelines, MonitorStore monitors, MaturityAssessor maturity, EvidenceResolver resolver)
{
    private static readonly string[] Signatories = ["Business owner", "Data science lead", "Operations lead", "Risk and compliance"];

    public async Task<DocumentDraft> ComposeAsync(string? model, IReadOnlyDictionary<string, string> supplied, CancellationToken cancellationToken)
    {
        var models = registry.ListModels().Where(known => model is null || known.Name == model).Select(known => known.Name).ToList();
        if (model is not null && models.Count == 0)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}'; GET /api/slipway/v1/models lists models.");
        }

        var writer = new DocumentWriter(resolver, supplied, cancellationToken);
        var requirements = Requirements(supplied);
        await OverviewAsync(writer, model, models, cancellationToken);
        await InventoryAsync(writer, models);
        await DataAsync(writer);
        await TrainingAsync(writer, models);
        await RegistryAsync(writer, models);
        await ServingAsync(writer, models);
        await MonitoringAsync(writer, models);
        await RetrainingAsync(writer, models);
        await ClosingAsync(writer, models, requirements);
        return new DocumentDraft(
            DocumentType.Strategy, DocumentDraft.ProjectOf(model), $"MLOps strategy{(model is null ? "" : $": {Markdown.Text(model)}")}", model, null, writer.Human("owner", "who answers for this strategy"),
            "not recorded: have a person review it", "not recorded: have a person approve it", writer, Warnings(requirements, supplied), Validate(models, requirements, supplied));
    }

    /// <summary>Lines of the supplied requirements that speak of models.</summary>
    internal static IReadOnlyList<string> Requirements(IReadOnlyDictionary<string, string> supplied) =>
        supplied.TryGetValue("requirements", out var text)
            ? [.. text.Split('\n').Select(line => line.Trim().TrimStart('-', '*', '#').Trim()).Where(line => line.Length > 0 && MachineLearning().IsMatch(line))]
            : [];

    private List<string> Warnings(IReadOnlyList<string> requirements, IReadOnlyDictionary<string, string> supplied)
    {
        var warnings = new List<string>();
        if (requirements.Count == 0)
        {
            warnings.Add("NO ML REQUIREMENT FOUND: no supplied requirement mentions model, ML, AI or predict; give them with --requirements FILE.");
        }

        if (datasets.ListDefinitions().Count == 0 && !supplied.ContainsKey("data_model"))
        {
            warnings.Add("NO DATA MODEL FOUND: no dataset is defined; apply dataset definitions, or give --text data_model=….");
        }

        foreach (var (key, name) in new[] { ("ai_playbook", "AI PLAYBOOK ASSESSMENT"), ("principles", "ARCHITECTURE PRINCIPLES") })
        {
            if (!supplied.ContainsKey(key))
            {
                warnings.Add($"NO {name} FOUND: recommended; give it with --text {key}=….");
            }
        }

        return warnings;
    }

    private List<DocumentCheck> Validate(List<string> models, IReadOnlyList<string> requirements, IReadOnlyDictionary<string, string> supplied)
    {
        var watched = monitors.List().Select(monitor => monitor.Model).ToHashSet(StringComparer.Ordinal);
        var unmapped = requirements.Where(requirement => ModelOf(requirement, models) is null).ToList();
        DocumentCheck Check(string name, bool passed, string yes, string no) => new(name, passed, passed ? yes : no);
        return
        [
            Check("every ML requirement is mapped to a model", requirements.Count > 0 && unmapped.Count == 0, $"{requirements.Count} mapped", requirements.Count == 0 ? "no requirement is known" : $"without a model: {string.Join("; ", unmapped.Take(3))}"),
            Check("monitoring covers drift and performance", models.Count > 0 && models.All(watched.Contains) && monitors.List().Where(monitor => models.Contains(monitor.Model)).All(monitor => monitors.Status(monitor.Name).Limits.PerformanceMetric is not null),
                "each model has a monitor with drift and performance limits", models.Count == 0 ? "there is no model" : "a model lacks a monitor, or its monitor lacks performance limits"),
            Check("a governance process is defined", true, "promotions pass a gate with an approval by another person", ""),
            Check("responsible AI is addressed", supplied.ContainsKey("oversight") && supplied.ContainsKey("bias"), "supplied", "give --text oversight=… and --text bias=…"),
            Check("UK items are settled where applicable", supplied.ContainsKey("uk_compliance"), "supplied", "say whether they apply with --text uk_compliance=…"),
        ];
    }

    private async Task OverviewAsync(DocumentWriter writer, string? model, List<string> models, CancellationToken cancellationToken)
    {
        var report = await maturity.AssessAsync(model, cancellationToken);
        writer.Heading(2, "1 Overview");
        writer.Facts(
            ("System", Markdown.Text(model ?? "all models of this server")), ("Purpose", writer.Human("purpose", "what the system is for")), ("Use cases", writer.Human("use_cases", "who decides what with the predictions")),
            ("Impact on people", writer.Human("user_impact", "whom a wrong prediction affects, and how")), ("Models", await writer.FactAsync("platform.models", "register a model")),
            ("Maturity now", $"{report.Score} of 100, level {report.Level} of 4 {writer.Cite("maturity.assessment", report.Scope)}"), ("Maturity target", $"{report.Target} of 100; by when: {writer.Human("target_date", "the date of the target")}"),
            ("Users by role", await writer.FactAsync("platform.users", "add users")), ("Stakeholders", writer.Human("stakeholders", "business owner, data science, engineering, operations, risk")));
        if (models.Count == 0)
        {
            writer.Paragraph("No model is registered yet: register one, and generate again.");
        }
    }

    private static async Task InventoryAsync(DocumentWriter writer, List<string> models)
    {
        writer.Heading(2, "2 Model inventory");
        foreach (var name in models)
        {
            var production = $"{name} latest";
            writer.Heading(3, $"Model {Markdown.Text(name)}");
            writer.Facts(
                ("Versions", await writer.FactAsync($"model.versions {name}", "register a version")), ("In production", await writer.FactAsync($"model.production {name}", "promote a version")),
                ("Purpose", await writer.FactAsync($"version.description {production}", "register with a description")), ("Owner", await writer.FactAsync($"version.owner {production}", "register with an owner")),
                ("Kind of model", await writer.FactAsync($"version.tag {production} trainer", "register with the tag trainer")), ("Data", await writer.FactAsync($"version.datasets {production}", "name the dataset versions")),
                ("Features from", await writer.FactAsync($"version.feature_views {production}", "define features as views")), ("Risk tier", await writer.FactAsync($"version.tag {production} risk_tier", "register with the tag risk_tier")));
        }

        writer.Paragraph($"Risk tiers: {writer.Human("risk_tiers", "what Low, Medium, High and Very High mean here, and who approves each")}");
    }

    private async Task DataAsync(DocumentWriter writer)
    {
        writer.Heading(2, "3 Data pipeline");
        writer.Heading(3, "Sources");
        var rows = new List<IReadOnlyList<string>>();
        foreach (var dataset in datasets.ListDefinitions())
        {
            var newest = datasets.Find(dataset.Name);
            async Task<string> Of(string query, string whatToDo) => await writer.FactAsync($"dataset.{query} {dataset.Name}", whatToDo);
            async Task<string> OfVersion(string query) => newest is null ? "not recorded: upload a file" : await writer.FactAsync($"dataset.{query} {dataset.Name} {newest.Version}", "validate the version");
            rows.Add(
            [
                dataset.Name, await Of("source", "declare source"), await Of("update_frequency", "declare source.update_frequency"), await OfVersion("rows"), await Of("personal_data", "declare source.pii"),
                await Of("owner", "declare source.owner"), await Of("rules", "declare rules"), await OfVersion("validation"),
            ]);
        }

        writer.Table(["Dataset", "Source", "Updated", "Rows of the newest version", "Personal data", "Owner", "Checks", "Last validation"], rows);
        writer.Heading(3, "Feature store");
        rows.Clear();
        foreach (var view in features.Views())
        {
            async Task<string> Of(string query) => await writer.FactAsync($"feature_view.{query} {view.Id}", "declare it in the feature view");
            rows.Add([view.Id, await Of("features"), await Of("transform"), await Of("freshness"), await Of("stores")]);
        }

        writer.Table(["View", "Features", "Transform", "Refresh", "Stores"], rows);
        writer.Facts(("Versioning", "dataset versions are files named by SHA-256; feature views rise by one with each edit; training sets are joined as of each row's own time"), ("Retention", writer.Human("data_retention", "how long data are kept, and why")));
    }

    private async Task TrainingAsync(DocumentWriter writer, List<string> models)
    {
        writer.Heading(2, "4 Training");
        foreach (var pipeline in pipelines.Pipelines().Where(pipeline => models.Contains(pipeline.Model)))
        {
            writer.Heading(3, $"Pipeline {pipeline.Name}");
            writer.Facts(
                ("Stages", await writer.FactAsync($"pipeline.stages {pipeline.Name}", "declare stages")), ("Threshold set before training", await writer.FactAsync($"pipeline.threshold {pipeline.Name}", "set go_no_go")),
                ("Parameters", await writer.FactAsync($"pipeline.parameters {pipeline.Name}", "declare parameters")), ("Runs by trigger", await writer.FactAsync($"pipeline.runs {pipeline.Name}", "run the pipeline")));
        }

        foreach (var name in models)
        {
            writer.Facts(("Model", Markdown.Text(name)), ("Pipelines", await writer.FactAsync($"model.pipelines {name}", "apply a pipeline")), ("Compute", await writer.FactAsync($"version.environment {name} latest", "record the environment on the run")), ("Tracking", "every run on this server: parameters, metrics, inputs, environment, files"));
        }

        writer.Facts(("Hyperparameter search", writer.Human("hyperparameters", "method, budget, and where studies are kept")));
    }

    private static async Task RegistryAsync(DocumentWriter writer, List<string> models)
    {
        writer.Heading(2, "5 Model registry");
        writer.Paragraph("Stages: development (registered), staging (passed its gate), production (answers live requests; one version at a time), archived (kept for the record and for rollback).");
        writer.Facts(("Needed to register", "model file, metadata, signature, environment, feature schema, baseline, evaluation report"), ("Approval", "asked for, decided by another person whose role the policy names, gate checked again, carried out in one transaction"));
        foreach (var name in models)
        {
            writer.Facts(("Model", Markdown.Text(name)), ("Last gate into production", await writer.FactAsync($"model.gate {name}", "promote a version to production")), ("Approvals of the newest version", await writer.FactAsync($"version.approvals {name} latest", "ask another user to approve a promotion")));
        }
    }

    private static async Task ServingAsync(DocumentWriter writer, List<string> models)
    {
        writer.Heading(2, "6 Serving");
        foreach (var name in models)
        {
            writer.Heading(3, $"Endpoint of {Markdown.Text(name)}");
            writer.Facts(
                ("Pattern", $"real time, Open Inference Protocol at /v2/models/{Markdown.Text(name)}/infer"), ("Running", await writer.FactAsync($"deployment.now {name}", "promote a version to production")),
                ("Requests since the version was loaded", await writer.FactAsync($"serving.requests {name}", "send requests")), ("Error rate", await writer.FactAsync($"serving.error_rate {name}", "send requests")),
                ("Latency, median", await writer.FactAsync($"serving.latency_p50 {name}", "send requests")), ("Latency, 99th percentile", await writer.FactAsync($"serving.latency_p99 {name}", "send requests")),
                ("Release steps", await writer.FactAsync($"rollout.plan {name}", "release through a rollout")), ("Rollouts so far", await writer.FactAsync($"rollout.outcomes {name}", "release through a rollout")));
        }

        writer.Facts(("Targets", writer.Human("service_targets", "latency, throughput and availability that users need")), ("A/B tests", writer.Human("ab_tests", "split, success metrics, rollback criteria")));
    }

    private async Task MonitoringAsync(DocumentWriter writer, List<string> models)
    {
        writer.Heading(2, "7 Monitoring");
        writer.Paragraph("Drift limits and performance limits are declared per monitor; each closed window is compared with the training baseline of the version that served it.");
        foreach (var monitor in monitors.List().Where(monitor => models.Contains(monitor.Model)))
        {
            async Task<string> Of(string query, string whatToDo) => await writer.FactAsync($"monitor.{query} {monitor.Name}", whatToDo);
            writer.Heading(3, $"Monitor {monitor.Name}");
            writer.Facts(
                ("Model", Markdown.Text(monitor.Model)), ("Owner", await Of("owner", "name an owner")), ("Procedure", await Of("procedure", "name a procedure")), ("Schedule", await Of("schedule", "set a cadence")),
                ("Drift limits", await Of("drift_limits", "set psi limits")), ("Method", await Of("method", "apply the monitor")), ("Performance limits", await Of("performance_limits", "set performance limits and wait for a window")),
                ("Drift now", await Of("drift_now", "no window has closed yet")), ("Performance now", await Of("performance_now", "send labels")), ("Open alerts", await Of("open_alerts", "apply the monitor")));
        }

        foreach (var name in models)
        {
            writer.Facts(("Model", Markdown.Text(name)), ("Monitors", await writer.FactAsync($"model.monitors {name}", "apply a monitor")));
        }

        writer.Facts(("Fairness", writer.Human("fairness", "which groups are compared, by which metric and limit")));
    }

    private async Task RetrainingAsync(DocumentWriter writer, List<string> models)
    {
        writer.Heading(2, "8 Retraining and rollback");
        foreach (var monitor in monitors.List().Where(monitor => models.Contains(monitor.Model)))
        {
            writer.Facts(("Monitor", monitor.Name), ("Trainings it has started", await writer.FactAsync($"monitor.actions {monitor.Name}", "add actions to the monitor")));
        }

        foreach (var name in models)
        {
            writer.Facts(("Model", Markdown.Text(name)), ("Rollbacks so far", await writer.FactAsync($"model.rollbacks {name}", "register the model")));
        }

        writer.Paragraph("Rollback: name the model and the reason; the registry moves the last version that was in production back; the route follows within a second; the audit trail keeps who and why; lineage shows what the withdrawn version answered; the reason is settled before it may return.");
        writer.Facts(("Procedure", writer.Human("retraining_procedure", "who decides on retraining, and when")));
    }

    private static async Task ClosingAsync(DocumentWriter writer, List<string> models, IReadOnlyList<string> requirements)
    {
        writer.Heading(2, "9 Language models");
        writer.Facts(("Use", writer.Human("language_models", "provider, model, prompts, guardrails, cost; or that none is used")));
        writer.Heading(2, "10 Continuous integration and delivery");
        writer.Facts(("Artifacts and repositories", writer.Human("ci_repositories", "where code lives, branches, required checks")), ("Tests", writer.Human("ci_tests", "unit, data, model, integration, load")));
        foreach (var name in models)
        {
            writer.Facts(("Model", Markdown.Text(name)), ("Commit of the newest version", await writer.FactAsync($"version.commit {name} latest", "train from a checkout")), ("Lineage", await writer.FactAsync($"version.lineage {name} latest", "register through a pipeline")));
        }

        writer.Heading(2, "11 Governance");
        writer.Facts(("Audit trail", await writer.FactAsync("audit.events", "the trail begins with the first change")), ("Check", "slipway verify recounts the chain, every stored file and the path of each production version"), ("Audit retention", writer.Human("audit_retention", "how long audit rows are kept")), ("Retirement", "a version is archived, its deployment ends, its records and files stay"));
        writer.Heading(2, "12 Responsible AI");
        writer.Facts(("Bias", writer.Human("bias", "how data, model and outcomes are checked for bias")), ("Explanation", writer.Human("explanation", "how a prediction is explained to whom it concerns")), ("Human oversight", writer.Human("oversight", "when a person must decide, when they may overrule")), ("Feedback", writer.Human("feedback", "how complaints reach the owner")));
        writer.Heading(2, "13 UK compliance");
        writer.Facts(("Applies", writer.Human("uk_compliance", "whether the ten AI Playbook principles, ATRS, JSP 936 and DPIA apply, and where each record is")));
        writer.Heading(2, "14 Costs");
        writer.Facts(("Components and people", writer.Human("costs", "computing, storage, people")));
        foreach (var name in models)
        {
            writer.Facts(("Model", Markdown.Text(name)), ("Processor seconds of the last training", await writer.FactAsync($"version.tag {name} latest training_cpu_seconds", "train through a pipeline")), ("Size of the newest version", await writer.FactAsync($"version.size {name} latest", "register a version")));
        }

        writer.Heading(2, "15 Traceability");
        if (requirements.Count == 0)
        {
            writer.Paragraph("No requirement that speaks of a model was supplied: give them with --requirements FILE.");
        }
        else
        {
            writer.Table(["Requirement", "Text", "Model", "Status"], requirements.Select((text, index) => (IReadOnlyList<string>)
                [$"R{index + 1}", Markdown.Text(text), ModelOf(text, models) is { } name ? Markdown.Text(name) : "none", ModelOf(text, models) is null ? "open" : "covered by a registered model"]));
        }

        writer.Heading(2, "Approval");
        writer.Table(["Role", "Name", "Decision", "Date"], Signatories.Select(role => (IReadOnlyList<string>)
            [role, writer.Human($"approver_{role.Split(' ')[0].ToLowerInvariant()}", "name"), "not recorded", "not recorded"]));
    }

    // A requirement names its model, or there is only one it can mean.
    private static string? ModelOf(string requirement, List<string> models) =>
        models.FirstOrDefault(name => requirement.Contains(name, StringComparison.OrdinalIgnoreCase)) ?? (models.Count == 1 ? models[0] : null);

    [GeneratedRegex(@"\b(models?|ML|AI|predict\w*)\b", RegexOptions.IgnoreCase)]
    private static partial Regex MachineLearning();
}
