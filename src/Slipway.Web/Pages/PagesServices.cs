using Slipway.Web.Pages.Governance;
using Slipway.Web.Pages.Home;

namespace Slipway.Web.Pages;

/// <summary>Registers what the pages need beside the areas' stores.</summary>
public static class PagesServices
{
    public static IServiceCollection AddSlipwayPages(this IServiceCollection services)
    {
        services.AddRazorComponents();
        // It would make and read a key ring at each start, for form tokens that no page of ours uses: the host check stands in their place.
        services.Remove(services.Single(service => service.ImplementationType?.Name == "DataProtectionHostedService"));
        services.AddSingleton<Assets>();
        services.AddSingleton<Lifecycles>();
        services.AddSingleton<WrittenDocuments>();
        return services;
    }
}
