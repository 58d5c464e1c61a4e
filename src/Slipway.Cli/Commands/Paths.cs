namespace Slipway.Cli.Commands;

/// <summary>Paths of the server's routes.</summary>
internal static class Paths
{
    public static string Model(string model) => $"models/{Uri.EscapeDataString(model)}";

    public static string Version(string model, string version) => $"{Model(model)}/versions/{Uri.EscapeDataString(version)}";
}
