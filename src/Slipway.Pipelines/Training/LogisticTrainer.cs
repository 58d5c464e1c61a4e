using System.Globalization;
using System.Text.Json;
using MathNet.Numerics.LinearAlgebra;
using MathNet.Numerics.Optimization;
using Slipway.Contracts;
using Slipway.Native.Onnx;

namespace Slipway.Pipelines.Training;

/// <summary>Settings of <see cref="LogisticTrainer"/>.</summary>
/// <param name="L2">Strength of the ridge penalty on the standardised coefficients, per row.</param>
/// <param name="Iterations">Steps at most.</param>
internal sealed record LogisticSettings(double L2, int Iterations);

/// <summary>Logistic regression by limited-memory BFGS over standardised features; a missing value counts as the feature's mean.</summary>
internal sealed class LogisticTrainer(LogisticSettings settings) : ITrainer
{
    // Sums over a fixed number of blocks, added in order: the same bits on any number of processors.
    private const int Blocks = 64;

    public string Name => "logistic_regression";

    public string? Unavailable => null;

    public TrainedModel Train(LabelledMatrix train, LabelledMatrix validation, long seed, Action<double, string> progress, CancellationToken cancellationToken)
    {
        var (means, scales) = Moments(train);
        var curves = new List<(string, int, double)>();
        var best = (Loss: double.PositiveInfinity, Weights: new double[train.Columns + 1]);
        (double, Vector<double>) Evaluate(Vector<double> weights)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var point = weights.ToArray();
            var (loss, gradient) = LossAndGradient(train, means, scales, point, settings.L2);
            if (loss < best.Loss)
            {
                best = (loss, point);
            }

            curves.Add(("train_loss", curves.Count, loss));
            progress(Math.Min(1, curves.Count / (settings.Iterations * 1.5)), $"logistic regression, step {curves.Count}, loss {loss:0.00000}");
            return (loss, Vector<double>.Build.DenseOfArray(gradient));
        }

        try
        {
            new LimitedMemoryBfgsMinimizer(gradientTolerance: 1e-5, parameterTolerance: 1e-7, functionProgressTolerance: 1e-8, memory: 8, maximumIterations: settings.Iterations)
                .FindMinimum(ObjectiveFunction.Gradient(Evaluate), Vector<double>.Build.Dense(train.Columns + 1));
        }
        catch (Exception e) when (e is MaximumIterationsException or OptimizationException && double.IsFinite(best.Loss))
        {
            // Out of steps, or no further descent within rounding: the best point seen is the answer.
        }

        var coefficients = best.Weights.AsSpan(0, train.Columns);
        var onnx = OnnxConverters.LogisticRegression(train.Names, means, scales, coefficients, best.Weights[^1]);
        return new TrainedModel(
            onnx,
            new Dictionary<string, string>
            {
                ["trainer"] = Name,
                ["l2"] = settings.L2.ToString(CultureInfo.InvariantCulture),
                ["iterations_max"] = settings.Iterations.ToString(CultureInfo.InvariantCulture),
                ["evaluations"] = curves.Count.ToString(CultureInfo.InvariantCulture),
            },
            curves,
            new Dictionary<string, byte[]>
            {
                ["coefficients.json"] = JsonSerializer.SerializeToUtf8Bytes(
                    new
                    {
                        Intercept = best.Weights[^1],
                        Coefficients = train.Names.Zip(coefficients.ToArray()).ToDictionary(pair => pair.First, pair => pair.Second),
                        Means = train.Names.Zip(means).ToDictionary(pair => pair.First, pair => pair.Second),
                        Scales = train.Names.Zip(scales).ToDictionary(pair => pair.First, pair => pair.Second),
                    },
                    JsonDefaults.Options),
            });
    }

    private static (double[] Means, double[] Scales) Moments(LabelledMatrix train)
    {
        var (means, scales) = (new double[train.Columns], new double[train.Columns]);
        for (var column = 0; column < train.Columns; column++)
        {
            double sum = 0, squares = 0;
            long count = 0;
            for (var i = column; i < train.Values.Length; i += train.Columns)
            {
                if (!float.IsNaN(train.Values[i]))
                {
                    sum += train.Values[i];
                    count++;
                }
            }

            var mean = count == 0 ? 0 : sum / count;
            for (var i = column; i < train.Values.Length; i += train.Columns)
            {
                if (!float.IsNaN(train.Values[i]))
                {
                    var difference = train.Values[i] - mean;
                    squares += difference * difference;
                }
            }

            // Rounded to what the model file holds, so that training sees the numbers that serving will.
            means[column] = (float)mean;
            scales[column] = count < 2 || squares == 0 ? 1 : Math.Sqrt(squares / (count - 1));
        }

        return (means, scales);
    }

    /// <summary>Mean log loss plus ridge, and its gradient; the last weight is the intercept, which is not penalised.</summary>
    private static (double Loss, double[] Gradient) LossAndGradient(LabelledMatrix rows, double[] means, double[] scales, double[] weights, double l2)
    {
        var columns = rows.Columns;
        var (losses, gradients) = (new double[Blocks], new double[Blocks][]);
        Parallel.For(0, Blocks, block =>
        {
            var gradient = new double[columns + 1];
            Span<double> standardised = stackalloc double[columns];
            double loss = 0;
            var end = (int)((long)rows.Rows * (block + 1) / Blocks);
            for (var row = (int)((long)rows.Rows * block / Blocks); row < end; row++)
            {
                var values = rows.Values.AsSpan(row * columns, columns);
                var margin = weights[columns];
                for (var column = 0; column < columns; column++)
                {
                    var value = float.IsNaN(values[column]) ? 0 : (values[column] - means[column]) / scales[column];
                    standardised[column] = value;
                    margin += weights[column] * value;
                }

                // log(1 + e^-|m|) form: no overflow on either side.
                var tail = Math.Exp(-Math.Abs(margin));
                var probability = margin >= 0 ? 1 / (1 + tail) : tail / (1 + tail);
                var label = rows.Labels[row] ? 1.0 : 0.0;
                loss += Math.Log(1 + tail) + (margin >= 0 ? (1 - label) * margin : -label * margin);
                var error = probability - label;
                for (var column = 0; column < columns; column++)
                {
                    gradient[column] += error * standardised[column];
                }

                gradient[columns] += error;
            }

            losses[block] = loss;
            gradients[block] = gradient;
        });

        var total = new double[columns + 1];
        var sum = 0.0;
        for (var block = 0; block < Blocks; block++)
        {
            sum += losses[block];
            for (var column = 0; column <= columns; column++)
            {
                total[column] += gradients[block][column];
            }
        }

        sum /= rows.Rows;
        for (var column = 0; column <= columns; column++)
        {
            total[column] /= rows.Rows;
            if (column < columns)
            {
                total[column] += l2 * weights[column];
                sum += 0.5 * l2 * weights[column] * weights[column];
            }
        }

        return (sum, total);
    }
}
