using Microsoft.Extensions.DependencyInjection;
using Slipway.Storage;

namespace Slipway.Identity;

/// <summary>Registers users and roles.</summary>
public static class IdentityServices
{
    /// <summary>Adds the user store and its table.</summary>
    public static IServiceCollection AddSlipwayIdentity(this IServiceCollection services) =>
        services.AddSingleton(MigrationSet.Of<UserStore>("identity")).AddSingleton<UserStore>();
}
