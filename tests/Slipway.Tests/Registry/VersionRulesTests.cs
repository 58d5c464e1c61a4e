using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Versions;

namespace Slipway.Tests.Registry;

[Trait("database", "none")]
public sealed class VersionRulesTests
{
    private static readonly SemanticVersion Newest = new(1, 4, 2);

    [Theory]
    [Trait("capability", "REG-02")]
    [InlineData("a b", "a b", "x", "x", "patch", "signature and features are unchanged")]
    [InlineData("a b", "a b c?", "x", "x", "minor", "input 'c' is new")]
    [InlineData("a b", "a b c", "x", "x", "major", "input 'c' is new and required")]
    [InlineData("a b", "a", "x", "x", "major", "input 'b' is gone")]
    [InlineData("a b?", "a b", "x", "x", "major", "input 'b' became required")]
    [InlineData("a b", "a b?", "x", "x", "minor", "input 'b' became optional")]
    [InlineData("a", "a", "x", "x y", "major", "feature 'y' is new")]
    [InlineData("a", "a", "x y", "x", "major", "feature 'y' is gone")]
    [InlineData("a", "a", "x y", "y x", "patch", "signature and features are unchanged")]
    public void The_change_of_interface_decides_the_least_bump(string oldInputs, string inputs, string oldFeatures, string features, string bump, string reason)
    {
        var change = VersionRules.Compare(
            RegistryHost.Signature(oldInputs.Split(' ')), RegistryHost.Features(oldFeatures.Split(' ')),
            RegistryHost.Signature(inputs.Split(' ')), RegistryHost.Features(features.Split(' ')));

        Assert.Equal(bump, VersionRules.Name(change.Required));
        Assert.Equal(reason, Assert.Single(change.Reasons));
    }

    [Fact]
    [Trait("capability", "REG-02")]
    public void What_was_never_declared_is_not_compared_and_what_is_declared_no_more_is_a_break()
    {
        var (signature, features) = (RegistryHost.Signature("a"), RegistryHost.Features("x"));

        Assert.Equal((Bump.Patch, "neither version declares a signature or features to compare"), Change(ModelSignature.None, FeatureSchema.None, ModelSignature.None, FeatureSchema.None));
        Assert.Equal((Bump.Minor, "signature declared for the first time, features declared for the first time"), Change(ModelSignature.None, FeatureSchema.None, signature, features));
        Assert.Equal((Bump.Major, "features no longer declared"), Change(signature, features, signature, FeatureSchema.None));
        Assert.Equal((Bump.Patch, "signature and features are unchanged"), Change(signature, FeatureSchema.None, signature, FeatureSchema.None));

        static (Bump, string) Change(ModelSignature oldSignature, FeatureSchema oldFeatures, ModelSignature newSignature, FeatureSchema newFeatures)
        {
            var change = VersionRules.Compare(oldSignature, oldFeatures, newSignature, newFeatures);
            return (change.Required, string.Join(", ", change.Reasons));
        }
    }

    [Fact]
    [Trait("capability", "REG-11")]
    public void A_field_of_another_type_or_shape_is_a_break_that_names_both()
    {
        var old = RegistryHost.Signature("origin");
        var retyped = old with { Inputs = [old.Inputs[0] with { Type = "INT64" }], Outputs = [old.Outputs[0] with { Shape = [-1, 2] }] };
        var features = RegistryHost.Features("x");
        var change = VersionRules.Compare(old, features, retyped, features with { Features = [new FeatureField("x", "BIGINT")] });

        Assert.Equal(Bump.Major, change.Required);
        Assert.Equal(
            ["input 'origin' changed from BYTES[-1,1] to INT64[-1,1]", "output 'probability' changed from FP32[-1,1] to FP32[-1,2]", "feature 'x' changed from DOUBLE to BIGINT"],
            change.Reasons);
    }

    [Theory]
    [Trait("capability", "REG-02")]
    [InlineData("auto", "Patch", "1.4.3")]
    [InlineData("auto", "Minor", "1.5.0")]
    [InlineData("auto", "Major", "2.0.0")]
    [InlineData("minor", "Patch", "1.5.0")]
    [InlineData("major", "Minor", "2.0.0")]
    [InlineData("3.1.0", "Major", "3.1.0")]
    [InlineData("1.4.9", "Patch", "1.4.9")]
    public void The_next_version_follows_the_request_when_it_is_large_enough(string requested, string required, string version)
    {
        var next = VersionRules.Next(requested, Newest, new InterfaceChange(Enum.Parse<Bump>(required), ["because"]));

        Assert.Equal(version, next.Version.ToString());
        Assert.Contains("because", next.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [Trait("capability", "REG-02")]
    [InlineData("patch", "Minor", ErrorCode.InvalidArgument, "needs minor")]
    [InlineData("minor", "Major", ErrorCode.InvalidArgument, "needs major")]
    [InlineData("1.5.0", "Major", ErrorCode.InvalidArgument, "needs major")]
    [InlineData("1.4.2", "Patch", ErrorCode.AlreadyExists, "exists already")]
    [InlineData("1.4.1", "Patch", ErrorCode.InvalidArgument, "below the newest version 1.4.2")]
    public void A_version_smaller_than_the_change_is_refused_with_the_fix(string requested, string required, ErrorCode code, string message)
    {
        var error = Assert.Throws<SlipwayException>(() => VersionRules.Next(requested, Newest, new InterfaceChange(Enum.Parse<Bump>(required), ["because"])));

        Assert.Equal(code, error.Code);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("auto", "1.0.0")]
    [InlineData("minor", "1.0.0")]
    [InlineData("0.1.0", "0.1.0")]
    public void The_first_version_is_1_0_0_unless_it_is_named(string requested, string version) =>
        Assert.Equal(version, VersionRules.Next(requested, null, null).Version.ToString());

    [Theory]
    [InlineData("1.0")]
    [InlineData("1.0.0.0")]
    [InlineData("01.0.0")]
    [InlineData("1.0.-1")]
    [InlineData("1. 0.0")]
    [InlineData("v1.0.0")]
    [InlineData("1.0.99999999999")]
    [InlineData("")]
    public void A_text_that_is_not_a_version_is_not_taken_for_one(string text)
    {
        Assert.False(SemanticVersion.TryParse(text, out _));
        Assert.False(VersionRules.IsRequest(text));
    }
}
