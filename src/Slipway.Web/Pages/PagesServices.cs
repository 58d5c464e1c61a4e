using Slipway.Web.Pages.Governance;
using Slipway.Web.Pages.Home;

namespace Slipway.Web.Pages;

/// <summary>Registers what the pages need beside the areas' stores.</summary>
public static class PagesServices
{
    public static IServiceCollection AddSlipwayPages(this IServiceCollection services)
    {
        services.AddRazorComponents();
        services.AddSingleton<Assets>();
        services.AddSingleton<Lifecycles>();
        services.AddSingleton<WrittenDocuments>();
        return services;
    }
}
