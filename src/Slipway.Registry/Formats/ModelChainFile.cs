using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Versions;
using Slipway.Storage.Definitions;

namespace Slipway.Registry.Formats;

/// <summary>One step of a chain: a version that runs, or a mean of what others gave.</summary>
/// <param name="Name">Before the dot in <c>step.output</c>; of a mean, the tensor's whole name.</param>
/// <param name="Model">The model; null of a mean.</param>
/// <param name="Version">Its semantic version, which never changes; null of a mean.</param>
/// <param name="Inputs">The version's inputs, and the tensor that each gets: an input of the chain, or an earlier step's output.</param>
/// <param name="MeanOf">The tensors that a mean is of, element by element.</param>
/// <param name="Weights">One for each of them, over 0; empty weighs all alike.</param>
public sealed record ChainStep(
    string Name, string? Model, string? Version, IReadOnlyDictionary<string, string> Inputs, IReadOnlyList<string> MeanOf, IReadOnlyList<double> Weights);

/// <summary>Versions that run one after the other, each on what came before, as a version's file says it: preparation, an ensemble, what is made of its answers.</summary>
/// <param name="Signature">What requests send and answers hold.</param>
/// <param name="Steps">In order: each uses only what stands before it.</param>
/// <param name="From">The tensor of each output, in the signature's order.</param>
public sealed record ModelChainFile(ModelSignature Signature, IReadOnlyList<ChainStep> Steps, IReadOnlyList<string> From)
{
    /// <summary>What the file says it is.</summary>
    public const string Kind = "model_chain";

    /// <summary>Runs of versions that one request may come to, those of chains that a chain runs included.</summary>
    public const int RunsMax = 64;

    private const int StepsMax = 32;

    /// <summary>Reads a version's file.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: all faults in one sentence.</exception>
    public static ModelChainFile Parse(string text)
    {
        var yaml = DefinitionYaml.Parse(text);
        if (yaml.Text("kind") is var kind && kind != Kind)
        {
            yaml.Fault("kind", $"must be {Kind}, not '{kind}'");
        }

        var inputs = RemoteModelFile.Fields(yaml, "inputs");
        var known = inputs.Select(input => input.Name).ToHashSet(StringComparer.Ordinal);
        var steps = ReadSteps(yaml, known);
        var from = new List<string>();
        var outputs = RemoteModelFile.Fields(yaml, "outputs", item =>
        {
            from.Add(item.Text("from"));
            CheckKnown(item, "from", from[^1], steps, known);
        });
        foreach (var (key, count) in new[] { ("inputs", inputs.Count), ("steps", steps.Count), ("outputs", outputs.Count) })
        {
            if (count == 0)
            {
                yaml.Fault(key, "is missing; list at least one");
            }
        }

        if (steps.Count > StepsMax)
        {
            yaml.Fault("steps", $"has {steps.Count} steps; at most {StepsMax} run in one request");
        }

        yaml.Done();
        return new ModelChainFile(new ModelSignature(inputs, outputs), steps, from);
    }

    /// <summary>The versions that run.</summary>
    public IEnumerable<(string Model, string Version)> Parts => Steps.Where(step => step.Model is not null).Select(step => (step.Model!, step.Version!)).Distinct();

    private static List<ChainStep> ReadSteps(DefinitionYaml yaml, HashSet<string> known)
    {
        var steps = new List<ChainStep>();
        foreach (var item in yaml.Has("steps") ? yaml.Maps("steps") : [])
        {
            var name = item.Text("name");
            if (name.Contains('.', StringComparison.Ordinal) || known.Contains(name) || steps.Exists(step => step.Name == name))
            {
                item.Fault("name", $"is '{name}'; give each step a name of its own, without a dot, which no input has");
            }

            var step = item.Has("mean") ? ReadMean(item, name, steps, known) : ReadRun(item, name, steps, known);
            steps.Add(step);
            if (step.Model is null)
            {
                known.Add(name);
            }
        }

        return steps;
    }

    private static ChainStep ReadRun(DefinitionYaml item, string name, List<ChainStep> steps, HashSet<string> known)
    {
        var map = item.Map("inputs");
        var inputs = map.Keys.ToDictionary(key => key, map.Text, StringComparer.Ordinal);
        foreach (var (input, tensor) in inputs)
        {
            CheckKnown(map, input, tensor, steps, known);
        }

        var version = item.Text("version");
        if (version.Length > 0 && !SemanticVersion.TryParse(version, out _))
        {
            item.Fault("version", $"is '{version}'; name the semantic version, such as 1.2.0: a stage or an alias would make the chain another one when it moves");
        }

        return new ChainStep(name, item.Text("model"), version, inputs, [], []);
    }

    private static ChainStep ReadMean(DefinitionYaml item, string name, List<ChainStep> steps, HashSet<string> known)
    {
        var of = item.Texts("mean");
        foreach (var tensor in of)
        {
            CheckKnown(item, "mean", tensor, steps, known);
        }

        if (of.Count < 2)
        {
            item.Fault("mean", "must name at least two tensors");
        }

        var weights = new List<double>();
        foreach (var text in item.Has("weights") ? item.Texts("weights") : [])
        {
            if (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var weight) || !(weight > 0) || !double.IsFinite(weight))
            {
                item.Fault("weights", $"holds '{text}'; give numbers over 0");
            }

            weights.Add(weight);
        }

        if (weights.Count > 0 && weights.Count != of.Count)
        {
            item.Fault("weights", $"has {weights.Count} numbers for {of.Count} tensors; give one for each");
        }

        return new ChainStep(name, null, null, new Dictionary<string, string>(), of, weights);
    }

    // What a version gives is known when it is loaded: here only whether its step stands before.
    private static void CheckKnown(DefinitionYaml at, string key, string tensor, List<ChainStep> steps, HashSet<string> known)
    {
        var dot = tensor.IndexOf('.', StringComparison.Ordinal);
        if (!known.Contains(tensor) && !(dot > 0 && steps.Exists(step => step.Model is not null && step.Name == tensor[..dot])))
        {
            at.Fault(key, $"uses '{tensor}', which is neither an input of the chain, nor an earlier step's output such as {(steps.Count > 0 ? steps[0].Name : "step")}.probability, nor an earlier mean");
        }
    }
}
