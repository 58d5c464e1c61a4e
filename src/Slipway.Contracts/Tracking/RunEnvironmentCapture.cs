using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace Slipway.Contracts.Tracking;

/// <summary>Captures the environment of runs computed inside this process.</summary>
public static class RunEnvironmentCapture
{
    // For all questions to git together, at the start of a run.
    private static readonly TimeSpan GitLimit = TimeSpan.FromSeconds(5);

    // Neither changes while the process lives, and both take file reads.
    private static readonly Lazy<IReadOnlyDictionary<string, string>> Packages = new(ReadPackages);
    private static readonly Lazy<string?> Cpu = new(ReadCpu);

    extension(RunEnvironment)
    {
        /// <summary>Describes this process, and the source in <paramref name="gitDirectory"/> when it lies in a git checkout.</summary>
        /// <param name="gitDirectory">Null: the source is not looked for.</param>
        /// <param name="seed">The seed of every random choice; null when none is fixed.</param>
        public static RunEnvironment Capture(string? gitDirectory, long? seed) => new(
            RuntimeInformation.OSDescription, RuntimeInformation.ProcessArchitecture.ToString(), RuntimeInformation.FrameworkDescription, Cpu.Value,
            Environment.ProcessorCount, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, ReadGpus(), Packages.Value,
            gitDirectory is null ? null : ReadGit(gitDirectory), seed);
    }

    internal static GitState? ReadGit(string directory)
    {
        var until = Stopwatch.GetTimestamp() + (long)(GitLimit.TotalSeconds * Stopwatch.Frequency);
        if (!Directory.Exists(directory) || Git(directory, until, "rev-parse", "HEAD") is not { Length: >= 40 } commit)
        {
            return null;
        }

        var branch = Git(directory, until, "symbolic-ref", "--short", "-q", "HEAD");
        var status = Git(directory, until, "status", "--porcelain", "--untracked-files=normal");
        return new GitState(commit, string.IsNullOrEmpty(branch) ? null : branch, status is null ? null : status.Length > 0, WithoutCredentials(Git(directory, until, "config", "--get", "remote.origin.url")));
    }

    internal static string? WithoutCredentials(string? url)
    {
        if (string.IsNullOrEmpty(url))
        {
            return null;
        }

        var scheme = url.IndexOf("://", StringComparison.Ordinal);
        var slash = scheme < 0 ? -1 : url.IndexOf('/', scheme + 3);
        var at = scheme < 0 ? -1 : url.LastIndexOf('@', slash < 0 ? url.Length - 1 : slash);
        return at > scheme && at >= 0 ? url[..(scheme + 3)] + url[(at + 1)..] : url;
    }

    // Null when git is missing, fails, or takes too long (a huge checkout, a dead network drive).
    private static string? Git(string directory, long until, params string[] arguments)
    {
        var start = new ProcessStartInfo("git") { WorkingDirectory = directory, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["GIT_OPTIONAL_LOCKS"] = "0"; // Looking must not touch the user's index.
        start.Environment["LC_ALL"] = "C";
        try
        {
            using var process = Process.Start(start)!;
            process.ErrorDataReceived += (_, _) => { };
            process.BeginErrorReadLine();
            var output = process.StandardOutput.ReadToEndAsync();
            var left = Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), until);
            if (!process.WaitForExit(left > TimeSpan.Zero ? left : TimeSpan.Zero))
            {
                process.Kill(entireProcessTree: true);
                return null;
            }

            return process.ExitCode == 0 ? output.GetAwaiter().GetResult().Trim() : null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null; // No git here.
        }
    }

    private static string? ReadCpu()
    {
        if (!File.Exists("/proc/cpuinfo"))
        {
            return Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER");
        }

        return File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':', 2)[1].Trim();
    }

    private static string[] ReadGpus() =>
        Directory.Exists("/proc/driver/nvidia/gpus")
            ? [.. Directory.EnumerateDirectories("/proc/driver/nvidia/gpus").Select(gpu => Path.Combine(gpu, "information")).Where(File.Exists)
                .Select(file => File.ReadLines(file).FirstOrDefault(line => line.StartsWith("Model:", StringComparison.Ordinal))?.Split(':', 2)[1].Trim() ?? "NVIDIA")]
            : [];

    // The program's deps.json names every package with its version; assemblies loaded from elsewhere are added.
    private static SortedDictionary<string, string> ReadPackages()
    {
        var packages = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var file in ((string?)AppContext.GetData("APP_CONTEXT_DEPS_FILES") ?? "").Split(';', StringSplitOptions.RemoveEmptyEntries).Where(File.Exists))
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(file));
            if (document.RootElement.TryGetProperty("libraries", out var libraries))
            {
                foreach (var parts in libraries.EnumerateObject().Select(library => library.Name.Split('/')).Where(parts => parts.Length == 2))
                {
                    packages[parts[0]] = parts[1];
                }
            }
        }

        foreach (var name in AppDomain.CurrentDomain.GetAssemblies().Where(assembly => !assembly.IsDynamic).Select(assembly => assembly.GetName()))
        {
            packages.TryAdd(name.Name ?? "", name.Version?.ToString() ?? "");
        }

        return packages;
    }
}
