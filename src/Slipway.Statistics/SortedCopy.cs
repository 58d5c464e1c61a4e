using System.Buffers;
using System.Runtime.CompilerServices;

namespace Slipway.Statistics;

/// <summary>An ascending copy of a sample in a pooled array; dispose it to give the array back.</summary>
internal readonly struct SortedCopy : IDisposable
{
    private readonly double[] buffer;
    private readonly int length;

    public SortedCopy(ReadOnlySpan<double> sample, [CallerArgumentExpression(nameof(sample))] string name = "")
    {
        Require.NotEmpty(sample, name);
        Require.NoNaN(sample, name);
        buffer = ArrayPool<double>.Shared.Rent(sample.Length);
        length = sample.Length;
        sample.CopyTo(buffer);
        buffer.AsSpan(0, length).Sort();
    }

    public ReadOnlySpan<double> Values => buffer.AsSpan(0, length);

    public void Dispose() => ArrayPool<double>.Shared.Return(buffer);
}
