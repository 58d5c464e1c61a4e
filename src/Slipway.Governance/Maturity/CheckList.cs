using Slipway.Contracts.Governance;

namespace Slipway.Governance.Maturity;

/// <summary>Collects the checks of one dimension.</summary>
internal sealed class CheckList
{
    private readonly List<MaturityItem> _items = [];

    public IReadOnlyList<MaturityItem> Items => _items;

    /// <summary>Adds a check over things; it passes when there is at least one and the share that meets it reaches <paramref name="share"/>.</summary>
    public CheckList All<T>(int level, string check, IReadOnlyCollection<T> things, Func<T, bool> meets, Func<T, string> id, string gap, double share = 1)
    {
        var offending = things.Where(thing => !meets(thing)).Select(id).ToList();
        var met = things.Count - offending.Count;
        return Add(level, check, things.Count > 0 && met >= share * things.Count, met, things.Count, offending, gap);
    }

    /// <summary>Adds a check that at least one of something is on record.</summary>
    public CheckList Any(int level, string check, int found, string gap) => Add(level, check, found > 0, found, Math.Max(found, 1), [], gap);

    /// <summary>Adds a check that this version cannot make; it does not pass, since nothing shows that it holds.</summary>
    public CheckList NotMeasured(int level, string check) => Add(level, $"{check} (not measured by this version)", false, 0, 1, [], "show it to an assessor by other means; this version keeps no record of it");

    private CheckList Add(int level, string check, bool passed, int met, int of, IReadOnlyList<string> offending, string gap)
    {
        _items.Add(new MaturityItem(level, check, passed, met, of, offending, passed ? null : gap));
        return this;
    }
}
