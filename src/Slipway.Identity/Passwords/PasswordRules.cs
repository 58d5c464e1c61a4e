using System.Collections.Frozen;
using System.Globalization;
using System.Text;
using Slipway.Contracts;

namespace Slipway.Identity.Passwords;

/// <summary>Which passwords are taken: long enough, and not among those that everyone tries first. No rule about kinds of characters, which only makes passwords worse.</summary>
public static class PasswordRules
{
    /// <summary>The fewest characters.</summary>
    public const int LengthMin = 8;

    /// <summary>The most characters: hashing takes as long as the text is.</summary>
    public const int LengthMax = 128;

    private static readonly Lazy<FrozenSet<string>> Common = new(ReadCommon);

    /// <summary>Checks a new password.</summary>
    /// <param name="password">The password.</param>
    /// <param name="userName">Whose.</param>
    /// <param name="field">Where it came from, as the message names it.</param>
    /// <exception cref="SlipwayException">InvalidArgument; the message does not repeat the password.</exception>
    public static void Check(string password, string userName, string field = "'password'")
    {
        var length = new StringInfo(password).LengthInTextElements;
        if (length is < LengthMin or > LengthMax || password.Length > LengthMax * 4)
        {
            throw Invalid(field, $"must have {LengthMin} to {LengthMax} characters, better 12 or more");
        }

        var plain = password.ToLowerInvariant();
        if (Common.Value.Contains(plain) || plain.Distinct().Count() < 3)
        {
            throw Invalid(field, "is one of the first that anyone would try; choose one that is not");
        }

        if (userName.Length >= 4 && plain.Contains(userName, StringComparison.Ordinal) && plain.Length - userName.Length < LengthMin)
        {
            throw Invalid(field, "is little more than the user's name; choose another");
        }
    }

    private static SlipwayException Invalid(string field, string fault) => new(ErrorCode.InvalidArgument, $"{field} {fault}.");

    private static FrozenSet<string> ReadCommon()
    {
        using var reader = new StreamReader(typeof(PasswordRules).Assembly.GetManifestResourceStream("Slipway.Identity.Passwords.common-passwords.txt")!, Encoding.UTF8);
        return reader.ReadToEnd().Split('\n').Where(line => line.Length > 0 && line[0] != '#').ToFrozenSet(StringComparer.Ordinal);
    }
}
