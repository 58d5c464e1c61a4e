using Slipway.Contracts.Monitoring;
using Slipway.Web.Pages.Shared;

namespace Slipway.Web.Pages.Monitors;

/// <summary>How a band is shown.</summary>
public static class BandSign
{
    public static Sign Of(MonitorBand band) => band switch
    {
        MonitorBand.Ok => Sign.Ok,
        MonitorBand.Investigate or MonitorBand.Warning => Sign.Warn,
        MonitorBand.Act or MonitorBand.Critical => Sign.Bad,
        _ => Sign.Unknown,
    };

    public static string Name(MonitorBand band) => band is MonitorBand.None ? "no limits" : band is MonitorBand.Insufficient ? "too few rows" : band.ToString().ToLowerInvariant();

    public static Sign Of(AlertRecord alert) => alert.Status is AlertStatus.Closed ? Sign.Ok : alert.Severity is AlertSeverity.Critical ? Sign.Bad : Sign.Warn;
}
