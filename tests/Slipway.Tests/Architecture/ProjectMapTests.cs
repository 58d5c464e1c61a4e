using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Slipway.Tests.Architecture;

/// <summary>Holds the code to the table in docs/explanation/architecture.md.</summary>
public sealed partial class ProjectMapTests
{
    private static readonly OrderedDictionary<string, string[]> MayUse = ReadTable();

    public static TheoryData<string> Projects() => [.. Directory.EnumerateDirectories(Path.Combine(Repository.Root, "src")).Select(folder => Path.GetFileName(folder)!).Order()];

    [Theory, MemberData(nameof(Projects))]
    public void A_project_references_only_the_projects_its_row_allows(string project)
    {
        var references = XDocument.Load(Path.Combine(Repository.Root, "src", project, $"{project}.csproj")).Descendants("ProjectReference")
            .Select(reference => Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value.Replace('\\', '/')));

        Assert.True(MayUse.TryGetValue(project, out var allowed), $"{project} has no row in the map.");
        Assert.Empty(references.Except(allowed));
    }

    [Theory, MemberData(nameof(Projects))]
    public void A_source_names_only_the_projects_its_row_allows(string project)
    {
        var allowed = MayUse[project].Append(project).ToHashSet();
        var strangers = Repository.Sources(project)
            .SelectMany(file => UsingDirective().Matches(File.ReadAllText(file)).Select(match => (File: Path.GetFileName(file), Project: match.Groups[1].Value)))
            .Where(use => MayUse.ContainsKey(use.Project) && !allowed.Contains(use.Project));

        Assert.Empty(strangers);
    }

    [Fact]
    public void Every_row_refers_only_to_rows_above_it() =>
        Assert.All(MayUse.Keys.Index(), row => Assert.Empty(MayUse[row.Item].Except(MayUse.Keys.Take(row.Index))));

    [Fact]
    public void Every_file_that_the_page_follows_a_request_through_is_there()
    {
        var files = SourcePath().Matches(File.ReadAllText(Path.Combine(Repository.Root, "docs", "explanation", "architecture.md"))).Select(match => match.Value).ToList();

        Assert.NotEmpty(files);
        Assert.All(files, file => Assert.True(File.Exists(Path.Combine(Repository.Root, file)), $"{file} is named by the page, but is not there."));
    }

    [Fact]
    public void Every_table_is_written_by_one_project()
    {
        var writers = Directory.EnumerateDirectories(Path.Combine(Repository.Root, "src")).Select(folder => Path.GetFileName(folder)!)
            .SelectMany(project => Repository.Sources(project)
                .SelectMany(file => WriteStatement().Matches(File.ReadAllText(file)).Select(match => (Table: match.Groups[1].Value, Project: project))))
            .Distinct().ToList();

        Assert.NotEmpty(writers);
        Assert.All(writers.GroupBy(writer => writer.Table), table =>
            Assert.True(table.Count() == 1, $"{table.Key} is written by {string.Join(" and ", table.Select(writer => writer.Project))}."));
    }

    private static OrderedDictionary<string, string[]> ReadTable()
    {
        var table = new OrderedDictionary<string, string[]>();
        foreach (Match row in TableRow().Matches(File.ReadAllText(Path.Combine(Repository.Root, "docs", "explanation", "architecture.md"))))
        {
            var uses = row.Groups[2].Value.Trim();
            table.Add(row.Groups[1].Value, uses == "nothing" ? [] : [.. uses.Split(", ").Select(name => $"Slipway.{name}")]);
        }

        return table;
    }

    [GeneratedRegex(@"^\| `(Slipway\.\w+)` \|[^|]*\|([^|]*)\|\s*$", RegexOptions.Multiline)]
    private static partial Regex TableRow();

    [GeneratedRegex(@"src/[A-Za-z./]+\.cs")]
    private static partial Regex SourcePath();

    [GeneratedRegex(@"^@?using (?:static )?(Slipway\.\w+)", RegexOptions.Multiline)]
    private static partial Regex UsingDirective();

    [GeneratedRegex(@"\b(?:INSERT (?:OR \w+ )?INTO|UPDATE|DELETE FROM) ([a-z][a-z0-9]*_[a-z0-9_]+|users|runs|experiments|metrics|params|tags|models|datasets|rollouts|leases|outbox|definitions|entries)\b")]
    private static partial Regex WriteStatement();
}
