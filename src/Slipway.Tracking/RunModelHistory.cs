using System.Text.Json;
using System.Text.Json.Nodes;
using Dapper;
using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>The models that clients before MLflow 3 log: descriptions in a tag of their run.</summary>
public sealed class RunModelHistory(Database database)
{
    /// <summary>The tag that holds them: a JSON array, oldest first.</summary>
    public const string Tag = "mlflow.log-model.history";

    // The whole array: some hundred models.
    private const int LengthMax = 1_000_000;

    private static readonly string[] Demanded = ["artifact_path", "flavors", "utc_time_created", "run_id"];
    private static readonly string[] Kept = ["run_id", "artifact_path", "utc_time_created", "model_uuid"];

    /// <summary>Adds the description of one model.</summary>
    /// <param name="runId">The run.</param>
    /// <param name="modelJson">The model's MLmodel file as JSON.</param>
    /// <param name="cancellationToken">Cancels while the write waits.</param>
    /// <exception cref="SlipwayException">NotFound: the run; InvalidArgument: not the JSON of an MLmodel file, or the run is deleted.</exception>
    public Task AppendAsync(string runId, string modelJson, CancellationToken cancellationToken)
    {
        var entry = Describe(modelJson);
        return database.WriteAsync(transaction =>
        {
            var run = RunStore.DemandActive(transaction.Connection, runId);
            var before = transaction.Connection.QueryFirstOrDefault<string>("SELECT value FROM tags WHERE run = @run AND key = @Tag", new { run, Tag });
            var history = Parse(before) as JsonArray ?? [];
            history.Add(entry);
            var value = history.ToJsonString(JsonDefaults.Options);
            RunLimits.CheckLength($"The run's tag '{Tag}'", value, LengthMax);
            transaction.Connection.Execute(
                "INSERT INTO tags (run, key, value) VALUES (@run, @Tag, @value) ON CONFLICT (run, key) DO UPDATE SET value = excluded.value", new { run, Tag, value });
        }, cancellationToken);
    }

    // What MLflow keeps: where the model is and how it can be loaded, without the configuration of its loaders.
    private static JsonObject Describe(string modelJson)
    {
        if (Parse(modelJson) is not JsonObject model)
        {
            throw RunLimits.Invalid("Malformed model info: 'model_json' is not a JSON object.");
        }

        var missing = Demanded.Where(field => model[field] is null).ToList();
        if (missing.Count > 0)
        {
            throw RunLimits.Invalid($"Model json is missing mandatory fields: {string.Join(", ", missing)}.");
        }

        var entry = new JsonObject();
        foreach (var field in Kept.Where(model.ContainsKey))
        {
            entry[field] = model[field]?.DeepClone();
        }

        var flavors = new JsonObject();
        foreach (var (name, flavor) in model["flavors"] as JsonObject ?? throw RunLimits.Invalid("'model_json.flavors' must be an object."))
        {
            var kept = flavor?.DeepClone();
            (kept as JsonObject)?.Remove("config");
            flavors[name] = kept;
        }

        entry["flavors"] = flavors;
        return entry;
    }

    private static JsonNode? Parse(string? json)
    {
        try
        {
            return json is null ? null : JsonNode.Parse(json);
        }
        catch (JsonException)
        {
            return null; // A text that is no JSON at all is refused, or begins anew, as one of the wrong kind is.
        }
    }
}
