using System.Collections.Concurrent;
using Dapper;
using Microsoft.Data.Sqlite;
using Slipway.Native.Sqlite;

namespace Slipway.Storage;

/// <summary>
/// The embedded key-value store behind online features: keys and values are bytes in named spaces, newest write wins.
/// </summary>
/// <remarks>
/// A file of its own, so that refreshing a feature view never queues behind the audited writes. Values are also kept in memory:
/// a read on the request path is one dictionary lookup. Feature values can be recomputed from the offline store, so that
/// <c>synchronous=NORMAL</c> is enough here; a power cut loses at most the last refresh.
/// </remarks>
public sealed class KeyValueStore : IDisposable
{
    private readonly ConcurrentDictionary<string, ConcurrentDictionary<string, byte[]>> _spaces = new(StringComparer.Ordinal);
    private readonly SqliteConnection _connection;
    private readonly Lock _writing = new();

    /// <summary>Opens the store and loads it.</summary>
    public KeyValueStore(StorageOptions options)
    {
        SqliteLibrary.Initialize();
        PrivateFiles.CreateDirectory(options.DataDirectory);
        _connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = Path.Combine(options.DataDirectory, "online.db"), Pooling = false }.ToString());
        _connection.Open();
        _connection.Execute(
            """
            PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=10000;
            CREATE TABLE IF NOT EXISTS entries (space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (space, key)) WITHOUT ROWID;
            """);
        foreach (var (space, key, value) in _connection.Query<(string, string, byte[])>("SELECT space, key, value FROM entries", buffered: false))
        {
            Space(space)[key] = value;
        }
    }

    /// <summary>The value under a key; null when there is none. The array is shared: do not change it.</summary>
    public byte[]? Find(string space, string key) =>
        _spaces.TryGetValue(space, out var entries) && entries.TryGetValue(key, out var value) ? value : null;

    /// <summary>A space's entries, for readers that look up many keys of one space.</summary>
    public IReadOnlyDictionary<string, byte[]> Space(string space, bool create = true) =>
        create ? Space(space) : _spaces.GetValueOrDefault(space) ?? new ConcurrentDictionary<string, byte[]>();

    /// <summary>A space for lookups by characters that are not a string yet: the request path builds keys in a buffer.</summary>
    public KeyValueReader Reader(string space) => new(Space(space));

    /// <summary>Writes many entries in one transaction; readers see them once it has committed.</summary>
    public void Put(string space, IReadOnlyCollection<KeyValuePair<string, byte[]>> entries) => Write(space, entries, replace: false);

    /// <summary>As <see cref="Put"/>, and removes every other entry of the space in the same transaction.</summary>
    public void Replace(string space, IReadOnlyCollection<KeyValuePair<string, byte[]>> entries) => Write(space, entries, replace: true);

    /// <summary>Removes a whole space.</summary>
    public void Drop(string space)
    {
        lock (_writing)
        {
            _connection.Execute("DELETE FROM entries WHERE space = @space", new { space });
            Space(space).Clear(); // Not removed: readers hold it and must see what is written next.
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _connection.Dispose();

    private void Write(string space, IReadOnlyCollection<KeyValuePair<string, byte[]>> entries, bool replace)
    {
        lock (_writing)
        {
            using var transaction = _connection.BeginTransaction();
            if (replace)
            {
                _connection.Execute("DELETE FROM entries WHERE space = @space", new { space }, transaction);
            }

            using var command = _connection.CreateCommand();
            command.Transaction = transaction;
            command.CommandText = "INSERT INTO entries (space, key, value) VALUES (@space, @key, @value) ON CONFLICT (space, key) DO UPDATE SET value = excluded.value";
            command.Parameters.AddWithValue("@space", space);
            var keyParameter = command.Parameters.Add("@key", SqliteType.Text);
            var valueParameter = command.Parameters.Add("@value", SqliteType.Blob);
            foreach (var entry in entries)
            {
                keyParameter.Value = entry.Key;
                valueParameter.Value = entry.Value;
                command.ExecuteNonQuery();
            }

            transaction.Commit();

            // Still under the lock, so that memory and file agree on which of two writes is the newer.
            var target = Space(space);
            foreach (var entry in entries)
            {
                target[entry.Key] = entry.Value;
            }

            if (replace)
            {
                var kept = entries.Select(entry => entry.Key).ToHashSet(StringComparer.Ordinal);
                foreach (var key in target.Keys.Where(key => !kept.Contains(key)))
                {
                    target.TryRemove(key, out _);
                }
            }
        }
    }

    private ConcurrentDictionary<string, byte[]> Space(string space) =>
        _spaces.GetOrAdd(space, _ => new ConcurrentDictionary<string, byte[]>(StringComparer.Ordinal));
}

/// <summary>Looks up one space's entries without making a string of the key. Sees every later write.</summary>
public readonly struct KeyValueReader
{
    private readonly ConcurrentDictionary<string, byte[]>.AlternateLookup<ReadOnlySpan<char>> _entries;

    internal KeyValueReader(ConcurrentDictionary<string, byte[]> entries) => _entries = entries.GetAlternateLookup<ReadOnlySpan<char>>();

    /// <summary>The value under a key; null when there is none. The array is shared: do not change it.</summary>
    public byte[]? Find(ReadOnlySpan<char> key) => _entries.TryGetValue(key, out var value) ? value : null;
}
