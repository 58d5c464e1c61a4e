using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Registry;

/// <summary>Names versions in lineage and audit.</summary>
public static class ModelVersionNode
{
    extension(ModelVersionRecord version)
    {
        /// <summary>The version's node, <c>name@version</c>.</summary>
        public NodeRef Node => Of(version.Model, version.Version);
    }

    /// <summary>The node of a version by its parts.</summary>
    public static NodeRef Of(string model, string version) => new(NodeKinds.ModelVersion, $"{model}@{version}");
}
