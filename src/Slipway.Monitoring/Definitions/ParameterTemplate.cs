using System.Globalization;
using System.Text.RegularExpressions;

namespace Slipway.Monitoring.Definitions;

/// <summary>
/// Dates in the parameters of an action: <c>{watermark}</c>, <c>{watermark-30d}</c>, <c>{watermark+1d}</c> become days such as
/// 2001-06-15. The watermark is the event time up to which the monitor had seen predictions when it decided: the end of the
/// deciding window, so that the same log leads to the same parameters.
/// </summary>
internal static partial class ParameterTemplate
{
    /// <summary>What is wrong with a value; null when it can be filled in.</summary>
    public static string? FaultOf(string value) => Slot().Replace(value, "").AsSpan().IndexOfAny('{', '}') is >= 0 and var at
        ? $"holds '{value[..Math.Min(value.Length, at + 40)]}': a slot is written {{watermark}}, {{watermark-30d}} or {{watermark+1d}}"
        : null;

    public static string Fill(string value, DateTimeOffset watermark) => Slot().Replace(value, slot =>
    {
        var days = slot.Groups["days"] is { Success: true } group ? int.Parse(group.ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture) : 0;
        return watermark.UtcDateTime.AddDays(days).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
    });

    [GeneratedRegex(@"\{watermark((?<days>[+-]\d{1,4})d)?\}", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture)]
    private static partial Regex Slot();
}
