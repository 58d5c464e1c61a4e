namespace Slipway.Tracking.Traces;

/// <summary>One span on its way into the tables.</summary>
/// <param name="TraceKey">32 hex digits.</param>
/// <param name="SpanId">16 hex digits.</param>
/// <param name="ParentSpanId">Null on a root.</param>
/// <param name="Name">Of the operation.</param>
/// <param name="Status">UNSET, OK or ERROR.</param>
/// <param name="StatusMessage">Empty for none.</param>
/// <param name="StartNs">Unix nanoseconds.</param>
/// <param name="EndNs">Null while it runs.</param>
/// <param name="Attributes">Key to the value's JSON text.</param>
/// <param name="Events">In the order they were sent.</param>
/// <param name="Links">To spans of other traces.</param>
internal sealed record Span(
    string TraceKey, string SpanId, string? ParentSpanId, string Name, string Status, string StatusMessage, long StartNs, long? EndNs,
    IReadOnlyList<KeyValuePair<string, string>> Attributes, IReadOnlyList<SpanEvent> Events, IReadOnlyList<SpanLink> Links);

/// <summary>Something that happened within a span.</summary>
internal sealed record SpanEvent(string Name, long AtNs, IReadOnlyList<KeyValuePair<string, string>> Attributes);

/// <summary>A reference to a span of another trace.</summary>
internal sealed record SpanLink(string TraceKey, string SpanId, IReadOnlyList<KeyValuePair<string, string>> Attributes);
