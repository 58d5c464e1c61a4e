using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Slipway.Identity.OpenId;

/// <summary>A signed token (RFC 7519), read but not yet believed.</summary>
internal sealed class JsonWebToken
{
    private readonly byte[] _signed;
    private readonly byte[] _signature;

    private JsonWebToken(string algorithm, string? keyId, JsonElement claims, byte[] signed, byte[] signature) =>
        (Algorithm, KeyId, Claims, _signed, _signature) = (algorithm, keyId, claims, signed, signature);

    public string Algorithm { get; }

    public string? KeyId { get; }

    public JsonElement Claims { get; }

    /// <summary>Takes the three parts apart; null when they are not what they should be.</summary>
    public static JsonWebToken? TryParse(string token)
    {
        try
        {
            var parts = token.Split('.');
            if (parts.Length != 3)
            {
                return null;
            }

            var header = JsonDocument.Parse(Base64Url.DecodeFromChars(parts[0])).RootElement;
            var claims = JsonDocument.Parse(Base64Url.DecodeFromChars(parts[1])).RootElement;
            // An extension that must be understood (crit) is one that is not understood here.
            return header.ValueKind is JsonValueKind.Object && claims.ValueKind is JsonValueKind.Object && !header.TryGetProperty("crit", out _)
                && header.TryGetProperty("alg", out var algorithm) && algorithm.GetString() is { } name
                ? new JsonWebToken(name, header.TryGetProperty("kid", out var kid) ? kid.GetString() : null, claims.Clone(),
                    Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Base64Url.DecodeFromChars(parts[2]))
                : null;
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>Whether the key made the signature, by an algorithm of the key's own kind: never <c>none</c>, never a shared secret.</summary>
    public bool IsSignedBy(JsonElement key)
    {
        try
        {
            return (Text(key, "kty"), Algorithm) switch
            {
                _ when Text(key, "use") is { } use && use != "sig" => false,
                _ when Text(key, "alg") is { } only && only != Algorithm => false,
                ("RSA", "RS256" or "RS384" or "RS512" or "PS256" or "PS384" or "PS512") => VerifyRsa(key),
                ("EC", "ES256") => VerifyEc(key, "P-256", ECCurve.NamedCurves.nistP256),
                ("EC", "ES384") => VerifyEc(key, "P-384", ECCurve.NamedCurves.nistP384),
                ("EC", "ES512") => VerifyEc(key, "P-521", ECCurve.NamedCurves.nistP521),
                _ => false,
            };
        }
        catch (Exception e) when (e is FormatException or CryptographicException or InvalidOperationException)
        {
            return false; // A key that is none signs nothing.
        }
    }

    /// <summary>A claim that is a text; null when it is not there or something else.</summary>
    public string? Text(string claim) => Text(Claims, claim);

    /// <summary>A claim that is a text or a list of texts.</summary>
    public IReadOnlyList<string> Texts(string claim) => Claims.TryGetProperty(claim, out var value)
        ? value.ValueKind switch
        {
            JsonValueKind.String => [value.GetString()!],
            JsonValueKind.Array => [.. value.EnumerateArray().Where(item => item.ValueKind is JsonValueKind.String).Select(item => item.GetString()!)],
            _ => [],
        }
        : [];

    /// <summary>A claim that is an instant.</summary>
    public DateTimeOffset? Instant(string claim) =>
        Claims.TryGetProperty(claim, out var value) && value.ValueKind is JsonValueKind.Number && value.TryGetDouble(out var seconds) && seconds is > 0 and < 253_402_300_799
            ? DateTimeOffset.FromUnixTimeMilliseconds((long)(seconds * 1000))
            : null;

    private bool VerifyRsa(JsonElement key)
    {
        using var rsa = RSA.Create(new RSAParameters { Modulus = Bytes(key, "n"), Exponent = Bytes(key, "e") });
        return rsa.KeySize >= 2048 && rsa.VerifyData(_signed, _signature, Hash, Algorithm[0] == 'R' ? RSASignaturePadding.Pkcs1 : RSASignaturePadding.Pss);
    }

    private bool VerifyEc(JsonElement key, string name, ECCurve curve)
    {
        if (Text(key, "crv") != name)
        {
            return false;
        }

        using var ec = ECDsa.Create(new ECParameters { Curve = curve, Q = new ECPoint { X = Bytes(key, "x"), Y = Bytes(key, "y") } });
        return ec.VerifyData(_signed, _signature, Hash, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
    }

    private HashAlgorithmName Hash => Algorithm[2..] switch { "256" => HashAlgorithmName.SHA256, "384" => HashAlgorithmName.SHA384, _ => HashAlgorithmName.SHA512 };

    private static byte[] Bytes(JsonElement key, string name) => Base64Url.DecodeFromChars(Text(key, name) ?? throw new FormatException());

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind is JsonValueKind.String ? value.GetString() : null;
}
