using System.Text.Json;
using Slipway.Native.Trees;

namespace Slipway.Native.Onnx;

/// <summary>
/// Writes trained models as ONNX: one input <c>features</c> float[-1, n], one output <c>probability</c> float[-1, 1]
/// (the predicted value itself for a regression).
/// </summary>
public static class OnnxConverters
{
    /// <summary>Name of the input.</summary>
    public const string InputName = "features";

    /// <summary>Name of the output.</summary>
    public const string OutputName = "probability";

    /// <summary>Metadata key under which the feature names are kept, as a JSON array in column order.</summary>
    public const string FeatureNamesKey = "slipway.features";

    /// <summary>
    /// A logistic regression over standardised features: sigmoid(intercept + Σ coefficient · (x − mean) / scale). A missing
    /// value (NaN) counts as the feature's mean, so that it adds nothing.
    /// </summary>
    /// <param name="featureNames">One name per feature, in column order.</param>
    /// <param name="means">One per feature.</param>
    /// <param name="scales">One per feature; 0, a feature that never varied, counts as 1.</param>
    /// <param name="coefficients">One per feature, for the standardised value.</param>
    /// <param name="intercept">The log-odds at the means.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static byte[] LogisticRegression(
        IReadOnlyList<string> featureNames,
        ReadOnlySpan<double> means,
        ReadOnlySpan<double> scales,
        ReadOnlySpan<double> coefficients,
        double intercept)
    {
        var n = featureNames.Count;
        if (means.Length != n || scales.Length != n || coefficients.Length != n)
        {
            throw new ArgumentException(
                $"{n} feature names need as many means, scales and coefficients; there are {means.Length}, {scales.Length} and {coefficients.Length}.",
                nameof(featureNames));
        }

        float[] mean = new float[n], factor = new float[n], weight = new float[n];
        for (var i = 0; i < n; i++)
        {
            mean[i] = (float)means[i];
            factor[i] = (float)(1 / (scales[i] == 0 ? 1 : scales[i]));
            weight[i] = (float)coefficients[i];
        }

        return new OnnxModelWriter("logistic_regression")
            .AddInput(InputName, OnnxElementType.Float, -1, n)
            .AddOutput(OutputName, OnnxElementType.Float, -1, 1)
            .AddInitializer("mean", mean, n)
            .AddInitializer("factor", factor, n)
            .AddInitializer("weight", weight, n, 1)
            .AddInitializer("intercept", [(float)intercept], 1)
            .AddNode("IsNaN", [InputName], ["missing"])
            .AddNode("Where", ["missing", "mean", InputName], ["complete"])
            .AddNode("Sub", ["complete", "mean"], ["centred"])
            .AddNode("Mul", ["centred", "factor"], ["standardised"])
            .AddNode("Gemm", ["standardised", "weight", "intercept"], ["log_odds"])
            .AddNode("Sigmoid", ["log_odds"], [OutputName])
            .AddMetadata(FeatureNamesKey, JsonSerializer.Serialize(featureNames))
            .ToBytes();
    }

    /// <summary>Boosted trees from XGBoost's JSON or UBJ model.</summary>
    /// <param name="modelJson">As <c>XGBoosterSaveModelToBuffer</c> writes it with format json.</param>
    /// <param name="featureNames">One name per feature, in column order; null takes the names in the model, or f0, f1, ….</param>
    /// <exception cref="OnnxException">The model is of a kind that has no equal in ONNX here; the message says which.</exception>
    public static byte[] XgboostTrees(ReadOnlyMemory<byte> modelJson, IReadOnlyList<string>? featureNames = null) =>
        XgboostModel.Read(modelJson).ToOnnx(featureNames);

    /// <summary>
    /// The same model made slow on purpose, to drill a latency fault: each run also multiplies dense matrices, whose product
    /// times zero is added to the first output. Outputs stay equal.
    /// </summary>
    /// <param name="model">A model whose first output is float.</param>
    /// <param name="width">Rows and columns of each matrix; 256 costs about one millisecond a run, 512 about ten.</param>
    /// <param name="multiplications">How many products in a row.</param>
    public static byte[] WithBallast(ReadOnlySpan<byte> model, int width, int multiplications = 4) =>
        OnnxBallast.Add(model, width, multiplications);
}
