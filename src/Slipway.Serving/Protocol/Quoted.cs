namespace Slipway.Serving.Protocol;

/// <summary>What a caller sent, as a sentence quotes it.</summary>
internal static class Quoted
{
    private const int Max = 80;

    /// <summary>At most 80 characters of it: a sentence travels in headers, logs and on screens, which need not hold all that a caller thought of.</summary>
    public static string Short(string text) =>
        text.Length <= Max ? text : $"{text.AsSpan(0, char.IsHighSurrogate(text[Max - 1]) ? Max - 1 : Max)}…";
}
