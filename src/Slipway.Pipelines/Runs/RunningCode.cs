using System.Reflection;
using System.Runtime.InteropServices;
using Slipway.Native.DuckDb;
using Slipway.Native.Xgboost;

namespace Slipway.Pipelines.Runs;

/// <summary>What of this process a stage's result depends on.</summary>
internal static class RunningCode
{
    /// <summary>
    /// Build ids of every assembly of ours that a stage may run, so that a change in a helper is a change of the code. Builds are
    /// deterministic: the same sources give the same ids.
    /// </summary>
    public static string Builds { get; } = string.Join(' ', ((Assembly[])
        [
            typeof(RunningCode).Assembly, typeof(DuckDbDatabase).Assembly, typeof(Statistics.Interval).Assembly, typeof(Datasets.DatasetStore).Assembly,
            typeof(FeatureStore.OfflineStore).Assembly, typeof(Registry.ModelRegistry).Assembly, typeof(Contracts.JsonDefaults).Assembly,
        ])
        .Select(assembly => $"{assembly.GetName().Name}={assembly.ManifestModule.ModuleVersionId:N}"));

    /// <summary>Runtime, processor architecture and native libraries.</summary>
    public static string Environment { get; } =
        $"{RuntimeInformation.FrameworkDescription}; {RuntimeInformation.OSArchitecture}; DuckDB {DuckDbDatabase.LibraryVersion}; XGBoost {XgboostTrainer.LibraryVersion}";
}
