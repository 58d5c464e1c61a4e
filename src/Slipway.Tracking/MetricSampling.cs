namespace Slipway.Tracking;

/// <summary>Chooses the steps at which curves of several runs are shown together.</summary>
public static class MetricSampling
{
    /// <summary>
    /// MLflow's rule: of the steps of all runs that lie in the range, evenly many by rank, always the first and the last, and besides each run's own first and last
    /// step in the range. All curves are shown at the same steps, so that they can be compared point by point.
    /// </summary>
    /// <param name="steps">Of all runs together: ascending, each once, none outside the range.</param>
    /// <param name="ends">The first and last step of each run.</param>
    /// <param name="from">First step of the range.</param>
    /// <param name="to">Last step, itself in the range.</param>
    /// <param name="max">How many to choose; the ends come on top.</param>
    /// <returns>Ascending.</returns>
    public static IReadOnlyList<long> Choose(IReadOnlyList<long> steps, IEnumerable<(long First, long Last)> ends, long from, long to, int max)
    {
        if (steps.Count == 0)
        {
            return [];
        }

        if (steps.Count <= max)
        {
            return steps;
        }

        var chosen = new SortedSet<long>(ends.SelectMany(end => (long[])[end.First, end.Last]).Where(step => step >= from && step <= to));
        for (var i = 0L; i < max; i++)
        {
            chosen.Add(steps[(int)(i * steps.Count / max)]);
        }

        chosen.Add(steps[^1]);
        return [.. chosen];
    }
}
