namespace Slipway.Native.DuckDb;

/// <summary>DuckDB counts microseconds and days from 1970-01-01 UTC.</summary>
public static class DuckDbTime
{
    private static readonly int EpochDay = new DateOnly(1970, 1, 1).DayNumber;

    /// <summary>Microseconds since 1970, rounded towards the past.</summary>
    public static long ToMicros(DateTimeOffset instant) =>
        (long)Math.Floor((decimal)(instant.UtcTicks - DateTimeOffset.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond);

    /// <summary>The instant, in UTC.</summary>
    public static DateTimeOffset FromMicros(long micros) => DateTimeOffset.UnixEpoch.AddTicks(checked(micros * TimeSpan.TicksPerMicrosecond));

    internal static int ToDays(DateOnly date) => date.DayNumber - EpochDay;

    internal static DateOnly FromDays(int days) => DateOnly.FromDayNumber(days + EpochDay);
}
