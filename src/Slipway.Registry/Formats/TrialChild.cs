using System.Diagnostics;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
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
    private const int MadeUpRows = 256;
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
        if (request.VariantPath is { } variant)
        {
            return Compare(request, variant);
        }

        var bytes = File.ReadAllBytes(request.ModelPath);
        GC.Collect();
        var before = Resident();
        var started = Stopwatch.GetTimestamp();
        using var session = request.Once ? OnnxSession.Load(request.ModelPath) : OnnxSession.Load(bytes, new OnnxSessionOptions { OptimizedPath = request.OptimizedPath }); // By its path it brings the files beside it.
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

    // Row by row, as requests come: what quantizes its input does so by the run, and a row must not answer for its neighbours.
    private static TrialResult Compare(TrialRequest request, string variantPath)
    {
        using var model = OnnxSession.Load(request.ModelPath);
        using var variant = OnnxSession.Load(variantPath);
        var tallies = new Dictionary<string, DifferenceTally>(StringComparer.Ordinal);
        var rows = request.Rows is { } given ? given.Length / request.Columns : MadeUpRows;
        var random = new Random(1);
        for (var row = 0; row < rows; row++)
        {
            OnnxInput[] inputs = request.Rows is null ? Inputs(model, 1, random) : [OnnxInput.Float(model.Inputs[0].Name, request.Rows[(row * request.Columns)..((row + 1) * request.Columns)], [1, request.Columns])];
            using var before = model.Run(inputs);
            using var after = variant.Run(inputs);
            for (var output = 0; output < before.Count; output++)
            {
                var info = before.Info(output);
                tallies[info.Name] = (tallies.GetValueOrDefault(info.Name) ?? new DifferenceTally(info.Name)).Add(before, output, after, after.Position(info.Name));
            }
        }

        return new TrialResult { Differences = [.. tallies.Values.Select(tally => tally.Result)], Compared = rows };
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
    private static OnnxInput[] Inputs(OnnxSession session, int rows, Random? numbers = null)
    {
        var random = numbers ?? new Random(1);
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

/// <summary>Adds up how far two models' answers are apart in one output.</summary>
internal sealed class DifferenceTally(string output)
{
    private double largest;
    private double sum;
    private double least = double.PositiveInfinity;
    private double most = double.NegativeInfinity;
    private long values;
    private long unequal;

    /// <summary>What came together; figures that are no numbers count as unequal only.</summary>
    public AnswerDifference Result => new(output, values, largest, values == 0 ? 0 : sum / values, most > least ? most - least : 0, unequal);

    public DifferenceTally Add(OnnxResult before, int position, OnnxResult after, int other)
    {
        var type = before.Info(position).ElementType;
        if (after.Info(other).ElementType != type || !after.Shape(other).SequenceEqual(before.Shape(position)))
        {
            throw new OnnxException(
                OnnxErrorCode.InvalidArgument,
                $"Its output '{output}' is {after.Info(other).ElementType} [{string.Join(", ", after.Shape(other))}] where the version's is {type} [{string.Join(", ", before.Shape(position))}].");
        }

        switch (type)
        {
            case OnnxElementType.Float: Add(before.Values<float>(position), after.Values<float>(other)); break;
            case OnnxElementType.Double: Add(before.Values<double>(position), after.Values<double>(other)); break;
            case OnnxElementType.String: AddEqual(before.Strings(position), after.Strings(other)); break;
            default:
                var size = OnnxInput.SizeOf(type);
                var (a, b) = (before.Bytes(position).ToArray(), after.Bytes(other).ToArray());
                AddEqual(a.Chunk(size).Select(Convert.ToHexString).ToList(), b.Chunk(size).Select(Convert.ToHexString).ToList());
                break;
        }

        return this;
    }

    private void AddEqual(IReadOnlyList<string> before, IReadOnlyList<string> after)
    {
        values += before.Count;
        unequal += before.Zip(after).Count(pair => pair.First != pair.Second);
    }

    private void Add<T>(ReadOnlySpan<T> before, ReadOnlySpan<T> after)
        where T : struct, System.Numerics.IFloatingPoint<T>
    {
        values += before.Length;
        for (var i = 0; i < before.Length; i++)
        {
            var (a, b) = (double.CreateChecked(before[i]), double.CreateChecked(after[i]));
            var difference = Math.Abs(a - b);
            unequal += a.Equals(b) ? 0 : 1;
            largest = double.IsFinite(difference) ? Math.Max(largest, difference) : largest;
            sum += double.IsFinite(difference) ? difference : 0;
            (least, most) = double.IsFinite(a) ? (Math.Min(least, a), Math.Max(most, a)) : (least, most);
        }
    }
}
