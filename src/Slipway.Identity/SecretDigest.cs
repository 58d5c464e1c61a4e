using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Slipway.Identity;

/// <summary>
/// The SHA-256 of a random secret, which is all that is kept of one. Secrets are looked up by it, so that how long a look-up takes tells
/// nothing about the secret behind it. Passwords are not random; they have <see cref="Passwords.PasswordHash"/>.
/// </summary>
internal readonly record struct SecretDigest(ulong A, ulong B, ulong C, ulong D)
{
    /// <summary>256 random bits as text, after a prefix by which secret scanners can find it.</summary>
    public static string NewSecret(string prefix) => prefix + Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));

    /// <summary>The digest of a secret; allocates nothing for those of our own length.</summary>
    public static SecretDigest Of(ReadOnlySpan<char> secret)
    {
        Span<byte> utf8 = secret.Length <= 128 ? stackalloc byte[128 * 3] : new byte[Encoding.UTF8.GetMaxByteCount(secret.Length)];
        Span<byte> hash = stackalloc byte[32];
        SHA256.HashData(utf8[..Encoding.UTF8.GetBytes(secret, utf8)], hash);
        return From(hash);
    }

    /// <summary>The digest from its 32 bytes.</summary>
    public static SecretDigest From(ReadOnlySpan<byte> hash) => MemoryMarshal.Read<SecretDigest>(hash);

    /// <summary>The digest as the tables hold it.</summary>
    public static SecretDigest Parse(string hex) => From(Convert.FromHexString(hex));

    /// <summary>64 hex digits.</summary>
    public override string ToString() => Convert.ToHexStringLower(MemoryMarshal.AsBytes(new ReadOnlySpan<SecretDigest>(in this)));

    /// <inheritdoc/>
    public override int GetHashCode() => (int)A; // The bits are as good as random already.
}
