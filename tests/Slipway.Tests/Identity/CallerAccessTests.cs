using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Identity;

namespace Slipway.Tests.Identity;

/// <summary>Role, grants and the limits of a key, put together.</summary>
public sealed class CallerAccessTests
{
    private static readonly Resource Fraud = Resource.Model("fraud");

    public static TheoryData<Role, GrantLevel, string> Levels => new()
    {
        { Role.Viewer, GrantLevel.NoPermissions, "" },
        { Role.Viewer, GrantLevel.Read, "Read" },
        { Role.Viewer, GrantLevel.Use, "Read Predict" },
        { Role.Viewer, GrantLevel.Edit, "Read Predict Write" },
        { Role.Viewer, GrantLevel.Manage, "Read Predict Write Operate" },
        { Role.DataScientist, GrantLevel.Manage, "Read Predict Write Operate" },
        { Role.MlEngineer, GrantLevel.Read, "Read Audit" },
        { Role.MlEngineer, GrantLevel.NoPermissions, "" },
        { Role.Approver, GrantLevel.Read, "Read Approve Audit" },
        { Role.Approver, GrantLevel.NoPermissions, "" },
        { Role.Auditor, GrantLevel.Manage, "Read Audit" },
        { Role.Auditor, GrantLevel.NoPermissions, "Read Audit" },
        { Role.Administrator, GrantLevel.NoPermissions, "Read Predict Write Operate Approve Audit Admin" },
    };

    [Theory, MemberData(nameof(Levels)), Trait("capability", "GOV-07"), Trait("capability", "X-51")]
    public void A_grant_takes_the_place_of_the_role_on_what_it_names(Role role, GrantLevel level, string permissions)
    {
        var access = Of(role, [new GrantedLevel(ResourceKind.Model, "fraud", null, level, false)]);

        Assert.Equal(permissions, string.Join(' ', Enum.GetValues<Permission>().Where(permission => permission is not Permission.None && access.May(permission, Fraud))));
        Assert.Equal(string.Join(' ', Roles.Of(role)), string.Join(' ', Enum.GetValues<Permission>().Where(permission => permission is not Permission.None && access.May(permission, Resource.Model("churn")))));
        Assert.False(access.May((Permission)99, Fraud));
    }

    [Fact]
    public void Deleting_under_a_grant_takes_manage_and_under_a_role_its_right_to_write()
    {
        var edit = Of(Role.Viewer, [new GrantedLevel(ResourceKind.Experiment, "7", null, GrantLevel.Edit, false)]);
        var manage = Of(Role.Viewer, [new GrantedLevel(ResourceKind.Experiment, "7", null, GrantLevel.Manage, false)]);

        Assert.False(edit.May(Permission.Write, Resource.Experiment("7"), removes: true));
        Assert.True(manage.May(Permission.Write, Resource.Experiment("7"), removes: true));
        Assert.True(Of(Role.DataScientist).May(Permission.Write, Resource.Experiment("7"), removes: true));
        Assert.True(manage.MayShare(Resource.Experiment("7")));
        Assert.False(edit.MayShare(Resource.Experiment("7")));
        Assert.False(Of(Role.MlEngineer).MayShare(Resource.Experiment("7")));
        Assert.True(Of(Role.Administrator).MayShare(Resource.Experiment("7")));
    }

    [Fact]
    public void The_most_exact_grant_counts_and_of_equals_the_widest()
    {
        GrantedLevel all = new(ResourceKind.Model, "*", null, GrantLevel.NoPermissions, false);
        GrantedLevel inStaging = new(ResourceKind.Model, "fraud", "staging", GrantLevel.Manage, true);
        GrantedLevel ofGroup = new(ResourceKind.Model, "fraud", null, GrantLevel.Edit, true);
        GrantedLevel ofOtherGroup = new(ResourceKind.Model, "fraud", null, GrantLevel.Read, true);
        GrantedLevel ownOne = new(ResourceKind.Model, "fraud", null, GrantLevel.Use, false);

        Assert.False(Of(Role.DataScientist, [all]).May(Permission.Read, Fraud));
        Assert.True(Of(Role.DataScientist, [all, ofGroup, ofOtherGroup]).May(Permission.Write, Fraud));
        Assert.False(Of(Role.DataScientist, [all, ofGroup, ofOtherGroup, ownOne]).May(Permission.Write, Fraud));
        Assert.True(Of(Role.DataScientist, [all, ownOne, inStaging]).May(Permission.Operate, Resource.Model("fraud", "staging")));
        Assert.False(Of(Role.DataScientist, [all, ownOne, inStaging]).May(Permission.Operate, Resource.Model("fraud", "production")));
        Assert.True(Of(Role.DataScientist, [all]).May(Permission.Read, Resource.Experiment("fraud")));
    }

    [Fact, Trait("capability", "CIC-06")]
    public void A_service_account_s_key_promotes_in_staging_only_what_it_names()
    {
        var access = Roles.Access(Role.Service, [], [], new KeyLimits([Permission.Read, Permission.Write, Permission.Operate], ["fraud"], null, ["staging"]));

        Assert.True(access.May(Permission.Write, Fraud));
        Assert.True(access.May(Permission.Operate, Resource.Model("fraud", "staging")));
        Assert.False(access.May(Permission.Operate, Resource.Model("fraud", "production")));
        Assert.False(access.May(Permission.Operate, Fraud));
        Assert.False(access.May(Permission.Operate, Resource.Model("churn", "staging")));
        Assert.False(access.May(Permission.Write, Resource.Model("churn")));
        Assert.False(access.May(Permission.Read, Resource.Model("churn")));
        Assert.False(access.May(Permission.Write));
        Assert.False(access.May(Permission.Write, Resource.Experiment("7")));
        Assert.True(access.May(Permission.Read, Resource.Experiment("7")));
        Assert.True(access.May(Permission.Read));
        Assert.False(access.May(Permission.Predict, Fraud)); // Held by the account, but not by this key.
        Assert.False(access.May(Permission.Approve, Resource.Model("fraud", "staging")));
        Assert.False(access.May(Permission.Admin));
    }

    [Fact]
    public void A_key_never_adds_to_what_a_person_may()
    {
        var access = Roles.Access(Role.Viewer, [], [], new KeyLimits([Permission.Read, Permission.Write, Permission.Operate, Permission.Admin], null, null, null));

        Assert.Equal([Permission.Read], access.Permissions);
        Assert.False(Roles.Access(Role.Service, [], [], new KeyLimits([Permission.Approve, Permission.Admin], null, null, null)).May(Permission.Approve));
    }

    [Fact]
    public void A_listing_leaves_out_exactly_what_may_not_be_read()
    {
        Assert.Null(Of(Role.Viewer).Filter(ResourceKind.Model));
        Assert.Null(Of(Role.Viewer, [new GrantedLevel(ResourceKind.Model, "fraud", null, GrantLevel.Manage, false)]).Filter(ResourceKind.Model));

        var hidden = Of(Role.Viewer, [new GrantedLevel(ResourceKind.Model, "fraud", null, GrantLevel.NoPermissions, false)]).Filter(ResourceKind.Model)!;
        Assert.True(hidden.Shows("churn"));
        Assert.False(hidden.Shows("fraud"));

        var shown = Of(Role.Viewer, [new GrantedLevel(ResourceKind.Model, "*", null, GrantLevel.NoPermissions, true), new GrantedLevel(ResourceKind.Model, "fraud", null, GrantLevel.Read, true)]).Filter(ResourceKind.Model)!;
        Assert.False(shown.Shows("churn"));
        Assert.True(shown.Shows("fraud"));

        var ofKey = Roles.Access(Role.Viewer, [], [], new KeyLimits(null, ["fraud"], null, null)).Filter(ResourceKind.Model)!;
        Assert.False(ofKey.Shows("churn"));
        Assert.True(ofKey.Shows("fraud"));
    }

    [Fact]
    public void What_is_refused_is_told_with_the_permission_and_the_thing()
    {
        var error = Assert.Throws<SlipwayException>(() => Of(Role.Viewer).Require(Permission.Operate, Resource.Model("fraud", "production")));

        Assert.Equal(ErrorCode.PermissionDenied, error.Code);
        Assert.Contains("'operate' on model 'fraud' in production", error.Message, StringComparison.Ordinal);
        CallerAccess.Everything.Require(Permission.Admin, Fraud);
    }

    private static CallerAccess Of(Role role, GrantedLevel[]? grants = null) => Roles.Access(role, [], grants ?? [], KeyLimits.None);
}
