using Slipway.Native.Onnx;

namespace Slipway.Native.Trees;

/// <summary>
/// A tree model read from the file of the library that trained it. It predicts by walking that file's own structures, which is slow
/// and plain on purpose: it is what a conversion to ONNX is checked against.
/// </summary>
public abstract class TreeModel
{
    private protected TreeModel()
    {
    }

    /// <summary>The library, and its version where the file says it.</summary>
    public abstract string Framework { get; }

    /// <summary>Columns of a row.</summary>
    public abstract int Features { get; }

    /// <summary>Values of an answer: 1, or one per class.</summary>
    public abstract int Outputs { get; }

    /// <summary>How many trees.</summary>
    public abstract int Trees { get; }

    /// <summary>One name per column.</summary>
    public abstract IReadOnlyList<string> FeatureNames { get; }

    /// <summary>The model as an ONNX file with the input <c>features</c> and the output <c>probability</c>; see <see cref="OnnxConverters"/>.</summary>
    public abstract byte[] ToOnnx(IReadOnlyList<string>? featureNames = null);

    /// <summary>Scores a row.</summary>
    /// <param name="row">One value per column; NaN is a missing one.</param>
    /// <param name="output">Room for <see cref="Outputs"/> values.</param>
    public abstract void Predict(ReadOnlySpan<float> row, Span<double> output);

    /// <summary>The values at which a column is split, in no order; at most <paramref name="limit"/> per column.</summary>
    public IReadOnlyList<float[]> SplitPoints(int limit)
    {
        var points = new HashSet<float>[Features];
        foreach (var (feature, value) in Splits())
        {
            var known = points[feature] ??= [];
            if (known.Count < limit)
            {
                known.Add(value);
            }
        }

        return [.. points.Select(values => values is null ? [] : values.ToArray())];
    }

    private protected abstract IEnumerable<(int Feature, float Value)> Splits();

    /// <summary>Refuses child links that leave the tree, meet or go in circles, on which a walker or the runtime would never end.</summary>
    private protected static void CheckShape(ReadOnlySpan<int> left, ReadOnlySpan<int> right, string what)
    {
        var seen = new bool[left.Length];
        var waiting = new Stack<int>([0]);
        while (waiting.TryPop(out var node))
        {
            if ((uint)node >= (uint)left.Length || seen[node])
            {
                throw new OnnxException($"{what} has a child link that leads out of it or to a node with another parent.");
            }

            seen[node] = true;
            if (left[node] >= 0)
            {
                waiting.Push(left[node]);
                waiting.Push(right[node]);
            }
        }
    }

    private protected static double Sigmoid(double margin) => 1 / (1 + Math.Exp(-margin));

    private protected static void Softmax(Span<double> margins)
    {
        var sum = 0d;
        var most = double.NegativeInfinity;
        foreach (var margin in margins)
        {
            most = Math.Max(most, margin);
        }

        foreach (ref var margin in margins)
        {
            margin = Math.Exp(margin - most);
            sum += margin;
        }

        foreach (ref var margin in margins)
        {
            margin /= sum;
        }
    }

    private protected static string DefaultName(int column) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"f{column}");
}

/// <summary>What turns the sum of the leaves into the answer.</summary>
internal enum TreeLink
{
    Identity,
    Sigmoid,
    Softmax,
    Exponential,
}
