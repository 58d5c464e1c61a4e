using System.Net;
using System.Text.Json;

namespace Slipway.EndToEnd.BadInput;

/// <summary>Definition files that are broken, hostile, or hold SQL that wants out of its folders.</summary>
[Collection(BadInputServer.Name)]
public sealed class DefinitionTests(BadInputFixture server)
{
    private const string Dataset = "timestamp: date\nsource: {type: file, owner: o, update_frequency: daily, pii: false, licence: l}\ncolumns: [{name: date, type: timestamp}]\n";

    private static readonly string Bomb =
        "kind: dataset\nname: x\na0: &a0 [x,x,x,x,x,x,x,x,x]\n" + string.Concat(Enumerable.Range(1, 12).Select(i => $"a{i}: &a{i} [{string.Join(',', Enumerable.Repeat($"*a{i - 1}", 9))}]\n"));

    public static TheoryData<string, string> Broken => new()
    {
        { "", "one YAML mapping" },
        { "- a", "one YAML mapping" },
        { "kind: dataset\n---\nkind: dataset", "one YAML mapping" },
        { "kind: dataset\n\tname: x", "Line 1" },
        { "kind: dataset\nkind: dataset\nname: x", "Duplicate key kind" },
        { "name: x", "'kind' is missing" },
        { "kind: spaceship\nname: x", "'spaceship'" },
        { $"kind: dataset\nname: \"\"\n{Dataset}", "'name' is missing" },
        { $"kind: dataset\nname: ../../etc/x\n{Dataset}", "'name' may hold" },
        { $"kind: dataset\nname: \"x'; DROP TABLE users; --\"\n{Dataset}", "'name' may hold" },
        { $"kind: dataset\nname: x\n{Dataset}colour: red\n", "'colour' is not a known key" },
        { $"kind: dataset\nname: x\n{Dataset}rulez: []\n", "did you mean 'rules'" },
        { "kind: dataset\nname: x\na: &a [*a]", "alias" },
        { "? &a [*a]\n: 1\nkind: dataset\nname: x", "alias" },
        { Bomb, "alias" },
        { "kind: dataset\nname: x\na: " + new string('[', 10_000) + new string(']', 10_000), "nested more than" },
        { "kind: dataset\nname: x\ndescription: " + new string('x', 1_000_000), "262144" },
        { "kind: dataset\nname: x\n" + string.Concat(Enumerable.Range(0, 10_000).Select(i => $"k{i}: 1\n")), "more" },
        { "kind: monitor\nname: m\nmodel: flight-delay\nowner: o\nprocedure: p\ncadence: 0h\nwindow: -1h\nmin_rows: -1\npsi: {investigate: 9, act: NaN}\nconsecutive: 0", "'cadence'" },
        { "kind: rollout\nname: r\nmodel: flight-delay\nalpha: 2\nsteps: [{percent: 101, min_requests: -1}]", "'alpha'" },
        { Pipeline("  - {name: a, uses: ingest, inputs: [z], outputs: [dataset], with: {dataset: flights}}"), "'stages[0].inputs'" },
        { Pipeline("  - {name: a, uses: ingest, outputs: [dataset], with: {dataset: flights}}\n  - {name: a, uses: ingest, outputs: [dataset], with: {dataset: flights}}"), "'a' is used by two stages" },
        { Pipeline("  - {name: a, uses: ingest, outputs: [dataset], with: {dataset: \"${nope}\"}}"), "${nope}" },
        { "kind: feature_service\nname: s\ninputs: [{name: a, type: string}]\nfeatures: [nope:f]\n", "nope:f" },
        { OnDemand(new string('(', 4000) + "a" + new string(')', 4000)), "expression" },
        { OnDemand(string.Concat(Enumerable.Repeat("NOT ", 2400)) + "a"), "expression" },
        { OnDemand("(select 1 from read_csv('/etc/passwd'))"), "expression" },
    };

    [Theory, MemberData(nameof(Broken)), Trait("capability", "DAT-04")]
    public async Task A_broken_definition_is_refused_with_the_field_named_and_nothing_is_applied(string yaml, string words)
    {
        var before = (await server.SendAsync(HttpMethod.Get, $"{BadInputFixture.Api}/definitions")).Text;

        await server.AssertRefusedAsync(await server.ApplyAsync(yaml), words);

        Assert.Equal(before, (await server.SendAsync(HttpMethod.Get, $"{BadInputFixture.Api}/definitions")).Text);
    }

    [Theory]
    [InlineData("SELECT content AS origin, now() AS event_timestamp, 1.0 AS f FROM read_text('/etc/passwd')")]
    [InlineData("SELECT * FROM read_csv('/etc/passwd')")]
    [InlineData("SELECT * FROM glob('/**')")]
    [InlineData("SELECT * FROM read_csv('http://127.0.0.1:1/x')")]
    [InlineData("SELECT getenv('HOME') AS origin, now() AS event_timestamp, 1.0 AS f")]
    [InlineData("COPY (SELECT 1) TO '/tmp/slipway-escaped.csv'")]
    [InlineData("SELECT 1; COPY (SELECT 1) TO '/tmp/slipway-escaped.csv'")]
    [InlineData("ATTACH '/tmp/slipway-escaped.csv'")]
    [InlineData("SET memory_limit='100GB'")]
    [InlineData("INSTALL httpfs")]
    [InlineData("LOAD httpfs")]
    [InlineData("SELECT 1) ; DROP TABLE x; --")]
    [InlineData("SELEC nope")]
    public async Task SQL_of_a_definition_stays_in_its_folders(string sql)
    {
        await server.AssertRefusedAsync(await server.ApplyAsync(
            $"kind: feature_view\nname: escape\nentity: e\nkeys: [origin]\nsource: flights\nsql: {JsonSerializer.Serialize(sql)}\nfeatures: [{{name: f, type: float64}}]"), "'escape'");

        Assert.False(File.Exists("/tmp/slipway-escaped.csv"));
        Assert.Equal(HttpStatusCode.NotFound, (await server.PostAsync($"{BadInputFixture.Api}/features/materialize", """{"view":"escape"}""")).Status);
    }

    [Fact]
    public async Task SQL_of_a_definition_cannot_read_the_servers_own_secrets()
    {
        var secret = Path.Combine(server.DataDirectory, "secret.txt");
        await File.WriteAllTextAsync(secret, "for nobody", TestContext.Current.CancellationToken);
        foreach (var path in new[] { secret, Path.Combine(server.DataDirectory, "columns", "..", "secret.txt") })
        {
            var answer = await server.ApplyAsync(
                $"kind: feature_view\nname: escape\nentity: e\nkeys: [origin]\nsource: flights\nsql: SELECT content AS origin, now() AS event_timestamp, 1.0 AS f FROM read_text('{path}')\nfeatures: [{{name: f, type: float64}}]");
            await server.AssertRefusedAsync(answer, "Permission Error");
            Assert.DoesNotContain("for nobody", answer.Text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_difference_of_two_long_files_is_told_without_holding_every_pair_of_lines()
    {
        string Lines(char mark) => $"kind: dataset\nname: long\n{Dataset}" + string.Concat(Enumerable.Repeat($"#{mark}\n", 60_000));

        Assert.Equal(HttpStatusCode.OK, (await server.ApplyAsync(Lines('a'))).Status);
        var (status, text) = await server.ApplyAsync(Lines('b'));

        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Contains("lines", text, StringComparison.Ordinal);
        await server.AssertWellAsync();
    }

    private static string Pipeline(string stages) => $"kind: pipeline\nname: p\nmodel: flight-delay\nseed: 1\ngo_no_go: {{metric: auc, minimum: 0.6}}\nstages:\n{stages}\n";

    private static string OnDemand(string expression) =>
        $"kind: feature_view\nname: od\nentity: o\non_demand: true\ninputs: [{{name: a, type: float64}}]\nfeatures: [{{name: f, type: float64, expression: {JsonSerializer.Serialize(expression)}}}]\n";
}
