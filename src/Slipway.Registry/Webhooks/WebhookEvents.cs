using Slipway.Contracts.Registry;
using Slipway.Registry.Versions;
using Slipway.Storage;

namespace Slipway.Registry.Webhooks;

/// <summary>One event as MLflow's webhooks name it.</summary>
/// <param name="Entity">Such as <c>model_version_tag</c>.</param>
/// <param name="Action">Such as <c>set</c>.</param>
internal sealed record WebhookEvent(string Entity, string Action)
{
    /// <summary>What webhooks may subscribe to, each with the payload that a test sends.</summary>
    public static IReadOnlyDictionary<WebhookEvent, IReadOnlyDictionary<string, object?>> Known { get; } = new Dictionary<WebhookEvent, IReadOnlyDictionary<string, object?>>
    {
        [new("registered_model", "created")] = Example("name", "tags", "description"),
        [new("model_version", "created")] = Example("name", "version", "source", "run_id", "tags", "description"),
        [new("model_version_tag", "set")] = Example("name", "version", "key", "value"),
        [new("model_version_tag", "deleted")] = Example("name", "version", "key"),
        [new("model_version_alias", "created")] = Example("name", "alias", "version"),
        [new("model_version_alias", "deleted")] = Example("name", "alias"),
        [new("prompt", "created")] = Example("name", "tags", "description"),
        [new("prompt_version", "created")] = Example("name", "version", "template", "tags", "description"),
        [new("prompt_tag", "set")] = Example("name", "key", "value"),
        [new("prompt_tag", "deleted")] = Example("name", "key"),
        [new("prompt_version_tag", "set")] = Example("name", "version", "key", "value"),
        [new("prompt_version_tag", "deleted")] = Example("name", "version", "key"),
        [new("prompt_alias", "created")] = Example("name", "alias", "version"),
        [new("prompt_alias", "deleted")] = Example("name", "alias"),
    };

    /// <inheritdoc/>
    public override string ToString() => $"{Entity}.{Action}";

    private static Dictionary<string, object?> Example(params string[] fields) => fields.ToDictionary(field => field, object? (field) => field switch
    {
        "name" => "example_model",
        "version" => "1",
        "source" => "runs:/abcd1234abcd5678/model",
        "run_id" => "abcd1234abcd5678",
        "tags" => new Dictionary<string, string> { ["example_key"] = "example_value" },
        "template" => "Hello {{name}}!",
        _ => $"example_{field}",
    });
}

/// <summary>Publishes the registry's changes for the webhooks, in the transaction that makes them.</summary>
internal static class WebhookEvents
{
    public const string Topic = "registry.webhook";

    private const string PromptTextTag = "mlflow.prompt.text";

    public static void ModelCreated(WriteTransaction transaction, ModelRow model) => Publish(transaction, model.IsPrompt ? "prompt" : "registered_model", "created", new Dictionary<string, object?>
    {
        ["name"] = model.Name,
        ["tags"] = model.Tags.Where(tag => tag.Key != ModelRow.PromptTag || !model.IsPrompt).ToDictionary(),
        ["description"] = OrNull(model.Description),
    });

    public static void VersionCreated(WriteTransaction transaction, ModelVersionRecord version, bool isPrompt)
    {
        // A dictionary, so that what is null is said to be.
        var data = new Dictionary<string, object?> { ["name"] = version.Model, ["version"] = Text(version) };
        if (isPrompt)
        {
            data["template"] = version.Tags.GetValueOrDefault(PromptTextTag, "");
            data["tags"] = version.Tags.Where(tag => tag.Key is not (ModelRow.PromptTag or PromptTextTag)).ToDictionary();
        }
        else
        {
            data["source"] = version.Source ?? "";
            data["run_id"] = version.RunId;
            data["tags"] = version.Tags;
        }

        data["description"] = OrNull(version.Description);
        Publish(transaction, isPrompt ? "prompt_version" : "model_version", "created", data);
    }

    /// <summary>A model's tag; MLflow tells of a prompt's only.</summary>
    public static void ModelTag(WriteTransaction transaction, ModelRow model, string key, string? value)
    {
        if (model.IsPrompt)
        {
            PublishTag(transaction, "prompt_tag", value, new Dictionary<string, object?> { ["name"] = model.Name, ["key"] = key });
        }
    }

    public static void VersionTag(WriteTransaction transaction, ModelVersionRecord version, bool isPrompt, string key, string? value) =>
        PublishTag(transaction, isPrompt ? "prompt_version_tag" : "model_version_tag", value,
            new Dictionary<string, object?> { ["name"] = version.Model, ["version"] = Text(version), ["key"] = key });

    public static void AliasCreated(WriteTransaction transaction, ModelVersionRecord version, bool isPrompt, string alias) =>
        Publish(transaction, isPrompt ? "prompt_alias" : "model_version_alias", "created",
            new Dictionary<string, object?> { ["name"] = version.Model, ["alias"] = alias, ["version"] = Text(version) });

    public static void AliasDeleted(WriteTransaction transaction, string model, bool isPrompt, string alias) =>
        Publish(transaction, isPrompt ? "prompt_alias" : "model_version_alias", "deleted", new Dictionary<string, object?> { ["name"] = model, ["alias"] = alias });

    private static void PublishTag(WriteTransaction transaction, string entity, string? value, Dictionary<string, object?> data)
    {
        if (value is not null)
        {
            data["value"] = value;
        }

        Publish(transaction, entity, value is null ? "deleted" : "set", data);
    }

    private static void Publish(WriteTransaction transaction, string entity, string action, Dictionary<string, object?> data) =>
        transaction.Publish(Topic, new Dictionary<string, object> { ["entity"] = entity, ["action"] = action, ["timestamp"] = transaction.Now, ["data"] = data });

    private static string Text(ModelVersionRecord version) => version.Number.ToString(System.Globalization.CultureInfo.InvariantCulture);

    private static string? OrNull(string text) => text.Length == 0 ? null : text;
}
