using System.Diagnostics;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Native.Onnx;
using Slipway.Native.Xgboost;

namespace Slipway.Registry.Formats;

/// <summary>
/// The child process's side of a trial: loads a model that nobody has loaded before, scores rows and measures. A model that brings the
/// runtime down brings down this process and nothing else.
/// </summary>
public static class TrialChild
{
    private const int Batch = 64;
    private static readonly TimeSpan SingleRowBudget = TimeSpan.FromMilliseconds(400);
    private static readonly TimeSpan BatchBudget = TimeSpan.FromMilliseconds(250);

    /// <summary>Reads one request from <paramref name="input"/> and writes one result.</summary>
    public static void Run(Stream input, Stream output)
    {
        var request = JsonSerializer.Deserialize<TrialRequest>(input, JsonDefaults.Options)!;
        TrialResult result;
        try
        {
            result = Try(request);
        }
        catch (Exception e) when (e is OnnxException or IOException or UnauthorizedAccessException or OutOfMemoryException)
        {
            result = new TrialResult { Fault = e.Message };
        }

        JsonSerializer.Serialize(output, result, JsonDefaults.Options);
    }

    private static TrialResult Try(TrialRequest request)
    {
        var bytes = File.ReadAllBytes(request.ModelPath);
        GC.Collect();
        var before = Resident();
        var started = Stopwatch.GetTimestamp();
        using var session = request.Once ? OnnxSession.Load(request.ModelPath) : OnnxSession.Load(bytes); // By its path it brings the files beside it.
        var result = new TrialResult { LoadMs = Stopwatch.GetElapsedTime(started).TotalMilliseconds };
        if (request.Rows is { } rows)
        {
            var answers = new float[rows.Length / request.Columns * request.Outputs];
            session.RunMatrix(rows, rows.Length / request.Columns, answers);
            result = result with { Answers = answers };
            result = request.XgboostPath is { } path ? AskXgboost(result, path, rows, request) : result;
        }

        if (request.Once)
        {
            RunOnce(session);
        }

        return request.Measure ? Measure(session, result, before) : result;
    }

    // Only whether this process outlives it is asked: a graph may well refuse values that nobody meant.
    private static void RunOnce(OnnxSession session)
    {
        try
        {
            session.Run(Inputs(session, 1)).Dispose();
        }
        catch (Exception e) when (e is OnnxException or OutOfMemoryException or OverflowException)
        {
            // It answered, if with a refusal, or is too big to be tried on made-up values.
        }
    }

    private static TrialResult AskXgboost(TrialResult result, string path, float[] rows, TrialRequest request)
    {
        if (!XgboostTrainer.IsAvailable(out _))
        {
            return result;
        }

        try
        {
            var booster = new XgboostBooster(File.ReadAllBytes(path), 0);
            return result with { XgboostAnswers = booster.Predict(rows, rows.Length / request.Columns, request.Outputs), XgboostVersion = XgboostTrainer.LibraryVersion };
        }
        catch (XgboostException)
        {
            return result; // A newer release's file: the library here is older than the one that wrote it.
        }
    }

    private static TrialResult Measure(OnnxSession session, TrialResult result, long before)
    {
        var single = Inputs(session, 1);
        for (var i = 0; i < 5; i++)
        {
            session.Run(single).Dispose();
        }

        var process = Process.GetCurrentProcess();
        var processor = process.TotalProcessorTime;
        var micros = Time(session, single, SingleRowBudget, 5000);
        process.Refresh();
        var processorUs = (process.TotalProcessorTime - processor).TotalMicroseconds / micros.Count;
        micros.Sort();
        result = result with
        {
            LatencyUsP50 = Quantile(micros, 0.5),
            LatencyUsP95 = Quantile(micros, 0.95),
            LatencyUsP99 = Quantile(micros, 0.99),
            CpuUsPerRow = processorUs,
        };
        if (session.Inputs.All(input => input.Shape is [< 0, ..]))
        {
            // A graph of fixed size takes its own number of rows, and one may refuse this number although it does not say so.
            try
            {
                var many = Time(session, Inputs(session, Batch), BatchBudget, 2000);
                result = result with { RowsPerSecondBatch64 = Batch * 1e6 / many.Average() };
            }
            catch (OnnxException)
            {
                // Its figures for one row stand.
            }
        }

        return result with { PeakMemoryBytes = Math.Max(0, Resident() - before) };
    }

    private static List<double> Time(OnnxSession session, OnnxInput[] inputs, TimeSpan budget, int runsMax)
    {
        var micros = new List<double>();
        for (var begun = Stopwatch.GetTimestamp(); micros.Count == 0 || (micros.Count < runsMax && Stopwatch.GetElapsedTime(begun) < budget);)
        {
            var started = Stopwatch.GetTimestamp();
            session.Run(inputs).Dispose();
            micros.Add(Stopwatch.GetElapsedTime(started).TotalMicroseconds);
        }

        return micros;
    }

    private static double Quantile(List<double> sorted, double q) => sorted[(int)(q * (sorted.Count - 1))];

    // Values between 0 and 1: what they are hardly matters for time, and zeros alone would let some kernels skip work.
    private static OnnxInput[] Inputs(OnnxSession session, int rows)
    {
        var random = new Random(1);
        return [.. session.Inputs.Select(input =>
        {
            long[] shape = [.. input.Shape.Select((size, axis) => size >= 0 ? size : axis == 0 ? rows : 1)];
            var count = checked((int)shape.Aggregate(1L, (product, size) => checked(product * size)));
            return input.ElementType switch
            {
                OnnxElementType.Float => OnnxInput.Float(input.Name, Fill(count, () => random.NextSingle()), shape),
                OnnxElementType.Double => OnnxInput.Double(input.Name, Fill(count, random.NextDouble), shape),
                OnnxElementType.Int64 => OnnxInput.Int64(input.Name, new long[count], shape),
                OnnxElementType.Int32 => OnnxInput.Int32(input.Name, new int[count], shape),
                OnnxElementType.Bool => OnnxInput.Bool(input.Name, new bool[count], shape),
                OnnxElementType.String => OnnxInput.String(input.Name, Fill(count, () => ""), shape),
                _ => OnnxInput.Bytes(input.Name, input.ElementType, new byte[count * OnnxInput.SizeOf(input.ElementType)], shape),
            };
        })];
    }

    private static T[] Fill<T>(int count, Func<T> next)
    {
        var values = new T[count];
        for (var i = 0; i < count; i++)
        {
            values[i] = next();
        }

        return values;
    }

    private static long Resident()
    {
        using var process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }
}
