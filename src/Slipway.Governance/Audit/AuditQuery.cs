using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Host;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Governance.Audit;

/// <summary>Questions to the audit trail as an address asks them.</summary>
public static class AuditQuery
{
    /// <summary>Reads the fields of an address; empty ones do not count.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: a field is malformed.</exception>
    public static AuditFilter Filter(string? subject, string? actor, string? action, string? model, string? from, string? to, string? cursor) => new()
    {
        Subject = Given(subject) is { } node ? Node(node) : null,
        Actor = Given(actor),
        Action = Given(action),
        Model = Given(model),
        From = Given(from) is { } since ? Instant("from", since, endOfDay: false) : null,
        To = Given(to) is { } until ? Instant("to", until, endOfDay: true) : null,
        BeforeSeq = Given(cursor) is not { } place ? null
            : long.TryParse(place, CultureInfo.InvariantCulture, out var seq) ? seq
            : throw new SlipwayException(ErrorCode.InvalidArgument, "'cursor' must be the next_cursor of the page before."),
    };

    /// <summary>Reads a date or an instant; a date as <c>to</c> means until its end.</summary>
    /// <exception cref="SlipwayException">InvalidArgument.</exception>
    public static DateTimeOffset Instant(string field, string text, bool endOfDay) =>
        DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day) && (!endOfDay || day < DateOnly.MaxValue)
            ? new DateTimeOffset((endOfDay ? day.AddDays(1) : day).ToDateTime(TimeOnly.MinValue), TimeSpan.Zero)
        : DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var instant) ? instant
        : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' must be a date or an instant such as 2026-05-31 or 2026-05-31T06:00:00Z, not '{text}'.");

    /// <summary>The row as an answer shows it.</summary>
    public static AuditEventResponse Response(AuditEvent row) => new(
        row.Seq, row.At, row.Actor, row.Action, row.Subject.ToString(), row.Reason, row.BeforeJson, row.AfterJson, row.RequestId, row.Hash);

    private static string? Given(string? text) => string.IsNullOrWhiteSpace(text) ? null : text.Trim();

    private static NodeRef Node(string subject) => subject.IndexOf(':', StringComparison.Ordinal) is > 0 and var colon
        ? new NodeRef(subject[..colon], subject[(colon + 1)..])
        : throw new SlipwayException(ErrorCode.InvalidArgument, "'subject' must be kind:id, such as model_version:flight-delay@1.0.0.");
}
