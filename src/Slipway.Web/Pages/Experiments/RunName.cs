using Slipway.Contracts.Tracking;
using Slipway.Web.Pages.Shared;

namespace Slipway.Web.Pages.Experiments;

/// <summary>What a run is called, and which of its metrics belong on one chart.</summary>
public static class RunName
{
    private static readonly string[] Splits = ["train", "training", "validation", "valid", "val", "test", "eval"];

    /// <summary>A run's name, or the beginning of its id.</summary>
    public static string Of(RunRecord run) => run.Name.Length == 0 ? Format.Short(run.RunId) : run.Name;

    /// <summary>Whether a metric is of the machine and not of the model.</summary>
    public static bool IsSystem(string key) => key.StartsWith("system/", StringComparison.Ordinal);

    /// <summary>A metric's name without that of a split: <c>train_auc</c> and <c>validation_auc</c> share a chart.</summary>
    public static string Family(string key)
    {
        foreach (var split in Splits)
        {
            foreach (var separator in (ReadOnlySpan<char>)['_', '-', '/', '.'])
            {
                if (key.Length > split.Length + 1 && key.StartsWith(split + separator, StringComparison.OrdinalIgnoreCase))
                {
                    return key[(split.Length + 1)..];
                }
            }
        }

        return key;
    }
}
