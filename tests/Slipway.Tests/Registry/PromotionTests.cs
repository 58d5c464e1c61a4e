using Slipway.Contracts;
using Slipway.Contracts.Registry;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class PromotionTests : IAsyncLifetime
{
    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await RegistryHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "REG-03")]
    public async Task A_version_goes_from_development_through_staging_to_production_and_each_step_is_on_record()
    {
        var version = await _host.RegisterInProductionAsync();

        Assert.Equal(Stage.Production, version.Stage);
        Assert.Equal("1.0.0", _host.Registry.FindInStage(Model, Stage.Production)!.Version);
        Assert.Equal(
            ["development registration", "staging promotion", "production promotion"],
            _host.Registry.History(Model, "1.0.0").Select(change => $"{change.To.ToString().ToLowerInvariant()} {change.Cause}"));
    }

    [Theory]
    [Trait("capability", "REG-04")]
    [InlineData(Stage.Production)]
    [InlineData(Stage.Development)]
    public async Task A_version_in_development_cannot_skip_staging(Stage to)
    {
        await _host.RegisterAsync();

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.Registry.RequestPromotionAsync(Model, "1.0.0", to, "hurry", Ada, default));

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains("is in development, from which it may only go to staging or archived", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, _host.Count("promotions"));
    }
}
