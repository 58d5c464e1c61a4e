using System.Text;

namespace Slipway.Identity;

/// <summary>Reads the token out of an <c>Authorization</c> header.</summary>
public static class Credentials
{
    /// <summary>
    /// The token of <c>Bearer …</c>, or the password of <c>Basic …</c> (what MLflow clients send; the user name is not looked at, since
    /// the token names its user). Null when there is no header; empty when the header holds no token that could be right.
    /// </summary>
    public static string? Token(string? authorization)
    {
        if (string.IsNullOrWhiteSpace(authorization))
        {
            return null;
        }

        if (authorization.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase))
        {
            return authorization["Bearer ".Length..].Trim();
        }

        return authorization.StartsWith("Basic ", StringComparison.OrdinalIgnoreCase) ? BasicPassword(authorization["Basic ".Length..].Trim()) : "";
    }

    private static string BasicPassword(string encoded)
    {
        var bytes = new byte[encoded.Length];
        if (!Convert.TryFromBase64String(encoded, bytes, out var length))
        {
            return "";
        }

        var text = Encoding.UTF8.GetString(bytes, 0, length);
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        return colon < 0 ? "" : text[(colon + 1)..];
    }
}
