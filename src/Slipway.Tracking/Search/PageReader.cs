using System.Data.Common;
using Dapper;

namespace Slipway.Tracking.Search;

/// <summary>Reads one page of row ids whose query selects <c>id</c> and then the keyset's values.</summary>
internal static class PageReader
{
    /// <returns>At most <paramref name="max"/> ids, and the token of the next page or null.</returns>
    public static (List<long> Ids, string? Next) Read(DbConnection connection, string text, SqlParts sql, int max, string fingerprint) =>
        Page(Rows(connection, text, sql), max, fingerprint);

    /// <summary>The page that these rows begin with; they are read no further than to the first row of the next page.</summary>
    public static (List<long> Ids, string? Next) Page(IEnumerable<(long Id, object?[] Place)> rows, int max, string fingerprint)
    {
        var ids = new List<long>();
        object?[] last = [];
        foreach (var (id, place) in rows)
        {
            if (ids.Count == max)
            {
                return (ids, PageToken.Encode(fingerprint, last));
            }

            ids.Add(id);
            last = place;
        }

        return (ids, null);
    }

    /// <summary>The rows as they are read, each with its place in the order.</summary>
    public static IEnumerable<(long Id, object?[] Place)> Rows(DbConnection connection, string text, SqlParts sql)
    {
        using var reader = connection.ExecuteReader(text, sql.Parameters);
        while (reader.Read())
        {
            var place = new object?[reader.FieldCount - 1];
            for (var i = 0; i < place.Length; i++)
            {
                place[i] = reader.IsDBNull(i + 1) ? null : reader.GetValue(i + 1);
            }

            yield return (reader.GetInt64(0), place);
        }
    }
}
