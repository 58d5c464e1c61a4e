using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Registry.Formats;

/// <summary>Runs a model in a child process: the program's own <c>model-trial</c> command.</summary>
public static class ModelTrial
{
    /// <summary>The hidden command that <see cref="TrialChild"/> answers.</summary>
    internal const string Command = "model-trial";

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);
    private static readonly ConcurrentDictionary<string, bool> Survived = new(StringComparer.Ordinal);

    /// <summary>
    /// Loads and runs an ONNX file once in a process of its own, before this one does: what brings the runtime down would take the server with it.
    /// Content that was survived once is not tried again.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="sha256">Of its content.</param>
    /// <param name="cancellationToken">Ends the trial.</param>
    /// <returns>Why it may not be loaded here, a clause without a full stop; null when it may. A machine that starts no processes tries nothing.</returns>
    public static async Task<string?> FindFaultAsync(string path, string sha256, CancellationToken cancellationToken)
    {
        if (Survived.ContainsKey(sha256))
        {
            return null;
        }

        var result = await RunAsync(new TrialRequest(path, Measure: false, Once: true), cancellationToken);
        if (result.Fault is not null && !result.IsUntried)
        {
            return result.Fault.TrimEnd('.').Split('\n')[0];
        }

        Survived[sha256] = true;
        return null;
    }

    /// <summary>The child's result; its fault says so when it crashed, ran too long or could not be started.</summary>
    internal static async Task<TrialResult> RunAsync(TrialRequest request, CancellationToken cancellationToken)
    {
        using var process = new Process { StartInfo = Start() };
        try
        {
            process.Start();
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return new TrialResult { Fault = $"the process for the trial could not be started: {e.Message}", IsUntried = true };
        }

        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(Limit);
        try
        {
            // Read while writing: a child that fails early must not leave this side waiting for room in the pipe.
            var errors = process.StandardError.ReadToEndAsync(limit.Token);
            var output = ReadAsync(process.StandardOutput.BaseStream, limit.Token);
            try
            {
                await JsonSerializer.SerializeAsync(process.StandardInput.BaseStream, request, JsonDefaults.Options, limit.Token);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // The child has gone; its exit says why.
            }

            var bytes = await output;
            await process.WaitForExitAsync(limit.Token);
            _ = await errors;
            return process.ExitCode == 0
                ? JsonSerializer.Deserialize<TrialResult>(bytes, JsonDefaults.Options)!
                : new TrialResult { Fault = string.Create(CultureInfo.InvariantCulture, $"the runtime crashed on it (exit code {process.ExitCode})"), IsCrash = true };
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return new TrialResult { Fault = $"the trial took longer than {Limit.TotalSeconds:0} seconds", IsCrash = true };
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
    }

    private static async Task<byte[]> ReadAsync(Stream stream, CancellationToken cancellationToken)
    {
        var bytes = new MemoryStream();
        await stream.CopyToAsync(bytes, cancellationToken);
        return bytes.ToArray();
    }

    // By the .NET host that runs this process: the program's own starter may be missing where only its library was laid beside a caller.
    private static ProcessStartInfo Start()
    {
        var host = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../../dotnet"));
        var library = Path.Combine(AppContext.BaseDirectory, "slipway.dll");
        var start = File.Exists(host) && File.Exists(library) ? new ProcessStartInfo(host, ["exec", library, Command]) : new ProcessStartInfo(Environment.ProcessPath!, [Command]);
        start.RedirectStandardInput = start.RedirectStandardOutput = start.RedirectStandardError = true;
        start.Environment["DOTNET_gcServer"] = "0"; // The memory measured is the model's, not a heap per core.
        start.Environment["DOTNET_DbgEnableMiniDump"] = "0";
        return start;
    }
}
