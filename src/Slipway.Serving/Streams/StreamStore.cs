using Dapper;
using Slipway.Contracts;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Streams;

/// <summary>The declared streams, and which of them are paused.</summary>
public sealed class StreamStore(Database database, DefinitionStore definitions)
{
    /// <summary>All streams.</summary>
    internal IReadOnlyList<StreamSpec> Specs() => [.. definitions.List(StreamSpec.Kind).Select(definition => StreamSpec.Parse(DefinitionYaml.Parse(definition.Yaml)))];

    /// <summary>One stream.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    internal StreamSpec Get(string name) => definitions.Find(StreamSpec.Kind, name) is { } definition
        ? StreamSpec.Parse(DefinitionYaml.Parse(definition.Yaml))
        : throw new SlipwayException(ErrorCode.NotFound, $"There is no stream '{name}'; apply a definition of the kind stream, or GET /api/slipway/v1/streams for those there are.");

    /// <summary>The model that scores a stream.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public string ModelOf(string name) => Get(name).Model;

    /// <summary>Who paused which streams, and why.</summary>
    internal IReadOnlyDictionary<string, (string By, string Reason)> Paused() => database.Read(connection => connection
        .Query<(string Name, string By, string Reason)>("SELECT name, paused_by, reason FROM stream_pauses").ToDictionary(row => row.Name, row => (row.By, row.Reason), StringComparer.Ordinal));

    /// <summary>Stops reading, on every server; events wait in Redis meanwhile.</summary>
    internal Task PauseAsync(StreamSpec stream, string reason, Caller by, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        transaction.Connection.Execute(
            """
            INSERT INTO stream_pauses (name, paused_by, reason, paused_at_ms) VALUES (@Name, @by, @reason, @now)
            ON CONFLICT (name) DO UPDATE SET paused_by = excluded.paused_by, reason = excluded.reason, paused_at_ms = excluded.paused_at_ms
            """,
            new { stream.Name, by = by.Name, reason, now = transaction.NowMs });
        transaction.Audit(by, "stream.paused", new NodeRef(NodeKinds.Model, stream.Model), reason, null, new { stream = stream.Name });
    }, cancellationToken);

    /// <summary>Goes on reading; nothing happens when it is not paused.</summary>
    internal Task ResumeAsync(StreamSpec stream, string reason, Caller by, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        if (transaction.Connection.Execute("DELETE FROM stream_pauses WHERE name = @Name", new { stream.Name }) > 0)
        {
            transaction.Audit(by, "stream.resumed", new NodeRef(NodeKinds.Model, stream.Model), reason, new { stream = stream.Name }, null);
        }
    }, cancellationToken);
}
