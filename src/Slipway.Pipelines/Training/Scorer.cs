using Slipway.Native.Onnx;

namespace Slipway.Pipelines.Training;

/// <summary>Scores rows with a model file, through the same runtime that will serve it.</summary>
internal static class Scorer
{
    private const int BatchRows = 16_384;

    /// <summary>Probabilities, one per row.</summary>
    public static double[] Score(ReadOnlySpan<byte> onnx, LabelledMatrix rows, CancellationToken cancellationToken)
    {
        using var session = OnnxSession.Load(onnx, new OnnxSessionOptions { IntraOpThreads = Math.Min(2, Environment.ProcessorCount) });
        var scores = new double[rows.Rows];
        var output = new float[BatchRows];
        for (var start = 0; start < rows.Rows; start += BatchRows)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var count = Math.Min(BatchRows, rows.Rows - start);
            session.RunMatrix(rows.Values.AsSpan(start * rows.Columns, count * rows.Columns), count, output.AsSpan(0, count));
            for (var i = 0; i < count; i++)
            {
                scores[start + i] = output[i];
            }
        }

        return scores;
    }

    /// <summary>Microseconds of single-row runs, sorted: what one request costs.</summary>
    public static double[] MeasureLatency(ReadOnlySpan<byte> onnx, LabelledMatrix rows, TimeProvider clock)
    {
        using var session = OnnxSession.Load(onnx);
        var output = new float[1];
        var times = new List<double>();
        var start = clock.GetTimestamp();
        for (var i = 0; i < 1000 && clock.GetElapsedTime(start) < TimeSpan.FromSeconds(1); i++)
        {
            var row = i % rows.Rows;
            var before = clock.GetTimestamp();
            session.RunMatrix(rows.Values.AsSpan(row * rows.Columns, rows.Columns), 1, output);
            if (i >= 10)
            {
                times.Add(clock.GetElapsedTime(before).TotalMicroseconds);
            }
        }

        times.Sort();
        return [.. times];
    }
}
