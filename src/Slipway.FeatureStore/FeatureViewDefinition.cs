using Slipway.Contracts;
using Slipway.Contracts.FeatureStore;
using Slipway.FeatureStore.Expressions;
using Slipway.Storage.Definitions;

namespace Slipway.FeatureStore;

/// <summary>One feature of a view.</summary>
/// <param name="Name">Lower-case snake case; its reference is <c>entity:name</c>.</param>
/// <param name="Type">boolean, int32, int64, float32 or float64.</param>
/// <param name="Description">Null when not given.</param>
/// <param name="Expression">How an on-demand feature is computed; null for features of a view with SQL.</param>
public sealed record FeatureDefinition(string Name, string Type, string? Description, string? Expression);

/// <summary>What a <c>feature_view</c> file declares: features computed by SQL from a dataset, or on demand from the request.</summary>
/// <param name="Name">The view.</param>
/// <param name="Description">Null when not given.</param>
/// <param name="Entity">What the features describe.</param>
/// <param name="Keys">Columns that identify one entity; empty for on-demand views, and for views about everything at once.</param>
/// <param name="Source">The dataset; null for on-demand views.</param>
/// <param name="Timestamp">The SQL's column that says from when on a row's values hold.</param>
/// <param name="Created">The SQL's column that says when a row was written; null when rows are never corrected later.</param>
/// <param name="FilterByCreated">Whether a row counts only from when it was written on, so that a later correction does not leak into the past.</param>
/// <param name="Ttl">How long values may be used; null for ever.</param>
/// <param name="Sql">A SELECT of keys, timestamp and features FROM source; null for on-demand views.</param>
/// <param name="Features">At least one.</param>
/// <param name="Inputs">What on-demand expressions may name.</param>
/// <param name="Online">Whether values are kept for serving.</param>
public sealed record FeatureViewDefinition(
    string Name, string? Description, string Entity, IReadOnlyList<string> Keys, string? Source, string Timestamp, string? Created, bool FilterByCreated,
    TimeSpan? Ttl, string? Sql, IReadOnlyList<FeatureDefinition> Features, IReadOnlyList<FeatureInput> Inputs, bool Online)
{
    /// <summary>The value of <c>kind:</c>.</summary>
    public const string Kind = "feature_view";

    private static readonly TimeSpan TtlMax = TimeSpan.FromDays(36_500);
    private static readonly string[] FeatureTypes = ["boolean", "int32", "int64", "float32", "float64"];
    private static readonly string[] InputTypes = [.. FeatureTypes, "string", "timestamp"];

    /// <summary>Whether values are computed from the request alone.</summary>
    public bool OnDemand => Sql is null;

    /// <summary>Reads a definition, collecting every fault.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: all faults in one sentence.</exception>
    public static FeatureViewDefinition Parse(DefinitionYaml yaml)
    {
        yaml.Text("kind");
        var name = yaml.Text("name");
        if (name.Length > 0 && !FeatureNames.IsTitle(name))
        {
            yaml.Fault("name", $"may hold lower-case letters, digits, '-' and '_' only, beginning with a letter, not '{name}'");
        }

        var description = yaml.OptionalText("description");
        var entity = yaml.Text("entity");
        CheckName(yaml, "entity", entity);
        var definition = yaml.OptionalBool("on_demand") == true
            ? ReadOnDemand(yaml, name, description, entity)
            : ReadSql(yaml, name, description, entity);
        if (definition.Features.Count == 0)
        {
            yaml.Fault("features", "must list at least one feature with its name and type");
        }

        yaml.Done();
        return definition;
    }

    internal static IReadOnlyList<FeatureInput> ReadInputs(DefinitionYaml yaml)
    {
        var inputs = new List<FeatureInput>();
        foreach (var input in yaml.Maps("inputs"))
        {
            var (name, type) = (input.Text("name"), input.Text("type"));
            CheckName(input, "name", name);
            CheckType(input, type, InputTypes);
            if (inputs.Any(other => other.Name == name))
            {
                input.Fault("name", $"'{name}' is declared twice");
            }

            input.OptionalText("description");
            inputs.Add(new FeatureInput(name, type));
        }

        return inputs;
    }

    private static FeatureViewDefinition ReadSql(DefinitionYaml yaml, string name, string? description, string entity)
    {
        var keys = yaml.Texts("keys");
        foreach (var key in keys)
        {
            CheckName(yaml, "keys", key);
        }

        if (keys.Distinct(StringComparer.Ordinal).Count() != keys.Count)
        {
            yaml.Fault("keys", "names a column twice");
        }

        var ttl = yaml.OptionalDuration("ttl");
        if (ttl > TtlMax)
        {
            yaml.Fault("ttl", $"may be {TtlMax.TotalDays:0}d at most; leave it out for values that never grow old");
        }

        var created = yaml.OptionalText("created");
        return new FeatureViewDefinition(
            name, description, entity, keys, yaml.Text("source"), yaml.OptionalText("timestamp") ?? "event_timestamp", created,
            (yaml.OptionalBool("filter_by_created") ?? true) && created is not null,
            ttl == TimeSpan.Zero ? null : ttl, yaml.Text("sql"), ReadFeatures(yaml, onDemandInputs: null), [], yaml.OptionalBool("online") ?? true);
    }

    private static FeatureViewDefinition ReadOnDemand(DefinitionYaml yaml, string name, string? description, string entity)
    {
        var inputs = ReadInputs(yaml);
        return new FeatureViewDefinition(
            name, description, entity, [], null, "event_timestamp", null, false, null, null, ReadFeatures(yaml, inputs), inputs, Online: false);
    }

    private static List<FeatureDefinition> ReadFeatures(DefinitionYaml yaml, IReadOnlyList<FeatureInput>? onDemandInputs)
    {
        var features = new List<FeatureDefinition>();
        foreach (var feature in yaml.Maps("features"))
        {
            var (name, type) = (feature.Text("name"), feature.Text("type"));
            CheckName(feature, "name", name);
            CheckType(feature, type, FeatureTypes);
            if (features.Any(other => other.Name == name))
            {
                feature.Fault("name", $"'{name}' is declared twice");
            }

            string? expression = null;
            if (onDemandInputs is not null)
            {
                expression = feature.Text("expression");
                CheckExpression(feature, expression, onDemandInputs);
            }

            features.Add(new FeatureDefinition(name, type, feature.OptionalText("description"), expression));
        }

        return features;
    }

    private static void CheckExpression(DefinitionYaml feature, string expression, IReadOnlyList<FeatureInput> inputs)
    {
        if (expression.Length == 0)
        {
            return;
        }

        try
        {
            ExpressionParser.ParseFeature(expression, inputs);
        }
        catch (SlipwayException e)
        {
            feature.Fault("expression", e.Message.TrimEnd('.'));
        }
    }

    private static void CheckName(DefinitionYaml yaml, string key, string name)
    {
        if (name.Length > 0 && !FeatureNames.IsName(name))
        {
            yaml.Fault(key, $"must be lower-case snake case such as late_rate_7d, so that features read entity:feature, not '{name}'");
        }
    }

    private static void CheckType(DefinitionYaml yaml, string type, string[] allowed)
    {
        if (type.Length > 0 && !allowed.Contains(type))
        {
            yaml.Fault("type", $"must be one of {string.Join(", ", allowed)}, not '{type}'");
        }
    }
}
