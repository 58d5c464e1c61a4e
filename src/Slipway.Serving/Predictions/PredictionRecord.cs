using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace Slipway.Serving.Predictions;

/// <summary>The first record of a prediction journal.</summary>
/// <param name="Model">The model.</param>
/// <param name="Features">The features of its rows, in order.</param>
/// <param name="Tensors">Whether its rows have tensors in place of features.</param>
/// <param name="Ages">Whether its rows have ages behind the features.</param>
internal sealed record PredictionJournalHeader(string Model, IReadOnlyList<string> Features, bool Tensors = false, bool Ages = false);

/// <summary>One row of a prediction journal, read in place. Written by <see cref="Write"/>, read by the properties: the two must agree.</summary>
internal readonly ref struct PredictionRecord(ReadOnlySpan<byte> bytes)
{
    private const int Fixed = 36;

    private readonly ReadOnlySpan<byte> _bytes = bytes;

    public long AtMs => BinaryPrimitives.ReadInt64LittleEndian(_bytes);

    public long EventMs => BinaryPrimitives.ReadInt64LittleEndian(_bytes[8..]);

    public long LatencyUs => BinaryPrimitives.ReadInt64LittleEndian(_bytes[16..]);

    public float Output => BinaryPrimitives.ReadSingleLittleEndian(_bytes[24..]);

    public int Status => BinaryPrimitives.ReadUInt16LittleEndian(_bytes[28..]);

    public ArmRole Role => (ArmRole)_bytes[30];

    private int VersionLength => _bytes[31];

    private int IdLength => BinaryPrimitives.ReadUInt16LittleEndian(_bytes[32..]);

    private int KeyLength => BinaryPrimitives.ReadUInt16LittleEndian(_bytes[34..]);

    public ReadOnlySpan<byte> Version => _bytes.Slice(Fixed, VersionLength);

    public ReadOnlySpan<byte> Id => _bytes.Slice(Fixed + VersionLength, IdLength);

    public ReadOnlySpan<byte> Key => _bytes.Slice(Fixed + VersionLength + IdLength, KeyLength);

    /// <summary>So many features; empty when the row failed before they were known.</summary>
    public ReadOnlySpan<float> Features(int width) => Tail.IsEmpty ? default : MemoryMarshal.Cast<byte, float>(Tail)[..width];

    /// <summary>Seconds for each of so many features, -1 for one that the store did not know; empty when it gave none.</summary>
    public ReadOnlySpan<int> Ages(int width) => Tail.Length < width * 2 * sizeof(int) ? default : MemoryMarshal.Cast<byte, int>(Tail)[width..];

    /// <summary>Of a journal of tensors: the inputs as <see cref="LoggedTensors"/> writes them.</summary>
    public ReadOnlySpan<byte> Inputs => Tail.Slice(sizeof(int), BinaryPrimitives.ReadInt32LittleEndian(Tail));

    /// <summary>Of a journal of tensors: the outputs.</summary>
    public ReadOnlySpan<byte> Outputs => Tail[(sizeof(int) + BinaryPrimitives.ReadInt32LittleEndian(Tail))..];

    private ReadOnlySpan<byte> Tail => _bytes[(Fixed + VersionLength + IdLength + KeyLength)..];

    /// <summary>Writes row <paramref name="row"/> of an entry to at least <see cref="SizeMax"/> bytes and returns how many it took.</summary>
    /// <param name="entry">The request.</param>
    /// <param name="row">From 0.</param>
    /// <param name="policy">What of it is never written.</param>
    /// <param name="tensors">Its tensors, of which the first <paramref name="inputs"/> bytes are the inputs; empty of a model of features.</param>
    /// <param name="inputs">Bytes.</param>
    /// <param name="target">Where to.</param>
    public static int Write(PredictionEntry entry, int row, LogPolicy policy, ReadOnlySpan<byte> tensors, int inputs, Span<byte> target)
    {
        var arm = entry.Arm;
        BinaryPrimitives.WriteInt64LittleEndian(target, entry.AtMs);
        BinaryPrimitives.WriteInt64LittleEndian(target[8..], entry.EventMs(row));
        BinaryPrimitives.WriteInt64LittleEndian(target[16..], entry.LatencyUs);
        BinaryPrimitives.WriteSingleLittleEndian(target[24..], policy.RedactsOutput ? float.NaN : entry.Output(row));
        BinaryPrimitives.WriteUInt16LittleEndian(target[28..], (ushort)entry.Status);
        target[30] = (byte)arm.Role;
        var at = Fixed;
        var version = Encoding.UTF8.GetBytes(arm.Version, target[at..]);
        target[31] = (byte)version;
        at += version;

        var start = at;
        entry.Id.CopyTo(target[at..]);
        at += entry.Id.Length;
        if (entry.Rows > 1)
        {
            // Row i of a batch is id#i.
            target[at++] = (byte)'#';
            row.TryFormat(target[at..], out var digits, provider: System.Globalization.CultureInfo.InvariantCulture);
            at += digits;
        }

        BinaryPrimitives.WriteUInt16LittleEndian(target[32..], (ushort)(at - start));
        var key = policy.RedactsKey ? default : entry.Key(row);
        if (key.Length > KeyMax)
        {
            var end = KeyMax;
            while (end > 0 && (key[end] & 0xC0) == 0x80)
            {
                end--; // Not inside a character.
            }

            key = key[..end];
        }

        BinaryPrimitives.WriteUInt16LittleEndian(target[34..], (ushort)key.Length);
        key.CopyTo(target[at..]);
        at += key.Length;
        if (entry.HasFeatures)
        {
            var names = arm.Model.FeatureNames;
            var values = MemoryMarshal.AsBytes(entry.Features(row, names.Count));
            values.CopyTo(target[at..]);
            for (var i = 0; policy.Redacted.Count > 0 && i < names.Count; i++)
            {
                if (policy.Redacted.Contains(names[i]))
                {
                    BinaryPrimitives.WriteSingleLittleEndian(target[(at + (i * sizeof(float)))..], float.NaN);
                }
            }

            at += values.Length;
            if (entry.HasAges)
            {
                foreach (var age in entry.Ages(row, names.Count))
                {
                    BinaryPrimitives.WriteInt32LittleEndian(target[at..], age < 0 ? -1 : (int)Math.Min(age / 1000, int.MaxValue));
                    at += sizeof(int);
                }
            }
        }
        else if (entry.Inputs is not null)
        {
            BinaryPrimitives.WriteInt32LittleEndian(target[at..], inputs);
            tensors.CopyTo(target[(at + sizeof(int))..]);
            at += sizeof(int) + tensors.Length;
        }

        return at;
    }

    // Longer entity keys are cut in the log, not on the way to the model.
    private const int KeyMax = 1024;

    public static int SizeMax(PredictionEntry entry, int tensors) =>
        Fixed + 255 + entry.Id.Length + 12 + KeyMax + (entry.Arm.Model.FeatureNames.Count * (sizeof(float) + sizeof(int))) + sizeof(int) + tensors;
}
