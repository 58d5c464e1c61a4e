using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Slipway.Governance.Audit;

/// <summary>Runs the audit of versions in production on its schedule; of servers that share a database, one does.</summary>
internal sealed class PolicyAuditor(PolicyAudit audit, GovernanceOptions options, TimeProvider clock, ILogger<PolicyAuditor> logger) : BackgroundService
{
    // Not at the very start, when everything else is busy; soon enough that a server restarted every day still looks.
    private static readonly TimeSpan FirstLook = TimeSpan.FromMinutes(10);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.PolicyAuditInterval <= TimeSpan.Zero)
        {
            return;
        }

        var wait = FirstLook < options.PolicyAuditInterval ? FirstLook : options.PolicyAuditInterval;
        while (true)
        {
            await Task.Delay(wait, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (stoppingToken.IsCancellationRequested)
            {
                return;
            }

            wait = options.PolicyAuditInterval;
            try
            {
                if (await audit.RunAsync(stoppingToken) && audit.Findings().Count(finding => finding.ClosedAt is null) is > 0 and var open)
                {
                    logger.LogWarning("The audit of versions in production has {Count} open findings; slipway audit findings lists them", open);
                }
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                // An escaped exception would stop the whole host.
                logger.LogError(e, "The audit of versions in production failed; the next attempt is in {Interval}", wait);
            }
        }
    }
}
