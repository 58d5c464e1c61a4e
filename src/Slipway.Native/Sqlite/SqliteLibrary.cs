using System.Runtime.InteropServices;
using SQLitePCL;

namespace Slipway.Native.Sqlite;

/// <summary>Chooses the SQLite library of this process: the system's where it is newer, the bundled one otherwise.</summary>
/// <remarks>
/// The bundle is 3.35.5, which lacks STRICT tables (3.37): the migrations leave the word out there. Debian 12 ships 3.40.1.
/// <c>SLIPWAY_SQLITE=bundled</c> takes the bundle even so.
/// </remarks>
public static class SqliteLibrary
{
    // https://www.sqlite.org/c3ref/c_config_covering_index_scan.html
    private const int ConfigMultithread = 2;
    private const int ConfigMemoryStatus = 9;

    private static readonly Lazy<string> Chosen = new(Choose);

    /// <summary>Call before the first connection opens; further calls do nothing.</summary>
    public static void Initialize() => _ = Chosen.Value;

    /// <summary>Which library is in use and its version, for example <c>SQLite 3.40.1 (system)</c>.</summary>
    public static string Description => Chosen.Value;

    private static string Choose()
    {
        var provider = typeof(SQLite3Provider_e_sqlite3).Assembly;
        var hasBundle = NativeLibrary.TryLoad("e_sqlite3", provider, null, out var bundle);
        string[] systemNames = OperatingSystem.IsMacOS() ? ["libsqlite3.dylib"] : OperatingSystem.IsLinux() ? ["libsqlite3.so.0"] : [];
        var system = systemNames.Select(name => NativeLibrary.TryLoad(name, out var library) ? library : 0).FirstOrDefault();

        var wantsBundle = hasBundle && Environment.GetEnvironmentVariable("SLIPWAY_SQLITE") == "bundled";
        var useSystem = system != 0 && !wantsBundle && (!hasBundle || VersionNumber(system) > VersionNumber(bundle));
        var library = useSystem ? system : bundle;
        if (library == 0)
        {
            throw new DllNotFoundException("No SQLite library was found; on Debian: apt-get install libsqlite3-0.");
        }

        NativeLibrary.SetDllImportResolver(provider, (name, _, _) => name == "e_sqlite3" ? library : 0);
        raw.SetProvider(new SQLite3Provider_e_sqlite3());
        // Every connection of ours is used by one thread at a time, and nobody asks how much memory SQLite takes: it need not lock for either.
        _ = raw.sqlite3_config(ConfigMultithread);
        _ = raw.sqlite3_config(ConfigMemoryStatus, 0);
        return $"SQLite {raw.sqlite3_libversion().utf8_to_string()} ({(useSystem ? "system" : "bundled")})";
    }

    // https://www.sqlite.org/c3ref/libversion.html
    private static unsafe int VersionNumber(nint library) =>
        ((delegate* unmanaged[Cdecl]<int>)NativeLibrary.GetExport(library, "sqlite3_libversion_number"))();
}
