using Slipway.Contracts;
using Slipway.Contracts.Governance;
using Slipway.Contracts.Registry;
using Slipway.Governance.Evidence;
using Slipway.Monitoring;
using Slipway.Registry;

namespace Slipway.Governance.Documents;

/// <summary>The model card of the version in production, or of the newest version while none is: the fields of the Model Card Toolkit.</summary>
internal sealed class ModelCard(ModelRegistry registry, MonitorStore monitors, EvidenceResolver resolver)
{
    public async Task<DocumentDraft> ComposeAsync(string? model, string? chosen, IReadOnlyDictionary<string, string> supplied, CancellationToken cancellationToken)
    {
        if (string.IsNullOrEmpty(model))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'model' must name the model that the card describes, such as --model flight-delay.");
        }

        var version = chosen is not null ? registry.Get(model, chosen) : registry.FindInStage(model, Stage.Production) ?? (registry.ListVersions(model) is [var newest, ..] ? newest : null)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}' with a version; GET /api/slipway/v1/models lists models.");
        var report = await ReportAsync(version, cancellationToken);
        var writer = new DocumentWriter(resolver, supplied, cancellationToken);
        Task<string> Of(string query, string whatToDo, string more = "") => writer.FactAsync($"version.{query} {version.Model} {version.Version}{more}", whatToDo);

        await DetailsAsync(writer, version, Of);
        await ParametersAsync(writer, version, Of);
        await AnalysisAsync(writer, version, report, Of);
        Considerations(writer);
        await LifeAsync(writer, version, Of);
        var approvals = await Of("approvals", "ask another user to approve a promotion");
        return new DocumentDraft(
            DocumentType.ModelCard, DocumentDraft.ProjectOf(model), $"Model card: {Markdown.Text(model)} {version.Version}", model, version.Version, await Of("owner", "register with an owner"),
            approvals, approvals, writer, report is null ? ["EVALUATION MISSING: the version was registered without an evaluation report, so the card has no metrics."] : [], []);
    }

    private static async Task DetailsAsync(DocumentWriter writer, ModelVersionRecord version, Func<string, string, string, Task<string>> of)
    {
        Task<string> Of(string query, string whatToDo) => of(query, whatToDo, "");
        writer.Heading(2, "1 Model details");
        writer.Facts(
            ("Name", Markdown.Text(version.Model)), ("Version", version.Version), ("Overview", await Of("description", "register with a description")),
            ("Registered", await Of("registered", "register the version")), ("What changed", await Of("difference", "register with a parent version")),
            ("Owner", await Of("owner", "register with an owner")), ("Parent version", await Of("parent", "this is the first version")), ("Stage", await Of("stage", "register the version")),
            ("Licence", writer.Human("licence", "the licence of the model")), ("Documentation", writer.Human("documentation", "where further documentation is")),
            ("References", writer.Human("references", "papers or pages to read")), ("Citation", writer.Human("citation", "how to cite the model")),
            ("Model file (SHA-256)", await Of("model_file", "register with an ONNX file")), ("Size", await Of("size", "register with files")));
    }

    private static async Task ParametersAsync(DocumentWriter writer, ModelVersionRecord version, Func<string, string, string, Task<string>> of)
    {
        Task<string> Of(string query, string whatToDo) => of(query, whatToDo, "");
        writer.Heading(2, "2 Model parameters");
        writer.Facts(
            ("Trainer", await of("tag", "register with the tag trainer", " trainer")), ("Parameters of the run", await Of("parameters", "log parameters on the run")),
            ("Input format", await Of("inputs", "register with a signature")), ("Output format", await Of("outputs", "register with a signature")),
            ("Features", await Of("features", "register with a feature schema")), ("Feature view versions", await Of("feature_views", "define features as views")),
            ("Environment", await Of("environment", "record the environment on the run")), ("Seed", await Of("seed", "fix a seed and record it")));
        writer.Heading(3, "Data");
        var rows = new List<IReadOnlyList<string>>();
        foreach (var dataset in version.Datasets)
        {
            rows.Add(
            [
                $"{dataset.Name}@{dataset.Version}", await writer.FactAsync($"dataset.rows {dataset.Name} {dataset.Version}", "upload the file"),
                await writer.FactAsync($"dataset.personal_data {dataset.Name}", "declare source.pii"), await writer.FactAsync($"dataset.licence {dataset.Name}", "declare source.licence"),
                await writer.FactAsync($"dataset.validation {dataset.Name} {dataset.Version}", "validate the version"), await writer.FactAsync($"dataset.description {dataset.Name}", "declare a description"),
            ]);
        }

        writer.Table(["Dataset", "Rows", "Personal data", "Licence", "Validation", "Description"], rows);
    }

    private static async Task AnalysisAsync(DocumentWriter writer, ModelVersionRecord version, EvaluationReport? report, Func<string, string, string, Task<string>> of)
    {
        writer.Heading(2, "3 Quantitative analysis");
        if (report is null)
        {
            writer.Paragraph("Metrics are not recorded: register the version with an evaluation report.");
            return;
        }

        writer.Facts(
            ("Test set (SHA-256)", await of("test_set", "evaluate on a test set", "")), ("Decision threshold", await of("threshold", "set a threshold in the evaluation", "")),
            ("Verdict", await of("verdict", "set a go/no-go limit before training", "")), ("Against production then", await of("against_production", "no version was in production", "")),
            ("Cost of a prediction", await of("cost", "measure it in the evaluation", "")));
        writer.Heading(3, "Splits");
        await TableAsync(writer, ["Split", "Rows and time"], report.Splits.Select(split => split.Name), async split => [split, await of("split", "record splits", $" {split}")]);
        writer.Heading(3, "Performance metrics");
        await TableAsync(writer, ["Metric", "Value", "Slice", "Confidence interval"], report.Metrics.Keys.Order(StringComparer.Ordinal), async metric =>
            [metric, await of("metric", "evaluate", $" {metric}"), "all test rows", metric == "auc" ? await of("interval", "evaluate with an interval", " auc") : "not computed for this metric"]);
        writer.Heading(3, "Parts of the test set");
        if (report.Slices.Count == 0)
        {
            writer.Paragraph("Metrics of parts of the test set are not recorded: evaluate with slices.");
        }
        else
        {
            await TableAsync(writer, ["Slice", "Metric", "Value"], report.Slices.SelectMany(slice => slice.Metrics.Keys.Order(StringComparer.Ordinal).Select(metric => (slice.Slice, metric)))
                .Where(row => !row.Slice.Contains(' ', StringComparison.Ordinal)), async row => [Markdown.Text(row.Slice), row.metric, await of("slice_metric", "evaluate with slices", $" {row.Slice} {row.metric}")]);
        }

        writer.Heading(3, "Trivial rivals on the same rows");
        await TableAsync(writer, ["Rival", "Metric", "Value"], report.Baselines.SelectMany(rival => rival.Metrics.Keys.Order(StringComparer.Ordinal).Select(metric => (rival.Name, metric))),
            async row => [Markdown.Text(row.Name), row.metric, await of("baseline_metric", "evaluate with baselines", $" {row.Name} {row.metric}")]);
    }

    private static void Considerations(DocumentWriter writer)
    {
        writer.Heading(2, "4 Considerations");
        writer.Facts(
            ("Users", writer.Human("users", "who uses the predictions")), ("Use cases", writer.Human("use_cases", "what the predictions are meant for, and what not")),
            ("Limitations", writer.Human("limitations", "known limits of the model")), ("Trade-offs", writer.Human("tradeoffs", "what was given up for what")),
            ("Ethical considerations", writer.Human("ethics", "risks to people, each with its mitigation")), ("Risk tier", writer.Human("risk_tier", "Low, Medium, High or Very High")));
    }

    private async Task LifeAsync(DocumentWriter writer, ModelVersionRecord version, Func<string, string, string, Task<string>> of)
    {
        Task<string> Of(string query, string whatToDo) => of(query, whatToDo, "");
        writer.Heading(2, "5 Life of the version");
        writer.Facts(
            ("Stages", await Of("history", "register the version")), ("Approvals", await Of("approvals", "ask another user to approve a promotion")),
            ("Deployments", await writer.FactAsync($"deployment.of_version {version.Model} {version.Version}", "promote the version to production")));
        foreach (var monitor in monitors.List().Where(monitor => monitor.Model == version.Model))
        {
            writer.Heading(3, $"Monitor {monitor.Name}");
            writer.Facts(
                ("Owner", await writer.FactAsync($"monitor.owner {monitor.Name}", "name an owner")), ("Schedule", await writer.FactAsync($"monitor.schedule {monitor.Name}", "set a cadence")),
                ("Drift limits", await writer.FactAsync($"monitor.drift_limits {monitor.Name}", "set psi limits")), ("Method", await writer.FactAsync($"monitor.method {monitor.Name}", "apply the monitor")),
                ("Drift at the time of writing", await writer.FactAsync($"monitor.drift_now {monitor.Name}", "no window has closed yet")),
                ("Performance at the time of writing", await writer.FactAsync($"monitor.performance_now {monitor.Name}", "send labels")),
                ("Open alerts at the time of writing", await writer.FactAsync($"monitor.open_alerts {monitor.Name}", "apply the monitor")));
        }

        writer.Heading(2, "6 Where it comes from");
        writer.Facts(
            ("Lineage", await Of("lineage", "register through a pipeline")), ("Datasets", await Of("datasets", "name the dataset versions")), ("Training set", await Of("training_set", "train from the feature store")),
            ("Run", await Of("run", "train as a tracked run")), ("Pipeline run", await Of("pipeline_run", "train through a pipeline")), ("Commit", await Of("commit", "train from a checkout")));
    }

    private async Task<EvaluationReport?> ReportAsync(ModelVersionRecord version, CancellationToken cancellationToken)
    {
        try
        {
            return await registry.ReadReportAsync(version, cancellationToken);
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound or ErrorCode.FailedPrecondition)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"The evaluation report of {version.Node} cannot be trusted, so no card is written: {e.Message} 'slipway verify' names every such file.", e);
        }
    }

    private static async Task TableAsync<T>(DocumentWriter writer, IReadOnlyList<string> header, IEnumerable<T> items, Func<T, Task<IReadOnlyList<string>>> row)
    {
        var rows = new List<IReadOnlyList<string>>();
        foreach (var item in items)
        {
            rows.Add(await row(item));
        }

        writer.Table(header, rows);
    }
}
