using Slipway.Contracts;
using Slipway.Contracts.FeatureStore;
using Slipway.Storage.Definitions;

namespace Slipway.FeatureStore;

/// <summary>What a <c>feature_service</c> file declares: the features of a model, in order, and the request that they are made from.</summary>
/// <param name="Name">The service.</param>
/// <param name="Description">Null when not given.</param>
/// <param name="EventTime">The input that says when the event happens; null for the time of the request.</param>
/// <param name="Inputs">What a request brings.</param>
/// <param name="Keys">Per entity: view key to input.</param>
/// <param name="Features">References <c>entity:feature</c>, in the model's order.</param>
public sealed record FeatureServiceDefinition(
    string Name, string? Description, string? EventTime, IReadOnlyList<FeatureInput> Inputs,
    IReadOnlyDictionary<string, IReadOnlyDictionary<string, string>> Keys, IReadOnlyList<string> Features)
{
    /// <summary>The value of <c>kind:</c>.</summary>
    public const string Kind = "feature_service";

    /// <summary>Reads a definition, collecting every fault.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: all faults in one sentence.</exception>
    public static FeatureServiceDefinition Parse(DefinitionYaml yaml)
    {
        yaml.Text("kind");
        var name = yaml.Text("name");
        if (name.Length > 0 && !FeatureNames.IsTitle(name))
        {
            yaml.Fault("name", $"may hold lower-case letters, digits, '-' and '_' only, beginning with a letter, not '{name}'");
        }

        var inputs = FeatureViewDefinition.ReadInputs(yaml);
        var eventTime = yaml.OptionalText("event_time");
        if (eventTime is not null && !inputs.Any(input => input.Name == eventTime && input.Type == "timestamp"))
        {
            yaml.Fault("event_time", $"must name an input of type timestamp, not '{eventTime}'");
        }

        var keys = new Dictionary<string, IReadOnlyDictionary<string, string>>(StringComparer.Ordinal);
        if (yaml.OptionalMap("keys") is { } entities)
        {
            foreach (var entity in entities.Keys)
            {
                keys[entity] = ReadKeys(entities.Map(entity), inputs);
            }
        }

        var features = yaml.Texts("features");
        foreach (var feature in features.Where(feature => !FeatureNames.IsReference(feature)))
        {
            yaml.Fault("features", $"must hold references entity:feature such as airport:late_rate_7d, not '{feature}'");
        }

        if (features.Count == 0)
        {
            yaml.Fault("features", "must list at least one reference entity:feature");
        }

        foreach (var twice in features.GroupBy(feature => feature, StringComparer.Ordinal).Where(group => group.Count() > 1))
        {
            yaml.Fault("features", $"lists '{twice.Key}' twice");
        }

        var definition = new FeatureServiceDefinition(name, yaml.OptionalText("description"), eventTime, inputs, keys, features);
        yaml.Done();
        return definition;
    }

    private static Dictionary<string, string> ReadKeys(DefinitionYaml yaml, IReadOnlyList<FeatureInput> inputs)
    {
        var keys = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var key in yaml.Keys)
        {
            var input = yaml.Text(key);
            if (!inputs.Any(candidate => candidate.Name == input))
            {
                yaml.Fault(key, $"must name one of the inputs, not '{input}'");
            }

            keys[key] = input;
        }

        return keys;
    }
}
