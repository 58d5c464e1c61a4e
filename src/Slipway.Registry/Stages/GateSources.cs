using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts.Tracking;
using Slipway.Tracking;

namespace Slipway.Registry.Stages;

/// <summary>Where gates look beyond the registry. Asked late, because areas above the registry need it themselves.</summary>
public sealed class GateSources(IServiceProvider services)
{
    /// <summary>The run; null when this server does not know it.</summary>
    internal RunRecord? FindRun(string runId) => services.GetService<RunStore>()?.Find(runId);

    /// <summary>The area that knows the topic; null when none is here.</summary>
    internal IGateEvidenceSource? Of(string topic) => services.GetServices<IGateEvidenceSource>().FirstOrDefault(source => source.Topic == topic);
}
