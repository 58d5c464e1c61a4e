using System.Runtime.InteropServices;

namespace Slipway.Native.Xgboost;

/// <summary>A trained model: JSON bytes, from which predictions are made.</summary>
/// <param name="json">As XGBoost's own save_model writes it.</param>
/// <param name="rounds">Trees kept.</param>
public sealed unsafe class XgboostBooster(byte[] json, int rounds)
{
    /// <summary>The model in XGBoost's JSON.</summary>
    public ReadOnlyMemory<byte> Json { get; } = json;

    /// <summary>Rounds kept: up to the best one with early stopping.</summary>
    public int Rounds { get; } = rounds;

    /// <summary>Predicts with XGBoost itself: probabilities for binary:logistic.</summary>
    /// <param name="features">Row-major, rows × features; NaN is a missing value.</param>
    /// <param name="rows">At least 1.</param>
    public float[] Predict(ReadOnlySpan<float> features, int rows) => Predict(features, rows, outputs: 1);

    /// <summary>As the other overload, for a model that answers with several values per row.</summary>
    /// <param name="features">Row-major, rows × features; NaN is a missing value.</param>
    /// <param name="rows">At least 1.</param>
    /// <param name="outputs">Values per row.</param>
    public float[] Predict(ReadOnlySpan<float> features, int rows, int outputs)
    {
        using var booster = Load();
        using var matrix = XgboostTrainer.CreateMatrix(features, rows, rows < 1 ? 0 : features.Length / rows, threads: 1);
        const string Config = """{"type":0,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":false}""";
        XgboostApi.Check(XgboostApi.XGBoosterPredictFromDMatrix(booster, matrix, Config, out var shape, out var rank, out var result));
        ulong values = 1;
        for (ulong i = 0; i < rank; i++)
        {
            values *= shape[i];
        }

        return values == (ulong)rows * (ulong)outputs
            ? new ReadOnlySpan<float>(result, checked((int)values)).ToArray()
            : throw new XgboostException($"XGBoost answers {rows} rows with {values} values, not with {outputs} each.");
    }

    /// <summary>Mean gain of the splits on each feature; features never split on are left out.</summary>
    public IReadOnlyDictionary<string, double> Importance()
    {
        using var booster = Load();
        XgboostApi.Check(XgboostApi.XGBoosterFeatureScore(
            booster, """{"importance_type":"gain"}""", out var count, out var features, out _, out _, out var scores));
        var gains = new Dictionary<string, double>();
        for (var i = 0; i < (int)count; i++)
        {
            gains[Marshal.PtrToStringUTF8(features[i])!] = scores[i];
        }

        return gains;
    }

    /// <summary>The model in XGBoost's binary form, UBJ.</summary>
    public byte[] ToUbj()
    {
        using var booster = Load();
        return Save(booster, """{"format":"ubj"}""");
    }

    internal static byte[] Save(XgboostBoosterHandle booster, string config = """{"format":"json"}""")
    {
        XgboostApi.Check(XgboostApi.XGBoosterSaveModelToBuffer(booster, config, out var length, out var bytes));
        return new ReadOnlySpan<byte>(bytes, checked((int)length)).ToArray();
    }

    private XgboostBoosterHandle Load()
    {
        XgboostApi.Check(XgboostApi.XGBoosterCreate(null, 0, out var native));
        var booster = new XgboostBoosterHandle(native);
        try
        {
            fixed (byte* bytes = Json.Span)
            {
                XgboostApi.Check(XgboostApi.XGBoosterLoadModelFromBuffer(booster, bytes, (ulong)Json.Length));
            }

            return booster;
        }
        catch
        {
            booster.Dispose();
            throw;
        }
    }
}
