using System.Data.Common;
using System.Text;
using Dapper;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Contracts.Audit;
using Slipway.Native.Files;

namespace Slipway.Storage.Audit;

/// <summary>
/// Owns <c>audit_checkpoints</c>, <c>audit_keys</c>, the signing key and the checkpoint file. A chain that is written anew from
/// some row on holds in itself; it no longer agrees with what was signed about it before.
/// </summary>
public sealed class AuditCheckpoints : IDisposable
{
    internal const string CheckpointColumns = "seq, hash, events, at_ms, key_id, signature";
    internal const string KeyColumns = "key_id, public_key, at_ms, endorsed_by, endorsement";

    private readonly Database _database;
    private readonly StorageOptions _options;
    private readonly ILogger<AuditCheckpoints> _logger;
    private readonly SemaphoreSlim _turn = new(1, 1);
    private AuditSigningKey? _key;

    // What stands in the file as this process left it, so that a longer file is not read again for each line.
    private (long Length, long Seq, IReadOnlyList<string> Keys) _file = (-1, 0, []);

    /// <summary>Touches neither file nor database before it is asked to.</summary>
    public AuditCheckpoints(Database database, StorageOptions options, ILogger<AuditCheckpoints> logger) => (_database, _options, _logger) = (database, options, logger);

    /// <summary>The private key; never leaves the data folder.</summary>
    public string KeyPath => Path.Combine(_options.DataDirectory, "audit-signing.key");

    /// <summary>One line per checkpoint and key, oldest first; only ever added to.</summary>
    public string FilePath => FileIn(_options.Audit.CheckpointDirectory ?? _options.DataDirectory);

    /// <summary>The name of the checkpoint file in a folder.</summary>
    public static string FileIn(string folder) => Path.Combine(folder, "audit-checkpoints.jsonl");

    /// <summary>The newest checkpoint; null before the first.</summary>
    public AuditCheckpoint? Newest() => _database.Read(Newest);

    /// <summary>Checkpoints, newest first.</summary>
    /// <param name="beforeSeq">Only older ones than this; null from the newest.</param>
    /// <param name="limit">At most this many, 1 to 1000.</param>
    public IReadOnlyList<AuditCheckpoint> List(long? beforeSeq = null, int limit = 100) => _database.Read(connection => Query(
        connection, "WHERE seq < @before ORDER BY seq DESC LIMIT @limit", new { before = beforeSeq ?? long.MaxValue, limit = Math.Clamp(limit, 1, 1000) }));

    /// <summary>Every public key on record, oldest first.</summary>
    public IReadOnlyList<AuditPublicKey> Keys() => _database.Read(Keys);

    /// <summary>The key that this server signs with, made on first use.</summary>
    public async Task<AuditSigningKey> KeyAsync(CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            return await OpenKeyAsync(cancellationToken);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Signs a statement about the newest row, unless one stands already, and adds it to the table and to the file.</summary>
    /// <returns>The newest checkpoint; null while the trail is empty.</returns>
    /// <exception cref="SlipwayException">FailedPrecondition: rows since the last checkpoint do not form a chain with it; nothing is signed.</exception>
    public async Task<AuditCheckpoint?> WriteAsync(CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            return await SignAsync(await OpenKeyAsync(cancellationToken), cancellationToken);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Signs a last checkpoint with the key in use, then replaces it with a new one, which the old one vouches for; the old private key is gone afterwards.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: no reason; FailedPrecondition: the trail does not hold.</exception>
    public async Task<AuditPublicKey> RotateAsync(string reason, Caller by, CancellationToken cancellationToken)
    {
        if (string.IsNullOrWhiteSpace(reason) || reason.Length > 4000)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'reason' must say why, in 1 to 4000 characters.");
        }

        await _turn.WaitAsync(cancellationToken);
        try
        {
            var old = await OpenKeyAsync(cancellationToken);
            await SignAsync(old, cancellationToken);
            var next = AuditSigningKey.Make();
            var record = await _database.WriteAsync(transaction =>
            {
                var key = Endorsed(next, old, transaction.Now);
                Insert(transaction, key);
                transaction.Audit(by, "audit_key.rotated", new NodeRef("audit_key", next.KeyId), reason, new { key_id = old.KeyId }, new { key_id = next.KeyId, public_key = next.PublicKey });
                return key;
            }, cancellationToken);
            // After the record: a crash in between leaves the old key in use, and a key on record that nobody holds.
            next.Write(KeyPath, replace: true);
            _key = next;
            CatchUpFile();
            return record;
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _turn.Dispose();

    internal static bool Exist(DbConnection connection) => SqlDialect.Of(connection) == SqlDialect.Postgres
        ? connection.ExecuteScalar<string?>("SELECT CAST(to_regclass('audit_checkpoints') AS TEXT)") is not null
        : connection.ExecuteScalar<long>("SELECT count(*) FROM sqlite_master WHERE name = 'audit_checkpoints'") > 0;

    internal static IReadOnlyList<AuditCheckpoint> List(DbConnection connection) => Query(connection, "ORDER BY seq", null);

    internal static IReadOnlyList<AuditPublicKey> Keys(DbConnection connection) => connection
        .Query<(string Id, string Key, long AtMs, string? EndorsedBy, string? Endorsement)>($"SELECT {KeyColumns} FROM audit_keys ORDER BY at_ms, key_id")
        .Select(row => new AuditPublicKey(row.Id, row.Key, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs), row.EndorsedBy, row.Endorsement)).ToList();

    /// <summary>The newest checkpoint, if its signature is that of the key on record; else null.</summary>
    internal static AuditCheckpoint? NewestSigned(DbConnection connection) =>
        Newest(connection) is { } newest && Keys(connection).FirstOrDefault(key => key.KeyId == newest.KeyId) is { } key
            && AuditSigningKey.Verify(key.PublicKey, AuditSeal.Text(newest), newest.Signature) ? newest : null;

    /// <summary>The file's lines; none when there is no file.</summary>
    internal IEnumerable<string> FileLines() => File.Exists(FilePath) ? File.ReadLines(FilePath) : [];

    private static AuditCheckpoint? Newest(DbConnection connection) => Query(connection, "ORDER BY seq DESC LIMIT 1", null).FirstOrDefault();

    private static List<AuditCheckpoint> Query(DbConnection connection, string where, object? parameters) => connection
        .Query<(long Seq, string Hash, long Events, long AtMs, string KeyId, string Signature)>($"SELECT {CheckpointColumns} FROM audit_checkpoints {where}", parameters)
        .Select(row => new AuditCheckpoint(row.Seq, row.Hash, row.Events, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs), row.KeyId, row.Signature)).ToList();

    private static void Insert(WriteTransaction transaction, AuditPublicKey key) => transaction.Connection.Execute(
        $"INSERT INTO audit_keys ({KeyColumns}) VALUES (@KeyId, @PublicKey, @at, @EndorsedBy, @Endorsement) ON CONFLICT DO NOTHING",
        new { key.KeyId, key.PublicKey, at = key.Time.ToUnixTimeMilliseconds(), key.EndorsedBy, key.Endorsement });

    private static AuditPublicKey Endorsed(AuditSigningKey key, AuditSigningKey? by, DateTimeOffset time)
    {
        var record = new AuditPublicKey(key.KeyId, key.PublicKey, Millisecond(time), by?.KeyId);
        return by is null ? record : record with { Endorsement = by.Sign(AuditSeal.Text(record)) };
    }

    private async Task<AuditSigningKey> OpenKeyAsync(CancellationToken cancellationToken)
    {
        if (_key is not null)
        {
            return _key;
        }

        if (!File.Exists(KeyPath))
        {
            PrivateFiles.CreateDirectory(_options.DataDirectory);
            AuditSigningKey.Make().Write(KeyPath, replace: false);
        }
        else if (PrivateFiles.IsOpenToOthers(KeyPath))
        {
            _logger.LogWarning("Others than its owner may read the audit signing key {Path}: run chmod 600 on it, and slipway audit key --rotate if anyone may have", KeyPath);
        }

        var key = AuditSigningKey.Read(KeyPath);
        if (!Keys().Any(known => known.KeyId == key.KeyId))
        {
            // Part of setting the server up, as the tables are: the register of keys is itself only ever added to.
            await _database.WriteAsync(transaction => Insert(transaction, Endorsed(key, null, transaction.Now)), cancellationToken);
        }

        return _key = key;
    }

    private async Task<AuditCheckpoint?> SignAsync(AuditSigningKey key, CancellationToken cancellationToken)
    {
        var last = Newest();
        var chain = new AuditChain(last?.Seq ?? 0, last?.Hash);
        var source = new DatabaseAuditSource(_database.Read, chain.Rows);
        (long Seq, string Reason)? fault = null;
        source.Rows(row => (fault = chain.Take(row)) is null);
        if (fault is not null || source.Head() is var head && head.Seq < chain.Rows)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"The audit trail does not hold{(fault is { } bad ? $" at row {bad.Seq} ({bad.Reason})" : "")}, so nothing was signed; slipway audit verify says more.");
        }

        if (chain.Rows != (last?.Seq ?? 0))
        {
            var signed = new AuditCheckpoint(chain.Rows, chain.Hash, (last?.Count ?? 0) + chain.Rows - (last?.Seq ?? 0), default, key.KeyId, "");
            await _database.WriteAsync(transaction => Insert(transaction, signed with { Time = Millisecond(transaction.Now) }, key), cancellationToken);
        }

        CatchUpFile();
        return Newest();
    }

    // Another server may have signed the same row meanwhile; one statement about it is enough.
    private static void Insert(WriteTransaction transaction, AuditCheckpoint checkpoint, AuditSigningKey key) => transaction.Connection.Execute(
        $"INSERT INTO audit_checkpoints ({CheckpointColumns}) VALUES (@Seq, @Hash, @Count, @at, @KeyId, @signature) ON CONFLICT DO NOTHING",
        new { checkpoint.Seq, checkpoint.Hash, checkpoint.Count, at = checkpoint.Time.ToUnixTimeMilliseconds(), checkpoint.KeyId, signature = key.Sign(AuditSeal.Text(checkpoint)) });

    // What the file lacks: it may have been away, or another server may have signed.
    private void CatchUpFile()
    {
        var file = new FileInfo(FilePath);
        if (!file.Exists || file.Length != _file.Length)
        {
            var (checkpoints, keys, _) = AuditSeal.Read(FileLines());
            _file = (0, checkpoints.Select(checkpoint => checkpoint.Seq).DefaultIfEmpty(0).Max(), [.. keys.Select(key => key.KeyId)]);
        }

        var missing = Keys().Where(key => !_file.Keys.Contains(key.KeyId)).ToList();
        var signed = _database.Read(connection => Query(connection, "WHERE seq > @Seq ORDER BY seq", new { _file.Seq }));
        if (missing.Count + signed.Count > 0)
        {
            Append([.. missing.Select(AuditSeal.Line), .. signed.Select(AuditSeal.Line)]);
            _file = (new FileInfo(FilePath).Length, signed.Count > 0 ? signed[^1].Seq : _file.Seq, [.. _file.Keys, .. missing.Select(key => key.KeyId)]);
        }
    }

    private void Append(IEnumerable<string> lines)
    {
        var folder = Path.GetDirectoryName(FilePath)!;
        Directory.CreateDirectory(folder);
        using (var stream = new FileStream(FilePath, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read))
        {
            stream.SetLength(EndOfLines(stream));
            stream.Seek(0, SeekOrigin.End);
            stream.Write(Encoding.UTF8.GetBytes(string.Concat(lines.Select(line => line + "\n"))));
            stream.Flush(flushToDisk: true);
        }

        DirectoryFlush.Flush(folder);
    }

    // A power cut may have left half a line, which was never acknowledged; the next one must not run into it.
    private static long EndOfLines(FileStream stream)
    {
        for (var end = stream.Length; end > 0; end--)
        {
            stream.Position = end - 1;
            if (stream.ReadByte() == '\n')
            {
                return end;
            }
        }

        return 0;
    }

    private static DateTimeOffset Millisecond(DateTimeOffset time) => DateTimeOffset.FromUnixTimeMilliseconds(time.ToUnixTimeMilliseconds());
}
