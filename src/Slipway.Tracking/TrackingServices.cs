using Microsoft.Extensions.DependencyInjection;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>Registers experiments and runs.</summary>
public static class TrackingServices
{
    /// <summary>Adds the stores and their tables.</summary>
    public static IServiceCollection AddSlipwayTracking(this IServiceCollection services) =>
        services.AddSingleton(MigrationSet.Of<RunStore>("tracking")).AddSingleton<ExperimentStore>().AddSingleton<RunStore>();
}
