using System.Globalization;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Pipelines.Runs;
using Slipway.Pipelines.Stages;
using Slipway.Registry;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Pipelines.Reproductions;

/// <summary>What an ended reproduction says.</summary>
internal sealed record ReproductionResult(ReproductionOutcome Outcome, string Summary, IReadOnlyList<ReproductionCheck> Checks);

/// <summary>Compares what a reproduction built with the version it stands for.</summary>
internal sealed class ReproductionComparer(ModelRegistry registry, RunStore runs, BlobStore blobs, PipelineStore store)
{
    private const int NamedMax = 8;

    /// <summary>The pins of the version that a run builds again; null for other runs.</summary>
    public Pins? PinsOf(WaitingRun run) => run.ReproducesVersion is { } version ? Pins.Of(registry.Get(run.Model, version)) : null;

    /// <summary>Compares, once the run's stages are done.</summary>
    /// <param name="run">The reproduction.</param>
    /// <param name="error">Why it failed; null when its stages are done.</param>
    /// <param name="cancellationToken">Ends the comparison.</param>
    public async Task<ReproductionResult> CompareAsync(WaitingRun run, string? error, CancellationToken cancellationToken)
    {
        var name = $"{run.Model} {run.ReproducesVersion}";
        if (error is not null)
        {
            return new ReproductionResult(ReproductionOutcome.NotReproducible, $"{name} could not be built again: {error}.", []);
        }

        try
        {
            var checks = await ChecksAsync(registry.Get(run.Model, run.ReproducesVersion!), store.Find(run.Id)!, cancellationToken);
            var differs = checks.Any(check => check.Decides && !check.Same);
            return new ReproductionResult(differs ? ReproductionOutcome.Differs : ReproductionOutcome.Reproduced, Summary(name, differs, checks), checks);
        }
        catch (SlipwayException e)
        {
            // Such as an evaluation report whose bytes were changed: then there is nothing to compare with.
            return new ReproductionResult(ReproductionOutcome.NotReproducible, $"{name} was built again but cannot be compared: {e.Message}", []);
        }
    }

    private async Task<List<ReproductionCheck>> ChecksAsync(ModelVersionRecord version, PipelineRun run, CancellationToken cancellationToken)
    {
        var written = run.Stages.SelectMany(stage => stage.Outputs).ToDictionary(output => output.Name, output => output.Sha256, StringComparer.Ordinal);
        var candidate = (await ReadAsync<Candidates>(written.GetValueOrDefault("candidates"), cancellationToken))?.Best;
        var checks = new List<ReproductionCheck> { Check("model file", version.ServedSha256, written.GetValueOrDefault("model"), decides: true) };
        var (before, now) = (await ReadAsync<EvaluationReport>(version.EvaluationReportSha256, cancellationToken), await ReadAsync<EvaluationReport>(written.GetValueOrDefault("report"), cancellationToken));

        // How often a test split was looked at grows with time and says nothing about the model.
        foreach (var metric in Keys(before?.Metrics, now?.Metrics).Where(key => key != EvaluateStage.LooksMetric))
        {
            var (a, b) = (Value(before?.Metrics, metric), Value(now?.Metrics, metric));
            checks.Add(Check($"metric {metric}", Text(a), Text(b), decides: true) with { Difference = b - a });
        }

        checks.AddRange(Keys(Rows(before), Rows(now)).Select(split => Check($"rows of {split}", Rows(before).GetValueOrDefault(split), Rows(now).GetValueOrDefault(split))));
        var (then, again) = (version.RunId is { } id ? runs.Find(id) : null, candidate?.RunId is { } newId ? runs.Find(newId) : null);
        checks.Add(Check("trainer", then?.Name, candidate?.Name));
        checks.AddRange(Keys(then?.Parameters, again?.Parameters).Select(key => Check($"parameter {key}", then?.Parameters.GetValueOrDefault(key), again?.Parameters.GetValueOrDefault(key))));
        checks.Add(Check("commit", version.Commit, candidate?.Commit));
        var (environment, environmentNow) = (
            Facts(await ReadAsync<RunEnvironment>(version.EnvironmentSha256, cancellationToken)), Facts(await ReadAsync<RunEnvironment>(candidate?.EnvironmentSha256, cancellationToken)));

        // Hundreds of packages are the same; the others are named.
        checks.AddRange(Keys(environment, environmentNow).Select(key => Check($"environment {key}", environment.GetValueOrDefault(key), environmentNow.GetValueOrDefault(key)))
            .Where(check => !check.Same || !check.Name.StartsWith("environment package ", StringComparison.Ordinal)));
        return checks;
    }

    private static string Summary(string name, bool differs, List<ReproductionCheck> checks)
    {
        var model = checks[0];
        var metrics = checks.Count(check => check.Decides) - 1;
        var decisive = checks.Where(check => check.Decides && !check.Same).ToList();
        var first = !differs ? $"{name} was built again byte for byte (model file {model.Now![..8]}), and its {metrics} metrics are the same."
            : model.Same ? $"{name} was built again byte for byte, but it scores differently: {Named(decisive)}."
            : $"What was built again is not {name}: {Named(decisive)}.";
        var others = checks.Where(check => !check.Decides && !check.Same).ToList();
        return others.Count == 0 ? $"{first} Nothing else differs." : $"{first} Also different: {Named(others)}.";
    }

    private static string Named(List<ReproductionCheck> checks) =>
        string.Join("; ", checks.Take(NamedMax).Select(check => $"{check.Name} {Short(check.Then)} then, {Short(check.Now)} now")) + (checks.Count > NamedMax ? $"; and {checks.Count - NamedMax} more" : "");

    private static string Short(string? text) => text is null ? "none" : text.Length > 40 ? text[..12] + "…" : text;

    private static ReproductionCheck Check(string name, string? then, string? now, bool decides = false) => new(name, then, now, string.Equals(then, now, StringComparison.Ordinal), decides);

    private static Dictionary<string, string> Rows(EvaluationReport? report) =>
        report?.Splits.Where(split => split.Sha256 is not null).ToDictionary(split => split.Name, split => split.Sha256!, StringComparer.Ordinal) ?? [];

    private static Dictionary<string, string> Facts(RunEnvironment? environment)
    {
        if (environment is null)
        {
            return [];
        }

        var facts = environment.Packages.ToDictionary(package => $"package {package.Key}", package => package.Value, StringComparer.Ordinal);
        facts["operating system"] = environment.OperatingSystem;
        facts["architecture"] = environment.Architecture;
        facts["runtime"] = environment.Runtime;
        facts["cpu"] = environment.Cpu ?? "unknown";
        facts["cpu count"] = environment.CpuCount.ToString(CultureInfo.InvariantCulture);
        facts["gpus"] = string.Join(", ", environment.Gpus);
        facts["uncommitted changes"] = environment.Git?.Dirty switch { true => "yes", false => "no", null => "unknown" };
        return facts;
    }

    private static IEnumerable<string> Keys<T>(IReadOnlyDictionary<string, T>? a, IReadOnlyDictionary<string, T>? b) =>
        (a?.Keys ?? []).Union(b?.Keys ?? [], StringComparer.Ordinal).Order(StringComparer.Ordinal);

    private static double? Value(IReadOnlyDictionary<string, double>? metrics, string key) => metrics is not null && metrics.TryGetValue(key, out var value) ? value : null;

    // Shortest text that reads back as the same number: equal texts are equal numbers.
    private static string? Text(double? value) => value?.ToString("R", CultureInfo.InvariantCulture);

    private async Task<T?> ReadAsync<T>(string? sha256, CancellationToken cancellationToken) where T : class
    {
        try
        {
            return sha256 is null ? null : JsonSerializer.Deserialize<T>(await blobs.ReadVerifiedAsync(sha256, cancellationToken), JsonDefaults.Options);
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"The blob {sha256} of the version is not JSON of the form that pipelines write.", e);
        }
    }
}
