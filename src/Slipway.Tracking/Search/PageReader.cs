using Dapper;
using Microsoft.Data.Sqlite;

namespace Slipway.Tracking.Search;

/// <summary>Reads one page of row ids whose query selects <c>id</c> and then the keyset's values.</summary>
internal static class PageReader
{
    /// <returns>At most <paramref name="max"/> ids, and the token of the next page or null.</returns>
    public static (List<long> Ids, string? Next) Read(SqliteConnection connection, string text, SqlParts sql, int max, string fingerprint)
    {
        var ids = new List<long>();
        object?[] last = [];
        using var reader = connection.ExecuteReader(text, sql.Parameters);
        while (reader.Read())
        {
            if (ids.Count == max)
            {
                return (ids, PageToken.Encode(fingerprint, last));
            }

            ids.Add(reader.GetInt64(0));
            last = new object?[reader.FieldCount - 1];
            for (var i = 0; i < last.Length; i++)
            {
                last[i] = reader.IsDBNull(i + 1) ? null : reader.GetValue(i + 1);
            }
        }

        return (ids, null);
    }
}
