using System.Collections.Frozen;
using Slipway.Contracts;

namespace Slipway.Serving;

/// <summary>Why a role ended, for the deployment's record.</summary>
/// <param name="Model">The model.</param>
/// <param name="Outcome">Such as <c>replaced</c>, <c>promoted</c>, <c>rolled_back</c>, <c>stopped</c>.</param>
/// <param name="Reason">One sentence.</param>
public sealed record RouteChange(string Model, string Outcome, string Reason);

/// <summary>
/// Which version answers: the request path reads one immutable table, changes swap it. A change is in force for every request
/// that is read after the call returns.
/// </summary>
/// <param name="load">Loads a version (model, version) that is not in memory; throws when it cannot.</param>
public sealed class ModelRouter(Func<string, string, LoadedModel> load)
{
    private readonly Lock _changing = new();
    private volatile FrozenDictionary<string, RouteTable> _tables = FrozenDictionary<string, RouteTable>.Empty;

    /// <summary>Raised after each change, on the thread that made it. Handlers must only signal.</summary>
    public event Action<RouteChange>? Changed;

    /// <summary>All tables now.</summary>
    public IReadOnlyCollection<RouteTable> Tables => _tables.Values;

    /// <summary>The model's table now; null when it is not served.</summary>
    public RouteTable? Find(string model) => _tables.GetValueOrDefault(model);

    /// <summary>Makes a version the stable one. When it was the candidate or the shadow, that role ends.</summary>
    /// <param name="version">Ready to score.</param>
    /// <param name="outcome">How the version before it ends.</param>
    /// <param name="reason">Why.</param>
    public void SetStable(LoadedModel version, string outcome = "replaced", string reason = "another version went to production")
    {
        lock (_changing)
        {
            var table = Find(version.Model);
            var stable = new Arm(ArmRole.Stable, version);
            Swap(table is null || table.Candidate?.Version == version.Version || table.Shadow?.Version == version.Version
                ? new RouteTable(version.Model, stable)
                : new RouteTable(version.Model, stable, table.Candidate, table.Share, table.Salt, table.Sticky, table.Shadow, table.Comparison, table.Flags));
        }

        Changed?.Invoke(new RouteChange(version.Model, outcome, reason));
    }

    /// <summary>Takes a model out of service.</summary>
    public void Remove(string model, string reason)
    {
        lock (_changing)
        {
            _tables = _tables.Where(entry => entry.Key != model).ToFrozenDictionary(StringComparer.Ordinal);
        }

        Changed?.Invoke(new RouteChange(model, "stopped", reason));
    }

    /// <summary>Lets a version try out: a share of the keys, copies of the stable version's requests, or both. Calling it again changes share and shadow; the counters go on.</summary>
    /// <param name="model">The model.</param>
    /// <param name="version">The version; loaded when it is not in memory.</param>
    /// <param name="share">0 to 1; 0 = no traffic of its own.</param>
    /// <param name="shadow">Whether it sees copies.</param>
    /// <param name="salt">The rollout's id: the same salt keeps each key's place between steps and restarts.</param>
    /// <param name="sticky">False assigns each request by itself.</param>
    /// <param name="criteria">When outputs disagree; null takes the default.</param>
    /// <param name="flags">Values of the request's flag that choose the candidate, in place of its share; null for the share.</param>
    /// <exception cref="SlipwayException">InvalidArgument; FailedPrecondition: it is the stable version already, or it cannot be loaded.</exception>
    public void SetCandidate(string model, string version, double share, bool shadow, string salt, bool sticky = true, ShadowCriteria? criteria = null, IReadOnlyList<string>? flags = null)
    {
        if (!(share is >= 0 and <= 1))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"share is {share}; give the candidate's part of the traffic as a number from 0 to 1.");
        }

        if (share == 0 && !shadow)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "share is 0 and shadow is off: the candidate would see nothing; set one of the two.");
        }

        var loaded = Loaded(model, version) ?? load(model, version);
        lock (_changing)
        {
            var table = Find(model);
            if (table?.Stable?.Version == version)
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"Version {version} of '{model}' is in production already; there is nothing to try out.");
            }

            criteria ??= table?.Comparison?.Criteria ?? new ShadowCriteria();
            var comparison = table?.Comparison is { } running && (table.Shadow?.Version ?? table.Candidate?.Version) == version && running.Criteria == criteria
                ? running
                : new ShadowStatistics(
                    criteria, table?.Stable is { } compared ? new FeatureSkew(compared.Model.FeatureNames, compared.Model.Baseline) : null,
                    new FeatureSkew(loaded.FeatureNames, loaded.Baseline));
            Swap(new RouteTable(
                model, table?.Stable,
                share > 0 ? new Arm(ArmRole.Candidate, loaded) : null, share, salt, sticky,
                shadow ? new Arm(ArmRole.Shadow, loaded) : null, comparison, flags));
        }

        Changed?.Invoke(new RouteChange(model, "stepped", $"{(share > 0 ? $"{share:P0} of the traffic" : "no traffic of its own")}{(shadow ? ", sees copies" : "")}"));
    }

    /// <summary>Sends all traffic back to the stable version, at once.</summary>
    public void ClearCandidate(string model, string outcome = "stopped", string reason = "the candidate was withdrawn")
    {
        lock (_changing)
        {
            if (Find(model) is { } table)
            {
                Swap(new RouteTable(model, table.Stable));
            }
        }

        // Told even when there was none: the record of one that an earlier process tried out may still be open.
        Changed?.Invoke(new RouteChange(model, outcome, reason));
    }

    /// <summary>The live counters of a version that is in a role.</summary>
    /// <exception cref="SlipwayException">NotFound: the version has no role now.</exception>
    public ArmStatistics Statistics(string model, string version) => Get(model, version).Statistics;

    /// <summary>The live input histograms of a version that is in a role.</summary>
    /// <exception cref="SlipwayException">NotFound: the version has no role now.</exception>
    public FeatureSkew Skew(string model, string version) => Get(model, version).Skew;

    /// <summary>The paired comparisons of a version that is or, in the same rollout, was a shadow.</summary>
    /// <exception cref="SlipwayException">NotFound: the version has no role now.</exception>
    public ShadowStatistics Shadow(string model, string version) =>
        Find(model) is { Comparison: { } comparison } table && (table.Shadow ?? table.Candidate)?.Version == version
            ? comparison
            : throw new SlipwayException(ErrorCode.NotFound, $"Version {version} of '{model}' is not being tried out now.");

    /// <summary>The version when it is in a role now.</summary>
    public LoadedModel? Loaded(string model, string version)
    {
        var table = Find(model);
        return table is null ? null
            : table.Stable?.Version == version ? table.Stable.Model
            : table.Candidate?.Version == version ? table.Candidate.Model
            : table.Shadow?.Version == version ? table.Shadow.Model
            : null;
    }

    private LoadedModel Get(string model, string version) =>
        Loaded(model, version) ?? throw new SlipwayException(ErrorCode.NotFound, $"Version {version} of '{model}' serves nothing now.");

    private void Swap(RouteTable table) =>
        _tables = _tables.Where(entry => entry.Key != table.Model).Append(new(table.Model, table)).ToFrozenDictionary(StringComparer.Ordinal);
}
