using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Identity;
using Slipway.Registry.Versions;
using Slipway.Storage.Definitions;

namespace Slipway.Registry.Stages;

/// <summary>Reads the parts of a policy file.</summary>
internal static class PolicyReader
{
    private const double AlphaDefault = 0.05;
    private const int GroupRowsMin = 30;

    // The four-fifths rule, and a tenth of difference: what the field's guides name.
    private const double FairnessDifferenceMax = 0.1;
    private const double FairnessRatioMin = 0.8;

    private static readonly string[] RetirementOrder = ["notice", "migration", "archive", "deletion"];

    /// <summary>What is looked at before a model goes live, when a policy says <c>checklist: default</c>.</summary>
    public static IReadOnlyList<(string Item, string Text)> DefaultChecklist { get; } =
    [
        ("evaluation_reviewed", "Metrics, slices and calibration were read, not only computed"),
        ("integration_tested", "The applications that call the model were tested against this version"),
        ("load_tested", "Latency and throughput hold at the expected peak"),
        ("monitoring_configured", "Drift and performance monitors watch this version"),
        ("alerts_routed", "Alerts reach the people on call"),
        ("rollback_rehearsed", "The way back was tried"),
        ("documentation_updated", "Runbook and model card describe this version"),
        ("stakeholders_informed", "Those who depend on the model know of the change"),
    ];

    public static StageRequirements Requirements(DefinitionYaml yaml, bool riskRaises = false)
    {
        var roles = ReadRoles(yaml);
        return new StageRequirements
        {
            Approvals = yaml.OptionalInteger("approvals", 0, 20) ?? StageRequirements.Default.Approvals,
            Roles = roles,
            Groups = yaml.Texts("groups"),
            Steps = ReadSteps(yaml, roles),
            RiskRaises = yaml.OptionalBool("risk_raises_approvals") ?? riskRaises,
            LineageComplete = yaml.OptionalBool("lineage_complete") ?? true,
            DatasetVersion = yaml.OptionalBool("dataset_version") ?? false,
            PinnedDependencies = yaml.OptionalBool("pinned_dependencies"),
            Metrics = Limits(yaml, "metrics"),
            LimitsBeforeRun = yaml.OptionalBool("limits_before_run") ?? false,
            MustBeatBaseline = yaml.OptionalText("must_beat_baseline"),
            ImprovementOverProduction = yaml.OptionalMap("improvement_over_production") is { } improvement
                ? new ImprovementLimit(improvement.Text("metric"), improvement.Number("minimum"), improvement.OptionalNumber("alpha", 0.0001, 0.5) ?? AlphaDefault)
                : null,
            Fairness = [.. yaml.Maps("fairness").Select(ReadFairness)],
            BusinessMetrics = Limits(yaml, "business_metrics"),
            Documents = [.. yaml.Maps("documents").Select(document => new DocumentRequirement(document.Text("type"), document.OptionalDuration("max_age")))],
            AbTest = yaml.OptionalMap("ab_test") is { } test
                ? new AbTestRequirement((test.OptionalDuration("minimum_duration") ?? TimeSpan.FromDays(7)).TotalDays, test.OptionalNumber("minimum_share", 0, 1) ?? 0.1)
                : null,
            Checklist = ReadChecklist(yaml),
        };
    }

    public static EnvironmentPolicy Environment(DefinitionYaml yaml)
    {
        var name = yaml.Text("name");
        if (!RegistrationRules.IsName(name) || char.IsAsciiDigit(name[0]) || name == "latest" || StageRules.TryParse(name, out _))
        {
            yaml.Fault("name", $"must be letters, digits, '.', '_' or '-', begin with a letter and not be the name of a stage, not '{name}'");
        }

        return new EnvironmentPolicy(name, yaml.OptionalBool("optional") ?? false, Requirements(yaml));
    }

    public static IReadOnlyDictionary<string, IReadOnlyList<string>> Groups(DefinitionYaml yaml) => yaml.OptionalMap("groups") is { } groups
        ? groups.Keys.ToDictionary(key => key, groups.Texts, StringComparer.Ordinal)
        : new Dictionary<string, IReadOnlyList<string>>();

    public static TimeSpan? Expiry(DefinitionYaml yaml)
    {
        var expiry = yaml.OptionalDuration("expires_after");
        if (expiry is { } given && given <= TimeSpan.Zero)
        {
            yaml.Fault("expires_after", "must be longer than nothing, such as 14d");
        }

        return expiry;
    }

    public static IReadOnlyList<string> RetirementSteps(DefinitionYaml yaml)
    {
        var steps = yaml.Texts("retirement_approvals");
        if (steps.FirstOrDefault(step => !RetirementOrder.AsSpan(1).Contains(step)) is { } other)
        {
            yaml.Fault("retirement_approvals", $"may hold migration, archive and deletion, not '{other}'");
        }

        return steps;
    }

    private static IReadOnlyList<Role> ReadRoles(DefinitionYaml yaml)
    {
        var roles = new List<Role>();
        foreach (var text in yaml.Texts("roles"))
        {
            if (Roles.Find(text) is { } role && RoleNames.Approvers.Contains(role))
            {
                roles.Add(role);
            }
            else
            {
                yaml.Fault("roles", $"may hold {string.Join(" and ", RoleNames.Approvers.Select(Roles.Name))}, who may approve, not '{text}'");
            }
        }

        return roles.Count == 0 ? RoleNames.Approvers : roles;
    }

    private static List<ApprovalStep> ReadSteps(DefinitionYaml yaml, IReadOnlyList<Role> rolesOfStage)
    {
        var steps = new List<ApprovalStep>();
        foreach (var step in yaml.Maps("steps"))
        {
            var risks = new List<RiskClass>();
            foreach (var text in step.Texts("risk"))
            {
                if (RiskTable.Parse(text) is { } risk)
                {
                    risks.Add(risk);
                }
                else
                {
                    step.Fault("risk", $"may hold low, medium, high and very_high, not '{text}'");
                }
            }

            var read = new ApprovalStep(
                step.Text("name"), step.OptionalInteger("approvals", 1, 20) ?? 1, step.Has("roles") ? ReadRoles(step) : rolesOfStage, step.Texts("groups"), risks);
            if (steps.Any(known => known.Name == read.Name))
            {
                step.Fault("name", $"names the step '{read.Name}' twice");
            }

            steps.Add(read);
        }

        if (steps.Count > 0 && yaml.Has("approvals"))
        {
            yaml.Fault("approvals", "cannot stand beside 'steps', which say how many approvals each takes");
        }

        return steps;
    }

    private static List<MetricLimit> Limits(DefinitionYaml yaml, string key)
    {
        var limits = new List<MetricLimit>();
        foreach (var limit in yaml.Maps(key))
        {
            var read = new MetricLimit(limit.Text("metric"), limit.OptionalNumber("minimum"), limit.OptionalNumber("maximum"));
            limits.Add(read);
            if (read.Minimum is null && read.Maximum is null && !limit.Has("minimum") && !limit.Has("maximum"))
            {
                limit.Fault("metric", "has no limit; give it a minimum, a maximum or both");
            }
        }

        return limits;
    }

    private static FairnessLimit ReadFairness(DefinitionYaml yaml)
    {
        var difference = yaml.OptionalNumber("maximum_difference", 0);
        var ratio = yaml.OptionalNumber("minimum_ratio", 0, 1);
        var none = difference is null && ratio is null;
        return new FairnessLimit(
            yaml.Text("metric"), yaml.Text("by"), none ? FairnessDifferenceMax : difference, none ? FairnessRatioMin : ratio,
            yaml.OptionalInteger("minimum_rows", 1, int.MaxValue) ?? GroupRowsMin);
    }

    private static IReadOnlyList<(string Item, string Text)> ReadChecklist(DefinitionYaml yaml)
    {
        var items = yaml.Texts("checklist");
        if (items is ["default"])
        {
            return DefaultChecklist;
        }

        if (items.FirstOrDefault(item => !RegistrationRules.IsName(item)) is { } bad)
        {
            yaml.Fault("checklist", $"must be 'default' or a list of names such as load_tested, not '{bad}'");
        }

        return [.. items.Distinct(StringComparer.Ordinal).Select(item => (item, DefaultChecklist.FirstOrDefault(known => known.Item == item).Text ?? item.Replace('_', ' ')))];
    }
}
