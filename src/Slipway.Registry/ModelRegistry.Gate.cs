using System.Data.Common;
using System.Globalization;
using System.Text;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Native.Onnx;
using Slipway.Registry.Formats;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Storage.Definitions;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    private const double DecisionDefault = 0.5;

    /// <summary>What stands between a version and a stage or environment now.</summary>
    /// <exception cref="SlipwayException">NotFound: the version, or the policy names no such environment.</exception>
    public async Task<GateReport> CheckAsync(string model, string version, PromotionTarget to, CancellationToken cancellationToken)
    {
        await (external?.TryPrepareAsync(model, version, cancellationToken) ?? Task.CompletedTask);
        var record = Get(model, version);
        var policy = Policy(model);
        var promotion = FindOpenPromotion(model, record.Version, to);
        var evidence = await CollectEvidenceAsync(record, to, policy, promotion?.RollbackTo, cancellationToken);
        return database.Read(connection => PromotionGate.Evaluate(record, to, policy, promotion, StateOf(connection, policy, record), evidence, clock.GetUtcNow()));
    }

    private static GateState StateOf(DbConnection connection, PromotionPolicy policy, ModelVersionRecord version) => new(
        VersionTable.FindInStage(connection, version.Model, Stage.Production),
        RiskOf(connection, policy, version),
        LifeTable.FindDeprecation(connection, version.Model, version.Version),
        LifeTable.Ticked(connection, version.Model, version.Version),
        PlaceTable.WasIn(connection, version.Model, version.Version));

    // The one place that reads the class from the model's own record.
    private static RiskClass RiskOf(DbConnection connection, PromotionPolicy policy, ModelVersionRecord version) =>
        RiskTable.Of(policy, ProfileTable.Facts(connection, version.Model)!.RiskClass, version);

    // What a chain runs answers for it: an unapproved version does not come into production as a part.
    private async Task<(string? Fault, IReadOnlyList<string> Nodes)> FindPartsAsync(ModelChainFile chain, PromotionTarget to, CancellationToken cancellationToken)
    {
        var faults = new List<string>();
        foreach (var (model, version) in chain.Parts)
        {
            var part = database.Read(connection => VersionTable.Find(connection, model, version));
            var was = part is null ? [] : History(model, version).Select(change => change.To).ToHashSet();
            var fault = part is null ? "is not registered"
                : to.Stage is Stage.Production && !was.Contains(Stage.Production) ? "was never in production"
                : to.Stage is Stage.Staging && !was.Overlaps([Stage.Staging, Stage.Production]) ? "was never in staging"
                : await FindLoadFaultAsync(part, cancellationToken);
            if (fault is not null)
            {
                faults.Add($"{model} {version} {fault}");
            }
        }

        return (faults.Count == 0 ? null : string.Join("; ", faults), [.. chain.Parts.Select(part => ModelVersionNode.Of(part.Model, part.Version).ToString())]);
    }

    private async Task<GateEvidence> CollectEvidenceAsync(
        ModelVersionRecord version, PromotionTarget to, PromotionPolicy policy, string? rollbackTo, CancellationToken cancellationToken)
    {
        var requirements = policy.For(to);
        var damage = external?.MissingOf(version) ?? await FindDamageAsync(version, cancellationToken);
        var report = damage is null ? await ReadReportAsync(version, cancellationToken) : null;
        var production = FindInStage(version.Model, Stage.Production);
        var target = to.Stage is Stage.Production ? rollbackTo ?? production?.Version : null;
        var run = version.RunId is { } runId ? sources.FindRun(runId) : null;
        var limits = LimitsFor(version.Model, to, policy, run);
        return new GateEvidence
        {
            Report = report,
            MissingLineage = VersionLineage.Missing(lineage, version.Node),
            Damage = damage,
            Parts = damage is null && version is { Format: ModelFormat.Chain, ServedSha256: { } chain } ? await FindPartsAsync(await ReadChainAsync(chain, cancellationToken), to, cancellationToken) : null,
            RollbackTo = target,
            RollbackFault = target is null ? null : await FindRollbackFaultAsync(version.Model, target, cancellationToken),
            Limits = limits,
            Run = run,
            Dependencies = damage is null && version.EnvironmentSha256 is { } sha256
                ? PinnedDependencies.Read(await blobs.ReadVerifiedAsync(sha256, cancellationToken))
                : new PinnedDependencies.Finding(null, "the version has no readable environment file"),
            Improvement = report is not null && production is not null && limits.Requirements.ImprovementOverProduction is { } improvement
                ? await FindImprovementAsync(version, report, production, improvement, cancellationToken)
                : null,
            Documents = await FindDocumentsAsync(version, requirements, cancellationToken),
            AbTest = requirements.AbTest is not null && sources.Of(IGateEvidenceSource.AbTests) is { } tests ? await tests.FindAsync(version, "", cancellationToken) : null,
            KnowsAbTests = sources.Of(IGateEvidenceSource.AbTests) is not null,
        };
    }

    private async Task<IReadOnlyDictionary<string, GateFact?>> FindDocumentsAsync(ModelVersionRecord version, StageRequirements requirements, CancellationToken cancellationToken)
    {
        var found = new Dictionary<string, GateFact?>(StringComparer.Ordinal);
        foreach (var wanted in requirements.Documents)
        {
            found[wanted.Name] = sources.Of(IGateEvidenceSource.Documents) is { } documents ? await documents.FindAsync(version, wanted.Name, cancellationToken) : null;
        }

        return found;
    }

    /// <summary>The limits in force when the run began: those set with the results in view would prove nothing.</summary>
    private LimitsInForce LimitsFor(string model, PromotionTarget to, PromotionPolicy policy, RunRecord? run)
    {
        var now = policy.For(to);
        if (definitions.Find(PolicyKind.KindName, model) is not { } newest)
        {
            return new LimitsInForce(now, policy.Id, "no policy file is applied", null);
        }

        if (run is null)
        {
            return new LimitsInForce(now, policy.Id, $"{policy.Id}, set {Iso(newest.AppliedAtMs)}; the run is not known here, so that the limits of today count", null);
        }

        var versions = Enumerable.Range(1, (int)newest.Version).Select(number => definitions.Find(PolicyKind.KindName, model, number)!).ToList();
        if (versions.FindLast(version => version.AppliedAtMs <= run.StartTimeMs) is { } before && LimitsOf(before, to) is { } then && (then.NeedsReport || !now.NeedsReport))
        {
            return new LimitsInForce(then, Id(before), $"{Id(before)}, set {Iso(before.AppliedAtMs)}, before the run started {Iso(run.StartTimeMs)}", true);
        }

        var first = versions.Find(version => version.AppliedAtMs > run.StartTimeMs && LimitsOf(version, to) is { NeedsReport: true }) ?? newest;
        return new LimitsInForce(LimitsOf(first, to) ?? now, Id(first), $"{Id(first)}, set {Iso(first.AppliedAtMs)}, after the run started {Iso(run.StartTimeMs)}", now.NeedsReport ? false : null);

        static StageRequirements? LimitsOf(Definition definition, PromotionTarget to)
        {
            var read = ReadPolicy(definition);
            return to.Environment is { } name ? read.Environments.FirstOrDefault(environment => environment.Name == name)?.Requirements : read.For(to.Stage!.Value);
        }

        static string Iso(long unixMs) => DateTimeOffset.FromUnixTimeMilliseconds(unixMs).UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
    }

    // Row by row when both versions' scores of one test set are kept; else as the evaluation compared them on its test set.
    private async Task<PairedImprovement?> FindImprovementAsync(
        ModelVersionRecord version, EvaluationReport report, ModelVersionRecord production, ImprovementLimit limit, CancellationToken cancellationToken)
    {
        if (await ReadReportAsync(production, cancellationToken) is { } other && other.TestSetSha256 == report.TestSetSha256
            && await ReadScoresAsync(report, cancellationToken) is { } ours && await ReadScoresAsync(other, cancellationToken) is { } theirs && ours.Labels.AsSpan().SequenceEqual(theirs.Labels)
            && PairedImprovement.Of(production.Version, limit.Metric, theirs, ours, other.Threshold ?? DecisionDefault, report.Threshold ?? DecisionDefault, limit.Alpha) is { } paired)
        {
            return paired;
        }

        return report.ComparedWithProduction is { } comparison ? PairedImprovement.Of(comparison, limit.Metric, limit.Alpha) : null;
    }

    private async Task<StoredPredictions?> ReadScoresAsync(EvaluationReport report, CancellationToken cancellationToken) =>
        report.PredictionsSha256 is { } sha256 && await blobs.VerifyAsync(sha256, cancellationToken) ? StoredPredictions.Parse(await blobs.ReadVerifiedAsync(sha256, cancellationToken)) : null;

    private async Task<string?> FindRollbackFaultAsync(string model, string target, CancellationToken cancellationToken)
    {
        var (record, wasInProduction) = database.Read(connection =>
            (VersionTable.Find(connection, model, target), StageTable.WasInProduction(connection, model, target)));
        return record is null || !wasInProduction
            ? $"the rollback plan names {target}, which was never in production"
            : await FindLoadFaultAsync(record, cancellationToken) is { } fault ? $"the rollback plan names {target}, but {fault}" : null;
    }

    // A plan that was never tried is a hope: the model is loaded as the server would load it.
    private async Task<string?> FindLoadFaultAsync(ModelVersionRecord version, CancellationToken cancellationToken)
    {
        if (await FindDamageAsync(version, cancellationToken) is { } damage)
        {
            return damage;
        }

        if (version.ServedSha256 is not { } model)
        {
            return $"{version.Version} holds no model file that this server can run";
        }

        try
        {
            if (version.Format == ModelFormat.Remote)
            {
                RemoteModelFile.Parse(Encoding.UTF8.GetString(await blobs.ReadVerifiedAsync(model, cancellationToken)));
                return null; // Whether that server answers now says nothing of when it is needed.
            }

            if (version.Format == ModelFormat.Chain)
            {
                foreach (var (partModel, part) in (await ReadChainAsync(model, cancellationToken)).Parts)
                {
                    if (Find(partModel, part) is not { } found)
                    {
                        return $"{version.Version} runs {partModel} {part}, which is not registered";
                    }

                    if (await FindLoadFaultAsync(found, cancellationToken) is { } fault)
                    {
                        return $"{version.Version} runs {partModel} {part}, but {fault}";
                    }
                }

                return null;
            }

            using var session = OnnxSession.Load(await blobs.ReadVerifiedAsync(model, cancellationToken));
            return null;
        }
        catch (OnnxException e)
        {
            return $"the model file of {version.Version} does not load: {e.Message}";
        }
    }

    // Every blob a server needs to load the version; the message names the first that is not as registered.
    private async Task<string?> FindDamageAsync(ModelVersionRecord version, CancellationToken cancellationToken)
    {
        var parts = version.Files.Select(file => (Name: file.Path, Sha256: (string?)file.Sha256))
            .Append((Name: "the baseline", Sha256: version.BaselineSha256))
            .Append((Name: "the environment file", Sha256: version.EnvironmentSha256))
            .Append((Name: "the evaluation report", Sha256: version.EvaluationReportSha256));
        foreach (var (name, sha256) in parts)
        {
            if (sha256 is not null && !await blobs.VerifyAsync(sha256, cancellationToken))
            {
                return $"{name} of {version.Version} is missing or was changed: its content no longer has SHA-256 {sha256}";
            }
        }

        return null;
    }

    private PromotionPolicy Policy(string model) => definitions.Find(PolicyKind.KindName, model) is { } definition ? ReadPolicy(definition) : PromotionPolicy.BuiltIn(model);

    private static PromotionPolicy ReadPolicy(Definition definition) => PromotionPolicy.Read(DefinitionYaml.Parse(definition.Yaml), Id(definition));

    private static string Id(Definition definition) => $"{definition.Kind}/{definition.Name}@{definition.Version}";
}
