using System.Globalization;
using System.Text.Json;
using Slipway.Native.Onnx;

namespace Slipway.Native.Trees;

/// <summary>XGBoost's model in JSON or UBJ. https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html</summary>
public sealed class XgboostModel : TreeModel
{
    private readonly List<Tree> _trees = [];
    private readonly double[] _margins;
    private readonly TreeLink _link;

    private XgboostModel(JsonElement root)
    {
        var learner = root.GetProperty("learner");
        var parameters = learner.GetProperty("learner_model_param");
        Features = Integer(parameters, "num_feature");
        Outputs = Math.Max(1, parameters.TryGetProperty("num_class", out _) ? Integer(parameters, "num_class") : 0);
        if (Features < 1 || Outputs > 10_000)
        {
            throw new OnnxException($"The XGBoost model has {Features} features and {Outputs} classes, which no model has.");
        }

        if (parameters.TryGetProperty("num_target", out _) && Integer(parameters, "num_target") > 1)
        {
            throw Unsupported("several targets; train one model per target");
        }

        var objective = learner.GetProperty("objective").GetProperty("name").GetString();
        _link = objective switch
        {
            "binary:logistic" or "reg:logistic" => TreeLink.Sigmoid,
            "reg:squarederror" => TreeLink.Identity,
            "multi:softprob" => TreeLink.Softmax,
            "count:poisson" or "reg:gamma" or "reg:tweedie" => TreeLink.Exponential,
            _ => throw Unsupported($"objective {objective}; train with binary:logistic, reg:squarederror, multi:softprob, reg:logistic, count:poisson, reg:gamma or reg:tweedie"),
        };
        _margins = Margins(parameters.GetProperty("base_score"), Outputs, _link);
        Framework = root.TryGetProperty("version", out var version) && version.ValueKind == JsonValueKind.Array
            ? $"xgboost {string.Join('.', version.EnumerateArray().Select(part => part.GetRawText()))}"
            : "xgboost";
        FeatureNames = learner.TryGetProperty("feature_names", out var names) && names.GetArrayLength() == Features
            ? [.. names.EnumerateArray().Select(name => name.GetString()!)]
            : [.. Enumerable.Range(0, Features).Select(DefaultName)];

        var booster = learner.GetProperty("gradient_booster");
        if (booster.GetProperty("name").GetString() is var kind and not "gbtree")
        {
            throw Unsupported($"booster {kind}; train with gbtree");
        }

        var model = booster.GetProperty("model");
        int[] classes = [.. model.GetProperty("tree_info").EnumerateArray().Select(info => info.GetInt32())];
        foreach (var tree in model.GetProperty("trees").EnumerateArray())
        {
            var target = _trees.Count < classes.Length ? classes[_trees.Count] : 0;
            _trees.Add(new Tree(tree, _trees.Count, Features, target >= 0 && target < Outputs ? target : throw new OnnxException($"Tree {_trees.Count} adds to class {target} of {Outputs}.")));
        }
    }

    /// <inheritdoc/>
    public override string Framework { get; }

    /// <inheritdoc/>
    public override int Features { get; }

    /// <inheritdoc/>
    public override int Outputs { get; }

    /// <inheritdoc/>
    public override int Trees => _trees.Count;

    /// <inheritdoc/>
    public override IReadOnlyList<string> FeatureNames { get; }

    /// <summary>Whether the beginning of a file is that of an XGBoost model in JSON or UBJ.</summary>
    public static bool IsOne(ReadOnlySpan<byte> head)
    {
        var text = head.TrimStart(" \t\r\n"u8);
        return text is [(byte)'{', ..] && text[..Math.Min(text.Length, 4096)].IndexOf("learner"u8) >= 0;
    }

    /// <summary>Reads a model.</summary>
    /// <exception cref="OnnxException">The bytes are not such a model, or of a kind that has no equal in ONNX here; the message says which.</exception>
    public static XgboostModel Read(ReadOnlyMemory<byte> model)
    {
        try
        {
            var text = model.Span.TrimStart(" \t\r\n"u8);

            // JSON's object goes on with a quote or white space, UBJ's with the marker of its first key's length.
            var json = text is [(byte)'{', (byte)'i' or (byte)'U' or (byte)'I' or (byte)'l' or (byte)'L', ..] ? UbjReader.ToJson(text) : model;
            using var document = JsonDocument.Parse(json);
            return new XgboostModel(document.RootElement);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or FormatException or InvalidOperationException or OverflowException)
        {
            throw new OnnxException("The bytes are not an XGBoost model in JSON or UBJ: " + e.Message, e);
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
        for (var i = 0; i < _trees.Count; i++)
        {
            _trees[i].WriteTo(writer, i);
        }

        return writer.ToBytes("xgboost_trees", names, [.. _margins.Select(margin => (float)margin)], _link);
    }

    /// <inheritdoc/>
    public override void Predict(ReadOnlySpan<float> row, Span<double> output)
    {
        _margins.CopyTo(output);
        foreach (var tree in _trees)
        {
            output[tree.Target] += tree.Leaf(row);
        }

        switch (_link)
        {
            case TreeLink.Sigmoid: output[0] = Sigmoid(output[0]); break;
            case TreeLink.Exponential: output[0] = Math.Exp(output[0]); break;
            case TreeLink.Softmax: Softmax(output[..Outputs]); break;
        }
    }

    private protected override IEnumerable<(int Feature, float Value)> Splits() => _trees.SelectMany(tree => tree.Splits());

    // "5E-1" up to version 2, "[5E-1]" or one value per class from 3 on. The file keeps the score as users see it; trees add to its margin.
    private static double[] Margins(JsonElement baseScore, int outputs, TreeLink link)
    {
        double[] scores = [.. baseScore.GetString()!.Trim('[', ']').Split(',').Select(text => double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture))];
        if (scores.Length != 1 && scores.Length != outputs)
        {
            throw Unsupported("several targets; train one model per target");
        }

        return
        [
            .. Enumerable.Range(0, outputs).Select(i => scores[scores.Length == 1 ? 0 : i]).Select(score => link switch
            {
                TreeLink.Sigmoid => Math.Log(score / (1 - score)),
                TreeLink.Exponential => Math.Log(score),
                _ => score,
            }),
        ];
    }

    private static int Integer(JsonElement parameters, string name) => int.Parse(parameters.GetProperty(name).GetString()!, CultureInfo.InvariantCulture);

    private static OnnxException Unsupported(string what) => new($"An XGBoost model with {what} cannot be written as ONNX here.");

    private sealed class Tree
    {
        private readonly int[] _left;
        private readonly int[] _right;
        private readonly int[] _features;
        private readonly bool[] _defaultLeft;
        private readonly float[] _values; // A split's condition, or a leaf's weight.

        internal Tree(JsonElement tree, int number, int features, int target)
        {
            if (tree.TryGetProperty("split_type", out var splitTypes) && splitTypes.EnumerateArray().Any(type => type.GetInt32() != 0))
            {
                throw Unsupported("categorical splits; encode the categories as numbers");
            }

            if (tree.TryGetProperty("tree_param", out var parameters) && parameters.TryGetProperty("size_leaf_vector", out var size) && size.GetString() is not ("0" or "1"))
            {
                throw Unsupported("several values per leaf; train with multi_strategy one_output_per_tree");
            }

            Target = target;
            _left = Integers(tree, "left_children");
            _right = Integers(tree, "right_children");
            _features = Integers(tree, "split_indices");
            _defaultLeft = [.. Integers(tree, "default_left").Select(flag => flag != 0)];
            _values = [.. tree.GetProperty("split_conditions").EnumerateArray().Select(value => value.GetSingle())];
            var nodes = _left.Length;
            if (nodes == 0 || _right.Length != nodes || _features.Length != nodes || _defaultLeft.Length != nodes || _values.Length != nodes
                || _features.Where((feature, node) => _left[node] >= 0 && (uint)feature >= (uint)features).Any())
            {
                throw new OnnxException($"Tree {number} of the XGBoost model has lists of different lengths or splits on a feature that the model has not.");
            }

            CheckShape(_left, _right, $"Tree {number} of the XGBoost model");
        }

        internal int Target { get; }

        internal float Leaf(ReadOnlySpan<float> row)
        {
            var node = 0;
            while (_left[node] >= 0)
            {
                var value = row[_features[node]];
                node = (float.IsNaN(value) ? _defaultLeft[node] : value < _values[node]) ? _left[node] : _right[node];
            }

            return _values[node];
        }

        internal IEnumerable<(int Feature, float Value)> Splits()
        {
            for (var node = 0; node < _left.Length; node++)
            {
                if (_left[node] >= 0)
                {
                    yield return (_features[node], _values[node]);
                }
            }
        }

        // Pruned nodes stay in XGBoost's lists; only those that the root leads to are written.
        internal void WriteTo(TreeOnnxWriter writer, int id)
        {
            var waiting = new Stack<int>([0]);
            while (waiting.TryPop(out var node))
            {
                if (_left[node] < 0)
                {
                    writer.AddLeaf(id, node, _values[node], Target);
                    continue;
                }

                // Left is taken where x < condition, and for a missing x where the split says so.
                writer.AddBranch(id, node, "BRANCH_LT", _features[node], _values[node], _left[node], _right[node], _defaultLeft[node]);
                waiting.Push(_right[node]);
                waiting.Push(_left[node]);
            }
        }

        // default_left is written as true and false by some versions, as 1 and 0 by others.
        private static int[] Integers(JsonElement tree, string name) =>
        [
            .. tree.GetProperty(name).EnumerateArray().Select(e => e.ValueKind switch
            {
                JsonValueKind.True => 1,
                JsonValueKind.False => 0,
                _ => e.GetInt32(),
            }),
        ];
    }
}
