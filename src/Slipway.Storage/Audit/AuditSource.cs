using System.Data.Common;
using System.IO.Compression;
using System.Text;
using Slipway.Contracts;
using Slipway.Contracts.Audit;
using Slipway.Storage.Backups;

namespace Slipway.Storage.Audit;

/// <summary>Where a trail is read from: a database, or a backup of one.</summary>
internal interface IAuditSource
{
    /// <summary>Signed checkpoints kept beside the rows, oldest first.</summary>
    IReadOnlyList<AuditCheckpoint> Checkpoints();

    /// <summary>Public keys kept beside the rows, oldest first.</summary>
    IReadOnlyList<AuditPublicKey> Keys();

    /// <summary>Rows there are, for showing progress.</summary>
    long Estimate();

    /// <summary>Gives the rows by number until <paramref name="take"/> says no.</summary>
    void Rows(Func<IAuditRow, bool> take);

    /// <summary>Number and hash of the newest row as kept apart from it, as of the end of <see cref="Rows"/>; 0 and the genesis hash when none is kept.</summary>
    (long Seq, string Hash) Head();
}

/// <summary>The trail in a database, read in pages, so that a long check holds no snapshot for long.</summary>
/// <param name="read">Runs a query on one snapshot.</param>
/// <param name="afterSeq">The row to begin after.</param>
/// <param name="pageRows">Rows read on one snapshot.</param>
internal sealed class DatabaseAuditSource(DatabaseAuditSource.Reader read, long afterSeq = 0, int pageRows = 20_000) : IAuditSource
{
    private (long Seq, string Hash) _head = (0, AuditChain.Genesis);

    /// <summary>Runs a query on one snapshot.</summary>
    public delegate bool Reader(Func<DbConnection, bool> query);

    public IReadOnlyList<AuditCheckpoint> Checkpoints() => Query(AuditCheckpoints.List);

    public IReadOnlyList<AuditPublicKey> Keys() => Query(AuditCheckpoints.Keys);

    public long Estimate()
    {
        var rows = 0L;
        read(connection =>
        {
            rows = AuditTrail.Head(connection).Seq - afterSeq;
            return true;
        });
        return rows;
    }

    public (long Seq, string Hash) Head() => _head;

    public void Rows(Func<IAuditRow, bool> take)
    {
        // From the very beginning: a row below 1 was put there by hand.
        var from = afterSeq == 0 ? long.MinValue : afterSeq + 1;
        var overlap = 0;
        while (true)
        {
            var (count, last, stopped) = (0, from, false);
            read(connection =>
            {
                _head = AuditTrail.Head(connection);
                using var page = Statement.Of(connection, $"SELECT {AuditChain.Columns} FROM audit_events WHERE seq >= $1 ORDER BY seq LIMIT {pageRows}");
                page.Bind(1, from);
                var row = new StatementRow(page);
                while (page.Step())
                {
                    count++;
                    last = page.Integer(0);
                    if (count > overlap && !take(row))
                    {
                        stopped = true;
                        break;
                    }
                }

                return true;
            });
            if (stopped || count < pageRows)
            {
                return;
            }

            // The next page begins with this one's last row, so that a second row of the same number cannot hide between two pages.
            (from, overlap) = (last, 1);
        }
    }

    // A database of an older build has no such tables.
    private IReadOnlyList<T> Query<T>(Func<DbConnection, IReadOnlyList<T>> query)
    {
        IReadOnlyList<T> found = [];
        read(connection =>
        {
            found = AuditCheckpoints.Exist(connection) ? query(connection) : [];
            return true;
        });
        return found;
    }

    private sealed class StatementRow(Statement statement) : IAuditRow
    {
        public long Integer(int column) => statement.Integer(column);

        public bool IsNull(int column) => statement.IsNull(column);

        public ReadOnlySpan<byte> Utf8(int column) => statement.Utf8(column);
    }
}

/// <summary>The trail in a backup file, read line by line without a database.</summary>
internal sealed class BackupAuditSource : IAuditSource, IDisposable
{
    private readonly ZipArchive _archive;
    private readonly BackupManifest _manifest;
    private readonly string _file;

    public BackupAuditSource(string file)
    {
        _file = file;
        _archive = DatabaseMaintenance.OpenArchive(file);
        _manifest = DatabaseMaintenance.ReadManifest(_archive, file);
    }

    public IReadOnlyList<AuditCheckpoint> Checkpoints() => [.. Lines("audit_checkpoints", AuditCheckpoints.CheckpointColumns).Select(fields => new AuditCheckpoint(
        Number(fields[0]), Text(fields[1])!, Number(fields[2]), DateTimeOffset.FromUnixTimeMilliseconds(Number(fields[3])), Text(fields[4])!, Text(fields[5])!)).OrderBy(row => row.Seq)];

    public IReadOnlyList<AuditPublicKey> Keys() => [.. Lines("audit_keys", AuditCheckpoints.KeyColumns).Select(fields => new AuditPublicKey(
        Text(fields[0])!, Text(fields[1])!, DateTimeOffset.FromUnixTimeMilliseconds(Number(fields[2])), Text(fields[3]), Text(fields[4]))).OrderBy(row => row.Time)];

    public long Estimate() => _manifest.Tables.FirstOrDefault(table => table.Name == "audit_events")?.Rows ?? 0;

    public void Rows(Func<IAuditRow, bool> take)
    {
        var row = new Row();
        foreach (var fields in Lines("audit_events", AuditChain.Columns))
        {
            row.Fields = fields;
            if (!take(row))
            {
                return;
            }
        }
    }

    public (long Seq, string Hash) Head() =>
        Lines("audit_head", "seq, hash").Select(fields => (Number(fields[0]), Text(fields[1])!)).DefaultIfEmpty((0, AuditChain.Genesis)).First();

    public void Dispose() => _archive.Dispose();

    // The fields named, in that order, whatever order the backup has them in.
    private IEnumerable<string[]> Lines(string table, string columns)
    {
        if (_archive.GetEntry($"tables/{table}.copy") is not { } entry || _manifest.Tables.FirstOrDefault(known => known.Name == table) is not { } shape)
        {
            yield break;
        }

        var names = columns.Split(", ");
        var order = names.Select(name => shape.Columns.Index().FirstOrDefault(column => column.Item.Name == name, (-1, null!)).Index).ToArray();
        // A broken letter becomes another letter, and the row that holds it no longer matches its hash.
        using var reader = new StreamReader(entry.Open(), new UTF8Encoding(false), false, 64 * 1024);
        while (reader.ReadLine() is { } line)
        {
            var fields = line.Split('\t');
            if (fields.Length != shape.Columns.Count || order.Contains(-1))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'{_file}' is damaged: a row of {table} has {fields.Length} fields, not {shape.Columns.Count}.");
            }

            yield return [.. order.Select(index => fields[index])];
        }
    }

    private long Number(string field) => long.TryParse(field, System.Globalization.CultureInfo.InvariantCulture, out var number)
        ? number
        : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{_file}' is damaged: '{field}' stands where a number belongs.");

    private static string? Text(string field) => (string?)CopyText.Read(field, ColumnType.Text);

    private sealed class Row : IAuditRow
    {
        public string[] Fields { get; set; } = [];

        // What is no number matches no number of the chain.
        public long Integer(int column) => long.TryParse(Fields[column], System.Globalization.CultureInfo.InvariantCulture, out var number) ? number : long.MinValue;

        public bool IsNull(int column) => Text(Fields[column]) is null;

        public ReadOnlySpan<byte> Utf8(int column) => Encoding.UTF8.GetBytes(Text(Fields[column])!);
    }
}
