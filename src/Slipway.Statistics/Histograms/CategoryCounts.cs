using System.Runtime.InteropServices;

namespace Slipway.Statistics.Histograms;

/// <summary>Counts per category of a column, mergeable across chunks; null counts as missing.</summary>
/// <remarks>Categories compare ordinally. Not safe for concurrent writers; give each its own and <see cref="Merge"/>.</remarks>
public sealed class CategoryCounts
{
    private readonly Dictionary<string, long> counts = new(StringComparer.Ordinal);

    /// <summary>Counts per category.</summary>
    public IReadOnlyDictionary<string, long> Counts => counts;

    /// <summary>Missing values.</summary>
    public long MissingCount { get; private set; }

    /// <summary>Values that are not missing.</summary>
    public long ValueCount { get; private set; }

    /// <summary>Counts values of one category; null counts as missing.</summary>
    /// <param name="category">The category or null.</param>
    /// <param name="count">At least 0.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is negative.</exception>
    public void Add(string? category, long count = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (category is null)
        {
            MissingCount += count;
            return;
        }

        CollectionsMarshal.GetValueRefOrAddDefault(counts, category, out _) += count;
        ValueCount += count;
    }

    /// <summary>Counts a value given as characters, without allocating when the category is already known.</summary>
    public void Add(ReadOnlySpan<char> category)
    {
        CollectionsMarshal.GetValueRefOrAddDefault(counts.GetAlternateLookup<ReadOnlySpan<char>>(), category, out _)++;
        ValueCount++;
    }

    /// <summary>Adds the counts of another column chunk.</summary>
    public void Merge(CategoryCounts other)
    {
        ArgumentNullException.ThrowIfNull(other);
        foreach (var (category, count) in other.counts)
        {
            Add(category, count);
        }

        MissingCount += other.MissingCount;
    }

    /// <summary>Two columns' counts side by side over the union of their categories, in ordinal order; 0 where one lacks a category.</summary>
    public static AlignedCounts Align(CategoryCounts reference, CategoryCounts current)
    {
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(current);
        string[] categories = [.. reference.counts.Keys.Union(current.counts.Keys).Order(StringComparer.Ordinal)];
        return new AlignedCounts(
            categories,
            [.. categories.Select(c => reference.counts.GetValueOrDefault(c))],
            [.. categories.Select(c => current.counts.GetValueOrDefault(c))]);
    }
}
