namespace Slipway.Storage.Audit;

/// <summary>One audit row as stored.</summary>
/// <param name="Seq">1, 2, 3 … without gaps.</param>
/// <param name="AtMs">Unix milliseconds.</param>
/// <param name="Actor">Who.</param>
/// <param name="Action">Did what.</param>
/// <param name="SubjectKind">To which kind of thing.</param>
/// <param name="SubjectId">To which thing.</param>
/// <param name="Reason">Why; null when none was asked for.</param>
/// <param name="BeforeJson">State before; null when there was none.</param>
/// <param name="AfterJson">State after; null when there is none.</param>
/// <param name="RequestId">The HTTP request; null for the server's own work.</param>
/// <param name="PreviousHash">Hash of the row before; 64 zeros on the first.</param>
/// <param name="Hash">SHA-256, lower-case hex.</param>
public sealed record AuditEvent(
    long Seq, long AtMs, string Actor, string Action, string SubjectKind, string SubjectId, string? Reason,
    string? BeforeJson, string? AfterJson, string? RequestId, string PreviousHash, string Hash)
{
    /// <summary>When.</summary>
    public DateTimeOffset At => DateTimeOffset.FromUnixTimeMilliseconds(AtMs);

    /// <summary>What it is about.</summary>
    public NodeRef Subject => new(SubjectKind, SubjectId);
}

/// <summary>Which audit rows to list; every given field must match.</summary>
public sealed record AuditFilter
{
    /// <summary>Who.</summary>
    public string? Actor { get; init; }

    /// <summary>Did what: a whole action such as <c>promotion.approved</c>, or its beginning up to a dot, such as <c>promotion.</c></summary>
    public string? Action { get; init; }

    /// <summary>To which thing.</summary>
    public NodeRef? Subject { get; init; }

    /// <summary>Rows about this model, one of its versions or its promotion policy.</summary>
    public string? Model { get; init; }

    /// <summary>Not before.</summary>
    public DateTimeOffset? From { get; init; }

    /// <summary>Before, and not at.</summary>
    public DateTimeOffset? To { get; init; }

    /// <summary>Only numbers below this one: where the page before ended.</summary>
    public long? BeforeSeq { get; init; }
}
