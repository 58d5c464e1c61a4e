using System.Buffers;
using Slipway.Contracts;

namespace Slipway.Tracking;

/// <summary>MLflow's limits on names, values and batches (<c>mlflow/utils/validation.py</c>).</summary>
internal static class RunLimits
{
    public const int MetricsPerBatchMax = 1000;
    public const int ParametersPerBatchMax = 100;
    public const int TagsPerBatchMax = 100;
    public const int EntitiesPerBatchMax = 1000;
    public const int BatchBytesMax = 1_000_000;
    public const int ParameterValueMax = 6000;
    public const int RunTagValueMax = 8000;
    public const int ExperimentNameMax = 500;
    public const int ExperimentTagValueMax = 5000;
    public const int SearchResultsMax = 50_000;
    public const int HistoryPageMax = 25_000;
    public const int InputsMax = 1000;

    private const int KeyMax = 250;

    private static readonly SearchValues<char> Punctuation = SearchValues.Create("_-. :/");

    /// <summary>Refuses a name of a metric, parameter or tag that MLflow would refuse.</summary>
    public static void CheckKey(string what, string? key)
    {
        if (string.IsNullOrEmpty(key))
        {
            throw Invalid($"Missing value for required parameter 'key' of a {what}.");
        }

        if (key.Length > KeyMax)
        {
            throw Invalid($"The {what} name '{Shorten(key)}' has {key.Length} characters; at most {KeyMax} are allowed.");
        }

        if (key.Any(c => !char.IsLetterOrDigit(c) && !Punctuation.Contains(c)))
        {
            throw Invalid($"The {what} name '{Shorten(key)}' may hold only letters, digits, '_', '-', '.', ' ', ':' and '/'.");
        }

        // Names become paths in clients that keep runs as files.
        if (key.Split('/').Any(segment => segment is "" or "." or ".."))
        {
            throw Invalid($"The {what} name '{Shorten(key)}' must be a clean relative path: no leading, trailing or doubled '/', no '.' or '..' part.");
        }
    }

    /// <summary>A value cut to the limit, as MLflow's server does by default for runs.</summary>
    public static string Truncate(string? value, int max)
    {
        if (value is null || value.Length <= max)
        {
            return value ?? "";
        }

        return char.IsHighSurrogate(value[max - 1]) ? value[..(max - 1)] : value[..max];
    }

    public static void CheckLength(string what, string? value, int max)
    {
        if (value?.Length > max)
        {
            throw Invalid($"{what} has {value.Length} characters; at most {max} are allowed.");
        }
    }

    public static void CheckCount(string what, int count, int max)
    {
        if (count > max)
        {
            throw Invalid($"A batch may hold at most {max} {what}, not {count}; send several batches.");
        }
    }

    public static SlipwayException Invalid(string message) => new(ErrorCode.InvalidArgument, message);

    private static string Shorten(string text) => text.Length <= 60 ? text : text[..60] + "…";
}
