using System.Globalization;

namespace Slipway.Bench;

/// <summary>A running server known by its address; its processes are found from the port it listens on.</summary>
internal sealed class ServerUnderLoad
{
    // Linux counts processor time in hundredths of a second on every platform .NET runs on.
    private const double TickMs = 10;

    private readonly List<int> _processes;
    private readonly bool _postgres;

    public ServerUnderLoad(Uri address, int? process, bool postgres)
    {
        Address = address;
        _postgres = postgres;
        // Workers share their parent's listening socket, so that each of them is found; a given process stands for itself and its children.
        _processes = process is { } given ? [given, .. Processes().Where(other => Parent(other) == given)] : Listening(address.Port);
        if (_processes.Count == 0)
        {
            throw new InvalidOperationException($"No process of this machine listens on port {address.Port}; give its id with --pid (or --pid2).");
        }
    }

    public Uri Address { get; }

    public int FirstProcess => _processes.Min();

    /// <summary>Processor time so far: the server's processes, and all of PostgreSQL's.</summary>
    public (double Server, double Database) CpuMs() =>
        (_processes.Sum(CpuMs), _postgres ? Processes().Where(process => Field(process, "Name:") == "postgres").Sum(CpuMs) : 0);

    /// <summary>Resident memory of all its processes, MiB.</summary>
    public double ResidentMiB() => _processes.Sum(process => Number(Field(process, "VmRSS:")) / 1024);

    private static List<int> Listening(int port)
    {
        var sockets = new HashSet<string>();
        foreach (var file in (string[])["/proc/net/tcp", "/proc/net/tcp6"])
        {
            if (!File.Exists(file))
            {
                continue;
            }

            foreach (var line in File.ReadLines(file).Skip(1))
            {
                var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                // State 0A is LISTEN; field 9 is the socket's inode.
                if (fields[3] == "0A" && int.Parse(fields[1].Split(':')[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture) == port)
                {
                    sockets.Add($"socket:[{fields[9]}]");
                }
            }
        }

        return [.. Processes().Where(process => Descriptors(process).Any(descriptor => sockets.Contains(descriptor)))];
    }

    private static IEnumerable<int> Processes() =>
        Directory.EnumerateDirectories("/proc").Select(Path.GetFileName).Where(name => int.TryParse(name, out _)).Select(name => int.Parse(name!, CultureInfo.InvariantCulture));

    private static List<string> Descriptors(int process)
    {
        try
        {
            return [.. Directory.EnumerateFiles($"/proc/{process}/fd").Select(file => new FileInfo(file).LinkTarget ?? "")];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return []; // It has ended, or is somebody else's.
        }
    }

    private static double CpuMs(int process)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{process}/stat");
            // The program's name stands in brackets and may hold spaces; utime and stime are fields 14 and 15 of the whole line.
            var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return (Number(fields[11]) + Number(fields[12])) * TickMs;
        }
        catch (IOException)
        {
            return 0;
        }
    }

    private static int? Parent(int process) => Field(process, "PPid:") is { } parent ? int.Parse(parent, CultureInfo.InvariantCulture) : null;

    private static string? Field(int process, string name)
    {
        try
        {
            return File.ReadLines($"/proc/{process}/status").FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))?[name.Length..].Replace("kB", "", StringComparison.Ordinal).Trim();
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static double Number(string? text) => text is null ? 0 : double.Parse(text, CultureInfo.InvariantCulture);
}
