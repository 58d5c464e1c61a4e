using Slipway.Native.DuckDb;

namespace Slipway.Tests.Datasets;

/// <summary>Makes small Parquet files from SQL.</summary>
internal static class ParquetFiles
{
    public static byte[] From(string select)
    {
        var path = Path.Combine(Path.GetTempPath(), $"slipway-test-{Guid.NewGuid():N}.parquet");
        try
        {
            using var database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 1 });
            using var connection = database.Connect();
            connection.Execute($"COPY ({select}) TO {DuckDbLiteral.Quote(path)} (FORMAT parquet)");
            return File.ReadAllBytes(path);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
