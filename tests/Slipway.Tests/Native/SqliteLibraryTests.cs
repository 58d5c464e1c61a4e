using Microsoft.Data.Sqlite;
using Slipway.Native.Sqlite;

namespace Slipway.Tests.Native;

public sealed class SqliteLibraryTests
{
    [Fact]
    public void The_newest_SQLite_at_hand_is_used_and_named()
    {
        SqliteLibrary.Initialize();
        SqliteLibrary.Initialize();
        using var connection = new SqliteConnection("Data Source=:memory:");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT sqlite_version()";
        var version = (string)command.ExecuteScalar()!;

        Assert.Contains($"SQLite {version} (", SqliteLibrary.Description, StringComparison.Ordinal);

        // The bundle is 3.35.5; where the system has a newer one, it must have won.
        Assert.Equal(Version.Parse(version) > new Version(3, 35, 5), SqliteLibrary.Description.EndsWith("(system)", StringComparison.Ordinal));
        if (File.Exists("/usr/lib/x86_64-linux-gnu/libsqlite3.so.0"))
        {
            Assert.True(Version.Parse(version) >= new Version(3, 40), version);
        }
    }
}
