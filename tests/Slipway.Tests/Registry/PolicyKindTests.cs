using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;
using Slipway.Storage.Definitions;

namespace Slipway.Tests.Registry;

public sealed class PolicyKindTests : IAsyncLifetime
{
    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await RegistryHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task All_faults_of_a_policy_are_reported_together_and_nothing_is_stored()
    {
        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.ApplyPolicyAsync("""
            kind: policy
            name: other
            model: flight-delay
            staging:
              aprovals: 1
              roles: [engineer]
              metrics:
                - metric: auc
            """));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        foreach (var text in new[]
        {
            "'model' must be a model's name and equal to 'name'", "'staging.aprovals' is not a known key; did you mean 'approvals'?",
            "'staging.roles' may hold approver and admin", "'staging.metrics[0].metric' has no limit",
        })
        {
            Assert.Contains(text, error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(0, _host.Count("definitions"));
    }

    [Fact]
    public async Task The_policy_of_the_example_is_accepted_and_in_force()
    {
        await _host.ApplyPolicyAsync(await File.ReadAllTextAsync(Path.Combine(RepositoryRoot(), "examples", "flights", "policy.yaml")));
        await _host.RegisterAsync();

        var gate = await _host.Registry.CheckAsync(RegistryHost.Model, "1.0.0", Stage.Staging, default);

        Assert.Equal("policy/flight-delay@1", gate.Policy);
        Assert.Equal("approvals", Assert.Single(gate.Items, item => !item.Passed).Name);
    }

    [Fact]
    public void A_policy_without_any_stage_is_refused()
    {
        var yaml = DefinitionYaml.Parse("{ kind: policy, name: m, model: m }");

        var error = Assert.Throws<SlipwayException>(() => new PolicyKind(null!).Validate(yaml));

        Assert.Contains("has no stage requirements", error.Message, StringComparison.Ordinal);
    }

    private static string RepositoryRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "Slipway.slnx")))
        {
            folder = folder.Parent!;
        }

        return folder.FullName;
    }
}
