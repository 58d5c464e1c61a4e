using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Slipway.Cli.Import;

/// <summary>
/// The runs whose metric points were brought over whole, with their number. Only a live server needs it: a database tells how many points a
/// run has, a server only by telling them all. Losing the file costs time, nothing else.
/// </summary>
internal sealed class ImportJournal : IDisposable
{
    private readonly Dictionary<string, long> _points = new(StringComparer.Ordinal);
    private readonly StreamWriter _file;

    /// <summary>Reads the file, and adds to it from now on.</summary>
    public ImportJournal(string path)
    {
        if (File.Exists(path))
        {
            foreach (var line in File.ReadLines(path))
            {
                // The last line may have been cut off.
                if (line.Split(' ') is [{ Length: > 0 } runId, var count, "."] && long.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out var points))
                {
                    _points[runId] = points;
                }
            }
        }

        _file = new StreamWriter(path, append: true) { AutoFlush = true };
        _file.WriteLine(); // Ends a line that was cut off.
    }

    public static ImportJournal Open(string source, Uri target)
    {
        var name = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{source}\n{target}")))[..16];
        var folder = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.Create), "slipway");
        Directory.CreateDirectory(folder);
        return new ImportJournal(Path.Combine(folder, $"import-{name}.txt"));
    }

    public long? PointsOf(string runId)
    {
        lock (_points)
        {
            return _points.TryGetValue(runId, out var points) ? points : null;
        }
    }

    public void Add(string runId, long points)
    {
        lock (_points)
        {
            _points[runId] = points;
            _file.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{runId} {points} ."));
        }
    }

    public void Dispose() => _file.Dispose();
}
