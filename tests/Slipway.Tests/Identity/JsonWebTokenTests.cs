using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Identity.OpenId;

namespace Slipway.Tests.Identity;

/// <summary>Signatures of tokens, and settings of the OpenID provider.</summary>
public sealed class JsonWebTokenTests
{
    [Fact]
    public void A_signature_counts_only_by_an_algorithm_of_the_key_s_own_kind()
    {
        using var rsa = RSA.Create(2048);
        using var weak = RSA.Create(1024);
        using var ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var rsaKey = Key(new { kty = "RSA", n = Encode(rsa.ExportParameters(false).Modulus!), e = Encode(rsa.ExportParameters(false).Exponent!) });
        var weakKey = Key(new { kty = "RSA", n = Encode(weak.ExportParameters(false).Modulus!), e = Encode(weak.ExportParameters(false).Exponent!) });
        var point = ec.ExportParameters(false).Q;
        var ecKey = Key(new { kty = "EC", crv = "P-256", x = Encode(point.X!), y = Encode(point.Y!) });
        byte[] Rs(byte[] data) => rsa.SignData(data, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);

        Assert.True(Token("RS256", Rs).IsSignedBy(rsaKey));
        Assert.True(Token("PS256", data => rsa.SignData(data, HashAlgorithmName.SHA256, RSASignaturePadding.Pss)).IsSignedBy(rsaKey));
        Assert.True(Token("RS512", data => rsa.SignData(data, HashAlgorithmName.SHA512, RSASignaturePadding.Pkcs1)).IsSignedBy(rsaKey));
        Assert.True(Token("ES256", data => ec.SignData(data, HashAlgorithmName.SHA256)).IsSignedBy(ecKey));

        Assert.False(Token("RS256", Rs).IsSignedBy(ecKey));
        Assert.False(Token("PS256", Rs).IsSignedBy(rsaKey));
        Assert.False(Token("none", _ => []).IsSignedBy(rsaKey));
        Assert.False(Token("HS256", data => HMACSHA256.HashData(rsa.ExportSubjectPublicKeyInfo(), data)).IsSignedBy(rsaKey));
        Assert.False(Token("HS256", data => HMACSHA256.HashData("secret"u8, data)).IsSignedBy(Key(new { kty = "oct", k = Encode("secret"u8.ToArray()) })));
        Assert.False(Token("RS256", data => weak.SignData(data, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)).IsSignedBy(weakKey));
        Assert.False(Token("RS256", Rs).IsSignedBy(Key(new { kty = "RSA", use = "enc", n = Encode(rsa.ExportParameters(false).Modulus!), e = "AQAB" })));
        Assert.False(Token("RS256", Rs).IsSignedBy(Key(new { kty = "RSA" })));
        Assert.False(Token("ES256", _ => []).IsSignedBy(ecKey));
        Assert.Null(JsonWebToken.TryParse("a.b"));
        Assert.Null(JsonWebToken.TryParse($"{Encode("[]")}.{Encode("{}")}."));
        Assert.Null(JsonWebToken.TryParse($"{Encode("""{"alg":"RS256","crit":["b64"]}""")}.{Encode("{}")}.AA"));
    }

    [Theory]
    [InlineData("http://provider.example", "x", null, null, "--oidc-issuer")]
    [InlineData("provider", "x", null, null, "--oidc-issuer")]
    [InlineData("https://provider.example", null, null, null, "--oidc-client-id")]
    [InlineData("https://provider.example", "x", "ops", null, "--oidc-role-map")]
    [InlineData("https://provider.example", "x", "ops=root", null, "'root'")]
    [InlineData("https://provider.example", "x", null, "root", "--oidc-default-role")]
    public void A_wrong_setting_is_told_by_its_flag(string issuer, string? clientId, string? roleMap, string? defaultRole, string words)
    {
        var error = Assert.Throws<SlipwayException>(() => OpenIdOptions.Of(issuer, clientId, "secret-of-the-client", null, null, null, null, roleMap, defaultRole, null));

        Assert.Contains(words, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret-of-the-client", error.Message, StringComparison.Ordinal);
    }

    private static JsonWebToken Token(string algorithm, Func<byte[], byte[]> sign)
    {
        var text = $"{Encode($$"""{"alg":"{{algorithm}}"}""")}.{Encode("""{"sub":"x"}""")}";
        return JsonWebToken.TryParse($"{text}.{Encode(sign(Encoding.ASCII.GetBytes(text)))}")!;
    }

    private static JsonElement Key(object key) => JsonSerializer.SerializeToElement(key);

    private static string Encode(string text) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(text));

    private static string Encode(byte[] bytes) => Base64Url.EncodeToString(bytes);
}
