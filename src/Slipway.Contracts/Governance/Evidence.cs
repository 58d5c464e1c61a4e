namespace Slipway.Contracts.Governance;

/// <summary>The answer to one named query over the records.</summary>
/// <param name="Query">Name and arguments, separated by spaces, such as <c>version.metric flight-delay 1.0.0 auc</c>; asking again gives the value of now.</param>
/// <param name="Value">Null when nothing is on record.</param>
/// <param name="Ids">The records it comes from, each <c>kind:id</c>.</param>
/// <param name="At">When it was asked.</param>
/// <param name="Moving">True for readings that change with every request served, such as a latency; they do not make a document stale.</param>
public sealed record EvidenceItem(string Query, string? Value, IReadOnlyList<string> Ids, DateTimeOffset At, bool Moving);
