using System.Text.Json;
using Slipway.Native.Onnx;

namespace Slipway.Native.Trees;

/// <summary>Collects the nodes of an ensemble as the parallel arrays of ONNX's TreeEnsembleRegressor, and writes the graph around it.</summary>
internal sealed class TreeOnnxWriter
{
    private readonly List<long> _treeIds = [];
    private readonly List<long> _nodeIds = [];
    private readonly List<long> _featureIds = [];
    private readonly List<float> _values = [];
    private readonly List<string> _modes = [];
    private readonly List<long> _trueIds = [];
    private readonly List<long> _falseIds = [];
    private readonly List<long> _missingTrue = [];
    private readonly List<long> _targetTreeIds = [];
    private readonly List<long> _targetNodeIds = [];
    private readonly List<long> _targetIds = [];
    private readonly List<float> _targetWeights = [];

    internal void AddBranch(int tree, int node, string mode, int feature, float value, int trueId, int falseId, bool missingIsTrue)
    {
        Add(tree, node, mode, feature, value, trueId, falseId, missingIsTrue ? 1 : 0);
    }

    internal void AddLeaf(int tree, int node, float weight, int target)
    {
        Add(tree, node, "LEAF", 0, 0, 0, 0, 0);
        _targetTreeIds.Add(tree);
        _targetNodeIds.Add(node);
        _targetIds.Add(target);
        _targetWeights.Add(weight);
    }

    /// <summary>The finished file.</summary>
    /// <param name="graph">Its name.</param>
    /// <param name="names">One per column.</param>
    /// <param name="baseValues">One per output, added to the leaves.</param>
    /// <param name="link">From the sum to the answer.</param>
    /// <param name="scale">Factor of the sum before a sigmoid.</param>
    /// <param name="zeroWidth">Per column, how far from zero a value still counts as missing; negative where zero is a value. Null when it is everywhere.</param>
    internal byte[] ToBytes(string graph, IReadOnlyList<string> names, float[] baseValues, TreeLink link, float scale = 1, float[]? zeroWidth = null)
    {
        // A booster may have no trees yet; ONNX wants at least one node.
        if (_treeIds.Count == 0)
        {
            AddLeaf(0, 0, 0, 0);
        }

        var writer = new OnnxModelWriter(graph)
            .AddInput(OnnxConverters.InputName, OnnxElementType.Float, -1, names.Count)
            .AddOutput(OnnxConverters.OutputName, OnnxElementType.Float, -1, baseValues.Length);
        var input = OnnxConverters.InputName;
        if (zeroWidth is not null)
        {
            writer.AddInitializer("zero_width", zeroWidth, names.Count)
                .AddInitializer("missing", [float.NaN], 1)
                .AddNode("Abs", [input], ["distance"])
                .AddNode("LessOrEqual", ["distance", "zero_width"], ["is_zero"])
                .AddNode("Where", ["is_zero", "missing", input], ["known"]);
            input = "known";
        }

        var sum = link == TreeLink.Identity ? OnnxConverters.OutputName : "margin";
        writer.AddNode(OnnxModelWriter.MachineLearningDomain, "TreeEnsembleRegressor", [input], [sum], [.. Attributes(baseValues)]);
        if (link == TreeLink.Sigmoid && scale != 1)
        {
            writer.AddInitializer("scale", [scale], 1).AddNode("Mul", [sum, "scale"], ["scaled"]);
            sum = "scaled";
        }

        _ = link switch
        {
            TreeLink.Sigmoid => writer.AddNode("Sigmoid", [sum], [OnnxConverters.OutputName]),
            TreeLink.Softmax => writer.AddNode("Softmax", [sum], [OnnxConverters.OutputName], OnnxAttribute.Int("axis", 1)),
            TreeLink.Exponential => writer.AddNode("Exp", [sum], [OnnxConverters.OutputName]),
            _ => writer,
        };
        return writer.AddMetadata(OnnxConverters.FeatureNamesKey, JsonSerializer.Serialize(names)).ToBytes();
    }

    private OnnxAttribute[] Attributes(float[] baseValues) =>
    [
        OnnxAttribute.Int("n_targets", baseValues.Length),
        OnnxAttribute.Ints("nodes_treeids", _treeIds),
        OnnxAttribute.Ints("nodes_nodeids", _nodeIds),
        OnnxAttribute.Ints("nodes_featureids", _featureIds),
        OnnxAttribute.Floats("nodes_values", _values),
        OnnxAttribute.Strings("nodes_modes", _modes),
        OnnxAttribute.Ints("nodes_truenodeids", _trueIds),
        OnnxAttribute.Ints("nodes_falsenodeids", _falseIds),
        OnnxAttribute.Ints("nodes_missing_value_tracks_true", _missingTrue),
        OnnxAttribute.Ints("target_treeids", _targetTreeIds),
        OnnxAttribute.Ints("target_nodeids", _targetNodeIds),
        OnnxAttribute.Ints("target_ids", _targetIds),
        OnnxAttribute.Floats("target_weights", _targetWeights),
        OnnxAttribute.Floats("base_values", baseValues),
    ];

    private void Add(long tree, long node, string mode, long feature, float value, long trueId, long falseId, long missingIsTrue)
    {
        _treeIds.Add(tree);
        _nodeIds.Add(node);
        _modes.Add(mode);
        _featureIds.Add(feature);
        _values.Add(value);
        _trueIds.Add(trueId);
        _falseIds.Add(falseId);
        _missingTrue.Add(missingIsTrue);
    }
}
