namespace Slipway.Native.Onnx;

/// <summary>A node as a model file holds it.</summary>
/// <param name="Bytes">The whole message.</param>
/// <param name="Op">The operator.</param>
/// <param name="Domain">Its operator set; empty for the standard one.</param>
/// <param name="Inputs">Names; an empty one stands for an input left out.</param>
/// <param name="Outputs">Names.</param>
/// <remarks>Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto</remarks>
internal sealed record OnnxNode(byte[] Bytes, string Op, string Domain, IReadOnlyList<string> Inputs, IReadOnlyList<string> Outputs)
{
    internal bool IsStandard => Domain is "" or "ai.onnx";

    /// <summary>Whether a graph within it, such as a loop's body, may look outward.</summary>
    internal bool HoldsGraph
    {
        get
        {
            for (var reader = new ProtobufReader(Bytes); reader.Next();)
            {
                if (reader.Field == 5 && HasGraph(reader.Bytes))
                {
                    return true;
                }
            }

            return false;
        }
    }

    internal static OnnxNode Parse(ReadOnlySpan<byte> bytes)
    {
        string op = "", domain = "";
        var inputs = new List<string>();
        var outputs = new List<string>();
        for (var reader = new ProtobufReader(bytes); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1: inputs.Add(reader.Text); break;
                case 2: outputs.Add(reader.Text); break;
                case 4: op = reader.Text; break;
                case 7: domain = reader.Text; break;
            }
        }

        return new OnnxNode(bytes.ToArray(), op, domain, inputs, outputs);
    }

    /// <summary>An integer attribute.</summary>
    internal long Integer(string attribute, long otherwise)
    {
        for (var reader = new ProtobufReader(Attribute(attribute)); reader.Next();)
        {
            if (reader.Field == 3)
            {
                return (long)reader.Number;
            }
        }

        return otherwise;
    }

    /// <summary>A float attribute.</summary>
    internal float Number(string attribute, float otherwise)
    {
        for (var reader = new ProtobufReader(Attribute(attribute)); reader.Next();)
        {
            if (reader.Field == 2)
            {
                return BitConverter.UInt32BitsToSingle((uint)reader.Number);
            }
        }

        return otherwise;
    }

    /// <summary>An attribute's message; empty when the node has none of this name.</summary>
    internal ReadOnlySpan<byte> Attribute(string name)
    {
        for (var reader = new ProtobufReader(Bytes); reader.Next();)
        {
            if (reader.Field != 5)
            {
                continue;
            }

            for (var attribute = new ProtobufReader(reader.Bytes); attribute.Next();)
            {
                if (attribute.Field == 1 && attribute.Text == name)
                {
                    return reader.Bytes;
                }
            }
        }

        return default;
    }

    private static bool HasGraph(ReadOnlySpan<byte> attribute)
    {
        for (var reader = new ProtobufReader(attribute); reader.Next();)
        {
            if (reader.Field is 6 or 11)
            {
                return true;
            }
        }

        return false;
    }
}
