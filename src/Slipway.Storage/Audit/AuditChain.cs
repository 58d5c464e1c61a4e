using System.Text;

namespace Slipway.Storage.Audit;

/// <summary>A row of the trail wherever it is kept, its columns in the order of <see cref="AuditChain.Columns"/>.</summary>
internal interface IAuditRow
{
    long Integer(int column);

    bool IsNull(int column);

    /// <summary>Valid until the next call.</summary>
    ReadOnlySpan<byte> Utf8(int column);
}

/// <summary>Follows the chain row by row in constant memory: each must have the next number, name the hash before it, and match its own.</summary>
internal sealed class AuditChain
{
    public const string Columns = "seq, at_ms, actor, action, subject_kind, subject_id, reason, before_json, after_json, request_id, previous_hash, hash";

    private const int Seq = 0;
    private const int FirstText = 2;
    private const int PreviousHash = 10;
    private const int OwnHash = 11;

    private readonly AuditHash _hash = new();
    private readonly byte[] _previous = new byte[AuditHash.HexLength];

    /// <summary>Begins at the first row, or after one that was found good before.</summary>
    public AuditChain(long afterSeq = 0, string? hash = null)
    {
        Rows = afterSeq;
        Encoding.ASCII.GetBytes(hash ?? Genesis, _previous);
    }

    /// <summary>What the first row names as the hash before it.</summary>
    public static string Genesis { get; } = new('0', AuditHash.HexLength);

    /// <summary>Number of the newest good row.</summary>
    public long Rows { get; private set; }

    /// <summary>Its hash.</summary>
    public string Hash => Encoding.ASCII.GetString(_previous);

    /// <summary>Takes the next row.</summary>
    /// <returns>Null when it is good, else its fault; nothing may be taken after that.</returns>
    public (long Seq, string Reason)? Take(IAuditRow row)
    {
        var (seq, expected) = (row.Integer(Seq), Rows + 1);
        if (seq != expected)
        {
            return seq < expected ? (seq, $"row {seq} stands in the trail twice, or before its first row") : (expected, $"row {expected} is missing");
        }

        if (row.IsNull(PreviousHash) || !row.Utf8(PreviousHash).SequenceEqual(_previous))
        {
            return (seq, "it does not follow the row before it");
        }

        _hash.Add(seq);
        _hash.Add(row.Integer(1));
        for (var column = FirstText; column <= PreviousHash; column++)
        {
            if (row.IsNull(column))
            {
                _hash.AddNull();
            }
            else
            {
                _hash.Add(row.Utf8(column));
            }
        }

        Span<byte> hex = stackalloc byte[AuditHash.HexLength];
        _hash.Finish(hex);
        if (row.IsNull(OwnHash) || !row.Utf8(OwnHash).SequenceEqual(hex))
        {
            return (seq, "its content does not match its hash");
        }

        hex.CopyTo(_previous);
        Rows = seq;
        return null;
    }
}
