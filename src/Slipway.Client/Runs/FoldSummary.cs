namespace Slipway.Client.Runs;

/// <summary>The folds of each metric so far, with their mean and standard deviation.</summary>
internal sealed class FoldSummary
{
    private readonly Dictionary<string, SortedDictionary<int, double>> _folds = new(StringComparer.Ordinal);

    /// <returns>How many folds there are, their mean, and the standard deviation of the sample (n - 1); null for a single fold.</returns>
    public (int Folds, double Mean, double? Std) Add(string metric, int fold, double value)
    {
        lock (_folds)
        {
            if (!_folds.TryGetValue(metric, out var folds))
            {
                _folds.Add(metric, folds = []);
            }

            folds[fold] = value;
            var mean = folds.Values.Average();
            return (folds.Count, mean, folds.Count < 2 ? null : Math.Sqrt(folds.Values.Sum(each => (each - mean) * (each - mean)) / (folds.Count - 1)));
        }
    }
}
