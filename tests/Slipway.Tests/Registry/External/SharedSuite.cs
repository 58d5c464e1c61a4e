using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;
using Xunit.Sdk;
using Xunit.v3;

namespace Slipway.Tests.Registry.External;

// The registry's tests, once with models registered here and once with models on an MLflow server.

public sealed class RegistrationHereTests() : RegistrationTests(RegistryProvider.Slipway);

public sealed class RegistrationOnMlflowTests() : RegistrationTests(RegistryProvider.Mlflow), IOnMlflow;

public sealed class PromotionHereTests() : PromotionTests(RegistryProvider.Slipway);

public sealed class PromotionOnMlflowTests() : PromotionTests(RegistryProvider.Mlflow), IOnMlflow;

public sealed class RollbackHereTests() : RollbackTests(RegistryProvider.Slipway);

public sealed class RollbackOnMlflowTests() : RollbackTests(RegistryProvider.Mlflow), IOnMlflow;

public sealed class GateHereTests() : GateTests(RegistryProvider.Slipway);

public sealed class GateOnMlflowTests() : GateTests(RegistryProvider.Mlflow), IOnMlflow;

/// <summary>Marks the classes whose models are on an MLflow server.</summary>
internal interface IOnMlflow;

/// <summary>Why a test is about this server's own registry alone.</summary>
internal interface IOwnRegistry
{
    string Why { get; }
}

/// <summary>A test of what MLflow has no notion of; on an MLflow server there is no such test.</summary>
[AttributeUsage(AttributeTargets.Method)]
[XunitTestCaseDiscoverer(typeof(OwnRegistryFactDiscoverer))]
public sealed class OwnRegistryFactAttribute(string why, [CallerFilePath] string? file = null, [CallerLineNumber] int line = -1) : FactAttribute(file, line), IOwnRegistry
{
    public string Why => why;
}

/// <inheritdoc cref="OwnRegistryFactAttribute"/>
[AttributeUsage(AttributeTargets.Method)]
[XunitTestCaseDiscoverer(typeof(OwnRegistryTheoryDiscoverer))]
public sealed class OwnRegistryTheoryAttribute(string why, [CallerFilePath] string? file = null, [CallerLineNumber] int line = -1) : TheoryAttribute(file, line), IOwnRegistry
{
    public string Why => why;
}

public sealed class OwnRegistryFactDiscoverer : FactDiscoverer
{
    public override ValueTask<IReadOnlyCollection<IXunitTestCase>> Discover(ITestFrameworkDiscoveryOptions discoveryOptions, IXunitTestMethod testMethod, IFactAttribute factAttribute) =>
        typeof(IOnMlflow).IsAssignableFrom(testMethod.TestClass.Class) ? new([]) : base.Discover(discoveryOptions, testMethod, factAttribute);
}

public sealed class OwnRegistryTheoryDiscoverer : TheoryDiscoverer
{
    public override ValueTask<IReadOnlyCollection<IXunitTestCase>> Discover(ITestFrameworkDiscoveryOptions discoveryOptions, IXunitTestMethod testMethod, IFactAttribute factAttribute) =>
        typeof(IOnMlflow).IsAssignableFrom(testMethod.TestClass.Class) ? new([]) : base.Discover(discoveryOptions, testMethod, factAttribute);
}

[Trait("database", "none")]
public sealed class SharedSuiteTests
{
    private static readonly Type[] Classes = [typeof(RegistrationTests), typeof(PromotionTests), typeof(RollbackTests), typeof(GateTests)];

    [Fact]
    [Trait("capability", "REG-16")]
    public void The_guide_lists_every_shared_test_and_says_of_the_others_why_MLflow_cannot_have_them()
    {
        var guide = File.ReadAllText(Path.Combine(Repository.Root, "docs", "how-to", "put-gates-over-mlflow.md"));

        Assert.Contains(Table(), guide, StringComparison.Ordinal);
    }

    private static string Table()
    {
        var table = new StringBuilder("| what the tests show | on an MLflow server |\n|---|---|\n");
        foreach (var test in Classes.SelectMany(each => each.GetMethods(BindingFlags.Instance | BindingFlags.Public | BindingFlags.DeclaredOnly).OrderBy(method => method.MetadataToken)))
        {
            var attributes = test.GetCustomAttributes().ToList();
            if (attributes.OfType<FactAttribute>().Any())
            {
                table.Append('|').Append(' ').Append(test.Name.Replace('_', ' ')).Append(" | ").Append(attributes.OfType<IOwnRegistry>().FirstOrDefault()?.Why ?? "the same").Append(" |\n");
            }
        }

        return table.ToString();
    }
}
