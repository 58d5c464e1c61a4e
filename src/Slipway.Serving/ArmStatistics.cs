using System.Numerics;

namespace Slipway.Serving;

/// <summary>What a version has served since it was loaded; each figure only grows.</summary>
/// <param name="Requests">Requests answered or failed by this version; refused requests (a caller's fault) are not counted.</param>
/// <param name="Errors">Those that failed by the version's own fault.</param>
/// <param name="Rows">Rows scored.</param>
/// <param name="LatencySumUs">Sum of the durations, µs, from the whole request read to the answer written.</param>
/// <param name="Latency">The durations.</param>
public sealed record ArmSnapshot(long Requests, long Errors, long Rows, long LatencySumUs, LatencyHistogram Latency)
{
    /// <summary>Errors as a share of requests; 0 when there were none.</summary>
    public double ErrorRate => Requests == 0 ? 0 : (double)Errors / Requests;

    /// <summary>What happened since an earlier snapshot of the same arm.</summary>
    public ArmSnapshot Since(ArmSnapshot earlier) => new(
        Requests - earlier.Requests, Errors - earlier.Errors, Rows - earlier.Rows, LatencySumUs - earlier.LatencySumUs, Latency.Since(earlier.Latency));
}

/// <summary>Where a request's time went.</summary>
/// <param name="ReadNs">Nanoseconds from the whole request received to its inputs ready.</param>
/// <param name="WaitNs">Of waiting for a run.</param>
/// <param name="ScoreNs">Of the model's run.</param>
/// <param name="WriteNs">Of writing the answer.</param>
/// <param name="AtMs">When it came, Unix milliseconds; 0 for never.</param>
public readonly record struct StageTimes(long ReadNs, long WaitNs, long ScoreNs, long WriteNs, long AtMs);

/// <summary>
/// A version's live counters. Recording takes no lock: each processor has its own stripe, so that two cores do not fight over
/// one cache line; reading adds the stripes up.
/// </summary>
public sealed class ArmStatistics
{
    private const int Requests = 0;
    private const int Errors = 1;
    private const int Rows = 2;
    private const int LatencySum = 3;
    private const int FailedNs = 4;
    private const int ReadNs = 5;
    private const int ScoreNs = 6;
    private const int WriteNs = 7;
    private const int LastMs = 8;
    private const int WaitNs = 9;
    private const int RefusedCount = 10;
    private const int Buckets = 16;

    private static readonly int StripeMask = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Min(Environment.ProcessorCount, 16)) - 1;

    private readonly long[][] _stripes = new long[StripeMask + 1][];

    /// <summary>Starts at zero.</summary>
    public ArmStatistics()
    {
        for (var i = 0; i < _stripes.Length; i++)
        {
            // Eight longs more than needed keep the next stripe's first line apart.
            _stripes[i] = new long[Buckets + LatencyHistogram.BucketCount + 8];
        }
    }

    /// <summary>Counts one request.</summary>
    /// <param name="latencyUs">Its duration, µs.</param>
    /// <param name="rows">Rows it held.</param>
    /// <param name="failed">Whether the version failed it.</param>
    /// <param name="stages">What its parts took.</param>
    public void Record(long latencyUs, int rows = 1, bool failed = false, StageTimes stages = default)
    {
        var stripe = _stripes[Thread.GetCurrentProcessorId() & StripeMask];
        Interlocked.Increment(ref stripe[Requests]);
        if (failed)
        {
            Interlocked.Increment(ref stripe[Errors]);
            Interlocked.Add(ref stripe[FailedNs], latencyUs * 1000);
        }
        else
        {
            Interlocked.Add(ref stripe[ReadNs], stages.ReadNs);
            if (stages.WaitNs > 0)
            {
                Interlocked.Add(ref stripe[WaitNs], stages.WaitNs);
            }

            Interlocked.Add(ref stripe[ScoreNs], stages.ScoreNs);
            Interlocked.Add(ref stripe[WriteNs], stages.WriteNs);
        }

        Volatile.Write(ref stripe[LastMs], stages.AtMs);

        Interlocked.Add(ref stripe[Rows], rows);
        Interlocked.Add(ref stripe[LatencySum], latencyUs);
        Interlocked.Increment(ref stripe[Buckets + LatencyHistogram.BucketOf(latencyUs)]);
    }

    /// <summary>Counts a failed request as one that was refused because too much was waiting; beside <see cref="Record"/>.</summary>
    public void RecordRefused() => Interlocked.Increment(ref _stripes[Thread.GetCurrentProcessorId() & StripeMask][RefusedCount]);

    /// <summary>Requests refused because too much was waiting; they are among the errors.</summary>
    public long Refused
    {
        get
        {
            long refused = 0;
            foreach (var stripe in _stripes)
            {
                refused += Volatile.Read(ref stripe[RefusedCount]);
            }

            return refused;
        }
    }

    /// <summary>What the parts of all requests took together, and when the last one came.</summary>
    public (long FailedNs, StageTimes Succeeded) Times()
    {
        long failed = 0, read = 0, wait = 0, score = 0, write = 0, last = 0;
        foreach (var stripe in _stripes)
        {
            failed += Volatile.Read(ref stripe[FailedNs]);
            read += Volatile.Read(ref stripe[ReadNs]);
            wait += Volatile.Read(ref stripe[WaitNs]);
            score += Volatile.Read(ref stripe[ScoreNs]);
            write += Volatile.Read(ref stripe[WriteNs]);
            last = Math.Max(last, Volatile.Read(ref stripe[LastMs]));
        }

        return (failed, new StageTimes(read, wait, score, write, last));
    }

    /// <summary>The figures now; they may be a request apart from each other while traffic runs.</summary>
    public ArmSnapshot Snapshot()
    {
        long requests = 0, errors = 0, rows = 0, sum = 0;
        var buckets = new long[LatencyHistogram.BucketCount];
        foreach (var stripe in _stripes)
        {
            requests += Volatile.Read(ref stripe[Requests]);
            errors += Volatile.Read(ref stripe[Errors]);
            rows += Volatile.Read(ref stripe[Rows]);
            sum += Volatile.Read(ref stripe[LatencySum]);
            for (var i = 0; i < buckets.Length; i++)
            {
                buckets[i] += Volatile.Read(ref stripe[Buckets + i]);
            }
        }

        return new ArmSnapshot(requests, errors, rows, sum, new LatencyHistogram(buckets));
    }
}
