using System.Globalization;

namespace Slipway.Governance.Evidence;

/// <summary>How figures and instants are written in evidence.</summary>
internal static class Figures
{
    public static string Of(double value) => value.ToString("0.####", CultureInfo.InvariantCulture);

    public static string Of(long value) => value.ToString("N0", CultureInfo.InvariantCulture);

    public static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{share * 100:0.##} %");

    public static string Of(DateTimeOffset instant) => instant.UtcDateTime.ToString("yyyy-MM-dd HH:mm 'UTC'", CultureInfo.InvariantCulture);

    public static string Of(TimeSpan span) =>
        span.TotalDays >= 2 ? string.Create(CultureInfo.InvariantCulture, $"{span.TotalDays:0.##} days") : string.Create(CultureInfo.InvariantCulture, $"{span.TotalHours:0.##} hours");
}
