using System.Globalization;
using System.Runtime.InteropServices;

namespace Slipway.Native.Xgboost;

/// <summary>Rows to train on or to check against.</summary>
/// <param name="Features">Row-major, rows × columns; NaN is a missing value.</param>
/// <param name="Columns">Number of features.</param>
/// <param name="Labels">One per row; 0 or 1 for binary:logistic.</param>
public sealed record XgboostData(ReadOnlyMemory<float> Features, int Columns, ReadOnlyMemory<float> Labels)
{
    /// <summary>Number of rows.</summary>
    public int Rows => Labels.Length;
}

/// <summary>How to train.</summary>
public sealed record XgboostSettings
{
    /// <summary>binary:logistic or reg:squarederror, if the model is to become ONNX.</summary>
    public string Objective { get; init; } = "binary:logistic";

    /// <summary>Trees, at most.</summary>
    public int Rounds { get; init; } = 100;

    /// <summary>
    /// Stops after so many rounds without a better value of the last metric on the validation rows, and keeps the trees up to
    /// the best round; null trains all rounds.
    /// </summary>
    public int? EarlyStoppingRounds { get; init; }

    /// <summary>Same seed, data, settings and threads: same model.</summary>
    public int Seed { get; init; }

    /// <summary>Threads.</summary>
    public int Threads { get; init; } = 1;

    /// <summary>Metrics reported each round, by XGBoost's names; empty takes the objective's own.</summary>
    public IReadOnlyList<string> Metrics { get; init; } = [];

    /// <summary>XGBoost's own parameters, such as max_depth, eta, subsample.</summary>
    public IReadOnlyDictionary<string, string> Parameters { get; init; } = new Dictionary<string, string>();

    /// <summary>One name per column, kept in the model; null leaves f0, f1, ….</summary>
    public IReadOnlyList<string>? FeatureNames { get; init; }
}

/// <summary>The state after a round.</summary>
/// <param name="Round">From 0.</param>
/// <param name="Metrics">Keys such as <c>train-logloss</c> and <c>validation-auc</c>.</param>
public sealed record XgboostRound(int Round, IReadOnlyDictionary<string, double> Metrics);

/// <summary>Trains boosted trees through the XGBoost library of the system.</summary>
public static unsafe class XgboostTrainer
{
    private static readonly Lazy<(string Version, string Reason)> Found = new(Find);

    /// <summary>Version of the loaded library, for example <c>1.7.4</c>; empty where there is none.</summary>
    public static string LibraryVersion => Found.Value.Version;

    /// <summary>Whether the library is installed; if not, <paramref name="reason"/> says what is missing and how to get it.</summary>
    public static bool IsAvailable(out string reason)
    {
        reason = Found.Value.Reason;
        return reason.Length == 0;
    }

    /// <summary>Trains a model.</summary>
    /// <param name="train">At least one row.</param>
    /// <param name="validation">Rows watched while training; null for none.</param>
    /// <param name="settings">How to train.</param>
    /// <param name="onRound">Called after each round.</param>
    /// <param name="ct">Asked between rounds.</param>
    /// <exception cref="XgboostException">XGBoost's message; or the data do not fit together.</exception>
    /// <exception cref="DllNotFoundException">The library is not installed; see <see cref="IsAvailable"/>.</exception>
    public static XgboostBooster Train(
        XgboostData train,
        XgboostData? validation,
        XgboostSettings settings,
        Action<XgboostRound>? onRound = null,
        CancellationToken ct = default)
    {
        if (!IsAvailable(out var reason))
        {
            throw new DllNotFoundException(reason);
        }

        if (settings.FeatureNames is not null && settings.FeatureNames.Count != train.Columns)
        {
            throw new XgboostException($"There are {train.Columns} features and {settings.FeatureNames.Count} feature names.");
        }

        if (settings.EarlyStoppingRounds is not null && validation is null)
        {
            throw new XgboostException("Early stopping needs validation rows.");
        }

        using var trainMatrix = CreateMatrix(train, settings.Threads);
        using var validationMatrix = validation is null ? null : CreateMatrix(validation, settings.Threads);
        var watched = stackalloc nint[] { trainMatrix.DangerousGetHandle(), validationMatrix?.DangerousGetHandle() ?? 0 };
        var watchedCount = validationMatrix is null ? 1UL : 2UL;
        string[] names = ["train", "validation"];

        XgboostApi.Check(XgboostApi.XGBoosterCreate(watched, watchedCount, out var native));
        using var booster = new XgboostBoosterHandle(native);
        foreach (var (name, value) in Parameters(settings))
        {
            XgboostApi.Check(XgboostApi.XGBoosterSetParam(booster, name, value));
        }

        if (settings.FeatureNames is not null)
        {
            XgboostApi.Check(XgboostApi.XGBoosterSetStrFeatureInfo(booster, "feature_name", [.. settings.FeatureNames], (ulong)train.Columns));
        }

        var best = (Round: -1, Value: double.NaN);
        var done = 0;
        for (; done < settings.Rounds; done++)
        {
            ct.ThrowIfCancellationRequested();
            XgboostApi.Check(XgboostApi.XGBoosterUpdateOneIter(booster, done, trainMatrix));
            XgboostApi.Check(XgboostApi.XGBoosterEvalOneIter(booster, done, watched, names, watchedCount, out var line));
            var metrics = ParseMetrics(Marshal.PtrToStringUTF8(line)!);
            onRound?.Invoke(new XgboostRound(done, metrics.ToDictionary()));

            if (settings.EarlyStoppingRounds is { } patience)
            {
                var (metric, value) = metrics[^1];
                if (best.Round < 0 || (IsBetterWhenHigher(metric) ? value > best.Value : value < best.Value))
                {
                    best = (done, value);
                }
                else if (done - best.Round >= patience)
                {
                    done++;
                    break;
                }
            }
        }

        GC.KeepAlive(trainMatrix);
        GC.KeepAlive(validationMatrix);
        var rounds = best.Round < 0 ? done : best.Round + 1;
        if (rounds == done)
        {
            return new XgboostBooster(XgboostBooster.Save(booster), rounds);
        }

        XgboostApi.Check(XgboostApi.XGBoosterSlice(booster, 0, rounds, 1, out var sliced));
        using var slice = new XgboostBoosterHandle(sliced);
        return new XgboostBooster(XgboostBooster.Save(slice), rounds);
    }

    internal static XgboostMatrixHandle CreateMatrix(ReadOnlySpan<float> features, int rows, int columns, int threads)
    {
        if (rows < 1 || columns < 1 || features.Length != (long)rows * columns)
        {
            throw new XgboostException($"{features.Length} values are not {rows} rows of {columns} features.");
        }

        fixed (float* data = features)
        {
            XgboostApi.Check(XgboostApi.XGDMatrixCreateFromMat_omp(data, (ulong)rows, (ulong)columns, float.NaN, out var matrix, threads));
            return new XgboostMatrixHandle(matrix);
        }
    }

    private static XgboostMatrixHandle CreateMatrix(XgboostData data, int threads)
    {
        var matrix = CreateMatrix(data.Features.Span, data.Rows, data.Columns, threads);
        try
        {
            fixed (float* labels = data.Labels.Span)
            {
                XgboostApi.Check(XgboostApi.XGDMatrixSetFloatInfo(matrix, "label", labels, (ulong)data.Rows));
            }

            return matrix;
        }
        catch
        {
            matrix.Dispose();
            throw;
        }
    }

    private static IEnumerable<(string Name, string Value)> Parameters(XgboostSettings settings)
    {
        yield return ("verbosity", "0");
        yield return ("objective", settings.Objective);
        yield return ("seed", settings.Seed.ToString(CultureInfo.InvariantCulture));
        yield return ("nthread", settings.Threads.ToString(CultureInfo.InvariantCulture));
        foreach (var metric in settings.Metrics)
        {
            yield return ("eval_metric", metric);
        }

        foreach (var (name, value) in settings.Parameters)
        {
            yield return (name, value);
        }
    }

    // "[3]\ttrain-logloss:0.61\tvalidation-logloss:0.63"
    private static List<KeyValuePair<string, double>> ParseMetrics(string line) =>
    [
        .. line.Split('\t').Skip(1).Select(part =>
        {
            var colon = part.LastIndexOf(':');
            return KeyValuePair.Create(part[..colon], double.Parse(part.AsSpan(colon + 1), NumberStyles.Float, CultureInfo.InvariantCulture));
        }),
    ];

    private static bool IsBetterWhenHigher(string metric) =>
        metric[(metric.IndexOf('-', StringComparison.Ordinal) + 1)..] is var name
        && (name.StartsWith("auc", StringComparison.Ordinal) || name.StartsWith("map", StringComparison.Ordinal)
            || name.StartsWith("ndcg", StringComparison.Ordinal) || name.StartsWith("pre@", StringComparison.Ordinal));

    private static (string Version, string Reason) Find()
    {
        try
        {
            XgboostApi.XGBoostVersion(out var major, out var minor, out var patch);
            return (string.Create(CultureInfo.InvariantCulture, $"{major}.{minor}.{patch}"), "");
        }
        catch (DllNotFoundException e)
        {
            return ("", e.Message);
        }
    }
}
