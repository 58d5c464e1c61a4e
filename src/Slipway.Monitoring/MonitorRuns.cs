using Slipway.Contracts;
using Slipway.Contracts.Monitoring;

namespace Slipway.Monitoring;

/// <summary>Runs a monitor when somebody asks, beside its schedule.</summary>
public sealed class MonitorRuns
{
    private readonly MonitorRunner _runner;

    internal MonitorRuns(MonitorRunner runner) => _runner = runner;

    /// <summary>Evaluates all windows that are closed now, and those that late labels touch. Windows already evaluated are not repeated.</summary>
    /// <exception cref="SlipwayException">NotFound; Unavailable: another server is evaluating this monitor.</exception>
    public async Task<MonitorRunReport> RunAsync(string name, CancellationToken cancellationToken) => await _runner.RunAsync(name, withLabels: true, cancellationToken)
        ?? throw new SlipwayException(ErrorCode.Unavailable, $"Another server is evaluating monitor '{name}'; its results will show shortly.");
}
