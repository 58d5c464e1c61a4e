using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Slipway.Identity.Grants;
using Slipway.Identity.Keys;
using Slipway.Identity.OpenId;
using Slipway.Identity.Sessions;
using Slipway.Storage;

namespace Slipway.Identity;

/// <summary>Registers users, keys, sessions, grants and roles.</summary>
public static class IdentityServices
{
    /// <summary>Adds the identity stores and their tables.</summary>
    public static IServiceCollection AddSlipwayIdentity(this IServiceCollection services)
    {
        services.AddSingleton(MigrationSet.Of<UserStore>("identity"));
        services.AddSingleton<IdentityDirectory>().AddSingleton<UserStore>().AddSingleton<KeyStore>().AddSingleton<GrantStore>().AddSingleton<SessionStore>().AddSingleton<SignInLinkStore>();
        services.AddSingleton<LoginThrottle>().AddSingleton<OpenIdProvider>().AddSingleton<Authenticator>();
        services.TryAddSingleton(new OpenIdOptions());
        services.TryAddSingleton(new ServerAddress(Public: null));
        services.AddHostedService<IdentityKeeper>();
        return services;
    }
}
