using Slipway.Contracts;
using Slipway.Contracts.Tracking;

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

    /// <summary>Refuses a name of a metric, parameter or tag that MLflow would refuse.</summary>
    public static void CheckKey(string what, string? key)
    {
        if (RunKeys.Fault(what, key) is { } fault)
        {
            throw Invalid(fault);
        }
    }

    /// <summary>A value cut to the limit, as MLflow's server does by default for runs.</summary>
    public static string Truncate(string? value, int max)
    {
        if (value is null || value.Length <= max)
        {
            return value ?? "";
        }

        var kept = 0;
        foreach (var rune in value.EnumerateRunes())
        {
            if (max-- == 0)
            {
                break;
            }

            kept += rune.Utf16SequenceLength;
        }

        return value[..kept];
    }

    public static void CheckLength(string what, string? value, int max)
    {
        // Characters as Python counts them: one beyond the basic plane is one.
        if (value?.Length > max && value.EnumerateRunes().Count() is var length && length > max)
        {
            throw Invalid($"{what} has {length} characters; at most {max} are allowed.");
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
}
