using System.Buffers;
using Slipway.Contracts;

namespace Slipway.Tracking.Traces;

/// <summary>MLflow's limits on traces, and our own bounds where it has none.</summary>
internal static class TraceLimits
{
    public const int TagValueMax = 8000;
    public const int SearchResultsDefault = 100;
    public const int SearchResultsMax = 500;
    public const int TraceIdMax = 64;
    public const int PreviewMax = 10_000;
    public const int LinksMax = 100;
    public const int TracesPerRequestMax = 500;

    /// <summary>Of the searchable copy of a span's name and type: what an index row can hold.</summary>
    public const int SpanNameMax = 500;
    public const int SpanTypeMax = 100;

    /// <summary>Of the searchable copy of an attribute; the span itself keeps all of it.</summary>
    public const int AttributeKeyMax = 250;
    public const int AttributeValueMax = 8000;

    public const int SpansPerRequestMax = 10_000;

    private static readonly SearchValues<char> IdCharacters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:");

    public static string CheckTraceId(string? traceId, string field)
    {
        if (string.IsNullOrEmpty(traceId))
        {
            throw RunLimits.Invalid($"Missing value for required parameter '{field}'.");
        }

        if (traceId.Length > TraceIdMax || traceId.AsSpan().ContainsAnyExcept(IdCharacters))
        {
            throw RunLimits.Invalid($"Invalid value for parameter '{field}' supplied: a trace id has at most {TraceIdMax} letters, digits, '-', '_', '.' and ':'.");
        }

        return traceId;
    }

    /// <summary>A tag or a piece of metadata; a value over the limit is cut, as MLflow does.</summary>
    public static KeyValuePair<string, string> CheckPair(string what, string? key, string? value)
    {
        if (string.IsNullOrEmpty(key))
        {
            throw RunLimits.Invalid($"Missing value for required parameter 'key' of a {what}.");
        }

        RunLimits.CheckLength($"The key of a {what}", key, 250);
        CheckText($"The key of a {what}", key);
        CheckText($"The value of {what} '{key}'", value);
        return new(key, RunLimits.Truncate(value, TagValueMax));
    }

    /// <summary>Refuses the one character that PostgreSQL cannot hold.</summary>
    public static void CheckText(string what, string? text)
    {
        if (text?.Contains('\0', StringComparison.Ordinal) is true)
        {
            throw RunLimits.Invalid($"{what} may not hold the character U+0000.");
        }
    }

    public static void CheckMaxResults(int maxResults, int max)
    {
        if (maxResults < 1 || maxResults > max)
        {
            throw RunLimits.Invalid($"Invalid value {maxResults} for parameter 'max_results' supplied. It must be from 1 to {max}.");
        }
    }

    public static SlipwayException NoTrace(string traceId) => new(ErrorCode.NotFound, $"Trace with ID '{traceId}' not found.");
}
