using System.Globalization;
using System.Text;
using System.Text.Json;
using Slipway.Contracts.Registry;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Slipway.Registry.Mlflow;

/// <summary>What a model folder's <c>MLmodel</c> file says: read as plain YAML, whose tags make nothing.</summary>
/// <param name="Signature">In requests' terms; none when it declares none.</param>
/// <param name="Flavors">By which libraries the model can be loaded.</param>
internal sealed record MlmodelFile(ModelSignature Signature, IReadOnlyList<string> Flavors)
{
    public const string Name = "MLmodel";

    /// <summary>Longer ones are not read: MLflow's own are a few kilobytes.</summary>
    public const long SizeMax = 1 << 20;

    private const int DepthMax = 50;
    private const int FieldsMax = 10_000;

    public static MlmodelFile None { get; } = new(ModelSignature.None, []);

    /// <summary>Reads the file; null when it is not one.</summary>
    public static MlmodelFile? Parse(byte[] content)
    {
        try
        {
            var text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(content);
            var yaml = new YamlStream();
            if (!IsPlain(text))
            {
                return null;
            }

            yaml.Load(new StringReader(text));
            if (yaml.Documents is not [{ RootNode: YamlMappingNode root }])
            {
                return null;
            }

            var flavors = Child(root, "flavors") is YamlMappingNode known ? known.Children.Keys.OfType<YamlScalarNode>().Select(key => key.Value ?? "").ToList() : [];
            var signature = Child(root, "signature") as YamlMappingNode;
            return new MlmodelFile(
                new ModelSignature(Fields(Child(signature, "inputs"), "input"), Fields(Child(signature, "outputs"), "output")), flavors);
        }
        catch (Exception e) when (e is YamlException or DecoderFallbackException or JsonException or FormatException or InvalidOperationException or ArgumentException)
        {
            return null;
        }
    }

    // Nodes are read by recursion, and compared by all that is below them: neither depth nor what aliases multiply is left to the writer.
    private static bool IsPlain(string text)
    {
        var depth = 0;
        for (var parser = new Parser(new StringReader(text)); parser.MoveNext();)
        {
            depth += parser.Current!.NestingIncrease;
            if (depth > DepthMax || parser.Current is YamlDotNet.Core.Events.AnchorAlias)
            {
                return false;
            }
        }

        return true;
    }

    private static YamlNode? Child(YamlMappingNode? node, string name) => node is null ? null : node.Children.FirstOrDefault(child => child.Key is YamlScalarNode key && key.Value == name).Value;

    // MLflow keeps each schema as a text of JSON: columns of a table, or tensors.
    private static List<SignatureField> Fields(YamlNode? node, string noun)
    {
        if (node is not YamlScalarNode { Value: { Length: > 0 } json })
        {
            return [];
        }

        using var document = JsonDocument.Parse(json);
        var fields = new List<SignatureField>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        if (document.RootElement.ValueKind is not JsonValueKind.Array)
        {
            return []; // "null", which stands for no schema.
        }

        foreach (var (index, column) in document.RootElement.EnumerateArray().Take(FieldsMax).Index())
        {
            var name = Text(column, "name") is { Length: > 0 } given ? given : string.Create(CultureInfo.InvariantCulture, $"{noun}_{index}");
            if (!names.Add(name))
            {
                throw new FormatException($"Two columns are named '{name}'.");
            }

            var optional = column.TryGetProperty("required", out var required) && required.ValueKind is JsonValueKind.False;
            fields.Add(column.TryGetProperty("tensor-spec", out var tensor)
                ? new SignatureField(name, TensorType(Text(tensor, "dtype")), [.. tensor.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64())], optional)
                : new SignatureField(name, ColumnType(Text(column, "type")), [-1, 1], optional));
        }

        return fields;
    }

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind is JsonValueKind.String ? value.GetString() : null;

    private static string ColumnType(string? type) => type switch
    {
        "boolean" => "BOOL",
        "integer" => "INT32",
        "long" => "INT64",
        "float" => "FP32",
        "double" => "FP64",
        _ => "BYTES", // Texts, bytes and times; objects and lists travel as JSON.
    };

    private static string TensorType(string? type) => type switch
    {
        "bool" => "BOOL",
        "float16" => "FP16",
        "float32" => "FP32",
        "float64" => "FP64",
        "int8" or "int16" or "int32" or "int64" or "uint8" or "uint16" or "uint32" or "uint64" => type.ToUpperInvariant(),
        _ => "BYTES",
    };
}
