using System.Globalization;
using System.Text.Json;

namespace Slipway.Native.Onnx;

/// <summary>XGBoost's JSON model as a TreeEnsembleRegressor. https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html</summary>
internal static class XgboostConverter
{
    internal static byte[] Convert(ReadOnlyMemory<byte> modelJson, IReadOnlyList<string>? featureNames)
    {
        try
        {
            using var document = JsonDocument.Parse(modelJson);
            return Convert(document.RootElement.GetProperty("learner"), featureNames);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or FormatException or InvalidOperationException)
        {
            throw new OnnxException("The bytes are not an XGBoost model in JSON: " + e.Message, e);
        }
    }

    private static byte[] Convert(JsonElement learner, IReadOnlyList<string>? featureNames)
    {
        var parameters = learner.GetProperty("learner_model_param");
        var objective = learner.GetProperty("objective").GetProperty("name").GetString();
        var baseScore = ParseBaseScore(parameters.GetProperty("base_score").GetString()!);
        var features = int.Parse(parameters.GetProperty("num_feature").GetString()!, CultureInfo.InvariantCulture);

        // The base score is kept as the user sees it; the trees add to its margin.
        var (baseMargin, isProbability) = objective switch
        {
            "binary:logistic" => (Math.Log(baseScore / (1 - baseScore)), true),
            "reg:squarederror" => (baseScore, false),
            _ => throw Unsupported($"objective {objective}; train with binary:logistic or reg:squarederror"),
        };

        var booster = learner.GetProperty("gradient_booster");
        if (booster.GetProperty("name").GetString() is var kind and not "gbtree")
        {
            throw Unsupported($"booster {kind}; train with gbtree");
        }

        var trees = new TreeNodes();
        var treeId = 0;
        foreach (var tree in booster.GetProperty("model").GetProperty("trees").EnumerateArray())
        {
            trees.Add(tree, treeId++);
        }

        var names = featureNames ?? Names(learner, features);
        if (names.Count != features)
        {
            throw new OnnxException($"The model has {features} features; {names.Count} names were given.");
        }

        // A booster may have no trees yet; ONNX wants at least one node.
        if (treeId == 0)
        {
            trees.AddLeaf(0, 0, 0);
        }

        var margin = isProbability ? "margin" : OnnxConverters.OutputName;
        var writer = new OnnxModelWriter("xgboost_trees")
            .AddInput(OnnxConverters.InputName, OnnxElementType.Float, -1, features)
            .AddOutput(OnnxConverters.OutputName, OnnxElementType.Float, -1, 1)
            .AddNode(
                OnnxModelWriter.MachineLearningDomain,
                "TreeEnsembleRegressor",
                [OnnxConverters.InputName],
                [margin],
                [.. trees.Attributes(), OnnxAttribute.Floats("base_values", [(float)baseMargin])]);
        if (isProbability)
        {
            writer.AddNode("Sigmoid", [margin], [OnnxConverters.OutputName]);
        }

        return writer.AddMetadata(OnnxConverters.FeatureNamesKey, JsonSerializer.Serialize(names)).ToBytes();
    }

    // "5E-1" up to version 2, "[5E-1]" from 3 on.
    private static double ParseBaseScore(string text)
    {
        var number = text.Trim('[', ']');
        return number.Contains(',', StringComparison.Ordinal)
            ? throw Unsupported("several targets; train one model per target")
            : double.Parse(number, NumberStyles.Float, CultureInfo.InvariantCulture);
    }

    private static List<string> Names(JsonElement learner, int features) =>
        learner.TryGetProperty("feature_names", out var names) && names.GetArrayLength() == features
            ? [.. names.EnumerateArray().Select(n => n.GetString()!)]
            : [.. Enumerable.Range(0, features).Select(i => string.Create(CultureInfo.InvariantCulture, $"f{i}"))];

    private static OnnxException Unsupported(string what) => new($"An XGBoost model with {what} cannot be written as ONNX here.");

    /// <summary>The parallel arrays of the operator's attributes.</summary>
    private sealed class TreeNodes
    {
        private readonly List<long> treeIds = [];
        private readonly List<long> nodeIds = [];
        private readonly List<long> featureIds = [];
        private readonly List<float> values = [];
        private readonly List<string> modes = [];
        private readonly List<long> trueIds = [];
        private readonly List<long> falseIds = [];
        private readonly List<long> missingTrue = [];
        private readonly List<long> targetTreeIds = [];
        private readonly List<long> targetNodeIds = [];
        private readonly List<float> targetWeights = [];

        internal void Add(JsonElement tree, int treeId)
        {
            if (tree.TryGetProperty("split_type", out var splitTypes) && splitTypes.EnumerateArray().Any(t => t.GetInt32() != 0))
            {
                throw Unsupported("categorical splits; encode the categories as numbers");
            }

            long[] left = Integers(tree, "left_children"), right = Integers(tree, "right_children");
            long[] features = Integers(tree, "split_indices"), defaultLeft = Integers(tree, "default_left");
            float[] conditions = [.. tree.GetProperty("split_conditions").EnumerateArray().Select(c => c.GetSingle())];
            for (var node = 0; node < left.Length; node++)
            {
                if (left[node] < 0)
                {
                    AddLeaf(treeId, node, conditions[node]);
                    continue;
                }

                // Left is taken where x < condition, and for a missing x where the split says so.
                AddNode(treeId, node, "BRANCH_LT", features[node], conditions[node], left[node], right[node], defaultLeft[node]);
            }
        }

        internal void AddLeaf(int treeId, int node, float weight)
        {
            AddNode(treeId, node, "LEAF", feature: 0, value: 0, trueId: 0, falseId: 0, missingIsTrue: 0);
            targetTreeIds.Add(treeId);
            targetNodeIds.Add(node);
            targetWeights.Add(weight);
        }

        internal OnnxAttribute[] Attributes() =>
        [
            OnnxAttribute.Int("n_targets", 1),
            OnnxAttribute.Ints("nodes_treeids", treeIds),
            OnnxAttribute.Ints("nodes_nodeids", nodeIds),
            OnnxAttribute.Ints("nodes_featureids", featureIds),
            OnnxAttribute.Floats("nodes_values", values),
            OnnxAttribute.Strings("nodes_modes", modes),
            OnnxAttribute.Ints("nodes_truenodeids", trueIds),
            OnnxAttribute.Ints("nodes_falsenodeids", falseIds),
            OnnxAttribute.Ints("nodes_missing_value_tracks_true", missingTrue),
            OnnxAttribute.Ints("target_treeids", targetTreeIds),
            OnnxAttribute.Ints("target_nodeids", targetNodeIds),
            OnnxAttribute.Ints("target_ids", new long[targetWeights.Count]),
            OnnxAttribute.Floats("target_weights", targetWeights),
        ];

        private void AddNode(
            int treeId, int node, string mode, long feature, float value, long trueId, long falseId, long missingIsTrue)
        {
            treeIds.Add(treeId);
            nodeIds.Add(node);
            modes.Add(mode);
            featureIds.Add(feature);
            values.Add(value);
            trueIds.Add(trueId);
            falseIds.Add(falseId);
            missingTrue.Add(missingIsTrue);
        }

        // default_left is written as true and false by some versions, as 1 and 0 by others.
        private static long[] Integers(JsonElement tree, string name) =>
        [
            .. tree.GetProperty(name).EnumerateArray().Select(e => e.ValueKind switch
            {
                JsonValueKind.True => 1,
                JsonValueKind.False => 0,
                _ => e.GetInt64(),
            }),
        ];
    }
}
