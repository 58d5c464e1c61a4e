using Slipway.Contracts;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Stages;

namespace Slipway.Tests.Pipelines;

[Trait("database", "none")]
public sealed class PipelineDefinitionTests
{
    private static readonly IReadOnlyList<StageKind> Kinds =
    [
        new FakeKind("load", [], ["rows"]),
        new FakeKind("fit", ["rows"], ["model"], trains: true),
        new FakeKind("judge", ["rows", "model"], ["report"]),
        new FakeKind("left", ["b"], ["a"]),
        new FakeKind("right", ["a"], ["b"]),
    ];

    private const string Good =
        """
        kind: pipeline
        name: p
        model: m
        seed: 7
        parameters: {level: 3}
        go_no_go: {metric: auc, minimum: 0.6}
        stages:
          - {name: judge, uses: judge, inputs: [model, rows], outputs: [report]}
          - {name: fit, uses: fit, inputs: [rows], outputs: [model]}
          - {name: load, uses: load, outputs: [rows], with: {level: "${level}"}}
        """;

    [Fact]
    [Trait("capability", "PIP-01")]
    public void Stages_run_after_those_they_read_from_whatever_their_order_in_the_file() =>
        Assert.Equal(["load", "fit", "judge"], Parse(Good).Stages.Select(stage => stage.Name));

    [Fact]
    public void A_parameter_is_filled_in_with_its_default_or_the_value_given()
    {
        Assert.Equal("{\"level\":3}", Parse(Good).Stages[0].SettingsJson);
        Assert.Equal("{\"level\":5}", PipelineDefinition.Parse(Good, Kinds, new Dictionary<string, string> { ["level"] = "5" }).Stages[0].SettingsJson);
    }

    [Theory]
    [Trait("capability", "PIP-01")]
    [InlineData("seed: 7", "seeed: 7", "did you mean 'seed'")]
    [InlineData("uses: load,", "uses: lod,", "must be one of load, fit, judge, left, right, not 'lod'")]
    [InlineData("inputs: [rows], outputs: [model]", "inputs: [row], outputs: [model]", "lists 'row', which no stage writes")]
    [InlineData("inputs: [rows], outputs: [model]", "inputs: [rows, model], outputs: [model]", "must be [rows]")]
    [InlineData("go_no_go: {metric: auc, minimum: 0.6}", "", "'go_no_go' is missing")]
    [InlineData("metric: auc", "metric: aux", "must be one of auc")]
    [InlineData("${level}", "${lvel}", "'${lvel}' names no parameter")]
    [InlineData("name: fit,", "name: judge,", "'judge' is used by two stages")]
    public void A_fault_is_named_with_its_key(string from, string to, string expected) => Refused(Good.Replace(from, to, StringComparison.Ordinal), expected);

    [Fact]
    [Trait("capability", "PIP-01")]
    public void A_cycle_is_refused_and_its_stages_are_named() => Refused(
        """
        kind: pipeline
        name: p
        model: m
        seed: 7
        stages:
          - {name: load, uses: load, outputs: [rows]}
          - {name: one, uses: left, inputs: [b], outputs: [a]}
          - {name: two, uses: right, inputs: [a], outputs: [b]}
        """,
        "'stages' form a cycle: one, two");

    [Fact]
    [Trait("capability", "TRK-09")]
    public void A_training_stage_may_not_list_the_test_split() => Refused(
        Good.Replace("inputs: [rows], outputs: [model]", "inputs: [rows, test], outputs: [model]", StringComparison.Ordinal),
        "only the evaluation may see the test split");

    [Theory]
    [InlineData("nope", "1", "'parameters.nope' is not declared")]
    [InlineData("level", "1, other: 2", "may hold letters, digits")]
    public void A_parameter_that_is_undeclared_or_could_change_the_structure_is_refused(string key, string value, string expected)
    {
        var error = Assert.Throws<SlipwayException>(() => PipelineDefinition.Parse(Good, Kinds, new Dictionary<string, string> { [key] = value }));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    private static PipelineDefinition Parse(string yaml) => PipelineDefinition.Parse(yaml, Kinds);

    private static void Refused(string yaml, string expected)
    {
        var error = Assert.Throws<SlipwayException>(() => Parse(yaml));
        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }
}
