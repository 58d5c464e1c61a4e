using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Org.BouncyCastle.Asn1;
using Org.BouncyCastle.Asn1.EdEC;
using Org.BouncyCastle.Asn1.Pkcs;
using Org.BouncyCastle.Asn1.X509;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Crypto.Signers;
using Org.BouncyCastle.Security;
using Org.BouncyCastle.X509;
using Slipway.Contracts;

namespace Slipway.Storage.Audit;

/// <summary>The Ed25519 key that signs checkpoints and reports: a PEM file in the data folder that only its owner may read.</summary>
public sealed class AuditSigningKey
{
    private const string PrivateLabel = "PRIVATE KEY";
    private const string PublicLabel = "PUBLIC KEY";

    private readonly Ed25519PrivateKeyParameters _key;

    internal AuditSigningKey(ReadOnlySpan<byte> seed)
    {
        _key = new Ed25519PrivateKeyParameters(seed);
        PublicKey = Convert.ToBase64String(SubjectPublicKeyInfoFactory.CreateSubjectPublicKeyInfo(_key.GeneratePublicKey()).GetDerEncoded());
        KeyId = IdOf(PublicKey);
    }

    /// <summary>First 16 hexadecimal digits of the SHA-256 of the public key.</summary>
    public string KeyId { get; }

    /// <summary>SubjectPublicKeyInfo, base64.</summary>
    public string PublicKey { get; }

    /// <summary>Signs a text as UTF-8.</summary>
    /// <returns>Base64.</returns>
    public string Sign(string text)
    {
        var signer = new Ed25519Signer();
        signer.Init(true, _key);
        signer.BlockUpdate(Encoding.UTF8.GetBytes(text));
        return Convert.ToBase64String(signer.GenerateSignature());
    }

    /// <summary>Whether <paramref name="signature"/> (base64) is the key's (base64) over the text. A malformed one is not.</summary>
    public static bool Verify(string publicKey, string text, string signature)
    {
        if (Parse(publicKey) is not { } key || !Base64.IsValid(signature))
        {
            return false;
        }

        var verifier = new Ed25519Signer();
        verifier.Init(false, key);
        verifier.BlockUpdate(Encoding.UTF8.GetBytes(text));
        return verifier.VerifySignature(Convert.FromBase64String(signature));
    }

    /// <summary>Reads a public key as people pass it on: PEM, or base64 of SubjectPublicKeyInfo or of the bare 32 bytes.</summary>
    /// <returns>Base64 of SubjectPublicKeyInfo.</returns>
    /// <exception cref="SlipwayException">InvalidArgument: it is none of these.</exception>
    public static string ReadPublicKey(string text)
    {
        var base64 = text.Trim();
        if (PemEncoding.TryFind(text, out var pem) && text[pem.Label] == PublicLabel)
        {
            base64 = new string([.. text[pem.Base64Data].Where(c => !char.IsWhiteSpace(c))]);
        }

        return Parse(base64) is { } key
            ? Convert.ToBase64String(SubjectPublicKeyInfoFactory.CreateSubjectPublicKeyInfo(key).GetDerEncoded())
            : throw new SlipwayException(ErrorCode.InvalidArgument, "The public key is neither PEM nor base64 of an Ed25519 key; slipway audit key prints it.");
    }

    /// <summary>The public key as a PEM file.</summary>
    public static string Pem(string publicKey) => PemEncoding.WriteString(PublicLabel, Convert.FromBase64String(publicKey));

    /// <summary>Whether the text is an Ed25519 public key in base64.</summary>
    public static bool IsKey(string publicKey) => Parse(publicKey) is not null;

    /// <summary>The id of a public key.</summary>
    public static string IdOf(string publicKey) => Convert.ToHexStringLower(SHA256.HashData(Convert.FromBase64String(publicKey)).AsSpan(0, 8));

    internal static AuditSigningKey Make() => new(RandomNumberGenerator.GetBytes(Ed25519PrivateKeyParameters.KeySize));

    /// <exception cref="SlipwayException">FailedPrecondition: the file holds no Ed25519 key.</exception>
    internal static AuditSigningKey Read(string path)
    {
        try
        {
            var text = File.ReadAllText(path);
            var pem = PemEncoding.Find(text);
            return new AuditSigningKey(((Ed25519PrivateKeyParameters)PrivateKeyFactory.CreateKey(Convert.FromBase64String(text[pem.Base64Data]))).GetEncoded());
        }
        catch (Exception e) when (e is not (IOException or UnauthorizedAccessException))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"'{path}' holds no Ed25519 private key as PEM; put the file back from a copy, or move it away to begin with a new key.", e);
        }
    }

    /// <summary>Writes the key under a name of its own first, so that no half-written key is ever read.</summary>
    /// <param name="path">Where to.</param>
    /// <param name="replace">Whether one may stand there already.</param>
    internal void Write(string path, bool replace)
    {
        // The form of RFC 8410 without the public key in it, which is the one that every tool reads.
        var encoded = new PrivateKeyInfo(new AlgorithmIdentifier(EdECObjectIdentifiers.id_Ed25519), new DerOctetString(_key.GetEncoded())).GetDerEncoded();
        PrivateFiles.Write(path, Encoding.ASCII.GetBytes(PemEncoding.WriteString(PrivateLabel, encoded) + "\n"), replace);
    }

    private static Ed25519PublicKeyParameters? Parse(string base64)
    {
        if (!Base64.IsValid(base64))
        {
            return null;
        }

        var bytes = Convert.FromBase64String(base64);
        try
        {
            return bytes.Length == Ed25519PublicKeyParameters.KeySize ? new Ed25519PublicKeyParameters(bytes) : PublicKeyFactory.CreateKey(bytes) as Ed25519PublicKeyParameters;
        }
        catch (Exception e) when (e is ArgumentException or IOException or InvalidOperationException or InvalidCastException)
        {
            return null; // Some other bytes.
        }
    }
}
