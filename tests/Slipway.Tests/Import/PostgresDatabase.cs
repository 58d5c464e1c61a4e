using System.Data.Common;
using Dapper;
using Npgsql;

namespace Slipway.Tests.Import;

/// <summary>A schema of its own on the PostgreSQL server that SLIPWAY_TEST_POSTGRES names.</summary>
internal sealed class PostgresDatabase : IAsyncDisposable
{
    private static readonly string Server = Environment.GetEnvironmentVariable("SLIPWAY_TEST_POSTGRES")!;
    private readonly string _schema = $"mlflow_{Guid.NewGuid():N}";

    /// <summary>Its address as MLflow is given it.</summary>
    public string Address => $"{Server.Replace("postgresql://", "postgresql+psycopg2://", StringComparison.Ordinal)}?options=-csearch_path%3D{_schema}";

    public void Fill(Action<DbConnection> fill)
    {
        using var connection = Open();
        connection.Execute($"CREATE SCHEMA {_schema}; SET search_path = {_schema}");
        fill(connection);
    }

    public ValueTask DisposeAsync()
    {
        using var connection = Open();
        connection.Execute($"DROP SCHEMA {_schema} CASCADE");
        return ValueTask.CompletedTask;
    }

    private static NpgsqlConnection Open()
    {
        var address = new Uri(Server);
        var user = address.UserInfo.Split(':');
        var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder
        {
            Host = address.Host,
            Port = address.Port,
            Database = address.AbsolutePath.TrimStart('/'),
            Username = Uri.UnescapeDataString(user[0]),
            Password = user.Length > 1 ? Uri.UnescapeDataString(user[1]) : null,
            Pooling = false,
        }.ToString());
        connection.Open();
        return connection;
    }
}
