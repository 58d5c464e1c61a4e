using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Slipway.Contracts;

namespace Slipway.Identity.Passwords;

/// <summary>PBKDF2 with HMAC-SHA-512, a salt of its own for each password, and the number of rounds that OWASP's Password Storage Cheat Sheet asks for (210,000).</summary>
internal static class PasswordHash
{
    private const int Rounds = 210_000;
    private const int SaltBytes = 16;
    private const int HashBytes = 32;
    private const int WaitingMax = 200;

    // Hashing is meant to be slow; without a bound, a flood of sign-ins would take every processor.
    private static readonly SemaphoreSlim Turns = new(Math.Max(1, Environment.ProcessorCount / 2));

    private static int _waiting;

    // Takes as long as a real one, so that the time does not tell which users exist.
    private static readonly string OfNobody = Write(RandomNumberGenerator.GetBytes(SaltBytes), RandomNumberGenerator.GetBytes(HashBytes));

    /// <summary>The hash to keep: algorithm, rounds, salt and hash.</summary>
    public static Task<string> OfAsync(string password, CancellationToken cancellationToken) => InTurnAsync(() =>
    {
        var salt = RandomNumberGenerator.GetBytes(SaltBytes);
        return Write(salt, Derive(password, salt, Rounds));
    }, cancellationToken);

    /// <summary>Whether the password is the one behind the hash; a null hash takes the same time and is never right.</summary>
    public static Task<bool> VerifyAsync(string password, string? hash, CancellationToken cancellationToken) => InTurnAsync(() =>
    {
        var parts = (hash ?? OfNobody).Split('$');
        var (rounds, salt, expected) = (int.Parse(parts[1], CultureInfo.InvariantCulture), Convert.FromBase64String(parts[2]), Convert.FromBase64String(parts[3]));
        return CryptographicOperations.FixedTimeEquals(Derive(password, salt, rounds), expected) && hash is not null;
    }, cancellationToken);

    private static byte[] Derive(string password, byte[] salt, int rounds)
    {
        // The way through bytes replaces halves of characters, which cannot be normalised.
        var text = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(password)).Normalize(NormalizationForm.FormC);
        return Rfc2898DeriveBytes.Pbkdf2(Encoding.UTF8.GetBytes(text), salt, rounds, HashAlgorithmName.SHA512, HashBytes);
    }

    private static string Write(byte[] salt, byte[] hash) => $"pbkdf2-sha512${Rounds}${Convert.ToBase64String(salt)}${Convert.ToBase64String(hash)}";

    private static async Task<T> InTurnAsync<T>(Func<T> work, CancellationToken cancellationToken)
    {
        if (Interlocked.Increment(ref _waiting) > WaitingMax)
        {
            Interlocked.Decrement(ref _waiting);
            throw new SlipwayException(ErrorCode.ResourceExhausted, "Too many passwords are being checked at once; try again in a moment.");
        }

        try
        {
            await Turns.WaitAsync(cancellationToken);
            try
            {
                return await Task.Run(work, cancellationToken);
            }
            finally
            {
                Turns.Release();
            }
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
        }
    }
}
