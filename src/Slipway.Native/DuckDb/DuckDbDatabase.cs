using System.Globalization;

namespace Slipway.Native.DuckDb;

/// <summary>How a database is opened.</summary>
public sealed record DuckDbOptions
{
    /// <summary>Upper bound of memory, for example <c>1GB</c>; null leaves DuckDB's 80 % of the machine.</summary>
    public string? MemoryLimit { get; init; }

    /// <summary>Worker threads; null takes one per processor.</summary>
    public int? Threads { get; init; }

    /// <summary>Where operators spill when the memory limit is reached; null leaves DuckDB's choice.</summary>
    public string? TempDirectory { get; init; }

    /// <summary>Opens an existing file without the right to write.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>When set, SQL may read and write files in these folders only, and may not change settings. For SQL written by others.</summary>
    public IReadOnlyList<string>? AllowedDirectories { get; init; }
}

/// <summary>A DuckDB database in a file or in memory. Open several connections for several threads.</summary>
public sealed class DuckDbDatabase : IDisposable
{
    private readonly Lazy<DuckDbDatabaseHandle> handle;

    private DuckDbDatabase(Func<DuckDbDatabaseHandle> open) => handle = new Lazy<DuckDbDatabaseHandle>(open);

    /// <summary>Version of the loaded library, for example <c>v1.5.6</c>.</summary>
    public static string LibraryVersion => DuckDbApi.Text(DuckDbApi.duckdb_library_version());

    /// <summary>Opens <paramref name="path"/>, or a new database in memory for <c>:memory:</c>.</summary>
    /// <exception cref="DuckDbException">The file is not a database, is locked, or an option is not understood.</exception>
    public static DuckDbDatabase Open(string path, DuckDbOptions? options = null)
    {
        var database = new DuckDbDatabase(() => OpenHandle(path, options ?? new DuckDbOptions()));
        _ = database.handle.Value;
        return database;
    }

    /// <summary>Opens a new database in memory.</summary>
    public static DuckDbDatabase OpenInMemory(DuckDbOptions? options = null) => Open(":memory:", options);

    /// <summary>
    /// A database in memory that opens with its first connection: a server that nobody asks for data neither loads the library
    /// (40 MB) nor waits for it.
    /// </summary>
    public static DuckDbDatabase InMemoryOnFirstUse(DuckDbOptions options) => new(() => OpenHandle(":memory:", options));

    /// <summary>Opens a connection. It outlives the database object if need be.</summary>
    public DuckDbConnection Connect() => Connect(handle.Value);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (handle.IsValueCreated)
        {
            handle.Value.Dispose();
        }
    }

    private static DuckDbDatabaseHandle OpenHandle(string path, DuckDbOptions options)
    {
        Check(DuckDbApi.duckdb_create_config(out var config), "configuration");
        try
        {
            // Extensions are neither downloaded nor loaded behind the user's back; Parquet, JSON and ICU are built in.
            Set(config, "autoinstall_known_extensions", "false");
            Set(config, "autoload_known_extensions", "false");
            SetIfGiven(config, "memory_limit", options.MemoryLimit);
            SetIfGiven(config, "threads", options.Threads?.ToString(CultureInfo.InvariantCulture));
            SetIfGiven(config, "temp_directory", options.TempDirectory);
            SetIfGiven(config, "access_mode", options.ReadOnly ? "READ_ONLY" : null);

            if (DuckDbApi.duckdb_open_ext(path, out var database, config, out var error) != 0)
            {
                throw new DuckDbException(DuckDbApi.TakeText(error));
            }

            var opened = new DuckDbDatabaseHandle(database);
            try
            {
                Configure(opened, options);
                return opened;
            }
            catch
            {
                opened.Dispose();
                throw;
            }
        }
        finally
        {
            DuckDbApi.duckdb_destroy_config(ref config);
        }
    }

    private static DuckDbConnection Connect(DuckDbDatabaseHandle handle)
    {
        Check(DuckDbApi.duckdb_connect(handle, out var connection), "connection");
        return new DuckDbConnection(new DuckDbConnectionHandle(connection));
    }

    private static void Configure(DuckDbDatabaseHandle handle, DuckDbOptions options)
    {
        using var connection = Connect(handle);

        // Timestamps are UTC everywhere; the machine's zone must not change what a cast means.
        connection.Execute("SET GLOBAL TimeZone = 'UTC'");
        if (options.AllowedDirectories is { } folders)
        {
            var list = string.Join(", ", folders.Select(f => DuckDbLiteral.Quote(Path.TrimEndingDirectorySeparator(Path.GetFullPath(f)) + Path.DirectorySeparatorChar)));
            connection.Execute($"SET allowed_directories = [{list}]");
            connection.Execute("SET enable_external_access = false");
            connection.Execute("SET lock_configuration = true");
        }
    }

    private static void SetIfGiven(nint config, string name, string? value)
    {
        if (value is not null)
        {
            Set(config, name, value);
        }
    }

    private static void Set(nint config, string name, string value)
    {
        if (DuckDbApi.duckdb_set_config(config, name, value) != 0)
        {
            throw new DuckDbException($"DuckDB does not accept '{value}' for its option '{name}'.");
        }
    }

    private static void Check(int state, string what)
    {
        if (state != 0)
        {
            throw new DuckDbException($"DuckDB could not make a {what}.");
        }
    }
}
