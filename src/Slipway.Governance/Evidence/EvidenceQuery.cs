namespace Slipway.Governance.Evidence;

/// <summary>What a query found.</summary>
/// <param name="Value">As a reader sees it; null when nothing is on record.</param>
/// <param name="Ids">The records it comes from, each <c>kind:id</c>.</param>
internal sealed record Found(string? Value, params IReadOnlyList<string> Ids);

/// <summary>A named query.</summary>
/// <param name="Name">Such as <c>version.metric</c>.</param>
/// <param name="Arguments">How many it takes.</param>
/// <param name="Moving">Whether its value changes with every request served.</param>
/// <param name="Run">Answers it.</param>
internal sealed record EvidenceQuery(string Name, int Arguments, bool Moving, Func<IReadOnlyList<string>, CancellationToken, Task<Found>> Run)
{
    public static EvidenceQuery Of(string name, int arguments, Func<IReadOnlyList<string>, Found> run) =>
        new(name, arguments, Moving: false, (values, _) => Task.FromResult(run(values)));

    public static EvidenceQuery Live(string name, int arguments, Func<IReadOnlyList<string>, Found> run) =>
        new(name, arguments, Moving: true, (values, _) => Task.FromResult(run(values)));
}
