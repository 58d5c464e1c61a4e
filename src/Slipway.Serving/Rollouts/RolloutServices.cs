using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Rollouts;

/// <summary>Registers the rollouts.</summary>
internal static class RolloutServices
{
    /// <summary>Adds the controller, its store and the <c>rollout</c> kind. Needs the router, the logs and the registry; the tables come with the serving migrations.</summary>
    public static IServiceCollection AddSlipwayRollouts(this IServiceCollection services)
    {
        services.AddSingleton<RolloutOptions>();
        services.AddSingleton<RolloutStore>();
        services.AddSingleton<LabelledPairs>();
        services.AddSingleton<IDefinitionKind, RolloutKind>();
        services.AddSingleton(provider => Path(provider.GetRequiredService<ModelRegistry>()));
        services.AddSingleton<RolloutController>();
        services.AddSingleton(provider => new RolloutReports(provider.GetRequiredService<RolloutController>(), provider.GetRequiredService<RolloutStore>()));
        services.AddSingleton(provider => new RolloutControls(provider.GetRequiredService<RolloutController>(), provider.GetRequiredService<RolloutReports>()));
        services.AddSingleton<RolloutReplay>();
        services.AddHostedService(provider => provider.GetRequiredService<RolloutController>());
        return services;
    }

    private static PromotionPath Path(ModelRegistry registry) => new(
        // An alias or a stage may name the version where a rollout is started; looks, four a second, have the version itself.
        (model, version) => registry.StageOf(model, version) ?? registry.Find(model, version)?.Stage,
        (model, version) => registry.HasApproval(model, version, Stage.Production),
        (model, version) =>
        {
            if (registry.Find(model, version) is not null) // A version that is not there is refused with its own words.
            {
                registry.DemandAlive(model, version);
            }
        },
        (model, version, by, ct) => registry.FindOpenPromotion(model, version, Stage.Production) is { } open
            ? registry.ExecutePromotionAsync(open.Id, by, ct)
            : throw new Contracts.SlipwayException(Contracts.ErrorCode.FailedPrecondition, $"no open promotion of {model}@{version} to production; request and approve one"),
        (model, version, reason, by, ct) => registry.FindOpenPromotion(model, version, Stage.Production) is { } open
            ? registry.WithdrawPromotionAsync(open.Id, reason, by, ct)
            : Task.CompletedTask);
}
