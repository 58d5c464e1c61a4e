using System.Diagnostics;
using Slipway.Contracts;

namespace Slipway.Governance.ModelPages;

/// <summary>Commits pages to the git checkout that their folder belongs to. Never pushes, never touches another file, runs none of the checkout's hooks.</summary>
internal sealed class GitCheckout(string folder)
{
    private static readonly string[] Settings =
        ["-c", "user.name=Slipway", "-c", "user.email=slipway@localhost", "-c", "commit.gpgSign=false", "-c", "core.hooksPath=/dev/null"];

    /// <summary>Whether the folder lies in a work tree; false where there is no git.</summary>
    public async Task<bool> ExistsAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await RunAsync(["rev-parse", "--is-inside-work-tree"], cancellationToken) is (0, "true", _);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false; // No such program.
        }
    }

    /// <summary>Commits exactly these files, whatever else is changed or staged.</summary>
    /// <returns>Whether there was anything to commit.</returns>
    /// <exception cref="SlipwayException">Unavailable: git failed.</exception>
    public async Task<bool> CommitAsync(IReadOnlyList<string> files, string message, CancellationToken cancellationToken)
    {
        await DemandAsync(["add", "--", .. files], cancellationToken);
        if (await RunAsync(["diff", "--cached", "--quiet", "--", .. files], cancellationToken) is (0, _, _))
        {
            return false;
        }

        await DemandAsync([.. Settings, "commit", "--quiet", "--message", message, "--", .. files], cancellationToken);
        return true;
    }

    private async Task DemandAsync(string[] arguments, CancellationToken cancellationToken)
    {
        if (await RunAsync(arguments, cancellationToken) is not (0, _, _) and var (code, _, error))
        {
            throw new SlipwayException(ErrorCode.Unavailable, $"git {arguments.First(argument => argument is "add" or "commit")} in '{folder}' ended with {code}: {error}");
        }
    }

    private async Task<(int Code, string Output, string Error)> RunAsync(string[] arguments, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo("git", arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach (var variable in start.Environment.Keys.Where(name => name.StartsWith("GIT_", StringComparison.Ordinal)).ToList())
        {
            start.Environment.Remove(variable); // They would lead to another checkout than the folder's.
        }

        start.Environment["GIT_TERMINAL_PROMPT"] = "0";
        start.Environment["LC_ALL"] = "C";
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        try
        {
            var (output, error) = (process.StandardOutput.ReadToEndAsync(cancellationToken), process.StandardError.ReadToEndAsync(cancellationToken));
            await process.WaitForExitAsync(cancellationToken);
            return (process.ExitCode, (await output).Trim(), (await error).Trim());
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
    }
}
