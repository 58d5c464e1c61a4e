using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Slipway.Contracts;

namespace Slipway.Storage;

/// <summary>
/// Encrypts what must be read again and may not stand in the database or its backups, such as the secrets that sign webhooks:
/// AES-256-GCM with a key from a file beside the database, which only its owner may read.
/// </summary>
/// <remarks>
/// A sealed text is <c>KEY.DATA</c>: the key's id, then nonce, ciphertext and tag in base64url. The id tells a key that was lost from data
/// that was changed. Nonces are random: the chance that two of 2^32 secrets of one key share one is below 2^-32 (NIST SP 800-38D, 8.3).
/// </remarks>
public sealed class SecretBox(StorageOptions options)
{
    private const int KeyBytes = 32;
    private const int NonceBytes = 12;
    private const int TagBytes = 16;

    private readonly Lock _opening = new();
    private (string Id, byte[] Key)? _key;

    /// <summary>The key in hex; made with the first secret. Servers that share a database need the same one.</summary>
    public string KeyPath => Path.Combine(options.DataDirectory, "secrets.key");

    /// <summary>Encrypts a secret.</summary>
    /// <param name="secret">Any text.</param>
    /// <param name="owner">What it belongs to, such as <c>webhook:ID</c>; moved to another owner, it can no longer be read.</param>
    public string Seal(string secret, string owner)
    {
        var (id, key) = Key(mayMake: true);
        var text = Encoding.UTF8.GetBytes(secret);
        var box = new byte[NonceBytes + text.Length + TagBytes];
        RandomNumberGenerator.Fill(box.AsSpan(0, NonceBytes));
        using var cipher = new AesGcm(key, TagBytes);
        cipher.Encrypt(box.AsSpan(0, NonceBytes), text, box.AsSpan(NonceBytes, text.Length), box.AsSpan(NonceBytes + text.Length), Encoding.UTF8.GetBytes(owner));
        return $"{id}.{Base64Url.EncodeToString(box)}";
    }

    /// <summary>Decrypts a secret.</summary>
    /// <param name="box">Made by <see cref="Seal"/>.</param>
    /// <param name="owner">As it was sealed.</param>
    /// <exception cref="SlipwayException">FailedPrecondition: the key is missing or another one, or the text was changed.</exception>
    public string Open(string box, string owner)
    {
        var (id, key) = Key(mayMake: false);
        var dot = box.IndexOf('.', StringComparison.Ordinal);
        if (dot < 0 || !Base64Url.IsValid(box.AsSpan(dot + 1), out var length) || length < NonceBytes + TagBytes)
        {
            throw Changed(owner);
        }

        if (box[..dot] != id)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"The secret of {owner} was encrypted with key {box[..dot]}, but '{KeyPath}' holds key {id}; put the first one back from a copy, or set the secret anew.");
        }

        var bytes = Base64Url.DecodeFromChars(box.AsSpan(dot + 1));
        var text = new byte[bytes.Length - NonceBytes - TagBytes];
        try
        {
            using var cipher = new AesGcm(key, TagBytes);
            cipher.Decrypt(bytes.AsSpan(0, NonceBytes), bytes.AsSpan(NonceBytes, text.Length), bytes.AsSpan(NonceBytes + text.Length), text, Encoding.UTF8.GetBytes(owner));
        }
        catch (AuthenticationTagMismatchException)
        {
            throw Changed(owner);
        }

        return Encoding.UTF8.GetString(text);
    }

    private (string Id, byte[] Key) Key(bool mayMake)
    {
        lock (_opening)
        {
            if (_key is { } known)
            {
                return known;
            }

            if (!File.Exists(KeyPath))
            {
                Make(mayMake);
            }

            var key = Parse(File.ReadAllText(KeyPath).Trim());
            _key = (Convert.ToHexStringLower(SHA256.HashData(key).AsSpan(0, 8)), key);
            return _key.Value;
        }
    }

    private void Make(bool mayMake)
    {
        if (!mayMake)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"'{KeyPath}', the key of the secrets in the database, is missing; put it back from a copy or from a server that shares the database, or set the secrets anew.");
        }

        PrivateFiles.CreateDirectory(options.DataDirectory);
        try
        {
            PrivateFiles.Write(KeyPath, Encoding.ASCII.GetBytes(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(KeyBytes)) + "\n"), replace: false);
        }
        catch (IOException) when (File.Exists(KeyPath))
        {
            // Another process was first; its key is as good.
        }
    }

    private byte[] Parse(string text)
    {
        try
        {
            var key = Convert.FromHexString(text);
            return key.Length == KeyBytes ? key : throw new FormatException();
        }
        catch (FormatException)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"'{KeyPath}' must hold {KeyBytes} bytes in hex, which encrypt the secrets in the database; put the file back from a copy, or move it away and set the secrets anew.");
        }
    }

    private static SlipwayException Changed(string owner) =>
        new(ErrorCode.FailedPrecondition, $"The secret of {owner} was changed in the database and cannot be read; set it anew.");
}
