using System.Globalization;
using System.Text;
using Slipway.Native.Onnx;

namespace Slipway.Native.Trees;

/// <summary>LightGBM's model as text, the form that <c>save_model</c> writes. https://github.com/microsoft/LightGBM/blob/master/include/LightGBM/tree.h</summary>
public sealed class LightgbmModel : TreeModel
{
    // kZeroThreshold: where zero is missing, this near to it counts as zero.
    private const float ZeroWidth = 1e-35f;

    private readonly List<Tree> _trees = [];
    private readonly TreeLink _link;
    private readonly double _scale = 1;

    private LightgbmModel(Dictionary<string, string> header, List<Dictionary<string, string>> trees)
    {
        Features = Integer(header, "max_feature_idx") + 1;
        Outputs = Integer(header, "num_tree_per_iteration");
        FeatureNames = header.GetValueOrDefault("feature_names", "").Split(' ', StringSplitOptions.RemoveEmptyEntries) is { } names && names.Length == Features
            ? names
            : [.. Enumerable.Range(0, Math.Max(0, Features)).Select(DefaultName)];
        if (Features < 1 || Outputs is < 1 or > 10_000)
        {
            throw new OnnxException($"The LightGBM model has {Features} features and {Outputs} outputs, which no model has.");
        }

        if (header.ContainsKey("average_output"))
        {
            throw Unsupported("averaged trees (boosting rf); train with boosting gbdt");
        }

        var objective = header.GetValueOrDefault("objective", "").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        (_link, _scale) = objective switch
        {
            ["regression" or "regression_l1" or "huber" or "fair" or "quantile" or "mape"] => (TreeLink.Identity, 1d),
            ["binary", .. var settings] => (TreeLink.Sigmoid, Sigmoid(settings)),
            ["multiclassova", .. var settings] => (TreeLink.Sigmoid, Sigmoid(settings)),
            ["cross_entropy"] => (TreeLink.Sigmoid, 1d),
            ["multiclass", ..] => (TreeLink.Softmax, 1d),
            ["poisson" or "gamma" or "tweedie", ..] => (TreeLink.Exponential, 1d),
            [] => throw Unsupported("a custom objective, whose link is not in the file; train with a built-in one"),
            _ => throw Unsupported($"objective {string.Join(' ', objective)}; train with regression, binary, multiclass, multiclassova, cross_entropy, poisson, gamma or tweedie"),
        };
        foreach (var tree in trees)
        {
            _trees.Add(new Tree(tree, _trees.Count, Features));
        }
    }

    /// <inheritdoc/>
    public override string Framework => "lightgbm"; // The file names its format's version, not the library's.

    /// <inheritdoc/>
    public override int Features { get; }

    /// <inheritdoc/>
    public override int Outputs { get; }

    /// <inheritdoc/>
    public override int Trees => _trees.Count;

    /// <inheritdoc/>
    public override IReadOnlyList<string> FeatureNames { get; }

    /// <summary>Whether the beginning of a file is that of a LightGBM model.</summary>
    public static bool IsOne(ReadOnlySpan<byte> head) =>
        head.StartsWith("tree"u8) && head[4..] is [(byte)'\r' or (byte)'\n', ..] && head[..Math.Min(head.Length, 4096)].IndexOf("num_tree_per_iteration="u8) >= 0;

    /// <summary>Reads a model.</summary>
    /// <exception cref="OnnxException">The bytes are not such a model, or of a kind that has no equal in ONNX here; the message says which.</exception>
    public static LightgbmModel Read(ReadOnlyMemory<byte> model)
    {
        var header = new Dictionary<string, string>(StringComparer.Ordinal);
        var trees = new List<Dictionary<string, string>>();
        var section = header;
        foreach (var range in Encoding.UTF8.GetString(model.Span).Split('\n'))
        {
            var line = range.TrimEnd('\r');
            if (line == "end of trees")
            {
                break;
            }

            if (line.StartsWith("Tree=", StringComparison.Ordinal))
            {
                trees.Add(section = new Dictionary<string, string>(StringComparer.Ordinal));
                continue;
            }

            var separator = line.IndexOf('=', StringComparison.Ordinal);
            section[separator < 0 ? line : line[..separator]] = separator < 0 ? "" : line[(separator + 1)..];
        }

        try
        {
            return new LightgbmModel(header, trees);
        }
        catch (Exception e) when (e is KeyNotFoundException or FormatException or OverflowException)
        {
            throw new OnnxException("The bytes are not a LightGBM model as text: " + e.Message, e);
        }
    }

    /// <inheritdoc/>
    public override byte[] ToOnnx(IReadOnlyList<string>? featureNames = null)
    {
        var names = featureNames ?? FeatureNames;
        if (names.Count != Features)
        {
            throw new OnnxException($"The model has {Features} features; {names.Count} names were given.");
        }

        var writer = new TreeOnnxWriter();
        var zeroWidth = new float[Features];
        Array.Fill(zeroWidth, -1);
        var other = new bool[Features];
        for (var i = 0; i < _trees.Count; i++)
        {
            _trees[i].WriteTo(writer, i, i % Outputs, zeroWidth, other);
        }

        if (zeroWidth.Zip(other).Any(column => column.First >= 0 && column.Second))
        {
            throw Unsupported("a feature of which some splits count zero as missing and others do not");
        }

        return writer.ToBytes("lightgbm_trees", names, new float[Outputs], _link, (float)_scale, zeroWidth.Any(width => width >= 0) ? zeroWidth : null);
    }

    /// <inheritdoc/>
    public override void Predict(ReadOnlySpan<float> row, Span<double> output)
    {
        output[..Outputs].Clear();
        for (var i = 0; i < _trees.Count; i++)
        {
            output[i % Outputs] += _trees[i].Leaf(row);
        }

        switch (_link)
        {
            case TreeLink.Softmax: Softmax(output[..Outputs]); break;
            case TreeLink.Sigmoid:
            case TreeLink.Exponential:
                foreach (ref var margin in output[..Outputs])
                {
                    margin = _link == TreeLink.Sigmoid ? Sigmoid(_scale * margin) : Math.Exp(margin);
                }

                break;
        }
    }

    private protected override IEnumerable<(int Feature, float Value)> Splits() => _trees.SelectMany(tree => tree.Splits());

    private static double Sigmoid(IEnumerable<string> settings) =>
        settings.FirstOrDefault(setting => setting.StartsWith("sigmoid:", StringComparison.Ordinal)) is { } sigmoid
            ? double.Parse(sigmoid.AsSpan("sigmoid:".Length), NumberStyles.Float, CultureInfo.InvariantCulture)
            : 1;

    private static int Integer(Dictionary<string, string> section, string key) => int.Parse(section[key], CultureInfo.InvariantCulture);

    private static OnnxException Unsupported(string what) => new($"A LightGBM model with {what} cannot be written as ONNX here.");

    // Inner nodes are numbered from 0; a negative child is the leaf of its complement.
    private sealed class Tree
    {
        private const int Categorical = 1;
        private const int DefaultLeft = 2;
        private const int ZeroIsMissing = 1;
        private const int NanIsMissing = 2;

        private readonly int[] _left;
        private readonly int[] _right;
        private readonly int[] _features;
        private readonly int[] _decisions;
        private readonly double[] _thresholds;
        private readonly double[] _leaves;

        internal Tree(Dictionary<string, string> tree, int number, int features)
        {
            if (tree.GetValueOrDefault("is_linear", "0") != "0")
            {
                throw Unsupported("linear trees (linear_tree); train without them");
            }

            _leaves = Numbers(tree, "leaf_value");
            var leaves = Integer(tree, "num_leaves");
            var inner = leaves - 1;
            _left = inner > 0 ? Integers(tree, "left_child") : [];
            _right = inner > 0 ? Integers(tree, "right_child") : [];
            _features = inner > 0 ? Integers(tree, "split_feature") : [];
            _decisions = inner > 0 ? Integers(tree, "decision_type") : [];
            _thresholds = inner > 0 ? Numbers(tree, "threshold") : [];
            if (_decisions.Any(decision => (decision & Categorical) != 0))
            {
                throw Unsupported("categorical splits; encode the categories as numbers");
            }

            if (leaves < 1 || _leaves.Length != leaves || _left.Length != inner || _right.Length != inner || _features.Length != inner
                || _decisions.Length != inner || _thresholds.Length != inner || _features.Any(feature => (uint)feature >= (uint)features))
            {
                throw new OnnxException($"Tree {number} of the LightGBM model has lists of different lengths or splits on a feature that the model has not.");
            }

            CheckShape(
                [.. _left.Select(NodeId), .. Enumerable.Repeat(-1, leaves)], [.. _right.Select(NodeId), .. Enumerable.Repeat(-1, leaves)],
                $"Tree {number} of the LightGBM model");
        }

        internal double Leaf(ReadOnlySpan<float> row)
        {
            if (_left.Length == 0)
            {
                return _leaves[0];
            }

            var node = 0;
            while (node >= 0)
            {
                double value = row[_features[node]];
                var missing = _decisions[node] >> 2 & 3;
                if (double.IsNaN(value) && missing != NanIsMissing)
                {
                    value = 0;
                }

                var isMissing = missing == ZeroIsMissing ? Math.Abs(value) <= ZeroWidth : missing == NanIsMissing && double.IsNaN(value);
                node = (isMissing ? (_decisions[node] & DefaultLeft) != 0 : value <= _thresholds[node]) ? _left[node] : _right[node];
            }

            return _leaves[~node];
        }

        internal IEnumerable<(int Feature, float Value)> Splits() => _features.Zip(_thresholds, (feature, threshold) => (feature, Below(threshold)));

        internal void WriteTo(TreeOnnxWriter writer, int id, int target, float[] zeroWidth, bool[] zeroIsValue)
        {
            for (var node = 0; node < _left.Length; node++)
            {
                var missing = _decisions[node] >> 2 & 3;
                if (missing == ZeroIsMissing)
                {
                    zeroWidth[_features[node]] = ZeroWidth;
                }
                else
                {
                    zeroIsValue[_features[node]] = true;
                }

                // Where nothing is missing, a NaN counts as zero.
                var missingIsLeft = missing is ZeroIsMissing or NanIsMissing ? (_decisions[node] & DefaultLeft) != 0 : 0 <= _thresholds[node];
                writer.AddBranch(id, node, "BRANCH_LEQ", _features[node], Below(_thresholds[node]), NodeId(_left[node]), NodeId(_right[node]), missingIsLeft);
            }

            for (var leaf = 0; leaf < _leaves.Length; leaf++)
            {
                writer.AddLeaf(id, _left.Length + leaf, (float)_leaves[leaf], target);
            }
        }

        private int NodeId(int child) => child >= 0 ? child : _left.Length + ~child;

        // Thresholds are doubles and rows are floats: x <= t holds for exactly the floats up to the largest one that is not above t.
        private static float Below(double threshold)
        {
            var rounded = (float)threshold;
            return rounded > threshold ? MathF.BitDecrement(rounded) : rounded;
        }

        private static int[] Integers(Dictionary<string, string> tree, string key) =>
            [.. tree[key].Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(text => int.Parse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture))];

        private static double[] Numbers(Dictionary<string, string> tree, string key) =>
            [.. tree[key].Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(text => double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture))];
    }
}
