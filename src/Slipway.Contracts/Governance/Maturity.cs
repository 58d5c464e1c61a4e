namespace Slipway.Contracts.Governance;

/// <summary>How mature the work with models is, by what the records show.</summary>
/// <param name="At">When it was assessed.</param>
/// <param name="Score">0 to 100: the mean of the dimensions, rounded down.</param>
/// <param name="Level">0 to 4: the lowest level of the dimensions.</param>
/// <param name="Target">The score when every dimension has reached its next level.</param>
/// <param name="Scope">Versions in production that serve: the checks speak of these.</param>
/// <param name="Dimensions">Data, training, deployment, monitoring, governance.</param>
/// <param name="NextSteps">What lifts the lowest dimensions first.</param>
public sealed record MaturityReport(
    DateTimeOffset At, int Score, int Level, int Target, IReadOnlyList<string> Scope, IReadOnlyList<MaturityDimension> Dimensions,
    IReadOnlyList<MaturityStep> NextSteps);

/// <summary>One dimension.</summary>
/// <param name="Name">Such as <c>data</c>.</param>
/// <param name="Level">The highest level whose checks, and those of all levels below, pass.</param>
/// <param name="LevelName">The rubric's word for it.</param>
/// <param name="Score">20 × level + 20 × share of the next level's checks that pass. At level 4 no check is left, which counts as the whole share.</param>
/// <param name="Items">Every check of levels 1 to 4.</param>
public sealed record MaturityDimension(string Name, int Level, string LevelName, double Score, IReadOnlyList<MaturityItem> Items);

/// <summary>One check.</summary>
/// <param name="Level">The level it belongs to.</param>
/// <param name="Check">What must hold.</param>
/// <param name="Passed">Whether it does. A check that this version cannot make does not pass.</param>
/// <param name="Met">How many meet it.</param>
/// <param name="Of">Of how many.</param>
/// <param name="Offending">Ids of those that do not.</param>
/// <param name="Gap">What to do; null when passed.</param>
public sealed record MaturityItem(int Level, string Check, bool Passed, int Met, int Of, IReadOnlyList<string> Offending, string? Gap);

/// <summary>One recommendation.</summary>
/// <param name="Priority"><c>critical</c>, <c>high</c>, <c>medium</c> or <c>low</c>.</param>
/// <param name="Action">What to do.</param>
/// <param name="Rationale">The check it answers.</param>
/// <param name="EstimatedEffort">Rough time for one person.</param>
public sealed record MaturityStep(string Priority, string Action, string Rationale, string EstimatedEffort);
