using Slipway.Contracts;
using Slipway.Storage.Definitions;

namespace Slipway.Tests.Storage;

public sealed class DefinitionYamlTests
{
    private enum Severity
    {
        Block,
        AlertOnly,
    }

    [Fact]
    public void A_right_file_gives_its_values()
    {
        var yaml = DefinitionYaml.Parse(
            """
            kind: dataset
            name: flights
            rows: 3000000
            share: 0.25
            pii: false
            keep: 7d
            since: 2001-03-31
            severity: alert_only
            keys: [origin, destination]
            single: origin
            source: {owner: ops}
            columns:
              - {name: date, type: timestamp}
              - {name: delay, type: int}
            empty: ~
            """);

        Assert.Equal(("dataset", "flights", 3000000, 0.25), (yaml.Text("kind"), yaml.Text("name"), yaml.Integer("rows"), yaml.Number("share", 0, 1)));
        Assert.Equal((false, TimeSpan.FromDays(7), Severity.AlertOnly), (yaml.OptionalBool("pii"), yaml.Duration("keep"), yaml.OptionalChoice<Severity>("severity")));
        Assert.Equal(new DateTimeOffset(2001, 3, 31, 0, 0, 0, TimeSpan.Zero), yaml.OptionalInstant("since"));
        Assert.Equal(["origin", "destination"], yaml.Texts("keys"));
        Assert.Equal(["origin"], yaml.Texts("single"));
        Assert.Equal("ops", yaml.Map("source").Text("owner"));
        Assert.Equal(["date timestamp", "delay int"], yaml.Maps("columns").Select(column => $"{column.Text("name")} {column.Text("type")}"));
        Assert.Null(yaml.OptionalText("empty"));
        Assert.Empty(yaml.Texts("none"));
        yaml.Done();
    }

    [Fact]
    public void Every_fault_of_a_file_is_told_at_once_with_line_key_and_fix()
    {
        var yaml = DefinitionYaml.Parse(
            """
            kind: dataset
            nmae: flights
            rows: many
            share: 1.5
            severity: stop
            keep: soon
            since: yesterday
            pii: maybe
            source: text
            columns:
              - {name: date, tpye: timestamp}
            keys: {a: b}
            """);
        yaml.Text("kind");
        yaml.Text("name");
        yaml.Integer("rows");
        yaml.Number("share", 0, 1);
        yaml.OptionalChoice<Severity>("severity");
        yaml.OptionalDuration("keep");
        yaml.OptionalInstant("since");
        yaml.OptionalBool("pii");
        yaml.Map("source");
        yaml.Texts("keys");
        foreach (var column in yaml.Maps("columns"))
        {
            column.Text("name");
            column.OptionalText("type");
        }

        var error = Assert.Throws<SlipwayException>(yaml.Done);

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        foreach (var part in (string[])[
            "'name' is missing; give it a text",
            "line 2: 'nmae' is not a known key; did you mean 'name'?",
            "line 3: 'rows' must be a whole number, not 'many'",
            "line 4: 'share' must be a number from 0 to 1, not '1.5'",
            "line 5: 'severity' must be one of block, alert_only, not 'stop'",
            "line 6: 'keep' must be a duration such as 30s, 15m, 1h or 7d, not 'soon'",
            "line 7: 'since' must be a date or instant such as 2001-03-31 or 2001-03-31T06:00:00Z, not 'yesterday'",
            "line 8: 'pii' must be true or false, not 'maybe'",
            "line 9: 'source' must be a mapping of keys and values",
            "line 11: 'columns[0].tpye' is not a known key; did you mean 'type'?",
            "line 12: 'keys' must be a list of texts"])
        {
            Assert.Contains(part, error.Message, StringComparison.Ordinal);
        }

        Assert.DoesNotContain("'source' is missing", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_key_unlike_any_other_is_answered_with_the_known_ones()
    {
        var yaml = DefinitionYaml.Parse("kind: dataset\nname: flights\nelephant: grey");
        yaml.Text("kind");
        yaml.Text("name");

        var error = Assert.Throws<SlipwayException>(yaml.Done);

        Assert.Equal("line 3: 'elephant' is not a known key; known keys here: kind, name.", error.Message);
    }

    [Theory]
    [InlineData("", "one YAML mapping")]
    [InlineData("- a\n- b", "one YAML mapping")]
    [InlineData("a: 1\n---\nb: 2", "one YAML mapping")]
    [InlineData("a: [1", "not valid YAML")]
    [InlineData("a: 1\na: 2", "not valid YAML")]
    [InlineData("a: \"\\q\"", "not valid YAML")]
    [InlineData("a: \"\\UFFFFFFFF\"", "not valid YAML")]
    [InlineData("a: *nothing", "the alias '*nothing' is not taken")]
    [InlineData("a: &a [*a]", "the alias '*a' is not taken")]
    [InlineData("? &a [*a]\n: 1", "the alias '*a' is not taken")]
    [InlineData("a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "nested more than 32 deep")]
    public void What_is_no_single_mapping_is_refused(string text, string part)
    {
        var error = Assert.Throws<SlipwayException>(() => DefinitionYaml.Parse(text));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("1,000")]
    [InlineData("1.0")]
    [InlineData("99999999999")]
    [InlineData("0x10")]
    [InlineData("")]
    public void A_whole_number_is_plain_digits(string text)
    {
        var yaml = DefinitionYaml.Parse($"rows: '{text}'");
        yaml.OptionalInteger("rows", 0);

        Assert.Throws<SlipwayException>(yaml.Done);
    }

    [Theory]
    [InlineData("NaN")]
    [InlineData("1e999")]
    [InlineData("Infinity")]
    public void A_number_is_finite(string text)
    {
        var yaml = DefinitionYaml.Parse($"share: {text}");
        yaml.OptionalNumber("share");

        Assert.Throws<SlipwayException>(yaml.Done);
    }

    [Theory]
    [InlineData("30s", 30)]
    [InlineData("1.5h", 5400)]
    [InlineData("7d", 604800)]
    public void A_duration_is_read(string text, double seconds) => Assert.Equal(seconds, DefinitionYaml.Parse($"keep: {text}").Duration("keep").TotalSeconds);

    [Theory]
    [InlineData("999999999999999999d")]
    [InlineData("d")]
    [InlineData("-5m")]
    [InlineData("5")]
    public void A_duration_out_of_reason_is_a_fault_and_not_a_crash(string text)
    {
        var yaml = DefinitionYaml.Parse($"keep: '{text}'");
        yaml.OptionalDuration("keep");

        Assert.Contains("'keep' must be a duration", Assert.Throws<SlipwayException>(yaml.Done).Message, StringComparison.Ordinal);
    }
}
