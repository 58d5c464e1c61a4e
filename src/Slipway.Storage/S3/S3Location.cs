using System.Text.RegularExpressions;
using Slipway.Contracts;

namespace Slipway.Storage.S3;

/// <summary>A place in an S3-compatible store: <c>s3://bucket/prefix</c>.</summary>
/// <param name="Bucket">The bucket's name.</param>
/// <param name="Prefix">Parts joined by '/', without one at either end; empty for the whole bucket.</param>
public sealed partial record S3Location(string Bucket, string Prefix)
{
    private const string Scheme = "s3://";

    /// <summary>Whether the text speaks of S3 at all.</summary>
    public static bool Is(string text) => text.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase);

    /// <summary>Reads a location.</summary>
    /// <param name="text">Begins with <c>s3://</c>.</param>
    /// <param name="field">The option or field that holds it, for the message.</param>
    /// <exception cref="SlipwayException">InvalidArgument: the bucket's name is none, or the prefix is not canonical.</exception>
    public static S3Location Parse(string text, string field)
    {
        var parts = text[Scheme.Length..].Split('/', 2);
        var prefix = parts.Length > 1 ? parts[1].TrimEnd('/') : "";
        if (!BucketName().IsMatch(parts[0]))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"{field} must be s3://bucket/prefix with a bucket's name of 3 to 63 lower-case letters, digits, '-' and '.'.");
        }

        if (prefix.Length > 500 || (prefix.Length > 0 && prefix.Split('/').Any(part => part is "" or "." or ".." || !part.All(c => char.IsAsciiLetterOrDigit(c) || "-_.=+@".Contains(c, StringComparison.Ordinal)))))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"{field} must be s3://bucket/prefix whose prefix has parts of letters, digits and '-_.=+@', without empty, '.' or '..' parts.");
        }

        return new S3Location(parts[0], prefix);
    }

    /// <summary>The object's key below this place.</summary>
    public string Key(string path) => Prefix.Length == 0 ? path : path.Length == 0 ? Prefix : $"{Prefix}/{path}";

    /// <summary>A place below this one.</summary>
    public S3Location Below(string path) => this with { Prefix = Key(path) };

    /// <inheritdoc/>
    public override string ToString() => Prefix.Length == 0 ? Scheme + Bucket : $"{Scheme}{Bucket}/{Prefix}";

    [GeneratedRegex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    private static partial Regex BucketName();
}
