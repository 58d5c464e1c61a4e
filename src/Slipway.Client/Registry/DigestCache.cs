using System.Globalization;
using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Client.Registry;

/// <summary>Digests of files that were sent before, so that a broken upload goes on where it stopped without reading them again.</summary>
/// <remarks>An entry holds while the file's length and time of last write are the same; losing the cache costs time only.</remarks>
internal sealed class DigestCache
{
    private const int EntriesMax = 10_000;

    private readonly string _path;
    private readonly Dictionary<string, string> _entries;

    private DigestCache(string path, Dictionary<string, string> entries) => (_path, _entries) = (path, entries);

    public static DigestCache Load(string? folder)
    {
        folder ??= Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "slipway");
        var path = Path.Combine(folder, "sent-files.json");
        try
        {
            return new DigestCache(path, JsonSerializer.Deserialize<Dictionary<string, string>>(File.ReadAllBytes(path), JsonDefaults.Options) ?? []);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return new DigestCache(path, []);
        }
    }

    public string? Find(FileInfo file)
    {
        lock (_entries)
        {
            return _entries.TryGetValue(file.FullName, out var entry) && entry.StartsWith(Mark(file), StringComparison.Ordinal) ? entry[^64..] : null;
        }
    }

    public void Add(FileInfo file, string sha256)
    {
        lock (_entries)
        {
            if (_entries.Count >= EntriesMax)
            {
                _entries.Clear();
            }

            _entries[file.FullName] = Mark(file) + sha256;
            try
            {
                Directory.CreateDirectory(Path.GetDirectoryName(_path)!);
                var temporary = _path + Guid.NewGuid().ToString("N");
                File.WriteAllBytes(temporary, JsonSerializer.SerializeToUtf8Bytes(_entries, JsonDefaults.Options));
                File.Move(temporary, _path, overwrite: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // A home that cannot be written to, as in a container: the next upload reads the file again.
            }
        }
    }

    private static string Mark(FileInfo file) => string.Create(CultureInfo.InvariantCulture, $"{file.Length} {file.LastWriteTimeUtc.Ticks} ");
}
