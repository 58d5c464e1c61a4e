namespace Slipway.Web.Pages.Shared;

/// <summary>The address of each thing's page.</summary>
public static class Links
{
    public static string Model(string model) => $"/models/{Escape(model)}";

    public static string Version(string model, string version) => $"/models/{Escape(model)}/versions/{Escape(version)}";

    public static string AsOf(string model) => $"/models/{Escape(model)}/as-of";

    public static string Run(string runId) => $"/runs/{Escape(runId)}";

    public static string Dataset(string name) => $"/data/{Escape(name)}";

    public static string Dataset(string name, int version) => $"/data/{Escape(name)}/versions/{version}";

    public static string Deployment(string model) => $"/deployments/{Escape(model)}";

    public static string Rollout(string id) => $"/rollouts/{Escape(id)}";

    public static string PipelineRun(string id) => $"/pipelines/runs/{Escape(id)}";

    public static string Monitor(string name) => $"/monitors/{Escape(name)}";

    public static string Subject(string monitor, string subject) => $"/monitors/{Escape(monitor)}/subjects/{Escape(subject)}";

    /// <summary>The page of a node of lineage or audit; null for kinds without one.</summary>
    public static string? Node(string kind, string id)
    {
        var at = id.LastIndexOf('@');
        return kind switch
        {
            "run" => Run(id),
            "model" => Model(id),
            "model_version" when at > 0 => Version(id[..at], id[(at + 1)..]),
            "dataset_version" when at > 0 => $"/data/{Escape(id[..at])}/versions/{Escape(id[(at + 1)..])}",
            "rollout" => Rollout(id),
            "pipeline_run" => PipelineRun(id),
            "monitor" => Monitor(id),
            _ => null,
        };
    }

    private static string Escape(string part) => Uri.EscapeDataString(part);
}
