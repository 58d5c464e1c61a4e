using System.Globalization;
using Slipway.Contracts.Tracking;

namespace Slipway.Tracking.Configs;

/// <summary>The lines in which two texts differ.</summary>
internal static class LineDiff
{
    /// <summary>Lines of either text, past those that both begin and end with: the table below has the square of it.</summary>
    public const int LinesMax = 2000;

    /// <summary>A shortest list of removed and added lines, by the longest common subsequence; null when there are more than <see cref="LinesMax"/> to look at.</summary>
    public static IReadOnlyList<ConfigChange>? Of(string a, string b)
    {
        var (left, right) = (Lines(a), Lines(b));
        var start = 0;
        while (start < Math.Min(left.Length, right.Length) && left[start] == right[start])
        {
            start++;
        }

        var (endA, endB) = (left.Length, right.Length);
        while (endA > start && endB > start && left[endA - 1] == right[endB - 1])
        {
            (endA, endB) = (endA - 1, endB - 1);
        }

        if (endA - start > LinesMax || endB - start > LinesMax)
        {
            return null;
        }

        // common[i, j]: length of the longest common subsequence of what follows i and j.
        var common = new ushort[endA - start + 1, endB - start + 1];
        for (var i = endA - start - 1; i >= 0; i--)
        {
            for (var j = endB - start - 1; j >= 0; j--)
            {
                common[i, j] = left[start + i] == right[start + j] ? (ushort)(common[i + 1, j + 1] + 1) : Math.Max(common[i + 1, j], common[i, j + 1]);
            }
        }

        var changes = new List<ConfigChange>();
        for (var (i, j) = (start, start); i < endA || j < endB;)
        {
            if (i < endA && j < endB && left[i] == right[j])
            {
                (i, j) = (i + 1, j + 1);
            }
            else if (j == endB || (i < endA && common[i + 1 - start, j - start] >= common[i - start, j + 1 - start]))
            {
                changes.Add(new ConfigChange(Number(i), ConfigState.Removed, left[i++], null));
            }
            else
            {
                changes.Add(new ConfigChange(Number(j), ConfigState.Added, null, right[j++]));
            }
        }

        return changes;
    }

    private static string Number(int index) => $"line {(index + 1).ToString(CultureInfo.InvariantCulture)}";

    private static string[] Lines(string text) => text.ReplaceLineEndings("\n").TrimEnd('\n').Split('\n');
}
