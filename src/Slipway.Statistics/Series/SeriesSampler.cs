namespace Slipway.Statistics.Series;

/// <summary>
/// Thins a curve of any length while it streams by, in memory that depends on the wanted points only: x is cut into buckets of
/// equal width, and of each the first, the lowest, the highest and the last point are kept. No spike is lost.
/// </summary>
/// <remarks>
/// Source: M4, Jugel, Jerzak, Hackenbroich and Markl (2014), M4: A Visualization-Oriented Time Series Data Aggregation, PVLDB
/// 7(10), 797-808. With a bucket to each pixel column the drawn line is that of all points. Chosen over largest triangles, which
/// needs the points at hand in order of x.
/// </remarks>
public sealed class SeriesSampler
{
    private const int PerBucket = 4;

    private readonly double _from;
    private readonly double _to;
    private readonly int _pointsMax;
    private List<SeriesPoint>? _all = [];
    private Bucket[] _buckets = [];

    /// <summary>Starts an empty curve.</summary>
    /// <param name="from">Lowest x that may come.</param>
    /// <param name="to">Highest x that may come, not under <paramref name="from"/>.</param>
    /// <param name="pointsMax">At most so many points are kept, and beside them a gap in each bucket; 4 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">An end is not finite, the ends are in the wrong order, or <paramref name="pointsMax"/> is under 4.</exception>
    public SeriesSampler(double from, double to, int pointsMax)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(pointsMax, PerBucket);
        if (!(double.IsFinite(from) && double.IsFinite(to) && from <= to))
        {
            throw new ArgumentOutOfRangeException(nameof(to), to, $"The range {from} to {to} must be finite and in order.");
        }

        (_from, _to, _pointsMax) = (from, to, pointsMax);
    }

    /// <summary>Points that came, gaps too.</summary>
    public long Count { get; private set; }

    /// <summary>Of these, how many had no finite value.</summary>
    public long Gaps { get; private set; }

    /// <summary>Takes the next point; x need not ascend. A value that is not finite is a gap.</summary>
    public void Add(double x, double y)
    {
        var point = new SeriesPoint(x, double.IsFinite(y) ? y : double.NaN);
        Count++;
        Gaps += double.IsNaN(point.Y) ? 1 : 0;
        if (_all is null)
        {
            Put(point);
        }
        else if (_all.Count < _pointsMax)
        {
            _all.Add(point);
        }
        else
        {
            // One too many to keep them all.
            _buckets = new Bucket[_pointsMax / PerBucket];
            foreach (var earlier in _all)
            {
                Put(earlier);
            }

            _all = null;
            Put(point);
        }
    }

    /// <summary>The curve so far in order of x: every point while they are few.</summary>
    public IReadOnlyList<SeriesPoint> Points()
    {
        if (_all is not null)
        {
            return [.. _all.OrderBy(point => point.X)];
        }

        var kept = new List<SeriesPoint>(_pointsMax);
        foreach (ref readonly var bucket in _buckets.AsSpan())
        {
            kept.AddRange(bucket.Points());
        }

        return kept;
    }

    private void Put(SeriesPoint point)
    {
        var width = _to - _from;
        var place = width > 0 ? (int)((point.X - _from) / width * _buckets.Length) : 0;
        _buckets[Math.Clamp(place, 0, _buckets.Length - 1)].Put(point);
    }

    private struct Bucket
    {
        private SeriesPoint _first;
        private SeriesPoint _lowest;
        private SeriesPoint _highest;
        private SeriesPoint _last;
        private double _gapX;
        private bool _hasValue;
        private bool _hasGap;

        public void Put(SeriesPoint point)
        {
            if (double.IsNaN(point.Y))
            {
                _gapX = _hasGap ? Math.Min(_gapX, point.X) : point.X;
                _hasGap = true;
                return;
            }

            if (!_hasValue)
            {
                (_first, _lowest, _highest, _last, _hasValue) = (point, point, point, point, true);
                return;
            }

            if (point.X < _first.X)
            {
                _first = point;
            }

            if (point.X >= _last.X)
            {
                _last = point;
            }

            if (point.Y < _lowest.Y)
            {
                _lowest = point;
            }

            if (point.Y > _highest.Y)
            {
                _highest = point;
            }
        }

        public readonly IEnumerable<SeriesPoint> Points()
        {
            SeriesPoint[] values = _hasValue ? [_first, _lowest, _highest, _last] : [];
            SeriesPoint[] gap = _hasGap ? [new SeriesPoint(_gapX, double.NaN)] : [];
            return values.Concat(gap).Distinct().OrderBy(point => point.X);
        }
    }
}
