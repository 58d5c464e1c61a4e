using System.Data.Common;
using Dapper;
using Slipway.Storage;

namespace Slipway.Registry.Versions;

/// <summary>Moves every row of a model to another name. Rows are copied, those that point at them turned, and the old ones removed, since neither engine lets a key change under those.</summary>
internal static class ModelMove
{
    public static void Rename(WriteTransaction transaction, string name, string newName)
    {
        // Asked of the tables, so that a column that is added later moves too.
        var facts = Columns(transaction.Connection, "models", "name", "updated_at_ms");
        var columns = Columns(transaction.Connection, "model_versions", "model");
        var parameters = new { name, newName, now = transaction.NowMs };
        foreach (var sql in (string[])
        [
            $"INSERT INTO models (name, updated_at_ms, {facts}) SELECT @newName, @now, {facts} FROM models WHERE name = @name",
            $"INSERT INTO model_versions (model, {columns}) SELECT @newName, {columns} FROM model_versions WHERE model = @name",
            "UPDATE model_version_files SET model = @newName WHERE model = @name",
            "UPDATE model_version_profiles SET model = @newName WHERE model = @name",
            "UPDATE version_load_tests SET model = @newName WHERE model = @name",
            "UPDATE model_aliases SET model = @newName WHERE model = @name",
            "UPDATE model_environments SET model = @newName WHERE model = @name",
            "UPDATE place_history SET model = @newName WHERE model = @name",
            "UPDATE version_deprecations SET model = @newName WHERE model = @name",
            "UPDATE retirement_steps SET model = @newName WHERE model = @name",
            "UPDATE version_checklist SET model = @newName WHERE model = @name",
            "UPDATE version_copies SET model = @newName WHERE model = @name",
            "UPDATE promotions SET model = @newName WHERE model = @name",
            "UPDATE stage_history SET model = @newName WHERE model = @name",
            "DELETE FROM model_versions WHERE model = @name",
            "DELETE FROM models WHERE name = @name",
        ])
        {
            transaction.Connection.Execute(sql, parameters);
        }
    }

    private static string Columns(DbConnection connection, string table, params string[] without)
    {
        using var reader = connection.ExecuteReader($"SELECT * FROM {table} WHERE 1 = 0");
        return string.Join(", ", Enumerable.Range(0, reader.FieldCount).Select(reader.GetName).Except(without));
    }
}
