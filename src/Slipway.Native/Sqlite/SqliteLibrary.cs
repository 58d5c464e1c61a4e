namespace Slipway.Native.Sqlite;

/// <summary>Chooses the SQLite library.</summary>
public static class SqliteLibrary
{
    /// <summary>Makes SQLite usable; calling it again changes nothing.</summary>
    public static void Initialize() => SQLitePCL.Batteries_V2.Init();
}
