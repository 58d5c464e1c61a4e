using Slipway.Registry.Formats;

namespace Slipway.Web;

/// <summary>What the command line runs when the server starts it to try a model out.</summary>
public static class ModelTrialProgram
{
    /// <summary>The command's name; not for people.</summary>
    public const string Command = "model-trial";

    /// <summary>Reads a request from standard input and writes what was found to standard output.</summary>
    public static int Run()
    {
        using var input = Console.OpenStandardInput();
        using var output = Console.OpenStandardOutput();
        TrialChild.Run(input, output);
        return 0;
    }
}
