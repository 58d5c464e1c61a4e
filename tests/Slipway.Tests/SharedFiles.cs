namespace Slipway.Tests;

/// <summary>Finds the folder of shared golden values, which lies beside the repository or where SLIPWAY_SHARED points.</summary>
internal static class SharedFiles
{
    public static string Root { get; } = Find();

    public static string Golden(string name) => Path.Combine(Root, "goldens", name);

    private static string Find()
    {
        if (Environment.GetEnvironmentVariable("SLIPWAY_SHARED") is { Length: > 0 } configured)
        {
            return configured;
        }

        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var shared = Path.Combine(folder.FullName, "shared");
            if (Directory.Exists(Path.Combine(shared, "goldens")))
            {
                return shared;
            }
        }

        throw new DirectoryNotFoundException(
            $"No folder above {AppContext.BaseDirectory} has a child 'shared/goldens'; set SLIPWAY_SHARED to the folder that holds 'goldens'.");
    }
}
