using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace Slipway.Client.Runs;

/// <summary>Asks <c>nvidia-smi</c> for what the GPUs do; a machine without it is not asked twice.</summary>
internal sealed class NvidiaSmi(string program)
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);
    private bool _missing;

    /// <summary>Figures by name without <c>system/</c>; none when there is no GPU or the program hangs.</summary>
    public IReadOnlyList<(string Name, double Value)> Read() => _missing ? [] : Parse(Run());

    /// <summary>Reads lines of index, utilization, memory used and total (MiB), power drawn and its limit (W). What a card does not know is left out.</summary>
    internal static IReadOnlyList<(string Name, double Value)> Parse(string text)
    {
        var figures = new List<(string, double)>();
        foreach (var fields in text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(',', StringSplitOptions.TrimEntries)).Where(fields => fields.Length == 6))
        {
            var values = fields.Select(field => double.TryParse(field, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value : double.NaN).ToArray();
            Add($"gpu_{fields[0]}_utilization_percentage", values[1]);
            Add($"gpu_{fields[0]}_memory_usage_megabytes", values[2] * 1024 * 1024 / 1e6);
            Add($"gpu_{fields[0]}_memory_usage_percentage", 100 * values[2] / values[3]);
            Add($"gpu_{fields[0]}_power_usage_watts", values[4]);
            Add($"gpu_{fields[0]}_power_usage_percentage", 100 * values[4] / values[5]);
        }

        return figures;

        void Add(string name, double value)
        {
            if (double.IsFinite(value))
            {
                figures.Add((name, value));
            }
        }
    }

    private string Run()
    {
        var start = new ProcessStartInfo(program, ["--query-gpu=index,utilization.gpu,memory.used,memory.total,power.draw,power.limit", "--format=csv,noheader,nounits"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        try
        {
            using var process = Process.Start(start)!;
            process.ErrorDataReceived += (_, _) => { };
            process.BeginErrorReadLine();
            var output = process.StandardOutput.ReadToEndAsync();
            if (process.WaitForExit(Limit))
            {
                _missing = process.ExitCode != 0; // No driver: it will not come while the run goes.
                return _missing ? "" : output.GetAwaiter().GetResult();
            }

            process.Kill(entireProcessTree: true);
            return "";
        }
        catch (Win32Exception)
        {
            _missing = true;
            return "";
        }
    }
}
