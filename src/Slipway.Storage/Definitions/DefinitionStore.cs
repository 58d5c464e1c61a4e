using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Dapper;

namespace Slipway.Storage.Definitions;

/// <summary>One version of an applied definition file.</summary>
/// <param name="Kind">Such as <c>feature_view</c>.</param>
/// <param name="Name">Unique within the kind.</param>
/// <param name="Version">1, 2, 3 …: rises when the text changes.</param>
/// <param name="Sha256">Of the text.</param>
/// <param name="Yaml">The file as given.</param>
/// <param name="AppliedBy">Who.</param>
/// <param name="AppliedAtMs">Unix milliseconds.</param>
public sealed record Definition(string Kind, string Name, long Version, string Sha256, string Yaml, string AppliedBy, long AppliedAtMs);

/// <summary>Owns <c>definitions</c>: every version of every applied file is kept; the newest is in force.</summary>
public sealed class DefinitionStore(Database database)
{
    private const string Columns = "kind AS Kind, name AS Name, version AS Version, sha256 AS Sha256, yaml AS Yaml, applied_by AS AppliedBy, applied_at_ms AS AppliedAtMs";

    /// <summary>Stores the text as the newest version inside the owner's transaction, with its audit row; the same text again changes nothing.</summary>
    /// <returns>The version in force, and whether it is new.</returns>
    public static (Definition Definition, bool Changed) Put(WriteTransaction transaction, Caller by, string kind, string name, string yaml)
    {
        var sha256 = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(yaml)));
        var current = Find(transaction.Connection, kind, name);
        if (current?.Sha256 == sha256)
        {
            return (current, false);
        }

        var next = new Definition(kind, name, (current?.Version ?? 0) + 1, sha256, yaml, by.Name, transaction.NowMs);
        transaction.Connection.Execute(
            "INSERT INTO definitions (kind, name, version, sha256, yaml, applied_by, applied_at_ms) VALUES (@Kind, @Name, @Version, @Sha256, @Yaml, @AppliedBy, @AppliedAtMs)",
            next);
        transaction.Audit(by, "definition.applied", new NodeRef(NodeKinds.Definition, $"{kind}/{name}@{next.Version}"), null,
            current is null ? null : new { current.Version, current.Sha256 }, new { next.Version, next.Sha256 });
        return (next, true);
    }

    /// <summary>The version in force; null when the name was never applied.</summary>
    public Definition? Find(string kind, string name) => database.Read(connection => Find(connection, kind, name));

    /// <summary>One version; null when there is none.</summary>
    public Definition? Find(string kind, string name, long version) => database.Read(connection => connection.QueryFirstOrDefault<Definition>(
        $"SELECT {Columns} FROM definitions WHERE kind = @kind AND name = @name AND version = @version", new { kind, name, version }));

    /// <summary>The versions in force of one kind (null: all kinds), by kind and name.</summary>
    public IReadOnlyList<Definition> List(string? kind = null) => database.Read(connection => List(connection, kind));

    /// <summary>As <see cref="List(string?)"/>, inside the owner's transaction.</summary>
    public static IReadOnlyList<Definition> List(DbConnection connection, string? kind) => connection.Query<Definition>(
        $"""
        SELECT {Columns} FROM definitions d
         WHERE (@kind IS NULL OR kind = @kind)
           AND version = (SELECT max(version) FROM definitions n WHERE n.kind = d.kind AND n.name = d.name)
         ORDER BY kind, name
        """, new { kind }).AsList();

    /// <summary>Every version of every definition of a kind, by name and version.</summary>
    public IReadOnlyList<Definition> Versions(string kind) => database.Read(connection => connection.Query<Definition>(
        $"SELECT {Columns} FROM definitions WHERE kind = @kind ORDER BY name, version", new { kind }).AsList());

    private static Definition? Find(DbConnection connection, string kind, string name) => connection.QueryFirstOrDefault<Definition>(
        $"SELECT {Columns} FROM definitions WHERE kind = @kind AND name = @name ORDER BY version DESC LIMIT 1", new { kind, name });
}
