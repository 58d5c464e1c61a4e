using System.Data.Common;
using Microsoft.Data.Sqlite;
using Slipway.Native.Sqlite;

namespace Slipway.Web;

/// <summary>Another program's SQLite file, read with the library of this process.</summary>
public static class SqliteFile
{
    /// <summary>A closed connection that can read and nothing else, while the other program goes on writing.</summary>
    public static DbConnection ToRead(string path)
    {
        SqliteLibrary.Initialize();
        return new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = SqliteOpenMode.ReadOnly, Pooling = false, DefaultTimeout = 30 }.ToString());
    }
}
