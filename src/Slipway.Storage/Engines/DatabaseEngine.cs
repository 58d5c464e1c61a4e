using System.Data.Common;
using Slipway.Contracts;
using Slipway.Storage.Backups;

namespace Slipway.Storage.Engines;

/// <summary>
/// What differs between SQLite and PostgreSQL beneath <see cref="Database"/>. The writer's members are called by one thread at a time;
/// <see cref="Read"/> by any number at once.
/// </summary>
internal abstract class DatabaseEngine : IDisposable
{
    /// <summary>How the engine's SQL differs.</summary>
    public abstract SqlDialect Dialect { get; }

    /// <summary>Where the data is, fit to be shown: no password.</summary>
    public abstract string Location { get; }

    /// <summary>The engine and its version, such as <c>SQLite 3.40.1 (system)</c>.</summary>
    public abstract string Version { get; }

    /// <summary>Bytes that the data takes.</summary>
    public abstract long SizeBytes { get; }

    /// <summary>Begins the writer's transaction; returns once no other writer of any process can change anything.</summary>
    public abstract DbConnection Begin();

    /// <summary>Marks the state that <see cref="Undo"/> returns to.</summary>
    public abstract void Save();

    /// <summary>Returns to the last <see cref="Save"/>, which stays in force until <see cref="Release"/>.</summary>
    public abstract void Undo();

    /// <summary>Forgets the last <see cref="Save"/>; what was done since is kept.</summary>
    public abstract void Release();

    /// <summary>Makes the transaction durable.</summary>
    public abstract void Commit();

    /// <summary>Ends the transaction without a trace; never throws.</summary>
    public abstract void RollBack();

    /// <summary>Whether the failure takes the whole transaction with it: the connection is gone, the disk is full.</summary>
    public abstract bool EndsTransaction(Exception failure);

    /// <summary>The failure as the caller is to see it; the same one when it needs no translation.</summary>
    public abstract Exception Explain(Exception failure);

    /// <summary>What all callers of a transaction are told that could not be committed.</summary>
    /// <param name="failure">Why.</param>
    /// <param name="committing">Whether the commit had been asked for.</param>
    public abstract SlipwayException Lost(Exception failure, bool committing);

    /// <summary>Runs a query on a reader's connection, all of its statements on one snapshot.</summary>
    public abstract T Read<T>(Func<DbConnection, T> query);

    /// <summary>Runs a query that is a snapshot by itself where statements cost a message each, because it is a single one.</summary>
    public virtual T ReadOne<T>(Func<DbConnection, T> query) => Read(query);

    /// <summary>The text of a migration in this engine's words.</summary>
    public abstract string Translate(string migration);

    /// <summary>Lets the database itself refuse to change, replace or remove rows of the table, where there is such a table; done again, changes nothing.</summary>
    /// <remarks>Whoever may alter tables can undo this: it stops mistakes and plain statements, and the hash chain shows the rest.</remarks>
    public abstract void MakeAppendOnly(DbConnection connection, string table, string key);

    /// <summary>The tables of the database, whoever made them.</summary>
    public abstract IReadOnlyList<TableShape> Tables(DbConnection connection);

    /// <summary>Writes the rows by primary key, in the text form of PostgreSQL's COPY.</summary>
    public abstract void Export(DbConnection connection, TableShape table, TextWriter rows);

    /// <summary>Takes rows in that form into an empty table.</summary>
    public abstract void Import(DbConnection connection, TableShape table, TextReader rows);

    /// <summary>The highest number that the table's counter has given; null when the table has no counter, or it has given none.</summary>
    public abstract long? Counter(DbConnection connection, TableShape table);

    /// <summary>Lets the counter go on after <paramref name="given"/> and after every number in the table.</summary>
    public abstract void SetCounter(DbConnection connection, TableShape table, long given);

    public abstract void Dispose();

    protected static void Execute(DbConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    protected static object? Scalar(DbConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
