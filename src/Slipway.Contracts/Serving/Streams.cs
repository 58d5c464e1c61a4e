namespace Slipway.Contracts.Serving;

/// <summary>A stream of events that a model scores.</summary>
/// <param name="Name">The definition's name.</param>
/// <param name="Model">Who scores.</param>
/// <param name="Input">Redis stream that is read.</param>
/// <param name="Output">Redis stream that is written.</param>
/// <param name="State"><c>running</c>, <c>paused</c>, <c>waiting</c> (for the model or for Redis) or <c>off</c> (no Redis server is set).</param>
/// <param name="Lag">Events that nobody has read yet; null when Redis does not say.</param>
/// <param name="Pending">Events that were read and are not answered yet; null as <paramref name="Lag"/>.</param>
/// <param name="Consumers">Servers that read; null as <paramref name="Lag"/>.</param>
/// <param name="Scored">Events that this server answered since it started.</param>
/// <param name="Retried">Events that it took up again, its own and those of servers that stopped.</param>
/// <param name="DeadLettered">Events that it set aside.</param>
/// <param name="LastError">The last thing that went wrong; null when nothing did since the last answer.</param>
/// <param name="PausedBy">Who paused it; null when it is not paused.</param>
/// <param name="PauseReason">Why.</param>
public sealed record StreamReport(
    string Name, string Model, string Input, string Output, string State, long? Lag, long? Pending, long? Consumers, long Scored, long Retried, long DeadLettered, string? LastError,
    string? PausedBy, string? PauseReason);

/// <summary>Pauses or resumes a stream.</summary>
/// <param name="Reason">Why; shown and audited.</param>
public sealed record ChangeStreamRequest(string Reason);
