using System.Text.Json;
using System.Text.RegularExpressions;
using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Pipelines.Stages;
using Slipway.Storage.Definitions;

namespace Slipway.Pipelines.Definitions;

/// <summary>One stage of a pipeline file.</summary>
/// <param name="Name">Unique in the pipeline.</param>
/// <param name="Kind">The work.</param>
/// <param name="Inputs">Artifacts it may read; it can read no others.</param>
/// <param name="Outputs">Artifacts it must write.</param>
/// <param name="Settings">The kind's own settings.</param>
/// <param name="Cpus">Processors it asks for; null: what there is.</param>
/// <param name="MemoryMb">Memory it asks for, in MiB; null: what there is.</param>
internal sealed record StageDefinition(
    string Name, StageKind Kind, IReadOnlyList<string> Inputs, IReadOnlyList<string> Outputs, object Settings, int? Cpus, int? MemoryMb)
{
    /// <summary>The settings as the cache key sees them.</summary>
    public string SettingsJson => JsonSerializer.Serialize(Settings, Settings.GetType(), JsonDefaults.Options);
}

/// <summary>A pipeline file, checked, with its parameters filled in.</summary>
/// <param name="Name">Unique.</param>
/// <param name="Model">The model it makes versions of.</param>
/// <param name="Description">In its author's words.</param>
/// <param name="Seed">Of everything random.</param>
/// <param name="Parameters">All parameters with the values in force.</param>
/// <param name="GoNoGo">The threshold; null when no stage evaluates.</param>
/// <param name="Stages">In an order in which every stage comes after those it reads from.</param>
/// <param name="Yaml">The text with the parameters filled in: enough to run it again.</param>
internal sealed partial record PipelineDefinition(
    string Name, string Model, string? Description, long Seed, IReadOnlyDictionary<string, string> Parameters, GoNoGo? GoNoGo,
    IReadOnlyList<StageDefinition> Stages, string Yaml)
{
    /// <summary>Parses and checks a file.</summary>
    /// <param name="yaml">The file.</param>
    /// <param name="kinds">The stage kinds of this server.</param>
    /// <param name="overrides">Values for declared parameters; null or absent keys keep the defaults.</param>
    /// <exception cref="SlipwayException">InvalidArgument: every fault with line and key.</exception>
    public static PipelineDefinition Parse(string yaml, IReadOnlyList<StageKind> kinds, IReadOnlyDictionary<string, string>? overrides = null)
    {
        var parameters = ReadParameters(yaml, overrides);
        var filled = Fill(yaml, parameters);
        var file = DefinitionYaml.Parse(filled);
        file.Text("kind");
        var name = file.Text("name");
        var model = file.Text("model");
        var description = file.OptionalText("description");
        var seed = (long)file.Number("seed", 0, uint.MaxValue);
        file.OptionalMap("parameters")?.AllTexts();
        var goNoGo = ReadGoNoGo(file.OptionalMap("go_no_go"));
        var stages = ReadStages(file, kinds);
        if (goNoGo is null && stages.Any(stage => stage.Kind.Trains))
        {
            file.Fault("go_no_go", "is missing: a pipeline that trains states beforehand what its model must reach, such as {metric: auc, minimum: 0.6}");
        }

        file.Done();
        return new PipelineDefinition(name, model, description, seed, parameters, goNoGo, Sort(stages), filled);
    }

    private static Dictionary<string, string> ReadParameters(string yaml, IReadOnlyDictionary<string, string>? overrides)
    {
        var declared = DefinitionYaml.Parse(yaml).OptionalMap("parameters")?.AllTexts() ?? new Dictionary<string, string>();
        var values = new Dictionary<string, string>(declared, StringComparer.Ordinal);
        foreach (var (key, value) in overrides ?? new Dictionary<string, string>())
        {
            if (!declared.ContainsKey(key))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'parameters.{key}' is not declared by this pipeline; it declares {Listed(declared.Keys)}.");
            }

            // Filled in as text, so a value must not be able to change the structure around it.
            values[key] = PlainValue().IsMatch(value)
                ? value
                : throw new SlipwayException(ErrorCode.InvalidArgument, $"'parameters.{key}' may hold letters, digits and . : + - _ only, not '{value}'.");
        }

        return values;
    }

    private static string Fill(string yaml, Dictionary<string, string> parameters) =>
        Placeholder().Replace(yaml, match =>
        {
            var key = match.Groups[1].Value;
            return parameters.TryGetValue(key, out var value)
                ? value
                : throw new SlipwayException(ErrorCode.InvalidArgument, $"'${{{key}}}' names no parameter; declare it under 'parameters:' with a default. Declared: {Listed(parameters.Keys)}.");
        });

    private static GoNoGo? ReadGoNoGo(DefinitionYaml? section)
    {
        if (section is null)
        {
            return null;
        }

        var metric = section.Text("metric");
        if (metric.Length > 0 && !EvaluationMetrics.Names.Contains(metric))
        {
            section.Fault("metric", $"must be one of {Listed(EvaluationMetrics.Names)}, not '{metric}'");
        }

        return new GoNoGo(
            metric, section.Number("minimum"), section.OptionalBool("must_beat_baselines") ?? true, section.OptionalNumber("production_tolerance", 0, 1));
    }

    private static List<StageDefinition> ReadStages(DefinitionYaml file, IReadOnlyList<StageKind> kinds)
    {
        var stages = new List<StageDefinition>();
        var maps = file.Maps("stages");
        if (maps.Count == 0)
        {
            file.Fault("stages", "must list at least one stage");
        }

        foreach (var map in maps)
        {
            var name = map.Text("name");
            var uses = map.Text("uses");
            var inputs = map.Texts("inputs");
            var outputs = map.Texts("outputs");
            var resources = map.OptionalMap("resources");
            var cpus = resources?.OptionalInteger("cpus", 1, 1024);
            var memoryMb = resources?.OptionalInteger("memory_mb", 1, 16_777_216);
            if (stages.Any(other => other.Name == name))
            {
                map.Fault("name", $"'{name}' is used by two stages");
            }

            if (kinds.FirstOrDefault(kind => kind.Uses == uses) is not { } kind)
            {
                if (uses.Length > 0)
                {
                    map.Fault("uses", $"must be one of {Listed(kinds.Select(known => known.Uses))}, not '{uses}'");
                }

                map.Has("with"); // Known, so that the one fault reported is the kind.
                continue;
            }

            CheckNames(map, "inputs", inputs, kind.Inputs, $"uses: {uses} reads");
            CheckNames(map, "outputs", outputs, kind.Outputs, $"uses: {uses} writes");
            var with = kind.NeedsSettings || map.Has("with") ? map.Map("with") : DefinitionYaml.Parse("{}");
            stages.Add(new StageDefinition(name, kind, inputs, outputs, kind.ReadSettings(with), cpus, memoryMb));
        }

        CheckGraph(file, maps, stages);
        return stages;
    }

    private static void CheckNames(DefinitionYaml map, string key, IReadOnlyList<string> declared, IReadOnlyList<string> expected, string what)
    {
        if (declared.Contains("test") && !expected.Contains("test") && key == "inputs")
        {
            map.Fault(key, "lists 'test': only the evaluation may see the test split, otherwise its figures would say nothing about new data");
        }
        else if (!declared.Order(StringComparer.Ordinal).SequenceEqual(expected.Order(StringComparer.Ordinal), StringComparer.Ordinal))
        {
            map.Fault(key, $"must be [{string.Join(", ", expected)}]: that is what {what}");
        }
    }

    private static void CheckGraph(DefinitionYaml file, IReadOnlyList<DefinitionYaml> maps, List<StageDefinition> stages)
    {
        var writers = new Dictionary<string, string>(StringComparer.Ordinal);
        for (var i = 0; i < maps.Count; i++)
        {
            foreach (var output in maps[i].Texts("outputs"))
            {
                if (!writers.TryAdd(output, maps[i].OptionalText("name") ?? ""))
                {
                    maps[i].Fault("outputs", $"lists '{output}', which stage '{writers[output]}' writes already");
                }
            }
        }

        foreach (var map in maps)
        {
            foreach (var input in map.Texts("inputs").Where(input => !writers.ContainsKey(input)))
            {
                map.Fault("inputs", $"lists '{input}', which no stage writes; written are {Listed(writers.Keys)}");
            }
        }

        var left = stages.Except(Sort(stages)).Select(stage => stage.Name).ToList();
        if (left.Count > 0 && stages.SelectMany(stage => stage.Inputs).All(writers.ContainsKey))
        {
            file.Fault("stages", $"form a cycle: {string.Join(", ", left)} wait for each other's outputs");
        }
    }

    /// <summary>Kahn's algorithm, file order among equals; stages on a cycle are left out.</summary>
    private static List<StageDefinition> Sort(List<StageDefinition> stages)
    {
        var sorted = new List<StageDefinition>(stages.Count);
        var written = new HashSet<string>(StringComparer.Ordinal);
        var waiting = new List<StageDefinition>(stages);
        while (waiting.FirstOrDefault(stage => stage.Inputs.All(written.Contains)) is { } next)
        {
            waiting.Remove(next);
            sorted.Add(next);
            written.UnionWith(next.Outputs);
        }

        return sorted;
    }

    private static string Listed(IEnumerable<string> names) => string.Join(", ", names) is { Length: > 0 } list ? list : "none";

    [GeneratedRegex(@"^[A-Za-z0-9_.:+\-]{1,64}$")]
    private static partial Regex PlainValue();

    [GeneratedRegex(@"\$\{([A-Za-z0-9_]+)\}")]
    private static partial Regex Placeholder();
}
