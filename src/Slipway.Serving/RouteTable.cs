using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Slipway.Serving;

/// <summary>Which version answers which request of one model: an immutable snapshot, swapped whole.</summary>
public sealed class RouteTable
{
    // Unit separator: neither a salt nor a key may run into the other.
    private const byte Separator = 0x1F;

    private readonly byte[] _salt;
    private readonly byte[][] _flags;

    internal RouteTable(string model, Arm? stable, Arm? candidate = null, double share = 0, string salt = "", bool sticky = true, Arm? shadow = null, ShadowStatistics? comparison = null, IReadOnlyList<string>? flags = null)
    {
        Model = model;
        Stable = stable;
        Candidate = candidate;
        Share = share;
        Salt = salt;
        Sticky = sticky;
        Shadow = shadow;
        Comparison = comparison;
        Flags = flags;
        _flags = [.. (flags ?? []).Select(Encoding.UTF8.GetBytes)];
        _salt = [.. Encoding.UTF8.GetBytes(salt), Separator];
    }

    /// <summary>The model.</summary>
    public string Model { get; }

    /// <summary>The version in production; null while a model has only ever been tried out.</summary>
    public Arm? Stable { get; }

    /// <summary>The version that takes <see cref="Share"/> of the requests; null when none does.</summary>
    public Arm? Candidate { get; }

    /// <summary>The candidate's share of the keys, 0 to 1.</summary>
    public double Share { get; }

    /// <summary>Sets this rollout's assignment apart from any other's.</summary>
    public string Salt { get; }

    /// <summary>True: a key always meets the same version. False: each request is assigned by itself (its own id where that looks unique, else at random), so that one user may meet both.</summary>
    public bool Sticky { get; }

    /// <summary>The version that sees copies; null when none does.</summary>
    public Arm? Shadow { get; }

    /// <summary>The shadow against the stable version; null without a shadow.</summary>
    public ShadowStatistics? Comparison { get; }

    /// <summary>Values of the request's flag that choose the candidate; null where its share of the keys does.</summary>
    public IReadOnlyList<string>? Flags { get; }

    /// <summary>Whether a flag chooses.</summary>
    public bool IsByFlag => Flags is not null;

    /// <summary>The arm that a request's flag chooses: any value but the candidate's, and none, is the stable version's.</summary>
    /// <param name="flag">UTF-8; empty when the request has none.</param>
    public Arm? ChooseByFlag(ReadOnlySpan<byte> flag)
    {
        if (Candidate is null || Stable is null)
        {
            return Choose(default);
        }

        foreach (var value in _flags)
        {
            if (flag.SequenceEqual(value))
            {
                return Candidate;
            }
        }

        return Stable;
    }

    /// <summary>The arm of a key.</summary>
    /// <param name="key">The entity key; with <see cref="Sticky"/> off, or without a key, the request's own id.</param>
    public Arm? Choose(ReadOnlySpan<byte> key) =>
        Candidate is { } candidate && (Stable is null || Position(_salt, key) < Share) ? candidate : Stable;

    /// <summary>The arm of a request without a key, whose place between 0 and 1 was drawn at random.</summary>
    internal Arm? ChooseAt(double position) => Candidate is { } candidate && (Stable is null || position < Share) ? candidate : Stable;

    /// <summary>Whether the choice depends on the key.</summary>
    internal bool Splits => Candidate is not null && Stable is not null && Share is > 0 and < 1;

    /// <summary>Where a key stands between 0 and 1: the first 8 bytes, big endian, of SHA-256 over salt, U+001F and key, as a fraction of 2^64.</summary>
    /// <remarks>
    /// The same in every process and on every machine, and independent of the share: a key below 5 % is below 25 %, so that a
    /// step up never takes a user away from the candidate. SHA-256 costs under half a microsecond and only while traffic is split.
    /// </remarks>
    internal static double Position(ReadOnlySpan<byte> saltAndSeparator, ReadOnlySpan<byte> key)
    {
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        var length = saltAndSeparator.Length + key.Length;
        byte[]? rented = null;
        var input = length <= 256 ? stackalloc byte[256] : (rented = ArrayPool<byte>.Shared.Rent(length));
        saltAndSeparator.CopyTo(input);
        key.CopyTo(input[saltAndSeparator.Length..]);
        SHA256.HashData(input[..length], digest);
        if (rented is not null)
        {
            ArrayPool<byte>.Shared.Return(rented);
        }

        return (BinaryPrimitives.ReadUInt64BigEndian(digest) >> 11) * (1.0 / (1UL << 53));
    }
}
