using System.Globalization;

namespace Slipway.Registry.Versions;

/// <summary><c>major.minor.patch</c>.</summary>
internal readonly record struct SemanticVersion(int Major, int Minor, int Patch) : IComparable<SemanticVersion>
{
    public static SemanticVersion First { get; } = new(1, 0, 0);

    public static bool TryParse(string text, out SemanticVersion version)
    {
        version = default;
        var parts = text.Split('.');
        if (parts.Length != 3)
        {
            return false;
        }

        Span<int> numbers = stackalloc int[3];
        for (var i = 0; i < 3; i++)
        {
            // "01" would make two spellings of one version.
            if (parts[i] is ['0', _, ..] || !int.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i]))
            {
                return false;
            }
        }

        version = new SemanticVersion(numbers[0], numbers[1], numbers[2]);
        return true;
    }

    public static SemanticVersion Parse(string text) =>
        TryParse(text, out var version) ? version : throw new FormatException($"'{text}' is not a semantic version.");

    public SemanticVersion Next(Bump bump) => bump switch
    {
        Bump.Major => new SemanticVersion(Major + 1, 0, 0),
        Bump.Minor => new SemanticVersion(Major, Minor + 1, 0),
        _ => new SemanticVersion(Major, Minor, Patch + 1),
    };

    /// <summary>The part that differs from an older version.</summary>
    public Bump BumpFrom(SemanticVersion older) => Major != older.Major ? Bump.Major : Minor != older.Minor ? Bump.Minor : Bump.Patch;

    public int CompareTo(SemanticVersion other) => (Major, Minor, Patch).CompareTo((other.Major, other.Minor, other.Patch));

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Major}.{Minor}.{Patch}");
}

/// <summary>How far a version moves, smallest first.</summary>
internal enum Bump
{
    Patch,
    Minor,
    Major,
}
